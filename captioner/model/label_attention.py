"""Attention over labels: the likeliest classes of an encoder's classifier, as words that the decoder can copy.

Semantic attention (You et al. 2016) beside the spatial one. Each of the K likeliest labels of a photo is an annotation
made of the embeddings of its words, so a word that no training photo shows can be said because a label names it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captioner.model.attention import attend
from captioner.model.kernels.products import linear, matmul

LEAST_PROBABILITY = 1e-3
"""Less likely labels count as if they were this likely: they may be wrong names of the right thing."""


@dataclass(frozen=True)
class Labels:
    """The likeliest labels of each photo of a batch, likeliest first."""

    classes: Tensor
    """[B, K] int64"""
    probabilities: Tensor
    """[B, K] by the classifier's softmax over all its classes"""


@dataclass(frozen=True)
class LabelEntries:
    """What the decoder attends to: the labels of each photo, and "none of these" as the last entry."""

    entries: Tensor
    """[B, K + 1, M]"""
    keys: Tensor
    """[B, M, K + 1], the same entries as the score takes them."""
    bias: Tensor
    """[B, 1, K + 1] added to the scores: how likely each label is, in learned units; 0 for "none of these"."""

    def rows(self, images: Tensor) -> "LabelEntries":
        """Of these images of the batch, [B']."""
        return LabelEntries(self.entries[images], self.keys[images], self.bias[images])


class LabelAttention(nn.Module):
    """The encoder's frozen classifier, and attention over its labels."""

    def __init__(
        self, labels: int, words: Sequence[Mapping[int, float]], channels: int, embedding_dim: int, hidden_dim: int
    ):
        """labels: K. words: of each class C the ids of the words that name it, with weights that sum to 1, or nothing.

        channels: D' of the encoder's last map, which its classifier reads the mean of. embedding_dim: M. hidden_dim: N.
        """
        super().__init__()
        classes, most = len(words), max(1, *map(len, words))
        self.labels = min(labels, classes)
        self.register_buffer("class_weight", torch.zeros(classes, channels))
        self.register_buffer("class_bias", torch.zeros(classes))
        self.register_buffer("words", torch.zeros(classes, most, dtype=torch.long), persistent=False)
        self.register_buffer("word_weights", torch.zeros(classes, most), persistent=False)
        for number, of_class in enumerate(words if self.words.device.type != "meta" else []):
            self.words[number, : len(of_class)] = torch.tensor(list(of_class), dtype=torch.long)
            self.word_weights[number, : len(of_class)] = torch.tensor(list(of_class.values()))
        self.residual = nn.Embedding(classes, embedding_dim)
        self.none = nn.Parameter(torch.zeros(embedding_dim))
        self.entry_scale = nn.Parameter(torch.tensor(3.0))
        self.trust = nn.Parameter(torch.tensor(1.0))
        self.query = nn.Linear(hidden_dim, embedding_dim)
        self.to_output = nn.Linear(embedding_dim, embedding_dim, bias=False)
        self.gate = nn.Linear(hidden_dim, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with what the words alone say, copied to the output as it is."""
        nn.init.zeros_(self.residual.weight)
        nn.init.eye_(self.to_output.weight)

    def class_logits(self, mean: Tensor) -> Tensor:
        """Return the classifier's logits for mean annotations: [..., D] -> [..., C]."""
        weight = self.class_weight
        return nn.functional.linear(mean[..., : weight.shape[1]].to(weight.dtype), weight, self.class_bias)

    @torch.no_grad()
    def labels_of(self, mean: Tensor) -> Labels:
        """Return the K likeliest labels of photos by their mean annotations [B, D]."""
        with torch.autocast(mean.device.type, enabled=False):
            chances = self.class_logits(mean).float().softmax(dim=-1)
        probabilities, classes = chances.topk(self.labels, dim=-1)
        return Labels(classes, probabilities)

    def names(self, classes: Tensor, tokens: Tensor) -> Tensor:
        """Whether words name classes: ids of classes [J], ids of words [T] -> bool [T, J]."""
        said = tokens.view(-1, 1, 1) == self.words[classes]  # [T, J, W]
        return (said & (self.word_weights[classes] > 0)).any(dim=-1)

    @torch.no_grad()
    def activations(self, annotations: Tensor, classes: Tensor) -> Tensor:
        """Make class activation maps (Zhou et al. 2016): annotations [H, W, D], ids of classes [J] -> [J, H, W].

        How much each place speaks for a class, which is exact, as the classifier reads the mean of all places. Places
        that speak against it have 0. Each map sums to 1, or is 0 where no place speaks for the class.
        """
        weight = self.class_weight[classes].float()
        speaks = (annotations[..., : weight.shape[1]].float().to(weight.device) @ weight.T).relu()
        speaks = speaks.permute(2, 0, 1)
        return speaks / speaks.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)

    def prepare(self, labels: Labels, embedding: nn.Embedding) -> LabelEntries:
        """Make the entries of labels, once for all words of all captions.

        Each is the weighted mean of its words' embeddings, in learned units, plus what these do not say.
        """
        words, weights = self.words[labels.classes], self.word_weights[labels.classes]  # [B, K, W]
        named = (embedding(words) * weights.unsqueeze(-1).to(embedding.weight.dtype)).sum(dim=2)  # [B, K, M]
        entries = self.entry_scale * named + self.residual(labels.classes)
        entries = torch.cat([entries, self.none.to(entries.dtype).expand(len(entries), 1, -1)], dim=1)
        likely = labels.probabilities.clamp(min=LEAST_PROBABILITY).log().to(entries.dtype) * self.trust
        bias = torch.cat([likely, torch.zeros_like(likely[:, :1])], dim=1).unsqueeze(1)
        return LabelEntries(entries, entries.transpose(1, 2), bias)

    def attend(self, labels: LabelEntries, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Attend to the labels: states [B, R, N] -> context [B, R, M] and weights [B, R, K + 1] that sum to 1."""
        scores = matmul(linear(self.query, hidden), labels.keys) + labels.bias
        return attend(scores, labels.entries)[::-1]

    def copied(self, context: Tensor, hidden: Tensor) -> Tensor:
        """Return what a label's context [..., M] adds to the deep output, as far as the state [..., N] lets it."""
        return self.to_output(context) * (3 * torch.sigmoid(self.gate(hidden)))
