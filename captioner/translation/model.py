"""The network of a translator: a bidirectional LSTM over the source sentence, and the decoder that captions photos."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from captioner.model.decoder import Decoder, DecoderOutput
from captioner.model.kernels.dropout import ByteDropout
from captioner.ranks import BatchSlice
from captioner.text.vocabulary import PAD
from captioner.translation.config import TranslatorConfig


class SentenceAnnotations(NamedTuple):
    """Annotations of a batch of sentences."""

    annotations: Tensor
    """[B, L, D]: one for each piece, or the one fixed vector of each sentence, L = 1."""
    padding: Tensor
    """bool [B, L]: positions after the end of a sentence, which nothing attends to."""


class SentenceEncoder(nn.Module):
    """Bidirectional LSTM, Bahdanau et al. 2015, section 3.2: a_i is the two states at piece i, concatenated."""

    def __init__(self, config: TranslatorConfig, vocabulary_size: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.source_embedding_dim, padding_idx=PAD)
        self.lstm = nn.LSTM(config.source_embedding_dim, config.source_hidden_dim, batch_first=True, bidirectional=True)
        self.dropout = ByteDropout(config.dropout)
        self.summary = config.summary
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    @property
    def channels(self) -> int:
        """D"""
        return 2 * self.lstm.hidden_size

    def forward(self, tokens: Tensor, batch_slice: BatchSlice | None = None) -> SentenceAnnotations:
        """Read sentences: ids [B, L], padded after their ends with PAD; each has at least one piece.

        batch_slice: position of these sentences in a batch that processes share; B = 0 for a process without one.
        """
        padding = tokens == PAD
        if not len(tokens):
            return self._empty_annotations(padding)
        lengths = (~padding).sum(dim=1)
        embedded = self.dropout(self.embedding(tokens), batch_slice)
        host_lengths = lengths.cpu()
        if int(host_lengths.min()) == tokens.shape[1]:  # nothing to skip, and packing takes a fifth of the time
            annotations, (last, _) = self.lstm(embedded)
        else:
            packed = pack_padded_sequence(embedded, host_lengths, batch_first=True, enforce_sorted=False)
            packed, (last, _) = self.lstm(packed)
            annotations, _ = pad_packed_sequence(packed, batch_first=True, total_length=tokens.shape[1])
        if self.summary == "none":
            return SentenceAnnotations(self.dropout(annotations, batch_slice), padding)
        if self.summary == "last":
            fixed = last.transpose(0, 1).flatten(1)  # the forward state at the end, the backward one at the beginning
        else:
            fixed = annotations.sum(dim=1) / lengths.unsqueeze(1)
        return SentenceAnnotations(self.dropout(fixed.unsqueeze(1), batch_slice), torch.zeros_like(padding[:, :1]))

    def _empty_annotations(self, padding: Tensor) -> SentenceAnnotations:
        """Return the annotations of no sentence: padding [0, L] -> [0, L, D], or [0, 1, D].

        They depend on every parameter, because processes that sum their gradients need one of each, here zero.
        """
        if self.summary != "none":
            padding = padding[:, :1]
        zero = sum(parameter.sum() for parameter in self.parameters()) * 0
        return SentenceAnnotations(zero.expand(*padding.shape, self.channels), padding)


class TranslationModel(nn.Module):
    """Sentence encoder and decoder."""

    def __init__(self, config: TranslatorConfig, source_size: int, target_size: int):
        """source_size, target_size: number of pieces of each language."""
        super().__init__()
        self.config = config
        self.encoder = SentenceEncoder(config, source_size)
        self.decoder = Decoder(config, self.encoder.channels, target_size)

    def forward(self, source: Tensor, target: Tensor, batch_slice: BatchSlice | None = None) -> DecoderOutput:
        """Teacher forcing: source ids [B, L], target ids [B, K, T] -> predictions of the pieces that follow.

        batch_slice: position of these sentences in a batch that processes share.
        """
        annotations, padding = self.encoder(source, batch_slice)
        return self.decoder(annotations, target, batch_slice=batch_slice, padding=padding)
