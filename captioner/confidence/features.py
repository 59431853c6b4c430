"""Features of captions and of their words, from which the confidence model predicts whether they are right."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from captioner.text.lexicon import Language

UNKNOWN = math.nan
"""Value of an unknown feature."""


class ScoredCaption(Protocol):
    """Attributes of `captioner.captioner.Caption` that confidence depends on."""

    words: tuple[str, ...]
    tokens: tuple[int, ...]
    gates: np.ndarray
    word_log_probs: np.ndarray
    agreement: np.ndarray | None
    labels: Sequence[Any]
    """Each with `name` and `probability`."""
    word_labels: tuple[int | None, ...]

    @property
    def warnings(self) -> Sequence[Any]:
        """Each with `kind`."""

    @property
    def spreads(self) -> np.ndarray: ...


def caption_features(caption: ScoredCaption, language: Language, rank: int = 0) -> dict[str, float]:
    """Return the features of a caption by name; NaN for unknown ones.

    rank: rank among the captions of its photo, 0 for the best.
    """
    kinds = [language.kind_of(word) for word in caption.words]
    nouns = [index for index, kind in enumerate(kinds) if kind == "noun"] or list(range(len(kinds)))
    log_probs = caption.word_log_probs.astype(float)
    agreement, rarities = _agreement(caption), _rarities(caption)
    from_labels = np.array([_label_probability(caption, index) for index in nouns])
    support = np.array([_label_support(caption, index, language) for index in nouns])
    repeated = len(nouns) - len({caption.words[index] for index in nouns})
    return {
        "best": float(rank == 0),
        "log_prob": _mean(log_probs),
        "lowest_log_prob": _min(log_probs),
        "noun_log_prob": _mean(log_probs[nouns]),
        "lowest_noun_log_prob": _min(log_probs[nouns]),
        "agreement": _mean(agreement),
        "noun_agreement": _mean(agreement[nouns]),
        "lowest_noun_agreement": _min(agreement[nouns]),
        "noun_spread": _mean(caption.spreads[nouns]),
        "noun_gate": _mean(caption.gates[nouns]),
        "noun_rarity": _mean(rarities[nouns]),
        "rarest_noun": -_min(-rarities[nouns]),
        "nouns": float(sum(kind == "noun" for kind in kinds)),
        "words": float(len(kinds)),
        "repeated_nouns": float(repeated),
        **_label_features(caption),
        "nouns_from_labels": _mean(np.where(np.isnan(from_labels), UNKNOWN, from_labels > 0)),
        "noun_label_probability": _mean(from_labels),
        "label_support": _mean(support),
        "least_label_support": _min(support),
    }


def word_features(caption: ScoredCaption, language: Language, rank: int = 0) -> list[dict[str, float]]:
    """Return the features of each word of a caption by name; NaN for unknown ones.

    rank: rank among the captions of its photo, 0 for the best.
    """
    kinds = [language.kind_of(word) for word in caption.words]
    log_probs, spreads, rarities = caption.word_log_probs.astype(float), caption.spreads, _rarities(caption)
    agreement = _agreement(caption)
    shared = {
        "best": float(rank == 0),
        "caption_log_prob": _mean(log_probs),
        "caption_agreement": _mean(agreement),
        "words": float(len(kinds)),
        **_label_features(caption),
    }
    return [
        {
            **shared,
            "log_prob": log_probs[index],
            "agreement": agreement[index],
            "spread": spreads[index],
            "gate": float(caption.gates[index]),
            "rarity": rarities[index],
            "place": index / len(kinds),
            "repeated": float(caption.words[index] in caption.words[:index]),
            "label_probability": _label_probability(caption, index),
            "label_support": _label_support(caption, index, language),
            **{name: float(kind == name) for name in ("noun", "verb", "adjective", "number")},
        }
        for index, kind in enumerate(kinds)
    ]


def _rarities(caption: ScoredCaption) -> np.ndarray:
    """Return the logarithm [T] of each word's frequency rank: vocabularies are sorted by frequency."""
    return np.log(np.array(caption.tokens, float) + 1)


def _label_features(caption: ScoredCaption) -> dict[str, float]:
    """Return the features of the photo's labels; unknown for captioners without labels."""
    labels = caption.labels
    if not labels:
        return {"top_label": UNKNOWN, "label_entropy": UNKNOWN}
    probabilities = np.array([label.probability for label in labels], float)
    return {
        "top_label": float(probabilities.max()),
        "label_entropy": float(-(probabilities * np.log(probabilities + 1e-9)).sum()),
    }


def _label_probability(caption: ScoredCaption, index: int) -> float:
    """Return the probability of the label that a word came from; 0 if from none, unknown without labels."""
    labels = caption.labels
    if not labels or not caption.word_labels:
        return UNKNOWN
    label = caption.word_labels[index]
    return 0.0 if label is None else float(labels[label].probability)


def _label_support(caption: ScoredCaption, index: int, language: Language) -> float:
    """Return the probability of the labels that a word names or is a hypernym of; unknown without labels."""
    if not caption.labels:
        return UNKNOWN
    word = caption.words[index]
    return float(
        sum(
            label.probability
            for label in caption.labels
            if any(language.same(word, name_word) for name_word in label.name.lower().split())
        )
    )


def _agreement(caption: ScoredCaption) -> np.ndarray:
    """Return the share [T] of the beam's other captions that contain each word; unknown if there is no other."""
    if caption.agreement is None:
        return np.full(len(caption.words), UNKNOWN)
    return caption.agreement.astype(float)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else UNKNOWN


def _min(values: np.ndarray) -> float:
    return float(values.min()) if len(values) else UNKNOWN
