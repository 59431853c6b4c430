"""Confidence models with chosen weights, and captions for them."""

from dataclasses import replace

import numpy as np

from captioner.captioner import Caption
from captioner.confidence.model import ConfidenceModel, Logistic, PhotoLikeness
from captioner.images.fitting import ImageFrame
from captioner.images.warnings import PhotoWarning
from tests.support.maps import caption_of


def drawn_model(channels: int, caption: float = 0.0, word: float = 0.0, photo: float = 50.0) -> ConfidenceModel:
    """Return a model that is equally sure of every caption and every content word, but less sure of nouns.

    caption, word, photo: log-odds that a caption and a word are right, and that a picture is a photo.
    """
    words = Logistic(("noun",), (0.0,), (1.0,), (-2.0,), word)
    captions = Logistic((), (), (), (), caption)
    return ConfidenceModel(PhotoLikeness((0.0,) * channels, photo), captions, words, learned={"photos": 0})


def caption_with_agreement(text: str = "a dog runs on the red grass", *kinds_of_warnings: str) -> Caption:
    """Return a caption with the agreement 0 for its first word, rising to 1 for its last."""
    warnings = tuple(PhotoWarning(kind, "A reason.") for kind in kinds_of_warnings)
    caption = caption_of(text, ImageFrame(10, 10, (0, 0, 10, 10), warnings))
    return replace(caption, agreement=np.linspace(0, 1, len(caption.words)))
