"""The captioner that a run starts from, with room for new words."""

import torch
from torch import Tensor

from captioner.bundle import Bundle
from captioner.model import CaptionModel
from captioner.vocabulary import Vocabulary

_GROWING = ("decoder.embedding.weight", "decoder.output.weight", "decoder.output.bias")
"""Tensors with a row for each word."""


def grown_model(bundle: Bundle, vocabulary: Vocabulary) -> CaptionModel:
    """The bundle's model with a row for each new word of `vocabulary`, which must begin with the bundle's own.

    A new word is embedded as in a new model. It is predicted as an average word is: unlikely, and not impossible, so
    that the distributions over the known words stay what they were.
    """
    known = len(bundle.vocabulary)
    if vocabulary.words[:known] != bundle.vocabulary.words:
        raise ValueError("a grown vocabulary must begin with the words that it has grown from")
    model = CaptionModel(bundle.config, len(vocabulary))
    fresh, tensors = model.state_dict(), bundle.model.state_dict()
    for name in _GROWING:
        tensors[name] = _with_rows(tensors[name], fresh[name], average=name != "decoder.embedding.weight")
    model.load_state_dict(tensors)
    return model


def _with_rows(known: Tensor, fresh: Tensor, average: bool) -> Tensor:
    """Known rows [n, ...] and below them as many as `fresh` [m, ...] has more."""
    more = fresh[len(known) :]
    return torch.cat([known, known.mean(dim=0).expand_as(more) if average else more])
