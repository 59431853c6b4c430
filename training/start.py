"""Extend the captioner that a run starts from with new words and more annotations."""

import torch
from torch import Tensor

from captioner.bundle.bundle import Bundle
from captioner.config import CaptionerConfig
from captioner.model.network import CaptionModel
from captioner.text.vocabulary import Vocabulary

_WORD_TENSORS = ("decoder.embedding.weight", "decoder.output.weight", "decoder.output.bias", "decoder.output_bias")
"""Names of tensors with a row for each word."""


def extended_model(bundle: Bundle, vocabulary: Vocabulary, config: CaptionerConfig | None = None) -> CaptionModel:
    """Return the bundle's model with a row for each new word of `vocabulary`, which must begin with the bundle's words.

    A new word has the embedding of a new model. Its output weights are the mean of all words', so that it is improbable
    but possible, and the distributions over the known words do not change.
    config: from `extended_config`; by default the bundle's own. Additional inputs (finer annotations, the last word in
    the query) have weights of 0, so that with soft attention the captions do not change.
    """
    known_count = len(bundle.vocabulary)
    if vocabulary.words[:known_count] != bundle.vocabulary.words:
        raise ValueError("an extended vocabulary must begin with the words that it extends")
    label_words = bundle.label_names.words_of(vocabulary) if bundle.label_names else ()
    model = CaptionModel(config or bundle.config, len(vocabulary), label_words=label_words)
    new_tensors, tensors = model.state_dict(), bundle.model.state_dict()
    for name, tensor in new_tensors.items():
        if name not in tensors:
            tensors[name] = torch.zeros_like(tensor)
        elif name in _WORD_TENSORS:
            tensors[name] = _extend_rows(tensors[name], tensor, name, model.config.tied_output)
        elif tensor.shape != tensors[name].shape:
            tensors[name] = _extend_inputs(tensors[name], tensor)
    model.load_state_dict(tensors)
    return model


def _extend_rows(known_rows: Tensor, new_rows: Tensor, name: str, tied_output: bool) -> Tensor:
    """Extend known rows [n, ...] to the number of rows of `new_rows` [m, ...]."""
    added_rows = new_rows[len(known_rows) :]
    mean_rows = known_rows.mean(dim=0).expand_as(added_rows)
    if name != "decoder.embedding.weight":
        added_rows = mean_rows
    elif tied_output:
        added_rows = mean_rows + added_rows
    return torch.cat([known_rows, added_rows])


def _extend_inputs(known_tensor: Tensor, new_tensor: Tensor) -> Tensor:
    """Extend a tensor to longer annotation vectors: weights that read the new dimensions are 0, others are new."""
    extended = new_tensor.clone()
    if known_tensor.dim() == 2 and known_tensor.shape[1] < new_tensor.shape[1]:
        extended[:, known_tensor.shape[1] :] = 0
        extended[:, : known_tensor.shape[1]] = known_tensor
    else:
        extended[: len(known_tensor)] = known_tensor
    return extended
