"""The LSTM decoder of Show, Attend and Tell: one word at a time, looking at the image before each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from captioner.config import CaptionerConfig
from captioner.model.attention import AdditiveScore, DotScore, GeneralScore, attend, attend_at, sampled_locations
from captioner.model.kernels.dropout import ByteDropout
from captioner.model.kernels.products import PLAIN, Products, SharedProducts
from captioner.model.label_memory import LabelEntries, LabelMemory, Labels
from captioner.ranks import BatchSlice

LIKELIEST, EXPECTED, SAMPLED = "likeliest", "expected", "sampled"
"""What hard attention may read of its map: one place, the average over all, or a place that is drawn."""


@dataclass(frozen=True)
class ImageMemory:
    """What the decoder reads of a batch of images, computed once and used at every word of every caption."""

    annotations: Tensor
    """[B, L, D], or projected [B, L, P]"""
    mean: Tensor
    """[B, 1, D] or [B, 1, P]: their mean."""
    keys: Tensor | None
    """The annotations as the score takes them, [B, L, A] or [B, A, L]; None without attention."""
    labels: LabelEntries | None = None
    """None where the decoder has no label memory."""

    def rows(self, images: Tensor) -> "ImageMemory":
        """Of these images of the batch, [B']."""
        keys = None if self.keys is None else self.keys[images]
        labels = None if self.labels is None else self.labels.rows(images)
        return ImageMemory(self.annotations[images], self.mean[images], keys, labels)


@dataclass(frozen=True)
class DecoderState:
    """h and c of the LSTM for K captions of each image."""

    hidden: Tensor
    """[B, K, N]"""
    cell: Tensor
    """[B, K, N]"""

    def select(self, parents: Tensor) -> "DecoderState":
        """The states of the hypotheses that `parents` [B, K'] names, image by image."""
        index = parents.unsqueeze(-1).expand(-1, -1, self.hidden.shape[-1])
        return DecoderState(self.hidden.gather(1, index), self.cell.gather(1, index))

    def rows(self, images: Tensor) -> "DecoderState":
        """Of these images of the batch, [B']."""
        return DecoderState(self.hidden[images], self.cell[images])


@dataclass(frozen=True)
class DecoderOutput:
    """One prediction for each position of each caption."""

    logits: Tensor
    """[B, K, T, V]"""
    alphas: Tensor
    """[B, K, T, L]: the map that was attended to before word t was predicted."""
    gates: Tensor
    """[B, K, T]: of a gate that is a vector, its mean; 1 without a gate."""
    locations: Tensor | None = None
    """[B, K, T]: the one place that hard attention read, where it was sampled or given."""


class Step(NamedTuple):
    """Result of one decoding step for K captions of each image."""

    logits: Tensor
    """[B, K, V]"""
    state: DecoderState
    alpha: Tensor
    """[B, K, L]"""
    gate: Tensor
    """[B, K]"""
    label_alpha: Tensor | None
    """[B, K, J + 1]: how much each of J labels, and "none of these", was attended to as the word was chosen; None
    without a label memory."""


@dataclass(frozen=True)
class _Look:
    """What was seen before one word."""

    context: Tensor  # [B, K, D], gated
    alpha: Tensor  # [B, K, L]
    gate: Tensor  # [B, K]
    locations: Tensor | None = None  # [B, K]


class Decoder(nn.Module):
    """Xu et al. 2015, section 3.1.2, eq. 1-3 and 7, with the gating scalar of section 4.2.1.

    The LSTM is written out as three matrix products, one for each of its inputs, because two of them (the words') can
    then be made for a whole caption at once.
    """

    def __init__(
        self,
        config: CaptionerConfig,
        annotation_dim: int,
        vocabulary_size: int,
        label_words: Sequence[Mapping[int, float]] = (),
        label_channels: int | None = None,
    ):
        """label_words: of each class of the encoder's classifier, the ids of the words that name it -> weights.

        label_channels: how many of an annotation's first dimensions are the map that the classifier reads; by default
        all. Both matter only with `config.labels`.
        """
        super().__init__()
        word, hidden = config.embedding_dim, config.hidden_dim
        self.annotation_dim = annotation_dim
        self.project = None
        label_channels = label_channels or annotation_dim
        if config.projection_dim:
            self.project = nn.Linear(annotation_dim, config.projection_dim)
            annotation_dim = config.projection_dim
        self.attention = config.attention
        self.embedding = nn.Embedding(vocabulary_size, word)
        self.score = _score(config, annotation_dim)
        self.embedding_to_query = None
        if self.score is not None and config.query == "hidden_word":
            self.embedding_to_query = nn.Linear(word, self.score.query_dim, bias=False)
        self.init_hidden = nn.Linear(annotation_dim, hidden)
        self.init_cell = nn.Linear(annotation_dim, hidden)
        self.hidden_to_gate = None
        if config.gate != "off":
            self.hidden_to_gate = nn.Linear(hidden, 1 if config.gate == "scalar" else annotation_dim)
        self.embedding_to_lstm = nn.Linear(word, 4 * hidden)
        self.context_to_lstm = nn.Linear(annotation_dim, 4 * hidden, bias=False)
        self.hidden_to_lstm = nn.Linear(hidden, 4 * hidden, bias=False)
        self.deep_output = config.deep_output
        if self.deep_output:
            self.hidden_to_output = nn.Linear(hidden, word)
            self.context_to_output = nn.Linear(annotation_dim, word, bias=False)
        self.labels = None
        if config.labels:
            self.labels = LabelMemory(config.labels, label_words, label_channels, word, hidden)
            self.label_to_lstm = nn.Linear(word, 4 * hidden, bias=False)
        self.tied_output = config.tied_output
        if self.tied_output:
            self.output_scale = nn.Parameter(torch.tensor(4.0))
            self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        else:
            self.output = nn.Linear(word if self.deep_output else hidden, vocabulary_size)
        self.no_photo = nn.Parameter(torch.zeros(self.annotation_dim)) if config.text else None
        self.dropout = ByteDropout(config.dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        if not self.tied_output:
            nn.init.uniform_(self.output.weight, -0.1, 0.1)
            nn.init.zeros_(self.output.bias)
        nn.init.orthogonal_(self.hidden_to_lstm.weight)
        with torch.no_grad():  # the forget gate starts open, so that the first epochs remember
            self.embedding_to_lstm.bias.zero_()
            self.embedding_to_lstm.bias[self.hidden_dim : 2 * self.hidden_dim] = 1.0

    @property
    def hidden_dim(self) -> int:
        return self.hidden_to_lstm.in_features

    @property
    def vocabulary_size(self) -> int:
        return self.embedding.num_embeddings

    def remember(self, annotations: Tensor, labels: Labels | None = None) -> ImageMemory:
        """annotations [B, L, D] -> what every step reads.

        labels: by default what the encoder's classifier makes of the annotations.
        """
        entries = None
        if self.labels is not None:
            found = labels or self.labels.labels_of(_mean(annotations).squeeze(1))
            entries = self.labels.remember(found, self.embedding)
        if self.project is not None:
            annotations = self.project(annotations).relu()
        keys = None if self.score is None else self.score.keys(annotations)
        return ImageMemory(annotations, _mean(annotations), keys, entries)

    def initial_state(self, memory: ImageMemory, captions: int, share: BatchSlice | None = None) -> DecoderState:
        """h_0 and c_0 from the mean annotation vector, the same for all K captions of an image."""
        mean = self.dropout(memory.mean, share)
        hidden, cell = torch.tanh(self.init_hidden(mean)), torch.tanh(self.init_cell(mean))
        return DecoderState(hidden.expand(-1, captions, -1), cell.expand(-1, captions, -1))

    def _word_query(self, embedded: Tensor) -> Tensor | float:
        """The last word's share of the query: [..., M] -> [..., A], or nothing."""
        return 0.0 if self.embedding_to_query is None else self.embedding_to_query(embedded)

    def _look(
        self,
        memory: ImageMemory,
        hidden: Tensor,
        word_query: Tensor | float,
        location: str | Tensor = LIKELIEST,
        unseen: Tensor | None = None,
        averaged: Tensor | None = None,
        products: Products = PLAIN,
        share: BatchSlice | None = None,
    ) -> _Look:
        """h_{t-1} [B, K, N] and the last word's share of the query [B, K, A] -> what is seen.

        location: of hard attention, which place: likeliest, expected, sampled, or those that are given [B, K].
        unseen: bool [B, K, L], places that cannot be read.
        averaged: bool [B], images of which what is expected is read all the same.
        """
        if self.score is None:  # all places alike
            scores = torch.zeros(*hidden.shape[:2], memory.annotations.shape[1], device=hidden.device)
        else:
            scores = self.score(memory.keys, self.score.query(hidden, products) + word_query, products)
        if unseen is not None:
            scores = scores.masked_fill(unseen, float("-inf"))
        alpha, context = attend(scores, memory.annotations, products)
        locations = self._locations(alpha, location, share)
        if locations is not None:
            at_one_place = attend_at(locations, memory.annotations)
            context = at_one_place if averaged is None else context.where(averaged.view(-1, 1, 1), at_one_place)
        if self.hidden_to_gate is None:
            return _Look(context, alpha, torch.ones_like(alpha[..., 0]), locations)
        gate = torch.sigmoid(products.linear(self.hidden_to_gate, hidden))  # [B, K, 1] or [B, K, D]
        return _Look(gate * context, alpha, gate.mean(dim=-1), locations)

    def _locations(self, alpha: Tensor, location: str | Tensor, share: BatchSlice | None) -> Tensor | None:
        """The one place that each caption reads [B, K]; None where it reads all of them."""
        if self.attention != "hard" or (isinstance(location, str) and location == EXPECTED):
            return None
        if isinstance(location, Tensor):
            return location
        return sampled_locations(alpha, share) if location == SAMPLED else alpha.argmax(dim=-1)

    def _lstm(
        self,
        word_part: Tensor,
        context: Tensor,
        state: DecoderState,
        labels: LabelEntries | None,
        products: Products = PLAIN,
    ) -> DecoderState:
        """`word_part` [B, K, 4N]: the embedding's share of the four gates, the biases included."""
        context_part = products.linear(self.context_to_lstm, context)
        gates = word_part + context_part + products.linear(self.hidden_to_lstm, state.hidden)
        if labels is not None:
            label_context, _ = self.labels.attend(labels, state.hidden, products)
            gates = gates + products.linear(self.label_to_lstm, label_context)
        take, keep, show, candidate = gates.chunk(4, dim=-1)
        cell = torch.sigmoid(keep) * state.cell + torch.sigmoid(take) * torch.tanh(candidate)
        return DecoderState(torch.sigmoid(show) * torch.tanh(cell), cell)

    def _logits(
        self,
        embedded: Tensor,
        hidden: Tensor,
        context: Tensor,
        labels: LabelEntries | None,
        share: BatchSlice | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Deep output, eq. 7: L_o(E y_{t-1} + L_h h_t + L_z z_t). [B, R, M], [B, R, N], [B, R, D] -> [B, R, V].

        Without it, L_o h_t. With labels, those that h_t attends to are a further summand; their weights, [B, R, J + 1],
        are returned as well. A tied output is s E tanh(...) + b, with the embedding E and a learned s.
        """
        if not self.deep_output:
            return self.output(self.dropout(hidden, share)), None
        combined = embedded + self.hidden_to_output(self.dropout(hidden, share)) + self.context_to_output(context)
        label_alpha = None
        if labels is not None:
            label_context, label_alpha = self.labels.attend(labels, hidden)
            combined = combined + self.labels.copied(label_context, hidden)
        if not self.tied_output:
            return self.output(self.dropout(combined, share)), label_alpha
        weight = self.output_scale * self.embedding.weight
        return functional.linear(self.dropout(combined.tanh(), share), weight, self.output_bias), label_alpha

    def step(
        self,
        memory: ImageMemory,
        state: DecoderState,
        tokens: Tensor,
        location: str = LIKELIEST,
        unseen: Tensor | None = None,
    ) -> Step:
        """One word for each caption: ids of the words before it [B, K] -> chances of the next, and what was looked at.

        location: of hard attention, which place is read: likeliest, expected or sampled.
        unseen: bool [B, K, L], places that cannot be read now; not all of a caption's.
        """
        embedded = self.dropout(self.embedding(tokens))
        look = self._look(memory, state.hidden, self._word_query(embedded), location, unseen)
        state = self._lstm(self.embedding_to_lstm(embedded), look.context, state, memory.labels)
        logits, label_alpha = self._logits(embedded, state.hidden, look.context, memory.labels)
        return Step(logits, state, look.alpha, look.gate, label_alpha)

    def forward(
        self,
        annotations: Tensor,
        tokens: Tensor,
        location: str | Tensor = LIKELIEST,
        averaged: Tensor | None = None,
        share: BatchSlice | None = None,
        labels: Labels | None = None,
    ) -> DecoderOutput:
        """Teacher forcing: at each position, predict the word that follows `tokens` [B, K, T] (the start first).

        Equal to T calls of `step`; the words' share of the LSTM and the output layer run once, over all positions.
        location: of hard attention, which places are read: likeliest, expected, sampled, or given ones [B, K, T].
        averaged: bool [B], images of which what is expected is read all the same.
        share: of a batch, where these are only some of its images.
        labels: by default what the encoder's classifier makes of the annotations.
        """
        memory = self.remember(annotations, labels)
        state = self.initial_state(memory, tokens.shape[1], share)
        embedded = self.dropout(self.embedding(tokens), share)  # [B, K, T, M]
        word_parts = self.embedding_to_lstm(embedded)  # [B, K, T, 4N]
        queries = self._word_query(embedded)  # [B, K, T, A]
        products = SharedProducts() if torch.is_grad_enabled() else PLAIN
        hiddens, looks = [], []
        for position, word_part in enumerate(word_parts.unbind(dim=2)):
            query = queries[:, :, position] if isinstance(queries, Tensor) else queries
            place = location[:, :, position] if isinstance(location, Tensor) else location
            look = self._look(memory, state.hidden, query, place, averaged=averaged, products=products, share=share)
            state = self._lstm(word_part, look.context, state, memory.labels, products)
            hiddens.append(state.hidden)
            looks.append(look)
        hidden, context = torch.stack(hiddens, dim=2), torch.stack([look.context for look in looks], dim=2)
        rows = (each.flatten(1, 2) for each in (embedded, hidden, context))
        logits, _ = self._logits(*rows, memory.labels, share)
        return DecoderOutput(
            logits=logits.unflatten(1, tokens.shape[1:]),
            alphas=torch.stack([look.alpha for look in looks], dim=2),
            gates=torch.stack([look.gate for look in looks], dim=2),
            locations=None if look.locations is None else torch.stack([look.locations for look in looks], dim=2),
        )


def _mean(annotations: Tensor) -> Tensor:
    """[B, L, D] -> [B, 1, D].

    A product takes a thirtieth of the time of `mean`, which on a CPU first copies 16-bit numbers to 32 bits.
    """
    places = annotations.shape[1]
    return annotations.new_full((len(annotations), 1, places), 1 / places) @ annotations


def _score(config: CaptionerConfig, annotation_dim: int) -> AdditiveScore | DotScore | GeneralScore | None:
    if config.attention == "none":
        return None
    if config.score == "dot":
        return DotScore(annotation_dim, config.hidden_dim, config.attention_dim)
    if config.score == "general":
        return GeneralScore(annotation_dim, config.hidden_dim)
    return AdditiveScore(annotation_dim, config.hidden_dim, config.attention_dim, config.activation)
