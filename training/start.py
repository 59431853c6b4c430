"""The captioner that a run starts from, with room for new words and for more to look at."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captioner.bundle import Bundle
from captioner.config import CaptionerConfig
from captioner.errors import ConfigError
from captioner.model.network import CaptionModel
from captioner.vocabulary import Vocabulary

_OF_WORDS = ("decoder.embedding.weight", "decoder.output.weight", "decoder.output.bias", "decoder.output_bias")
"""Tensors with a row for each word."""

_GROWTH = {("scales", 1, 2), ("query", "hidden", "hidden_word"), ("text", False, True)}
"""Options that may change, from what to what: a captioner that has more to go by, and at first makes nothing of it."""


def grown_config(config: CaptionerConfig, wanted: Mapping[str, Any], path: Path) -> CaptionerConfig:
    """The options of the captioner at `path`, with those that are wanted to be others.

    Raises ConfigError for what cannot change in a captioner that has learned.
    """
    for name, value in wanted.items():
        has = getattr(config, name)
        if value != has and (name, has, value) not in _GROWTH:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{flag} {value} contradicts {path}, which has {has}:"
                f" leave {flag} out, or train from scratch without --from-bundle"
            )
    return replace(config, **wanted)


def grown_model(bundle: Bundle, vocabulary: Vocabulary, config: CaptionerConfig | None = None) -> CaptionModel:
    """The bundle's model with a row for each new word of `vocabulary`, which must begin with the bundle's own.

    A new word is embedded as in a new model. It is predicted as an average word is: unlikely, and not impossible, so
    that the distributions over the known words stay what they were.
    config: from `grown_config`; by default the bundle's own. What the model can go by in addition (finer annotations,
    the last word in the query) has weights of 0, so that with soft attention it says what it said before.
    """
    known = len(bundle.vocabulary)
    if vocabulary.words[:known] != bundle.vocabulary.words:
        raise ValueError("a grown vocabulary must begin with the words that it has grown from")
    label_words = bundle.label_names.words_of(vocabulary) if bundle.label_names else ()
    model = CaptionModel(config or bundle.config, len(vocabulary), label_words=label_words)
    fresh, tensors = model.state_dict(), bundle.model.state_dict()
    for name, tensor in fresh.items():
        if name not in tensors:
            tensors[name] = torch.zeros_like(tensor)
        elif name in _OF_WORDS:
            tensors[name] = _with_rows(tensors[name], tensor, name, model.config.tied_output)
        elif tensor.shape != tensors[name].shape:
            tensors[name] = _of_more_annotations(tensors[name], tensor)
    model.load_state_dict(tensors)
    return model


def _with_rows(known: Tensor, fresh: Tensor, name: str, tied_output: bool) -> Tensor:
    """Known rows [n, ...] and below them as many as `fresh` [m, ...] has more."""
    more, average = fresh[len(known) :], known.mean(dim=0).expand_as(fresh[len(known) :])
    if name != "decoder.embedding.weight":
        more = average
    elif tied_output:
        more = average + more
    return torch.cat([known, more])


def _of_more_annotations(known: Tensor, fresh: Tensor) -> Tensor:
    """A tensor for longer annotation vectors: what reads the new dimensions is 0, what makes them is as if new."""
    grown = fresh.clone()
    if known.dim() == 2 and known.shape[1] < fresh.shape[1]:
        grown[:, known.shape[1] :] = 0
        grown[:, : known.shape[1]] = known
    else:
        grown[: len(known)] = known
    return grown
