"""Measure grounding: attention maps of words against the boxes of the objects that they name.

Two scores. Attention correctness (Liu et al. 2017, "Attention Correctness in Neural Image Captioning"): the share of a
map inside the boxes. The pointing game (Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop"):
whether its peak is inside. Both are reported beside two baseline maps: a uniform one, and one centred on the photo,
where photographers place their subjects.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from tqdm import tqdm

from captioner.captioner import Caption, Captioner
from captioner.config import DecodingOptions
from captioner.errors import DataError, ImageError
from captioner.images.fitting import ImageFrame
from captioner.model.decoder import Decoder
from captioner.ranks import ALONE, Ranks
from captioner.text.vocabulary import UNKNOWN, Vocabulary, tokenise
from training.data.boxes.box_set import Box, BoxSet, PhotoBoxes, Phrase, phrases_named, phrases_of
from training.data.boxes.regions import centre_in_boxes, centres_inside, coverage
from training.data.dataset import pad_captions
from training.data.records import ImageRecord
from training.grounding.scores import GroundingScores, MapScores, OcclusionGrounding, PhraseScore, size_of, summarise
from training.options import MAX_TRAINING_WORDS
from training.random_streams import OCCLUSION, sample, stream

CENTRE_SIGMA = 0.25
"""Standard deviation of the centred map, as a share of the side of the model's input."""

REFERENCE_COUNTS = (
    PHOTOS := "photos",
    WITHOUT_BOXES := "photos without boxes",
    UNREADABLE := "photos with boxed phrases that cannot be read",
    CAPTIONS := "captions of photos with boxes",
    NO_SENTENCE := "captions that are no sentence of the boxes",
    NO_PHRASE := "captions without a boxed phrase",
    PHRASES := "boxed phrases",
    UNREADABLE_PHRASES := "boxed phrases in photos that cannot be read",
    TRUNCATED := f"boxed phrases beyond the first {MAX_TRAINING_WORDS} words",
    OUT_OF_VIEW := "boxed phrases whose boxes lie outside of what the model saw",
    MEASURED := "boxed phrases measured",
    UNKNOWN_HEADS := "of these, with a head word that the captioner does not know",
)
CAPTION_COUNTS = (
    GENERATED := "captions made",
    GENERATED_WITHOUT_BOXES := "captions made of photos without boxes",
    NAMED_NOTHING := "captions made that name no boxed thing",
    NAMED := "names of boxed things in captions made",
    NAMED_OUT_OF_VIEW := "names whose boxes lie outside of what the model saw",
    NAMED_MEASURED := "names measured",
)


@dataclass(frozen=True)
class ReferenceMaps:
    """Attention maps of a photo's captions, by teacher forcing."""

    frame: ImageFrame
    maps: tuple[np.ndarray, ...]
    """For each caption [T, H, W]: a map for each of its words, at most MAX_TRAINING_WORDS; each sums to 1."""


@dataclass(frozen=True)
class BoxedPhoto:
    """Photo with boxed phrases."""

    record: ImageRecord
    """Record with only those captions that have boxed phrases."""
    position: int
    """Index of the photo among the records: ids may occur in two data sets."""
    phrases: tuple[Sequence[Phrase], ...]
    """Phrases of each of these captions."""


def attention_correctness(alpha: np.ndarray, cell_coverage: np.ndarray) -> float:
    """Return the mass of a map inside a region (Liu et al. 2017). alpha, covered [H, W] -> 0 to 1.

    cell_coverage: share of each cell inside the region, from `coverage`.
    """
    return float(np.vdot(alpha.astype(np.float64), cell_coverage.astype(np.float64)))


def points_inside(alpha: np.ndarray, boxes: Sequence[Box], frame: ImageFrame) -> bool:
    """Return whether the centre of the cell with the most attention lies in a box. alpha [H, W].

    Among cells with equal attention, the first in row order counts.
    """
    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    return centre_in_boxes((int(row), int(column)), boxes, frame, alpha.shape)


@cache
def centre_gaussian(grid: tuple[int, int]) -> np.ndarray:
    """Return the centred baseline map: a Gaussian with CENTRE_SIGMA of each side -> [H, W], sums to 1."""
    rows, columns = (np.exp(-0.5 * (np.arange(1 - n, n, 2) / (2 * n * CENTRE_SIGMA)) ** 2) for n in grid)
    alpha = np.outer(rows, columns)
    alpha /= alpha.sum()
    alpha.flags.writeable = False
    return alpha


def score_phrase(
    alphas: np.ndarray, boxes: Sequence[Box], types: Sequence[str], frame: ImageFrame
) -> PhraseScore | None:
    """Score the maps of a phrase's words [T, H, W], its head word last; None if no box is in the model's input."""
    grid = alphas.shape[1:]
    cell_coverage = coverage(boxes, frame, grid)
    if not cell_coverage.any():
        return None
    words = [
        MapScores(attention_correctness(alpha, cell_coverage), float(points_inside(alpha, boxes, frame)))
        for alpha in alphas
    ]
    centre = centre_gaussian(grid)
    map_scores = {
        "head": words[-1],
        "best_word": MapScores(max(word.attention_correctness for word in words), max(word.pointing for word in words)),
        # A uniform map has no peak: the probability that a random cell has its centre in a box.
        "uniform": MapScores(
            float(cell_coverage.mean(dtype=np.float64)), float(centres_inside(boxes, frame, grid).mean())
        ),
        "centre_gaussian": MapScores(
            attention_correctness(centre, cell_coverage), float(points_inside(centre, boxes, frame))
        ),
    }
    return PhraseScore(map_scores, tuple(types), size_of(boxes))


def outlines_of(caption: Caption, photo: PhotoBoxes) -> dict[int, list[Box]]:
    """Return the boxes of words that name an object: index of the word -> boxes, in pixels of the photo."""
    size = np.array([caption.frame.width, caption.frame.height] * 2)
    return {
        position: [tuple((box * size).tolist()) for box in np.array(phrase.boxes)]
        for phrase in phrases_named(photo.things, caption.words)
        for position in range(phrase.first, phrase.last + 1)
    }


def reference_maps(
    captioner: Captioner,
    records: Sequence[ImageRecord],
    batch_size: int = 16,
    progress: bool = True,
    ranks: Ranks = ALONE,
) -> Iterator[tuple[ImageRecord, ReferenceMaps | None]]:
    """Yield the maps of the words of the records' captions, by teacher forcing; None for an unreadable photo.

    Each word's map is the one that led to it, given the words before it in the caption. Words that the captioner does
    not know are fed as UNKNOWN, and have maps like all others.
    Each rank processes a share of the batches; the first rank yields all, the others nothing.
    """

    def compute_maps(batch_index: int) -> list[ReferenceMaps | None]:
        batch = records[batch_index * batch_size : (batch_index + 1) * batch_size]
        prepared = {}
        for index, record in enumerate(batch):
            with suppress(ImageError):
                prepared[index] = captioner.prepare(record.path)
        maps_by_index: dict[int, ReferenceMaps] = {}
        if prepared:
            squares, frames = zip(*prepared.values(), strict=True)
            encode = captioner.bundle.vocabulary.encode
            tokens = [[encode(caption) for caption in batch[index].captions] for index in prepared]
            maps = teacher_forced_maps(captioner.model.decoder, captioner.encode(np.stack(squares)), tokens)
            maps_by_index = dict(zip(prepared, map(ReferenceMaps, frames, maps), strict=True))
        return [maps_by_index.get(index) for index in range(len(batch))]

    remaining = iter(records)
    with tqdm(total=len(records), desc="attention maps", unit="photo", disable=not (progress and records)) as bar:
        for maps_by_index in ranks.map(compute_maps, math.ceil(len(records) / batch_size)):
            yield from ((record, maps) for maps, record in zip(maps_by_index, remaining, strict=False))
            bar.update(len(maps_by_index))


def teacher_forced_maps(
    decoder: Decoder, annotations: torch.Tensor, tokens: Sequence[Sequence[Sequence[int]]]
) -> list[tuple[np.ndarray, ...]]:
    """Run the teacher-forced decoder: annotations [B, H, W, D], captions as ids -> maps of each caption [T, H, W]."""
    grid = annotations.shape[1:3]
    inputs, _ = pad_captions(tokens)
    with torch.inference_mode():
        output = decoder(annotations.flatten(1, 2), inputs.to(annotations.device))
    alphas = output.alphas.unflatten(-1, grid).float().cpu().numpy()  # [B, K, T, H, W]
    return [
        tuple(alphas[image, row, : min(len(words), MAX_TRAINING_WORDS)] for row, words in enumerate(captions))
        for image, captions in enumerate(tokens)
    ]


def ground_references(
    captioner: Captioner,
    records: Iterable[ImageRecord],
    box_set: BoxSet,
    batch_size: int = 16,
    progress: bool = True,
    ranks: Ranks = ALONE,
) -> GroundingScores | None:
    """Score the teacher-forced attention for the phrases of the reference captions.

    Phrases that cannot be measured are counted. Raises DataError if none can be measured.
    Each rank processes a share of the photos; the first rank scores, the others return None.
    """
    counts: Counter[str] = Counter(dict.fromkeys(REFERENCE_COUNTS, 0))
    boxed = boxed_captions(records, box_set, counts)
    boxed_records = [photo.record for photo in boxed]
    maps = (photo_maps for _, photo_maps in reference_maps(captioner, boxed_records, batch_size, progress, ranks))
    if not ranks.leads:
        return next(maps, None)  # None, after all maps were sent
    return ground_maps(boxed, maps, captioner.bundle.vocabulary, counts, box_set.name)


def ground_maps(
    boxed: Sequence[BoxedPhoto],
    maps: Iterable[ReferenceMaps | None],
    vocabulary: Vocabulary,
    counts: Counter[str],
    name: str,
) -> GroundingScores:
    """Score the maps of photos in order, None for an unreadable one; count what cannot be measured.

    name: name of the boxes, for the DataError if nothing can be measured.
    """
    scores = []
    for photo, photo_maps in zip(boxed, maps, strict=True):
        if photo_maps is None:
            counts[UNREADABLE] += 1
            counts[UNREADABLE_PHRASES] += sum(map(len, photo.phrases))
            continue
        for caption, phrases, alphas in zip(photo.record.captions, photo.phrases, photo_maps.maps, strict=True):
            is_known = [token != UNKNOWN for token in vocabulary.encode(caption)]
            scores += _score_caption(phrases, alphas, photo_maps.frame, is_known, counts)
    if not scores:
        count_list = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        raise DataError(
            f"{name} has no phrase of these captions that can be measured ({count_list or 'no photos'}): "
            "give the boxes that belong to this data set and split, or leave the boxes out"
        )
    return summarise(scores, counts)


def boxed_captions(records: Iterable[ImageRecord], box_set: BoxSet, counts: Counter[str]) -> list[BoxedPhoto]:
    """Return the photos with boxed phrases; count the others."""
    boxed = []
    for index, record in enumerate(records):
        counts[PHOTOS] += 1
        photo = box_set.of(record.path)
        if photo is None:
            counts[WITHOUT_BOXES] += 1
            continue
        captions = []
        for caption in record.captions:
            phrases = phrases_of(photo, tokenise(caption))
            counts[CAPTIONS] += 1
            counts[NO_SENTENCE] += phrases is None
            counts[NO_PHRASE] += phrases is not None and not phrases
            if phrases:
                counts[PHRASES] += len(phrases)
                captions.append((caption, phrases))
        if captions:
            texts, phrases = zip(*captions, strict=True)
            boxed.append(BoxedPhoto(replace(record, captions=texts), index, phrases))
    return boxed


def _score_caption(
    phrases: Sequence[Phrase], alphas: np.ndarray, frame: ImageFrame, is_known: Sequence[bool], counts: Counter[str]
) -> Iterator[PhraseScore]:
    """Score the measurable phrases of one caption; alphas [T, H, W]; is_known: whether each word is known."""
    for phrase in phrases:
        if phrase.last >= len(alphas):
            counts[TRUNCATED] += 1
            continue
        score = score_phrase(alphas[phrase.first : phrase.last + 1], phrase.boxes, phrase.types, frame)
        if score is None:
            counts[OUT_OF_VIEW] += 1
            continue
        counts[MEASURED] += 1
        counts[UNKNOWN_HEADS] += not is_known[phrase.last]
        yield score


def ground_captions(
    captions: Mapping[Hashable, Caption], records: Iterable[ImageRecord], box_set: BoxSet
) -> GroundingScores:
    """Score the attention of those words of generated captions that name an object in the photo.

    A name that several objects share has the boxes of all. captions: image id -> caption; records: at least those of
    these images. It raises nothing if no word names an object; the counts show that.
    """
    counts: Counter[str] = Counter(dict.fromkeys(CAPTION_COUNTS, 0))
    files = {record.image_id: record.path for record in records}
    scores = []
    for image_id, caption in captions.items():
        counts[GENERATED] += 1
        photo = box_set.of(files[image_id])
        if photo is None:
            counts[GENERATED_WITHOUT_BOXES] += 1
            continue
        phrases = phrases_named(photo.things, caption.words)
        counts[NAMED] += len(phrases)
        counts[NAMED_NOTHING] += not phrases
        for phrase in phrases:
            alphas = caption.alphas[phrase.first : phrase.last + 1]
            score = score_phrase(alphas, phrase.boxes, phrase.types, caption.frame)
            counts[NAMED_MEASURED if score else NAMED_OUT_OF_VIEW] += 1
            if score:
                scores.append(score)
    return summarise(scores, counts)


def ground_occlusion_maps(
    captioner: Captioner,
    captions: Mapping[Hashable, Caption],
    records: Sequence[ImageRecord],
    box_set: BoxSet,
    options: DecodingOptions,
    max_photos: int,
    progress: bool = True,
    ranks: Ranks = ALONE,
) -> OcclusionGrounding:
    """Score the occlusion maps of captions, and the attention of the same words, for at most `max_photos` photos.

    If there are more photos, a fixed random sample is used.

    options: decoding options of the captions. Photos without a caption or without boxes are skipped.
    captions: with several ranks, those of the first. Each rank computes a share of the maps; the first rank scores,
    and the result of the others is empty.
    """

    def select_boxed() -> tuple[list[ImageRecord], dict[Hashable, Caption]]:
        boxed_records = [
            record for record in records if record.image_id in captions and box_set.of(record.path) is not None
        ]
        boxed_records = sample(boxed_records, max_photos, stream(0, OCCLUSION))
        return boxed_records, {record.image_id: captions[record.image_id] for record in boxed_records}

    boxed_records, attention = ranks.from_leader(select_boxed)

    def compute_map(index: int) -> np.ndarray:
        record = boxed_records[index]
        return captioner.occlusion_maps(record.path, attention[record.image_id], options)

    maps_in_order = tqdm(
        ranks.map(compute_map, len(boxed_records)),
        "occlusion maps",
        len(boxed_records),
        unit="photo",
        disable=not progress,
    )
    occlusion = {
        record.image_id: replace(attention[record.image_id], alphas=alphas)
        for record, alphas in zip(boxed_records, maps_in_order, strict=ranks.leads)
    }
    scores = (ground_captions(maps, boxed_records, box_set) for maps in (occlusion, attention))
    return OcclusionGrounding(len(boxed_records), *scores)
