"""Confidence models with chosen weights, for tests."""

from captioner.confidence import ConfidenceModel, Logistic, PhotoLikeness


def drawn_model(channels: int, caption: float = 0.0, word: float = 0.0, photo: float = 50.0) -> ConfidenceModel:
    """Return a model that is equally sure of every caption and every content word, but less sure of nouns.

    caption, word, photo: log-odds that a caption and a word are right, and that a picture is a photo.
    """
    words = Logistic(("noun",), (0.0,), (1.0,), (-2.0,), word)
    captions = Logistic((), (), (), (), caption)
    return ConfidenceModel(PhotoLikeness((0.0,) * channels, photo), captions, words, learned={"photos": 0})
