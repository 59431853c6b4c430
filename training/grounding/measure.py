"""Does the model look at what it names? Attention maps of words against the boxes of the things.

Two figures. Attention correctness (Liu et al. 2017, "Attention Correctness in Neural Image Captioning"): how much of a
map lies inside the boxes. The pointing game (Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop"):
whether its peak does. Both stand beside what maps score that look at nothing: a uniform one, and one that always looks
at the centre, where photographers put their things.
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
from captioner.images.photo import ImageFrame
from captioner.model.decoder import Decoder
from captioner.ranks import ALONE, Ranks
from captioner.vocabulary import UNKNOWN, Vocabulary, tokenise
from training.data.dataset import pad_captions
from training.data.records import ImageRecord
from training.grounding.boxes import Box, BoxSet, PhotoBoxes, Phrase, phrases_named, phrases_of
from training.grounding.regions import centre_in_boxes, centres_inside, coverage
from training.grounding.scores import Aim, EvidenceGrounding, GroundingScores, PhraseScore, size_of, summarise
from training.options import MAX_TRAINING_WORDS
from training.random_streams import EVIDENCE, sample, stream

CENTRE_SIGMA = 0.25
"""Standard deviation of the map that looks at the centre, as a share of the side of what the model saw."""

REFERENCE_COUNTS = (
    PHOTOS := "photos",
    WITHOUT_BOXES := "photos without boxes",
    UNREADABLE := "photos with boxed phrases that cannot be read",
    CAPTIONS := "captions of photos with boxes",
    NO_SENTENCE := "captions that are no sentence of the boxes",
    NO_PHRASE := "captions without a boxed phrase",
    PHRASES := "boxed phrases",
    UNREADABLE_PHRASES := "boxed phrases in photos that cannot be read",
    CUT := f"boxed phrases beyond the first {MAX_TRAINING_WORDS} words",
    UNSEEN := "boxed phrases whose boxes lie outside of what the model saw",
    MEASURED := "boxed phrases measured",
    UNKNOWN_HEADS := "of these, with a head word that the captioner does not know",
)
CAPTION_COUNTS = (
    MADE := "captions made",
    MADE_WITHOUT_BOXES := "captions made of photos without boxes",
    NAMES_NOTHING := "captions made that name no boxed thing",
    NAMES := "names of boxed things in captions made",
    UNSEEN_NAMES := "names whose boxes lie outside of what the model saw",
    MEASURED_NAMES := "names measured",
)


@dataclass(frozen=True)
class ReferenceMaps:
    """Where the model looks while it is told the captions of a photo."""

    frame: ImageFrame
    maps: tuple[np.ndarray, ...]
    """Of each caption [T, H, W]: a map for each of its words, at most MAX_TRAINING_WORDS; each sums to 1."""


@dataclass(frozen=True)
class BoxedPhoto:
    """A photo with boxed phrases."""

    told: ImageRecord
    """With those of its captions alone that have some."""
    position: int
    """Of the photo among the records: ids may occur in two data sets."""
    phrases: tuple[Sequence[Phrase], ...]
    """Of each of these captions."""


def attention_correctness(alpha: np.ndarray, covered: np.ndarray) -> float:
    """Liu et al. 2017: the mass of a map inside the region. alpha, covered [H, W] -> 0 to 1.

    covered: the share of each cell that lies in the region, from `coverage`.
    """
    return float(np.vdot(alpha.astype(np.float64), covered.astype(np.float64)))


def points_inside(alpha: np.ndarray, boxes: Sequence[Box], frame: ImageFrame) -> bool:
    """Whether the centre of the cell with the most attention lies in a box. alpha [H, W].

    Of cells with equally much, the first in row order counts: the uppermost, of these the leftmost.
    """
    row, column = np.unravel_index(alpha.argmax(), alpha.shape)
    return centre_in_boxes((int(row), int(column)), boxes, frame, alpha.shape)


@cache
def centre_gaussian(grid: tuple[int, int]) -> np.ndarray:
    """The map that always looks at the centre: a Gaussian with CENTRE_SIGMA of each side -> [H, W], sums to 1."""
    rows, columns = (np.exp(-0.5 * (np.arange(1 - n, n, 2) / (2 * n * CENTRE_SIGMA)) ** 2) for n in grid)
    alpha = np.outer(rows, columns)
    alpha /= alpha.sum()
    alpha.flags.writeable = False
    return alpha


def score_phrase(
    alphas: np.ndarray, boxes: Sequence[Box], types: Sequence[str], frame: ImageFrame
) -> PhraseScore | None:
    """Measure the maps of a phrase's words [T, H, W], its head word the last; None where no box was seen."""
    grid = alphas.shape[1:]
    covered = coverage(boxes, frame, grid)
    if not covered.any():
        return None
    words = [Aim(attention_correctness(alpha, covered), float(points_inside(alpha, boxes, frame))) for alpha in alphas]
    centre = centre_gaussian(grid)
    aims = {
        "head": words[-1],
        "best_word": Aim(max(word.attention_correctness for word in words), max(word.pointing for word in words)),
        # A uniform map has no peak: the chance that a cell drawn at random has its centre in a box.
        "uniform": Aim(float(covered.mean(dtype=np.float64)), float(centres_inside(boxes, frame, grid).mean())),
        "centre_gaussian": Aim(attention_correctness(centre, covered), float(points_inside(centre, boxes, frame))),
    }
    return PhraseScore(aims, tuple(types), size_of(boxes))


def outlines_of(caption: Caption, photo: PhotoBoxes) -> dict[int, list[Box]]:
    """For the words of a caption that name a thing: position -> its boxes, in pixels of the photo."""
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
    """The maps of the words of the records' captions, by teacher forcing; None for a photo that cannot be read.

    Each word's map is the one that led to it, after the words before it as they stand in the caption. Words that the
    captioner does not know are told it as UNKNOWN, and have maps as all others.
    Of several ranks each looks at a share of the batches, and the first yields all; the others nothing.
    """

    def look(number: int) -> list[ReferenceMaps | None]:
        batch = records[number * batch_size : (number + 1) * batch_size]
        prepared = {}
        for position, record in enumerate(batch):
            with suppress(ImageError):
                prepared[position] = captioner.prepare(record.path)
        seen: dict[int, ReferenceMaps] = {}
        if prepared:
            squares, frames = zip(*prepared.values(), strict=True)
            encode = captioner.bundle.vocabulary.encode
            tokens = [[encode(caption) for caption in batch[position].captions] for position in prepared]
            maps = told_maps(captioner.model.decoder, captioner.encode(np.stack(squares)), tokens)
            seen = dict(zip(prepared, map(ReferenceMaps, frames, maps), strict=True))
        return [seen.get(position) for position in range(len(batch))]

    following = iter(records)
    with tqdm(total=len(records), desc="looking", unit="photo", disable=not (progress and records)) as bar:
        for seen in ranks.mapped(look, math.ceil(len(records) / batch_size)):
            yield from ((record, maps) for maps, record in zip(seen, following, strict=False))
            bar.update(len(seen))


def told_maps(
    decoder: Decoder, annotations: torch.Tensor, tokens: Sequence[Sequence[Sequence[int]]]
) -> list[tuple[np.ndarray, ...]]:
    """Annotations [B, H, W, D] and the captions of each photo, as ids -> the maps of each caption's words [T, H, W]."""
    grid = annotations.shape[1:3]
    inputs, _ = pad_captions(tokens)
    with torch.inference_mode():
        output = decoder(annotations.flatten(1, 2), inputs.to(annotations.device))
    alphas = output.alphas.unflatten(-1, grid).float().cpu().numpy()  # [B, K, T, H, W]
    return [
        tuple(alphas[image, row, : min(len(words), MAX_TRAINING_WORDS)] for row, words in enumerate(of_photo))
        for image, of_photo in enumerate(tokens)
    ]


def ground_references(
    captioner: Captioner,
    records: Iterable[ImageRecord],
    box_set: BoxSet,
    batch_size: int = 16,
    progress: bool = True,
    ranks: Ranks = ALONE,
) -> GroundingScores | None:
    """Measure where the model looks for the phrases of the reference captions, which it is told word by word.

    What cannot be measured is counted. Raises DataError where that is everything.
    Of several ranks each looks at a share of the photos, and the first measures; the others have None.
    """
    counts: Counter[str] = Counter(dict.fromkeys(REFERENCE_COUNTS, 0))
    boxed = boxed_captions(records, box_set, counts)
    told = [photo.told for photo in boxed]
    maps = (seen for _, seen in reference_maps(captioner, told, batch_size, progress, ranks))
    if not ranks.leads:
        return next(maps, None)  # there are none, once all have been sent
    return ground_maps(boxed, maps, captioner.bundle.vocabulary, counts, box_set.name)


def ground_maps(
    boxed: Sequence[BoxedPhoto],
    maps: Iterable[ReferenceMaps | None],
    vocabulary: Vocabulary,
    counts: Counter[str],
    name: str,
) -> GroundingScores:
    """Measure the maps of photos in their order, None for one that cannot be read; what cannot be measured is counted.

    name: of the boxes, for the DataError that is raised where nothing can be measured.
    """
    scores = []
    for photo, seen in zip(boxed, maps, strict=True):
        if seen is None:
            counts[UNREADABLE] += 1
            counts[UNREADABLE_PHRASES] += sum(map(len, photo.phrases))
            continue
        for caption, phrases, alphas in zip(photo.told.captions, photo.phrases, seen.maps, strict=True):
            known = [token != UNKNOWN for token in vocabulary.encode(caption)]
            scores += _score_caption(phrases, alphas, seen.frame, known, counts)
    if not scores:
        found = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        raise DataError(
            f"{name} has no phrase of these captions that can be measured ({found or 'no photos'}): "
            "give the boxes that belong to this data set and split, or leave the boxes out"
        )
    return summarise(scores, counts)


def boxed_captions(records: Iterable[ImageRecord], box_set: BoxSet, counts: Counter[str]) -> list[BoxedPhoto]:
    """The photos that have boxed phrases; what is left out is counted."""
    boxed = []
    for position, record in enumerate(records):
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
            boxed.append(BoxedPhoto(replace(record, captions=texts), position, phrases))
    return boxed


def _score_caption(
    phrases: Sequence[Phrase], alphas: np.ndarray, frame: ImageFrame, known: Sequence[bool], counts: Counter[str]
) -> Iterator[PhraseScore]:
    """Of the phrases of one caption, those that can be measured; alphas [T, H, W], known: of each word."""
    for phrase in phrases:
        if phrase.last >= len(alphas):
            counts[CUT] += 1
            continue
        score = score_phrase(alphas[phrase.first : phrase.last + 1], phrase.boxes, phrase.types, frame)
        if score is None:
            counts[UNSEEN] += 1
            continue
        counts[MEASURED] += 1
        counts[UNKNOWN_HEADS] += not known[phrase.last]
        yield score


def ground_captions(
    captions: Mapping[Hashable, Caption], records: Iterable[ImageRecord], box_set: BoxSet
) -> GroundingScores:
    """Measure where the model looked for those words of its own captions that name a thing in the photo.

    A name that several things share has the boxes of all of them. captions: image id -> caption; records: at least
    those of these images. Nothing is raised where no word names anything: that is what the counts then say.
    """
    counts: Counter[str] = Counter(dict.fromkeys(CAPTION_COUNTS, 0))
    files = {record.image_id: record.path for record in records}
    scores = []
    for image_id, caption in captions.items():
        counts[MADE] += 1
        photo = box_set.of(files[image_id])
        if photo is None:
            counts[MADE_WITHOUT_BOXES] += 1
            continue
        named = phrases_named(photo.things, caption.words)
        counts[NAMES] += len(named)
        counts[NAMES_NOTHING] += not named
        for phrase in named:
            alphas = caption.alphas[phrase.first : phrase.last + 1]
            score = score_phrase(alphas, phrase.boxes, phrase.types, caption.frame)
            counts[MEASURED_NAMES if score else UNSEEN_NAMES] += 1
            if score:
                scores.append(score)
    return summarise(scores, counts)


def ground_evidence(
    captioner: Captioner,
    captions: Mapping[Hashable, Caption],
    records: Sequence[ImageRecord],
    box_set: BoxSet,
    options: DecodingOptions,
    most: int,
    progress: bool = True,
    ranks: Ranks = ALONE,
) -> EvidenceGrounding:
    """Measure what speaks for the words of captions beside where the model looked, for at most so many photos.

    Of more photos some are drawn, the same each time.

    options: that they were captioned with. Photos without a caption or without boxes are passed over.
    captions: of several ranks, those of the first count. Each asks about a share of them, and the first measures; what
    the others have is of nothing.
    """

    def those_with_boxes() -> tuple[list[ImageRecord], dict[Hashable, Caption]]:
        found = [each for each in records if each.image_id in captions and box_set.of(each.path) is not None]
        found = sample(found, most, stream(0, EVIDENCE))
        return found, {record.image_id: captions[record.image_id] for record in found}

    boxed, attention = ranks.from_leader(those_with_boxes)

    def ask(number: int) -> np.ndarray:
        record = boxed[number]
        return captioner.evidence(record.path, attention[record.image_id], options)

    asked = tqdm(ranks.mapped(ask, len(boxed)), "asking why", len(boxed), unit="photo", disable=not progress)
    evidence = {
        record.image_id: replace(attention[record.image_id], alphas=alphas)
        for record, alphas in zip(boxed, asked, strict=ranks.leads)
    }
    scores = (ground_captions(maps, boxed, box_set) for maps in (evidence, attention))
    return EvidenceGrounding(len(boxed), *scores)
