"""Confidence model: calibrated probabilities that a caption, and each of its content words, is right.

A content word is right if a person used it, its plural, a synonym or a hypernym in a caption of the photo. A caption
is right if all of its nouns are. The model has three logistic regressions, fitted by `training.confidence` on
validation photos: one tells photos from other pictures by the annotations, one scores captions, and one scores words.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import numpy as np

from captioner.confidence.features import UNKNOWN, ScoredCaption, caption_features, word_features
from captioner.errors import ConfigError
from captioner.text.json_values import is_number
from captioner.text.lexicon import ENGLISH, Language, UnlistedLanguage

FORMAT_VERSION = 1
UNDESCRIBABLE_CONFIDENCE = 0.02
"""Maximum confidence in a caption of a picture that is blank, or of text, which the captioner cannot read."""
_UNDESCRIBABLE = {"blank", "text"}  # kinds of warnings
_MAX_NUMBER, _MIN_SCALE = 1e12, 1e-12
"""Limits of the numbers in a file: no feature overflows within them, so a confidence is never NaN."""


Caption = TypeVar("Caption", bound=ScoredCaption)


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
            value = values.get(name, UNKNOWN)
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


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-min(max(logit, -500.0), 500.0)))


def _numbers(values: Any, name: str) -> tuple[float, ...]:
    """Check that values are finite numbers that overflow in no product. Raises ConfigError."""
    if not isinstance(values, list) or not all(is_number(value) and abs(value) <= _MAX_NUMBER for value in values):
        raise ConfigError(f"{name} must be finite numbers, from {-_MAX_NUMBER:g} to {_MAX_NUMBER:g}")
    return tuple(float(value) for value in values)
