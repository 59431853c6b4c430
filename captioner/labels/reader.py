"""Labels of a photo as people see them: their names, the words of a caption that came from them, and where they lie."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from captioner.decoding import Hypotheses
from captioner.labels.names import LabelNames
from captioner.model.label_attention import LabelAttention

NEAR_PEAK = 0.5
"""A class activation map covers the places where it has at least this share of its maximum."""


@dataclass(frozen=True)
class PhotoLabel:
    """What the encoder's classifier takes a photo for."""

    name: str
    probability: float
    """Among all classes, 0 to 1."""


@dataclass(frozen=True)
class LabelledWords:
    """The labels of one photo, and the words of one of its captions that came from them."""

    labels: tuple[PhotoLabel, ...]
    """Likeliest first."""
    of_words: tuple[int | None, ...]
    """Of each word the place in `labels` of the label that it came from; None where it came from none."""
    maps: dict[int, np.ndarray]
    """By the word's place in the caption: the class activation map [H, W] of its label, which sums to 1, where the
    attention of the word points elsewhere."""


class LabelReader:
    """Finds the labels of a batch of photos, and the words that came from them."""

    def __init__(self, attention: LabelAttention, names: LabelNames, annotations: Tensor):
        """annotations: of the photos, [B, H, W, D]."""
        self._attention, self._names, self._annotations = attention, names, annotations
        flat = annotations.to(attention.class_weight.device).flatten(1, 2).float()
        self.labels = attention.labels_of(flat.mean(dim=1))
        """What the decoder must attend to, so that its weights are of these labels in this order."""

    def of_photo(self, image: int) -> tuple[PhotoLabel, ...]:
        """Return the labels of a photo of the batch, likeliest first."""
        classes, probabilities = self.labels.classes[image].tolist(), self.labels.probabilities[image].tolist()
        return tuple(PhotoLabel(self._names.name(number), p) for number, p in zip(classes, probabilities, strict=True))

    def words(self, hypotheses: Hypotheses, image: int, rank: int) -> LabelledWords:
        """Return the words of a caption that came from labels.

        A word came from labels where those that it names were attended to, together, more than "none of these". Of
        several, it is the one that was attended to most. The attention of such a word points right where its peak lies
        on the class activation map of the label.
        """
        length = int(hypotheses.lengths[image, rank])
        classes = self.labels.classes[image]
        tokens = hypotheses.tokens[image, rank, :length].to(classes.device)
        shares = hypotheses.label_alphas[image, rank, :length].float().to(classes.device)  # [T, J + 1]
        named = self._attention.names(classes, tokens) * shares[:, :-1]  # [T, J]
        came = named.sum(dim=-1) > shares[:, -1]
        of_words = [int(label) if is_one else None for label, is_one in zip(named.argmax(dim=-1), came, strict=True)]
        return LabelledWords(self.of_photo(image), tuple(of_words), self._maps(hypotheses, image, rank, of_words))

    def _maps(
        self, hypotheses: Hypotheses, image: int, rank: int, of_words: Sequence[int | None]
    ) -> dict[int, np.ndarray]:
        used = sorted({label for label in of_words if label is not None})
        if not used:
            return {}
        activations = self._attention.activations(self._annotations[image], self.labels.classes[image, used])
        found = dict(zip(used, activations.cpu().numpy(), strict=True))
        alphas = hypotheses.alphas[image, rank].cpu()
        maps = {}
        for place, label in enumerate(of_words):
            if label is None or not found[label].any():
                continue
            peak = int(alphas[place].argmax())
            if found[label].flat[peak] < NEAR_PEAK * found[label].max():
                maps[place] = found[label]
        return maps
