"""Grounding scores of many phrases: means over all, by type and by size, and counts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioner.text.counting import counted
from training.data.boxes.box_set import Box, BoxSet
from training.data.boxes.regions import union_area

SIZES = {"small": 1 / 16, "medium": 1 / 4, "large": 1.0}
"""Name of a size -> upper limit of the share of the photo that the boxes cover. Large has no limit.

A sixteenth is a quarter of the photo's width and height, about 12 cells of a 14 x 14 map; COCO's "small" (32 x 32
pixels) is far smaller than one cell."""


@dataclass(frozen=True)
class MapScores:
    """Scores of a map, or means of many, against boxes: 0 to 1 each."""

    attention_correctness: float
    pointing: float


@dataclass(frozen=True)
class PhraseScore:
    """Scores of one phrase, or of one word that names an object."""

    map_scores: Mapping[str, MapScores]
    """Scores of "head", the head word; "best_word" of the phrase, chosen per score; and the baseline maps
    "uniform" and "centre_gaussian"."""
    types: tuple[str, ...]
    size: str
    """A name in SIZES."""


@dataclass(frozen=True)
class Average:
    """Mean over phrases, with equal weights."""

    phrases: int
    map_scores: Mapping[str, MapScores]
    """As in PhraseScore; empty if there are no phrases."""

    def to_json(self) -> dict[str, Any]:
        rounded = {
            name: {score: round(value, 4) for score, value in vars(scores).items()}
            for name, scores in self.map_scores.items()
        }
        return {**rounded, "phrases": self.phrases}


@dataclass(frozen=True)
class GroundingScores:
    """Means over a set, and counts of what could not be measured."""

    overall: Average
    by_type: Mapping[str, Average]
    """Most frequent type first; a phrase with several types counts in each."""
    by_size: Mapping[str, Average]
    """Means by the share of the photo that the boxes cover; names from SIZES."""
    counts: Mapping[str, int]
    """Counts of phrases measured and left out: name in REFERENCE_COUNTS or CAPTION_COUNTS -> count."""

    def to_json(self) -> dict[str, Any]:
        """Return the scores without the counts."""
        return {
            **self.overall.to_json(),
            "by_type": {name: average.to_json() for name, average in self.by_type.items()},
            "by_size": {name: average.to_json() for name, average in self.by_size.items()},
        }


@dataclass(frozen=True)
class OcclusionGrounding:
    """Grounding of the occlusion maps of generated captions, and of the attention of the same words."""

    photos: int
    occlusion: GroundingScores
    attention: GroundingScores

    def to_json(self) -> dict[str, Any]:
        return {"photos": self.photos, "evidence": self.occlusion.to_json(), "attention": self.attention.to_json()}


@dataclass(frozen=True)
class Grounding:
    """Grounding of a captioner: for reference captions, and for its own."""

    references: GroundingScores
    captions: GroundingScores
    boxes: BoxSet
    occlusion: OcclusionGrounding | None = None

    def to_json(self) -> dict[str, Any]:
        """Return values for metrics.json: scores rounded to four decimals."""
        occlusion = {"evidence": self.occlusion.to_json()} if self.occlusion else {}
        return {
            "references": self.references.to_json(),
            "captions": self.captions.to_json(),
            **occlusion,
            "counts": {
                "references": dict(self.references.counts),
                "captions": dict(self.captions.counts),
                "boxes": dict(self.boxes.counts),
            },
            "examples": dict(self.boxes.examples),
            "boxes": self.boxes.name,
        }


def in_one_line(scores: Mapping[str, Any]) -> str:
    """Summarise the head words' scores in metrics.json beside the baselines, for the command line."""
    names = ("head", "uniform", "centre_gaussian")
    correctness, uniform, centre = (scores[name]["attention_correctness"] for name in names)
    pointing, pointing_uniform, pointing_centre = (scores[name]["pointing"] for name in names)
    return (
        f"attention correctness {correctness:.3f} (uniform {uniform:.3f}, centre {centre:.3f}), "
        f"pointing {pointing:.3f} ({pointing_uniform:.3f}, {pointing_centre:.3f}) over "
        f"{counted(scores['phrases'], 'phrase')}"
    )


def size_of(boxes: Sequence[Box]) -> str:
    """Return the name in SIZES for the share of the photo that boxes cover together."""
    area = union_area(boxes)
    return next((name for name, limit in SIZES.items() if area < limit), "large")


def summarise(scores: Sequence[PhraseScore], counts: Mapping[str, int]) -> GroundingScores:
    """Return the means of scores, with their counts."""
    types = Counter(kind for score in scores for kind in dict.fromkeys(score.types))
    by_type = {kind: _average([score for score in scores if kind in score.types]) for kind, _ in types.most_common()}
    by_size = {size: _average([score for score in scores if score.size == size]) for size in SIZES}
    by_size = {size: average for size, average in by_size.items() if average.phrases}
    return GroundingScores(_average(scores), by_type, by_size, dict(counts))


def _average(scores: Sequence[PhraseScore]) -> Average:
    def mean(name: str, score_name: str) -> float:
        return float(np.mean([getattr(score.map_scores[name], score_name) for score in scores]))

    names = scores[0].map_scores if scores else ()
    return Average(
        len(scores), {name: MapScores(mean(name, "attention_correctness"), mean(name, "pointing")) for name in names}
    )
