"""Confidence model: calibrated probabilities that a caption, and each of its content words, is right.

A content word is right if a person used it, its plural, a synonym or a hypernym in a caption of the photo. A caption
is right if all of its nouns are. The model has three logistic regressions, fitted by `training.confidence` on
validation photos: one tells photos from other pictures by the annotations, one scores captions, and one scores words.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from captioner.errors import ConfigError
from captioner.text.json_values import is_number
from captioner.text.lexicon import ENGLISH, Language, UnlistedLanguage

FORMAT_VERSION = 1
SURE, LIKELY = 0.8, 0.5
"""Minimum confidence of a caption or a word called sure, and of one called likely; a lower one is a guess."""
UNDESCRIBABLE_CONFIDENCE = 0.02
"""Maximum confidence in a caption of a picture that is blank, or of text, which the captioner cannot read."""
_UNDESCRIBABLE = {"blank", "text"}  # kinds of warnings
_MAX_NUMBER, _MIN_SCALE = 1e12, 1e-12
"""Limits of the numbers in a file: no feature overflows within them, so a confidence is never NaN."""
_UNKNOWN = math.nan


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


Caption = TypeVar("Caption", bound=ScoredCaption)


def wording(confidence: float | None) -> str | None:
    """Return the word for a confidence: sure, likely or guess; None if there is no confidence."""
    if confidence is None:
        return None
    return "sure" if confidence >= SURE else "likely" if confidence >= LIKELY else "guess"


@dataclass(frozen=True)
class Logistic:
    """Logistic regression on named features; an unknown feature counts as its mean."""

    features: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def __call__(self, values: Mapping[str, float]) -> float:
        """Return a probability, 0 to 1. values: feature name -> value; others are ignored, missing ones are unknown."""
        logit = self.intercept
        for name, mean, scale, weight in zip(self.features, self.means, self.scales, self.weights, strict=True):
            value = values.get(name, _UNKNOWN)
            if math.isfinite(value):
                logit += weight * (value - mean) / scale
        return _sigmoid(logit)

    def to_json(self) -> dict[str, Any]:
        return {
            "intercept": self.intercept,
            "features": {
                name: {"mean": mean, "scale": scale, "weight": weight}
                for name, mean, scale, weight in zip(self.features, self.means, self.scales, self.weights, strict=True)
            },
        }

    @classmethod
    def from_json(cls, values: Any, name: str) -> Self:
        """Read the regression. name: its name in errors. Raises ConfigError."""
        if not isinstance(values, dict) or not isinstance(values.get("features"), dict):
            raise ConfigError(f"{name} must have an intercept and features by name")
        features = values["features"]
        if not all(isinstance(feature, dict) for feature in features.values()):
            raise ConfigError(f"each feature of {name} must have mean, scale and weight")
        columns = [
            _numbers([feature.get(key) for feature in features.values()], f"{key} of {name}")
            for key in ("mean", "scale", "weight")
        ]
        if not all(scale >= _MIN_SCALE for scale in columns[1]):
            raise ConfigError(f"every scale of {name} must be above 0, and at least {_MIN_SCALE:g}")
        (intercept,) = _numbers([values.get("intercept")], f"the intercept of {name}")
        return cls(tuple(features), *columns, intercept)


@dataclass(frozen=True)
class PhotoLikeness:
    """Logistic regression that tells photos from other pictures: noise, plain colours, text, charts."""

    weights: tuple[float, ...]
    """[D] weights of the channels of the mean annotation vector."""
    intercept: float

    def __call__(self, mean: np.ndarray) -> float:
        """Return the probability that a picture is like the training photos. mean: [D] mean annotation vector."""
        return _sigmoid(float(mean.astype(float) @ np.array(self.weights)) + self.intercept)

    def to_json(self) -> dict[str, Any]:
        return {"intercept": self.intercept, "weights": list(self.weights)}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Read the regression. Raises ConfigError."""
        if not isinstance(values, dict):
            raise ConfigError("photo must have an intercept and weights")
        (intercept,) = _numbers([values.get("intercept")], "the intercept of photo")
        return cls(_numbers(values.get("weights"), "the weights of photo"), intercept)


@dataclass(frozen=True)
class ConfidenceModel:
    """Model of the confidence in one captioner's captions from beam search."""

    photo: PhotoLikeness
    """Whether a picture is like the training photos."""
    caption: Logistic
    """Whether a caption of a photo is right."""
    word: Logistic
    """Whether a content word of a photo's caption is right."""
    language: Language = ENGLISH
    """Language that defines the content words of captions."""
    learned: dict[str, Any] = field(default_factory=dict)
    """Description of the data that the model was fitted on, with its cross-validated scores."""

    def with_confidence(self, captions: Sequence[Caption], mean: np.ndarray) -> list[Caption]:
        """Return the captions of one photo, best first, with their confidence and that of their content words.

        mean: [D], the photo's mean annotation vector.
        """
        likeness = self.photo(mean)
        return [self._add_confidence(caption, rank, likeness) for rank, caption in enumerate(captions)]

    def _add_confidence(self, caption: Caption, rank: int, likeness: float) -> Caption:
        kinds = [self.language.kind_of(word) for word in caption.words]
        undescribable = _UNDESCRIBABLE & {warning.kind for warning in caption.warnings}
        max_confidence = UNDESCRIBABLE_CONFIDENCE if undescribable else 1.0
        words = tuple(
            None if kind is None else min(max_confidence, likeness * self.word(values))
            for kind, values in zip(kinds, word_features(caption, self.language, rank), strict=True)
        )
        confidence = min(max_confidence, likeness * self.caption(caption_features(caption, self.language, rank)))
        return replace(caption, confidence=confidence, word_confidences=words)

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "learned": self.learned,
            "function_words": sorted(self.language.frequent) if isinstance(self.language, UnlistedLanguage) else None,
            "caption": self.caption.to_json(),
            "word": self.word.to_json(),
            "photo": self.photo.to_json(),
        }

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Read the values that `to_json` wrote. Raises ConfigError for others."""
        version = values.get("format_version") if isinstance(values, dict) else None
        if version != FORMAT_VERSION:
            raise ConfigError(f"has format version {version!r}, and this program reads version {FORMAT_VERSION}")
        learned = values.get("learned")
        if not isinstance(learned, dict):
            raise ConfigError("must have learned, with figures by name")
        function_words = values.get("function_words")
        is_list = isinstance(function_words, list) and all(isinstance(word, str) for word in function_words)
        if function_words is not None and not is_list:
            raise ConfigError("function_words must be a list of words, or null for English")
        language = ENGLISH if function_words is None else UnlistedLanguage(frozenset(function_words))
        caption, word = (Logistic.from_json(values.get(name), name) for name in ("caption", "word"))
        return cls(PhotoLikeness.from_json(values.get("photo")), caption, word, language, learned)


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
        "nouns_from_labels": _mean(np.where(np.isnan(from_labels), _UNKNOWN, from_labels > 0)),
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
        return {"top_label": _UNKNOWN, "label_entropy": _UNKNOWN}
    probabilities = np.array([label.probability for label in labels], float)
    return {
        "top_label": float(probabilities.max()),
        "label_entropy": float(-(probabilities * np.log(probabilities + 1e-9)).sum()),
    }


def _label_probability(caption: ScoredCaption, index: int) -> float:
    """Return the probability of the label that a word came from; 0 if from none, unknown without labels."""
    labels = caption.labels
    if not labels or not caption.word_labels:
        return _UNKNOWN
    label = caption.word_labels[index]
    return 0.0 if label is None else float(labels[label].probability)


def _label_support(caption: ScoredCaption, index: int, language: Language) -> float:
    """Return the probability of the labels that a word names or is a hypernym of; unknown without labels."""
    if not caption.labels:
        return _UNKNOWN
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
        return np.full(len(caption.words), _UNKNOWN)
    return caption.agreement.astype(float)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else _UNKNOWN


def _min(values: np.ndarray) -> float:
    return float(values.min()) if len(values) else _UNKNOWN


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-min(max(logit, -500.0), 500.0)))


def _numbers(values: Any, name: str) -> tuple[float, ...]:
    """Check that values are finite numbers that overflow in no product. Raises ConfigError."""
    if not isinstance(values, list) or not all(is_number(value) and abs(value) <= _MAX_NUMBER for value in values):
        raise ConfigError(f"{name} must be finite numbers, from {-_MAX_NUMBER:g} to {_MAX_NUMBER:g}")
    return tuple(float(value) for value in values)
