"""The teacher of distillation: the decoder of the captioner that a run started from."""

from dataclasses import dataclass

import torch
from torch import Tensor

from captioner.model.decoder import Decoder
from captioner.model.encoders import TwoScales
from captioner.text.vocabulary import UNKNOWN


@dataclass(frozen=True)
class TeacherOutput:
    """Predictions for the N positions of a batch that exist, in their order."""

    logits: Tensor
    """[N, V'] for the words that the teacher knows"""
    alphas: Tensor
    """[N, L]"""


class Teacher:
    """Predicts the words of captions as the decoder of an earlier captioner does, without gradients.

    Nothing is kept for later epochs: rounding depends on the other photos of a batch, so a run that is resumed would
    not continue exactly as if it had never stopped.
    """

    def __init__(self, decoder: Decoder):
        """decoder: frozen here, and without dropout."""
        self._decoder = decoder.eval().requires_grad_(False)

    @property
    def vocabulary_size(self) -> int:
        """V'"""
        return self._decoder.vocabulary_size

    @torch.no_grad()
    def __call__(self, annotations: Tensor | TwoScales, inputs: Tensor, exists: Tensor) -> TeacherOutput:
        """Predict the next words of captions: annotations [B, L, D] or their maps, inputs [B, K, T] -> N predictions.

        It reads words that it does not know as unknown. exists: bool [B, K, T], the N positions to predict at.
        """
        width = self._decoder.annotation_dim
        if isinstance(annotations, TwoScales) and annotations.channels != width:
            annotations = annotations.annotations()
        if isinstance(annotations, Tensor):  # without finer annotations, which the teacher has not learned from
            annotations = annotations[..., :width]
        tokens = inputs.where(inputs < self.vocabulary_size, UNKNOWN)
        output = self._decoder.output_vectors(annotations, tokens)
        logits = self._decoder.logits(output.vectors[exists], output.output_weight)
        return TeacherOutput(logits, output.alphas[exists])
