"""Where the words of a caption should look: the boxes of its phrases, as shares of the cells of the model's grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from captioner.images.photo import ImageFrame
from captioner.vocabulary import tokenise
from training.data.records import ImageRecord
from training.grounding.boxes import BoxSet, phrases_of
from training.grounding.regions import coverage
from training.options import FitOptions


@dataclass(frozen=True)
class Regions:
    """What the captions of one image name, on the grid."""

    coverage: np.ndarray
    """[R, H, W] in 16-bit floats: the share of each cell that lies inside the boxes of a phrase."""
    words: tuple[tuple[tuple[int, int], ...], ...]
    """For each caption: positions of words, and which of the R regions each of them names."""


def regions_of(record: ImageRecord, boxes: BoxSet, frame: ImageFrame, grid: tuple[int, int]) -> Regions:
    """The regions of one photo's captions; none where there are no boxes of it, or none that the model sees.

    The head noun of a phrase, its last word, is what should look at the phrase's boxes.
    """
    photo = boxes.of(record.path)
    found: dict[tuple, int] = {}
    maps: list[np.ndarray] = []
    words = []
    for caption in record.captions:
        named = []
        for phrase in (photo and phrases_of(photo, tuple(tokenise(caption)))) or ():
            if phrase.boxes not in found:
                found[phrase.boxes] = len(maps)
                maps.append(coverage(phrase.boxes, frame, grid).astype(np.float16))
            region = found[phrase.boxes]
            if maps[region].any():
                named.append((phrase.last, region))
        words.append(tuple(named))
    return Regions(np.stack(maps) if maps else np.zeros((0, *grid), np.float16), tuple(words))


def teaching_boxes(boxes: BoxSet | None, options: FitOptions) -> BoxSet | None:
    """The boxes, where they teach: a weight of 0 leaves them to measure by alone."""
    return boxes if options.supervision_weight else None


def count_supervised(regions: Sequence[Regions]) -> int:
    """How many words of all captions are told where to look."""
    return sum(len(words) for of_image in regions for words in of_image.words)
