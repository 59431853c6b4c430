"""Attention supervision: target regions of a caption's words, as shares of the cells of the model's grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from captioner.images.fitting import ImageFrame
from captioner.text.vocabulary import tokenise
from training.data.boxes.box_set import BoxSet, phrases_of
from training.data.boxes.regions import coverage
from training.data.records import ImageRecord
from training.options import FitOptions


@dataclass(frozen=True)
class Regions:
    """Target regions of one image's captions, on the grid."""

    coverage: np.ndarray
    """[R, H, W] in 16-bit floats: share of each cell inside the boxes of a phrase."""
    words: tuple[tuple[tuple[int, int], ...], ...]
    """For each caption: indices of words, each with the index of its region."""


def regions_of(record: ImageRecord, boxes: BoxSet, frame: ImageFrame, grid: tuple[int, int]) -> Regions:
    """Return the regions of one photo's captions; none if it has no boxes, or none in the model's input.

    The target of a phrase's head noun, its last word, are the phrase's boxes.
    """
    photo = boxes.of(record.path)
    region_indices: dict[tuple, int] = {}
    maps: list[np.ndarray] = []
    words = []
    for caption in record.captions:
        targets = []
        for phrase in (photo and phrases_of(photo, tuple(tokenise(caption)))) or ():
            if phrase.boxes not in region_indices:
                region_indices[phrase.boxes] = len(maps)
                maps.append(coverage(phrase.boxes, frame, grid).astype(np.float16))
            region = region_indices[phrase.boxes]
            if maps[region].any():
                targets.append((phrase.last, region))
        words.append(tuple(targets))
    return Regions(np.stack(maps) if maps else np.zeros((0, *grid), np.float16), tuple(words))


def teaching_boxes(boxes: BoxSet | None, options: FitOptions) -> BoxSet | None:
    """Return the boxes if they supervise attention: with a weight of 0 they serve only for evaluation."""
    return boxes if options.supervision_weight else None


def count_supervised(regions: Sequence[Regions]) -> int:
    """Count the words of all captions that have a target region."""
    return sum(len(words) for image_regions in regions for words in image_regions.words)
