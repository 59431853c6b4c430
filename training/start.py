"""Extend the captioner that a run starts from with new words and more annotations."""

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
"""Names of tensors with a row for each word."""

_GROWTH = {("scales", 1, 2), ("query", "hidden", "hidden_word"), ("text", False, True)}
"""Options that may change (name, from, to): the captioner gets more input, with initial weights of 0."""


def extended_config(config: CaptionerConfig, wanted: Mapping[str, Any], path: Path) -> CaptionerConfig:
    """Return the options of the captioner at `path`, changed to the wanted ones.

    Raises ConfigError for options that cannot change in a trained captioner.
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


def extended_model(bundle: Bundle, vocabulary: Vocabulary, config: CaptionerConfig | None = None) -> CaptionModel:
    """Return the bundle's model with a row for each new word of `vocabulary`, which must begin with the bundle's words.

    A new word has the embedding of a new model. Its output weights are the mean of all words', so that it is improbable
    but possible, and the distributions over the known words do not change.
    config: from `extended_config`; by default the bundle's own. Additional inputs (finer annotations, the last word in
    the query) have weights of 0, so that with soft attention the captions do not change.
    """
    known = len(bundle.vocabulary)
    if vocabulary.words[:known] != bundle.vocabulary.words:
        raise ValueError("an extended vocabulary must begin with the words that it extends")
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
    """Extend known rows [n, ...] to the number of rows of `fresh` [m, ...]."""
    more, average = fresh[len(known) :], known.mean(dim=0).expand_as(fresh[len(known) :])
    if name != "decoder.embedding.weight":
        more = average
    elif tied_output:
        more = average + more
    return torch.cat([known, more])


def _of_more_annotations(known: Tensor, fresh: Tensor) -> Tensor:
    """Extend a tensor to longer annotation vectors: weights that read the new dimensions are 0, others are new."""
    grown = fresh.clone()
    if known.dim() == 2 and known.shape[1] < fresh.shape[1]:
        grown[:, known.shape[1] :] = 0
        grown[:, : known.shape[1]] = known
    else:
        grown[: len(known)] = known
    return grown
