"""Scores of confidences: ROC area, calibration error, and the risk-coverage curve."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioner.captioner import Caption
from training.confidence.rightness import Judge

BINS = 10
"""Number of bins of the calibration error, of equal width, as in Guo et al. 2017."""
_COVERAGES = 100
_DRAWS = 200


@dataclass(frozen=True)
class ConfidenceScores:
    """Agreement of confidences with rightness, of captions or of words."""

    confidences: np.ndarray
    """[N], 0 to 1"""
    right: np.ndarray
    """bool [N]"""

    def to_json(self) -> dict[str, Any]:
        """Return scores for JSON, rounded to four decimals; the ROC area is None if all are right, or all wrong."""
        area = roc_area(self.confidences, self.right)
        return {
            "count": len(self.right),
            "right": round(float(self.right.mean()), 4),
            "mean_confidence": round(float(self.confidences.mean()), 4),
            "roc_area": None if area is None else round(area, 4),
            "calibration_error": round(calibration_error(self.confidences, self.right), 4),
            "calibration_error_by_chance": round(sampling_error(self.confidences), 4),
        }

    def curve(self) -> list[tuple[float, float]]:
        """Return at most 100 points (coverage, risk): share kept, most confident first, and the share of it wrong."""
        return risk_coverage(self.confidences, self.right)

    def bins(self) -> list[tuple[float, float, int]]:
        """Return (mean confidence, share that is right, count) of each non-empty bin of the calibration error."""
        numbers = _bin_numbers(self.confidences)
        masks = [numbers == number for number in np.unique(numbers)]
        return [
            (float(self.confidences[mask].mean()), float(self.right[mask].mean()), int(mask.sum())) for mask in masks
        ]


def roc_area(confidences: np.ndarray, right: np.ndarray) -> float | None:
    """Return the probability that a right caption or word has a higher confidence than a wrong one; ties count half.

    None if all are right, or all are wrong.
    """
    right_confidences, wrong_confidences = confidences[right], np.sort(confidences[~right])
    if not len(right_confidences) or not len(wrong_confidences):
        return None
    counts_below = np.searchsorted(wrong_confidences, right_confidences, "left")
    counts_up_to = np.searchsorted(wrong_confidences, right_confidences, "right")
    return float((counts_below + counts_up_to).mean() / 2 / len(wrong_confidences))


def calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error: mean |confidence - share that is right| over bins, weighted by count."""
    surplus = np.bincount(_bin_numbers(confidences), confidences - right, minlength=BINS)
    return float(np.abs(surplus).sum() / len(right))


def sampling_error(confidences: np.ndarray) -> float:
    """Return the mean calibration error of perfect confidences with this number of samples."""
    rng = np.random.default_rng(0)
    draws = (rng.random((_DRAWS, len(confidences))) < confidences).astype(float)
    return float(np.mean([calibration_error(confidences, right) for right in draws]))


def risk_coverage(confidences: np.ndarray, right: np.ndarray) -> list[tuple[float, float]]:
    """Return at most 100 points (coverage, risk). Equal confidences are kept or left out together."""
    order = np.argsort(-confidences, kind="stable")
    ordered, wrong = confidences[order], np.cumsum(~right[order])
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # last index of each run of equal confidences
    selected = np.unique(np.linspace(0, len(ends) - 1, min(_COVERAGES, len(ends))).round().astype(int))
    kept_counts = ends[selected] + 1
    return [(int(count) / len(right), float(wrong[count - 1] / count)) for count in kept_counts]


def _bin_numbers(confidences: np.ndarray) -> np.ndarray:
    return np.minimum((confidences * BINS).astype(int), BINS - 1)


def score_confidences(captions: Mapping[Hashable, Caption], judge: Judge) -> dict[str, ConfidenceScores]:
    """Score the confidences of "captions" and "words". captions: image id -> caption; judge: of the references.

    Empty if no caption has a confidence.
    """
    pairs_by_kind: dict[str, list[tuple[float, bool]]] = {"captions": [], "words": []}
    for image_id, caption in captions.items():
        if caption.confidence is None:
            continue
        pairs_by_kind["captions"].append((caption.confidence, judge.is_right(image_id, caption.words)))
        word_pairs = zip(caption.word_confidences, judge.right_words(image_id, caption.words), strict=True)
        pairs_by_kind["words"] += [pair for pair in word_pairs if None not in pair]
    return {name: _make_scores(pairs) for name, pairs in pairs_by_kind.items() if pairs}


def _make_scores(pairs: Sequence[tuple[float, bool]]) -> ConfidenceScores:
    confidences, right = zip(*pairs, strict=True)
    return ConfidenceScores(np.array(confidences, float), np.array(right, bool))


def summarise_confidence(figures: Mapping[str, Any]) -> str:
    """Summarise scores of captions and words for the command line. figures: each from `ConfidenceScores.to_json`."""
    parts = [
        f"{name} right {scores['right']:.3f}, area under ROC {_format_area(scores['roc_area'])}, calibration error"
        f" {scores['calibration_error']:.3f} ({scores['calibration_error_by_chance']:.3f} by chance)"
        for name, scores in figures.items()
        if name in ("captions", "words")
    ]
    return f"confidence: {'; '.join(parts)}"


def _format_area(figure: float | None) -> str:
    return "unknown" if figure is None else f"{figure:.3f}"
