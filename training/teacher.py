"""The teacher of distillation: the decoder of the captioner that a run started from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captioner.model.decoder import Decoder
from captioner.model.encoders import TwoScales
from captioner.text.vocabulary import UNKNOWN

MOST_KEPT_BYTES = 2**28
"""Maximum size of the results that a teacher keeps in memory. A word takes 3 kB with the captioner that ships."""

_Caption = tuple[int, ...]
"""Position of a photo in the data set, and the tokens that the decoder reads."""


@dataclass(frozen=True)
class TeacherOutput:
    """Predictions for the N positions of a batch that exist, in their order."""

    logits: Tensor
    """[N, V'] for the words that the teacher knows"""
    alphas: Tensor
    """[N, L]"""


class Teacher:
    """Predicts the words of captions as the decoder of an earlier captioner does, without gradients.

    What it predicts for a caption of a photo never changes while the encoder is frozen, so it is computed once. The
    input of the output layer is kept rather than the logits, which are several times larger.
    """

    def __init__(self, decoder: Decoder, most_bytes: int = MOST_KEPT_BYTES):
        """decoder: frozen here, and without dropout. most_bytes: maximum size of the results to keep, 0 for none."""
        self._decoder = decoder.eval().requires_grad_(False)
        self._kept: dict[_Caption, tuple[Tensor, ...]] = {}
        self._bytes_left = most_bytes

    @property
    def vocabulary_size(self) -> int:
        """V'"""
        return self._decoder.vocabulary_size

    @torch.no_grad()
    def __call__(
        self, annotations: Tensor | TwoScales, inputs: Tensor, exists: Tensor, photos: Sequence[int] | None = None
    ) -> TeacherOutput:
        """Predict the next words of captions: annotations [B, L, D] or their maps, inputs [B, K, T] -> N predictions.

        It reads words that it does not know as unknown.
        exists: bool [B, K, T], the N positions to predict at, the first ones of each caption.
        photos: positions of the photos in the data set; None if their annotations may be others the next time.
        """
        tokens = inputs.where(inputs < self.vocabulary_size, UNKNOWN)
        if photos is None:
            vectors, alphas = self._compute(annotations, tokens, exists)
        else:
            vectors, alphas = self._recall(annotations, tokens, exists, photos)
        return TeacherOutput(self._decoder.logits(vectors), alphas)

    def _compute(self, annotations: Tensor | TwoScales, tokens: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
        """Run the decoder -> output vectors [N, M] and maps [N, L]."""
        width = self._decoder.annotation_dim
        if isinstance(annotations, TwoScales) and annotations.channels != width:
            annotations = annotations.annotations()
        if isinstance(annotations, Tensor):  # without finer annotations, which the teacher has not learned from
            annotations = annotations[..., :width]
        output = self._decoder.output_vectors(annotations, tokens)
        return output.vectors[exists], output.alphas[exists]

    def _recall(
        self, annotations: Tensor | TwoScales, tokens: Tensor, exists: Tensor, photos: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Do the same, but run the decoder only on photos with a caption whose results are not kept."""
        captions = [
            [(photo, *words[:length]) for words, length in zip(rows, lengths, strict=True) if length]
            for photo, rows, lengths in zip(photos, tokens.tolist(), exists.sum(dim=2).tolist(), strict=True)
        ]
        if not any(captions):  # a rank may have no photo of a batch
            return self._compute(annotations, tokens, exists)
        missing = [row for row, names in enumerate(captions) if not self._kept.keys() >= set(names)]
        computed: dict[_Caption, tuple[Tensor, ...]] = {}
        if missing:
            names = [name for row in missing for name in captions[row]]
            results = self._compute(annotations[missing], tokens[missing], exists[missing])
            by_caption = (values.split([len(name) - 1 for name in names]) for values in results)
            computed = dict(zip(names, zip(*by_caption, strict=True), strict=True))
        results = [computed.get(name) or self._kept[name] for names in captions for name in names]
        self._keep(computed)
        vectors, alphas = (torch.cat(column) for column in zip(*results, strict=True))
        return vectors, alphas

    def _keep(self, computed: Mapping[_Caption, tuple[Tensor, ...]]) -> None:
        """Keep the results of captions as far as they fit."""
        for name, values in computed.items():
            size = sum(each.nbytes for each in values)
            if name not in self._kept and size <= self._bytes_left:
                self._kept[name] = tuple(each.clone() for each in values)
                self._bytes_left -= size
