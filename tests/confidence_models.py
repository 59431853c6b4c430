"""Confidence models that are written down instead of learned."""

from captioner.confidence import ConfidenceModel, Logistic, PhotoLikeness


def drawn_model(channels: int, caption: float = 0.0, word: float = 0.0, photo: float = 50.0) -> ConfidenceModel:
    """A model that trusts every caption alike, and every content word but nouns, which it trusts less.

    caption, word, photo: log-odds of a caption and of a word to be right, and of a picture to be a photo.
    """
    words = Logistic(("noun",), (0.0,), (1.0,), (-2.0,), word)
    captions = Logistic((), (), (), (), caption)
    return ConfidenceModel(PhotoLikeness((0.0,) * channels, photo), captions, words, learned={"photos": 0})
