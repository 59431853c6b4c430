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

MIN_PROBABILITY = 1e-3
"""Minimum probability of a label: less likely ones are raised to it, as they may be wrong names of the right thing."""


@dataclass(frozen=True)
class Labels:
    """The likeliest labels of each photo of a batch, likeliest first."""

    classes: Tensor
    """[B, K] int64"""
    probabilities: Tensor
    """[B, K] by the classifier's softmax over all its classes"""


@dataclass(frozen=True)
class LabelEntries:
    """Entries that the decoder attends to: the labels of each photo, and "none of these" as the last one."""

    keys: Tensor
    """[B, M, K + 1], the entries as the score takes them."""
    bias: Tensor
    """[B, 1, K + 1] added to the scores: each label's log-probability, scaled; 0 for "none of these"."""
    to_lstm: Tensor
    """[B, K + 1, 4N], what each entry adds to the inputs of the LSTM"""
    to_output: Tensor
    """[B, K + 1, M], what it adds to the deep output, before the gate"""

    def rows(self, images: Tensor) -> "LabelEntries":
        """Select images of the batch, [B']."""
        return LabelEntries(*(values[images] for values in vars(self).values()))


class LabelAttention(nn.Module):
    """The encoder's frozen classifier, and attention over its labels."""

    def __init__(
        self, labels: int, words: Sequence[Mapping[int, float]], channels: int, embedding_dim: int, hidden_dim: int
    ):
        """labels: K. words: for each class, ids of the words that name it -> weights that sum to 1; may be empty.

        channels: D' of the encoder's last map, whose mean the classifier reads. embedding_dim: M. hidden_dim: N.
        """
        super().__init__()
        classes, max_words = len(words), max(1, *map(len, words))
        self.labels = min(labels, classes)
        self.register_buffer("class_weight", torch.zeros(classes, channels))
        self.register_buffer("class_bias", torch.zeros(classes))
        self.register_buffer("words", torch.zeros(classes, max_words, dtype=torch.long), persistent=False)
        self.register_buffer("word_weights", torch.zeros(classes, max_words), persistent=False)
        for class_id, weights in enumerate(words if self.words.device.type != "meta" else []):
            self.words[class_id, : len(weights)] = torch.tensor(list(weights), dtype=torch.long)
            self.word_weights[class_id, : len(weights)] = torch.tensor(list(weights.values()))
        self.residual = nn.Embedding(classes, embedding_dim)
        self.none = nn.Parameter(torch.zeros(embedding_dim))
        self.entry_scale = nn.Parameter(torch.tensor(3.0))
        self.trust = nn.Parameter(torch.tensor(1.0))
        self.query = nn.Linear(hidden_dim, embedding_dim)
        self.to_output = nn.Linear(embedding_dim, embedding_dim, bias=False)
        self.gate = nn.Linear(hidden_dim, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with entries that are the embeddings of their words, copied to the output unchanged."""
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
            class_probabilities = self.class_logits(mean).float().softmax(dim=-1)
        probabilities, classes = class_probabilities.topk(self.labels, dim=-1)
        return Labels(classes, probabilities)

    def match_words(self, classes: Tensor, tokens: Tensor) -> Tensor:
        """Return which words name which classes: ids of classes [J], ids of words [T] -> bool [T, J]."""
        same_word = tokens.view(-1, 1, 1) == self.words[classes]  # [T, J, W]
        return (same_word & (self.word_weights[classes] > 0)).any(dim=-1)

    @torch.no_grad()
    def activations(self, annotations: Tensor, classes: Tensor) -> Tensor:
        """Make class activation maps (Zhou et al. 2016): annotations [H, W, D], ids of classes [J] -> [J, H, W].

        The value of a location is its contribution to the class's logit, which is exact: the classifier reads the mean
        of all locations. Negative contributions become 0. Each map sums to 1, or is 0 if none is positive.
        """
        weight = self.class_weight[classes].float()
        contributions = (annotations[..., : weight.shape[1]].float().to(weight.device) @ weight.T).relu()
        contributions = contributions.permute(2, 0, 1)
        return contributions / contributions.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)

    def prepare(self, labels: Labels, embedding: nn.Embedding, to_lstm: nn.Linear) -> LabelEntries:
        """Make the entries of labels, once for all words of all captions.

        An entry is the weighted mean of its words' embeddings, times a learned scale, plus a learned residual. What
        the decoder reads is a weighted sum of entries, so their products are computed here, not at every word.
        to_lstm: layer to the inputs of the LSTM.
        """
        words, weights = self.words[labels.classes], self.word_weights[labels.classes]  # [B, K, W]
        name_embeddings = (embedding(words) * weights.unsqueeze(-1).to(embedding.weight.dtype)).sum(dim=2)  # [B, K, M]
        entries = self.entry_scale * name_embeddings + self.residual(labels.classes)
        entries = torch.cat([entries, self.none.to(entries.dtype).expand(entries.shape[0], 1, -1)], dim=1)
        log_probabilities = labels.probabilities.clamp(min=MIN_PROBABILITY).log().to(entries.dtype) * self.trust
        bias = torch.cat([log_probabilities, torch.zeros_like(log_probabilities[:, :1])], dim=1).unsqueeze(1)
        return LabelEntries(entries.transpose(1, 2), bias, to_lstm(entries), self.to_output(entries))

    def add_to_lstm(self, labels: LabelEntries, hidden: Tensor) -> Tensor:
        """Return what the labels that a state attends to add to the inputs of the LSTM: [B, R, N] -> [B, R, 4N]."""
        return self._attend(labels, hidden, labels.to_lstm)[1]

    def add_to_output(self, labels: LabelEntries, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the labels add to the deep output [B, R, M], and their weights [B, R, K + 1], which sum to 1.

        A gate of the state, hidden [B, R, N], multiplies it.
        """
        alpha, context = self._attend(labels, hidden, labels.to_output)
        return context * (3 * torch.sigmoid(linear(self.gate, hidden))), alpha

    def _attend(self, labels: LabelEntries, hidden: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        return attend(matmul(linear(self.query, hidden), labels.keys) + labels.bias, values)
