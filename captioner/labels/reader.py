"""Labels of a photo for display: their names, the words of a caption that came from them, and their locations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from captioner.decoding import Hypotheses
from captioner.labels.names import LabelNames
from captioner.model.label_attention import LabelAttention

NEAR_PEAK = 0.5
"""A class activation map covers the locations where it has at least this share of its maximum."""


@dataclass(frozen=True)
class PhotoLabel:
    """A class that the encoder's classifier recognises in a photo."""

    name: str
    probability: float
    """Softmax over all classes, 0 to 1."""


@dataclass(frozen=True)
class LabelledWords:
    """Labels of one photo, and the words of one of its captions that came from them."""

    labels: tuple[PhotoLabel, ...]
    """Most probable first."""
    word_labels: tuple[int | None, ...]
    """For each word, the index in `labels` of the label that it came from; None if it came from none."""
    maps: dict[int, np.ndarray]
    """Index of a word -> class activation map [H, W] of its label, which sums to 1; only for words whose attention
    points elsewhere."""


class LabelReader:
    """Reader of the labels of a batch of photos, and of the words that came from them."""

    def __init__(self, attention: LabelAttention, names: LabelNames, annotations: Tensor):
        """annotations: annotation vectors of the photos, [B, H, W, D]."""
        self._attention, self._names, self._annotations = attention, names, annotations
        self.mean = annotations.to(attention.class_weight.device).flatten(1, 2).float().mean(dim=1)
        """[B, D] mean annotation vector of each photo"""
        self.labels = attention.labels_of(self.mean)
        """Labels that the decoder must attend to, so that its weights refer to these labels in this order."""

    def of_photo(self, image: int) -> tuple[PhotoLabel, ...]:
        """Return the labels of a photo of the batch, most probable first."""
        classes, probabilities = self.labels.classes[image].tolist(), self.labels.probabilities[image].tolist()
        return tuple(
            PhotoLabel(self._names.name(class_id), probability)
            for class_id, probability in zip(classes, probabilities, strict=True)
        )

    def words(self, hypotheses: Hypotheses, image: int, rank: int) -> LabelledWords:
        """Return the words of a caption that came from labels, with their maps.

        A word came from a label if the labels that it names got, together, more attention than "none of these"; of
        several labels, it came from the one with the most attention. The attention of such a word is right if its peak
        lies on the label's class activation map.
        """
        length = int(hypotheses.lengths[image, rank])
        classes = self.labels.classes[image]
        tokens = hypotheses.tokens[image, rank, :length].to(classes.device)
        attention = hypotheses.label_alphas[image, rank, :length].float().to(classes.device)  # [T, J + 1]
        named_attention = self._attention.match_words(classes, tokens) * attention[:, :-1]  # [T, J]
        from_label = named_attention.sum(dim=-1) > attention[:, -1]
        word_labels = [
            label if is_from_label else None
            for label, is_from_label in zip(named_attention.argmax(dim=-1).tolist(), from_label.tolist(), strict=True)
        ]
        return LabelledWords(self.of_photo(image), tuple(word_labels), self._maps(hypotheses, image, rank, word_labels))

    def _maps(
        self, hypotheses: Hypotheses, image: int, rank: int, word_labels: Sequence[int | None]
    ) -> dict[int, np.ndarray]:
        used_labels = sorted({label for label in word_labels if label is not None})
        if not used_labels:
            return {}
        activations = self._attention.activations(self._annotations[image], self.labels.classes[image, used_labels])
        label_maps = dict(zip(used_labels, activations.cpu().numpy(), strict=True))
        alphas = hypotheses.alphas[image, rank].cpu()
        maps = {}
        for index, label in enumerate(word_labels):
            if label is None or not label_maps[label].any():
                continue
            peak = int(alphas[index].argmax())
            if label_maps[label].flat[peak] < NEAR_PEAK * label_maps[label].max():
                maps[index] = label_maps[label]
        return maps
