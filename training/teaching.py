"""The teacher of distillation: the decoder that a run started from, whose predictions the run stays near."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from captioner.model.decoder import Decoder, OutputVectors
from captioner.model.encoders import TwoScales
from captioner.text.vocabulary import PAD, UNKNOWN
from training.data.dataset import CaptionDataset, pad_captions

MAX_KEPT_WORDS = 100_000
"""Maximum number of words of a run's captions whose predictions are kept: 2.5 kB each with the captioner that ships."""

GROUP = 8
"""Number of photos whose captions are predicted together."""

Encode = Callable[[Tensor, Sequence[int]], Tensor | TwoScales]
"""Returns the annotations of cached features [B, ...] of the photos at these positions of a data set."""


class Teacher:
    """Predicts the next words of a run's captions, and their maps."""

    def __init__(self, decoder: Decoder, data: CaptionDataset | None = None):
        """data: the captions of a run, whose predictions are kept if they are few. None to keep nothing."""
        self.decoder, self._data = decoder, None
        if data is not None:
            words = sum(len(caption) + 1 for captions in data.tokens for caption in captions)
            self._data = data if words <= MAX_KEPT_WORDS else None
        self._kept: dict[int, dict[tuple[int, ...], tuple[Tensor, Tensor]]] = {}  # by photo, by the inputs of a caption
        self._output_weight: Tensor | None = None

    @torch.no_grad()
    def predict(
        self,
        annotations: Tensor | TwoScales,
        photos: Sequence[int],
        inputs: Tensor,
        exists: Tensor,
        encode: Encode,
        is_frozen: bool,
    ) -> tuple[Tensor, Tensor]:
        """Predict the next words of captions -> logits [N, V'] of the teacher's words, and maps [N, L].

        annotations [B, L, D] or their maps, photos [B], inputs [B, K, T]; words that the teacher does not know are
        unknown to it. exists: bool [B, K, T], the N positions to predict at.
        is_frozen: whether a photo always has the same annotations, so that its predictions can be kept. They are then
        computed for fixed groups of photos: rounding depends on the captions that are computed together, and a resumed
        run, which has other batches first, must continue exactly as if it had never stopped.
        """
        if self._data is None or not is_frozen or not photos:
            output = self._output(annotations, inputs)
            return self.decoder.word_logits(output.vectors[exists], output.output_weight), output.alphas[exists]
        for photo in photos:
            if photo not in self._kept:
                self._keep_group(photo // GROUP, encode)
        lengths = exists.sum(dim=-1).tolist()
        parts = [
            self._kept[photo][tuple(words[:length])]
            for photo, captions, counts in zip(photos, inputs.tolist(), lengths, strict=True)
            for words, length in zip(captions, counts, strict=True)
            if length
        ]
        vectors, alphas = (torch.cat(column) for column in zip(*parts, strict=True))
        return self.decoder.word_logits(vectors, self._output_weight), alphas

    def _keep_group(self, group: int, encode: Encode) -> None:
        """Keep the predictions for all captions of a group of photos, before the output layer."""
        photos = list(range(GROUP * group, min(GROUP * (group + 1), len(self._data))))
        inputs, targets = pad_captions([self._data.tokens[photo] for photo in photos])
        annotations = encode(self._data.features(photos), photos)
        output = self._output(annotations, inputs.to(next(self.decoder.parameters()).device))
        self._output_weight = output.output_weight
        lengths = (targets != PAD).sum(dim=-1).tolist()
        for row, photo in enumerate(photos):
            self._kept[photo] = {
                tuple(words[:length]): (output.vectors[row, k, :length].clone(), output.alphas[row, k, :length].clone())
                for k, (words, length) in enumerate(zip(inputs[row].tolist(), lengths[row], strict=True))
            }

    def _output(self, annotations: Tensor | TwoScales, inputs: Tensor) -> OutputVectors:
        decoder = self.decoder
        if isinstance(annotations, TwoScales) and annotations.channels != decoder.annotation_dim:
            annotations = annotations.annotations()
        if isinstance(annotations, Tensor):  # without finer annotations, which the teacher has not learned from
            annotations = annotations[..., : decoder.annotation_dim]
        return decoder.output_vectors(annotations, inputs.where(inputs < decoder.vocabulary_size, UNKNOWN))
