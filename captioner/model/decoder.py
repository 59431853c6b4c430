"""The LSTM decoder of Show, Attend and Tell: it attends to the image, then predicts a word, one word at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from captioner.config import DecoderConfig
from captioner.model.attention import AdditiveScore, DotScore, GeneralScore, attend, attend_at, sample_locations
from captioner.model.decoder_step import Beams, BeamStep, DecoderState, Step, beam_step
from captioner.model.encoders import TwoScales
from captioner.model.kernels.dropout import ByteDropout
from captioner.model.kernels.products import MergedProducts, embed, linear, mean_of_rows, shared_products
from captioner.model.label_attention import LabelAttention, LabelEntries, Labels
from captioner.ranks import BatchSlice

LIKELIEST, EXPECTED, SAMPLED = "likeliest", "expected", "sampled"
"""Modes of hard attention: read the likeliest location, the expectation over all locations, or a sampled location."""

ROWS = 64
"""Number of rows whose multiples `Decoder.word_logits` multiplies."""


@dataclass(frozen=True)
class ImageFeatures:
    """Features of a batch of images for the decoder, computed once and used at every word of every caption."""

    annotations: Tensor
    """[B, L, D], or projected [B, L, P]"""
    mean: Tensor
    """[B, 1, D] or [B, 1, P], their mean"""
    keys: Tensor | None
    """The annotations as the score takes them, [B, L, A] or [B, A, L]; None without attention."""
    labels: LabelEntries | None = None
    """None if the decoder does not attend to labels."""
    padding: Tensor | None = None
    """bool [B, L], positions that are no annotation, which nothing attends to; None if there are none."""
    output_weight: Tensor | None = None
    """[V, M], the embedding times the scale of a tied output; None: each step computes it."""

    def rows(self, images: Tensor) -> "ImageFeatures":
        """Select images of the batch, [B']."""
        keys = None if self.keys is None else self.keys[images]
        labels = None if self.labels is None else self.labels.rows(images)
        padding = None if self.padding is None else self.padding[images]
        return ImageFeatures(self.annotations[images], self.mean[images], keys, labels, padding, self.output_weight)


@dataclass(frozen=True, kw_only=True)
class AttentionPath:
    """The attention from which each word of each caption was predicted."""

    alphas: Tensor
    """[B, K, T, L]: the attention weights from which word t was predicted."""
    gates: Tensor
    """[B, K, T]: beta_t; the mean of a vector gate, 1 without a gate."""
    locations: Tensor | None = None
    """[B, K, T]: the location that hard attention read, if it was sampled, likeliest or given."""


@dataclass(frozen=True, kw_only=True)
class OutputVectors(AttentionPath):
    """Result of the decoder before its output layer, for each position of each caption."""

    vectors: Tensor
    """[B, K, T, M], or [B, K, T, N] without deep output: the input of the output layer"""
    output_weight: Tensor | None = None
    """As in `ImageFeatures`."""


@dataclass(frozen=True, kw_only=True)
class DecoderOutput(AttentionPath):
    """One prediction for each position of each caption."""

    logits: Tensor
    """[B, K, T, V]"""


@dataclass(frozen=True)
class _AttentionOutput:
    """Attention output for one step."""

    context: Tensor  # [B, K, D], gated
    alpha: Tensor  # [B, K, L]
    gate: Tensor  # [B, K]
    scores: Tensor  # [B, K, L]
    locations: Tensor | None = None  # [B, K]


class Decoder(nn.Module):
    """Xu et al. 2015, section 3.1.2, eq. 1-7, with the gating scalar of section 4.2.1.

    The matrix T of eq. 1 is written as three, one for each input of the LSTM, because the products with the embeddings
    can then be computed for a whole caption at once.
    """

    def __init__(
        self,
        config: DecoderConfig,
        annotation_dim: int,
        vocabulary_size: int,
        label_words: Sequence[Mapping[int, float]] = (),
        label_channels: int | None = None,
    ):
        """label_words: for each class of the encoder's classifier, ids of the words that name it -> weights.

        label_channels: number of leading annotation dimensions that the classifier reads; by default all. Both matter
        only with `config.labels`.
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
            self.labels = LabelAttention(config.labels, label_words, label_channels, word, hidden)
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
        """Initialise the embedding, the output layer and the LSTM; other layers keep torch's initialisation."""
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        if not self.tied_output:
            nn.init.uniform_(self.output.weight, -0.1, 0.1)
            nn.init.zeros_(self.output.bias)
        nn.init.orthogonal_(self.hidden_to_lstm.weight)
        with torch.no_grad():  # the forget gate starts open, so that the first epochs keep the cell
            self.embedding_to_lstm.bias.zero_()
            self.embedding_to_lstm.bias[self.hidden_dim : 2 * self.hidden_dim] = 1.0

    @property
    def hidden_dim(self) -> int:
        """N"""
        return self.hidden_to_lstm.in_features

    @property
    def vocabulary_size(self) -> int:
        """V"""
        return self.embedding.num_embeddings

    def prepare(
        self, annotations: Tensor | TwoScales, labels: Labels | None = None, padding: Tensor | None = None
    ) -> ImageFeatures:
        """Compute the features of images that every step reads: annotations [B, L, D], or the maps that make them.

        labels: by default the likeliest classes of the encoder's classifier.
        padding: bool [B, L], positions that are no annotation; every image has at least one that is.
        """
        entries, of_maps = None, isinstance(annotations, TwoScales)
        if self.labels is not None:
            mean = annotations.mean() if of_maps else mean_of_rows(annotations).squeeze(1)
            entries = self.label_entries(labels or self.labels.labels_of(mean))
        if self.project is not None:
            annotations = (annotations.project(self.project) if of_maps else self.project(annotations)).relu()
        elif of_maps:
            annotations = annotations.annotations()
        keys = None if self.score is None else self.score.keys(annotations)
        return ImageFeatures(annotations, _mean(annotations, padding), keys, entries, padding, self._output_weight())

    def label_entries(self, labels: Labels) -> LabelEntries:
        """Return what every step reads of the labels of images. Only for a decoder with labels."""
        return self.labels.prepare(labels, self.embedding, self.label_to_lstm)

    def initial_state(
        self, features: ImageFeatures, captions: int, batch_slice: BatchSlice | None = None
    ) -> DecoderState:
        """h_0 = tanh(f_init,h(mean of a_i)), c_0 = tanh(f_init,c(mean of a_i)), the same for K captions of an image."""
        mean = self.dropout(features.mean, batch_slice)
        hidden, cell = torch.tanh(self.init_hidden(mean)), torch.tanh(self.init_cell(mean))
        return DecoderState(hidden.expand(-1, captions, -1), cell.expand(-1, captions, -1))

    def step(
        self,
        features: ImageFeatures,
        state: DecoderState,
        tokens: Tensor,
        location: str = LIKELIEST,
        masked_locations: Tensor | None = None,
    ) -> Step:
        """Decode one word: ids of the words before it [B, K] -> logits of the next word, new state, attention.

        location: what hard attention reads: likeliest, expected or sampled.
        masked_locations: bool [B, K, L], locations that cannot be attended to; not all of a caption's.
        """
        embedding = self.dropout(embed(self.embedding, tokens))  # E y_{t-1}: [B, K, M]
        attention = self._attend(features, state.hidden, self._word_query(embedding), location, masked_locations)
        state = self._lstm(linear(self.embedding_to_lstm, embedding), attention.context, state, features.labels)
        vectors, label_alpha = self._output_vectors(embedding, state.hidden, attention.context, features)
        logits = self.logits(vectors, features.output_weight)
        scores = None if self.score is None else attention.scores
        return Step(logits, state, attention.alpha, attention.gate, label_alpha, scores)

    def beam_step(self, features: ImageFeatures, state: DecoderState, beams: Beams, location: str) -> BeamStep:
        """Take a step of beam search: see `captioner.model.decoder_step.beam_step`."""
        return beam_step(self.step, features, state, beams, location)

    def forward(
        self,
        annotations: Tensor | TwoScales,
        tokens: Tensor,
        location: str | Tensor = LIKELIEST,
        use_expectation: Tensor | None = None,
        batch_slice: BatchSlice | None = None,
        labels: Labels | None = None,
        padding: Tensor | None = None,
    ) -> DecoderOutput:
        """Teacher forcing: at each position, predict the word that follows `tokens` [B, K, T] (the start first).

        Equal to T calls of `step`. The arguments are those of `output_vectors`.
        """
        output = self.output_vectors(annotations, tokens, location, use_expectation, batch_slice, labels, padding)
        logits = self.logits(output.vectors, output.output_weight)
        return DecoderOutput(logits=logits, alphas=output.alphas, gates=output.gates, locations=output.locations)

    def output_vectors(
        self,
        annotations: Tensor | TwoScales,
        tokens: Tensor,
        location: str | Tensor = LIKELIEST,
        use_expectation: Tensor | None = None,
        batch_slice: BatchSlice | None = None,
        labels: Labels | None = None,
        padding: Tensor | None = None,
    ) -> OutputVectors:
        """Compute `forward` up to the output layer, so that `logits` can be computed for some positions only.

        The embeddings' part of the LSTM and what follows the LSTM run once, over all positions.
        location: what hard attention reads: likeliest, expected, sampled, or given locations [B, K, T].
        use_expectation: bool [B], images for which hard attention reads the expectation, whatever `location` is.
        batch_slice: position of these images in a batch that processes share.
        labels: by default the likeliest classes of the encoder's classifier.
        padding: bool [B, L], positions that are no annotation.
        """
        features = self.prepare(annotations, labels, padding)
        state = self.initial_state(features, tokens.shape[1], batch_slice)
        embedding = self.dropout(self.embedding(tokens), batch_slice)  # [B, K, T, M]
        word_parts = self.embedding_to_lstm(embedding).unbind(dim=2)  # T x [B, K, 4N]
        queries = self._word_query(embedding)
        queries = queries.unbind(dim=2) if isinstance(queries, Tensor) else [queries] * len(word_parts)  # T x [B, K, A]
        hiddens, steps = [], []
        with shared_products([self._layers_of_state()]):
            for position, (word_part, query) in enumerate(zip(word_parts, queries, strict=True)):
                read_location = location[:, :, position] if isinstance(location, Tensor) else location
                attention = self._attend(
                    features, state.hidden, query, read_location, None, use_expectation, batch_slice
                )
                state = self._lstm(word_part, attention.context, state, features.labels)
                hiddens.append(state.hidden)
                steps.append(attention)
        hidden, context = torch.stack(hiddens, dim=2), torch.stack([step.context for step in steps], dim=2)
        rows = (values.flatten(1, 2) for values in (embedding, hidden, context))
        vectors, _ = self._output_vectors(*rows, features, batch_slice)
        return OutputVectors(
            vectors=vectors.unflatten(1, tokens.shape[1:]),
            alphas=torch.stack([step.alpha for step in steps], dim=2),
            gates=torch.stack([step.gate for step in steps], dim=2),
            locations=None if attention.locations is None else torch.stack([step.locations for step in steps], dim=2),
            output_weight=features.output_weight,
        )

    def logits(self, vectors: Tensor, output_weight: Tensor | None = None) -> Tensor:
        """Run the output layer: [..., M] -> [..., V], or [..., N] -> [..., V] without deep output.

        output_weight: matrix of a tied output, as in `ImageFeatures`.
        """
        if not self.tied_output:
            return self.output(vectors)
        weight = self._output_weight() if output_weight is None else output_weight
        return functional.linear(vectors, weight, self.output_bias)

    def word_logits(self, vectors: Tensor, output_weight: Tensor | None = None) -> Tensor:
        """Run the output layer on the vectors of a batch's words, [N, M] -> [N, V], as `logits`.

        Every batch has another number of words, and torch prepares a product in bfloat16 for each number of rows, which
        takes up to ten times as long as the product. So rows are added up to a multiple of `ROWS`.
        """
        padded = functional.pad(vectors, (0, 0, 0, -len(vectors) % ROWS))
        return self.logits(padded, output_weight)[: len(vectors)]

    def _word_query(self, embedding: Tensor) -> Tensor | float:
        """Return the last word's part of the query, [..., M] -> [..., A]; 0 if the query is h_{t-1} alone."""
        return 0.0 if self.embedding_to_query is None else linear(self.embedding_to_query, embedding)

    def _attend(
        self,
        features: ImageFeatures,
        hidden: Tensor,
        word_query: Tensor | float,
        location: str | Tensor = LIKELIEST,
        masked_locations: Tensor | None = None,
        use_expectation: Tensor | None = None,
        batch_slice: BatchSlice | None = None,
    ) -> _AttentionOutput:
        """Eq. 4-6: scores e_t, weights alpha_t and context z_t, times the gate beta_t = sigmoid(f_beta(h_{t-1})).

        hidden: h_{t-1} [B, K, N]. word_query: the last word's part of the query [B, K, A].
        location: what hard attention reads: likeliest, expected, sampled, or given locations [B, K].
        masked_locations: bool [B, K, L], locations that cannot be attended to.
        use_expectation: bool [B], images for which hard attention reads the expectation, whatever `location` is.
        """
        if self.score is None:  # equal scores
            scores = torch.zeros(*hidden.shape[:2], features.annotations.shape[1], device=hidden.device)
        else:
            scores = self.score(features.keys, self.score.query(hidden) + word_query)
        if features.padding is not None:
            scores = scores.masked_fill(features.padding.unsqueeze(1), float("-inf"))
        if masked_locations is not None:
            scores = scores.masked_fill(masked_locations, float("-inf"))
        alpha, context = attend(scores, features.annotations)
        locations = self._locations(alpha, location, batch_slice)
        if locations is not None:
            expected = context
            context = attend_at(locations, features.annotations)
            if use_expectation is not None:
                context = expected.where(use_expectation.view(-1, 1, 1), context)
        if self.hidden_to_gate is None:
            return _AttentionOutput(context, alpha, torch.ones_like(alpha[..., 0]), scores, locations)
        gate = torch.sigmoid(linear(self.hidden_to_gate, hidden))  # [B, K, 1] or [B, K, D]
        return _AttentionOutput(gate * context, alpha, gate.mean(dim=-1), scores, locations)

    def reads_one_location(self, location: str) -> bool:
        """Return whether a word reads one location instead of the weighted sum. location: as in `step`."""
        return self.attention == "hard" and location != EXPECTED

    def _locations(self, alpha: Tensor, location: str | Tensor, batch_slice: BatchSlice | None) -> Tensor | None:
        """Return the location s_t that each caption reads [B, K]; None if it reads the expectation over all."""
        if isinstance(location, Tensor):
            return location if self.attention == "hard" else None
        if not self.reads_one_location(location):
            return None
        return sample_locations(alpha, batch_slice) if location == SAMPLED else alpha.argmax(dim=-1)

    def _lstm(
        self, word_part: Tensor, context: Tensor, state: DecoderState, labels: LabelEntries | None
    ) -> DecoderState:
        """Eq. 1-3: (E y_{t-1}, h_{t-1}, z_t) and c_{t-1} -> h_t, c_t; labels add their context to the inputs.

        word_part: the product of T with E y_{t-1}, biases included, [B, K, 4N].
        """
        gates = word_part + linear(self.context_to_lstm, context) + linear(self.hidden_to_lstm, state.hidden)
        if labels is not None:
            gates = gates + self.labels.add_to_lstm(labels, state.hidden)
        # In two dimensions: OpenVINO would transpose the four parts of three.
        input_gate, forget_gate, output_gate, candidate = gates.flatten(0, 1).chunk(4, dim=-1)  # i_t, f_t, o_t, g_t
        old_cell = state.cell.flatten(0, 1)
        cell = torch.sigmoid(forget_gate) * old_cell + torch.sigmoid(input_gate) * torch.tanh(candidate)
        hidden = torch.sigmoid(output_gate) * torch.tanh(cell)
        return DecoderState(*(values.unflatten(0, gates.shape[:2]) for values in (hidden, cell)))

    def _output_vectors(
        self,
        embedding: Tensor,
        hidden: Tensor,
        context: Tensor,
        features: ImageFeatures,
        batch_slice: BatchSlice | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Deep output, eq. 7, before L_o: E y_{t-1} + L_h h_t + L_z z_t. [B, R, M], [B, R, N], [B, R, D] -> [B, R, M].

        Without deep output, h_t. With labels, the context of those that h_t attends to is added, and their weights,
        [B, R, J + 1], are returned as well. A tied output is s E tanh(...) + b, with the embedding E and a learned s.
        """
        if not self.deep_output:
            return self.dropout(hidden, batch_slice), None
        hidden_part = linear(self.hidden_to_output, self.dropout(hidden, batch_slice))
        combined = embedding + hidden_part + linear(self.context_to_output, context)
        label_alpha = None
        if features.labels is not None:
            label_part, label_alpha = self.labels.add_to_output(features.labels, hidden)
            combined = combined + label_part
        return self.dropout(combined.tanh() if self.tied_output else combined, batch_slice), label_alpha

    def merged_products(self) -> MergedProducts:
        """Return products with which a step of inference computes the same in fewer calls."""
        of_context, of_new_state = [self.context_to_lstm], []
        if self.deep_output:
            of_context, of_new_state = [self.context_to_lstm, self.context_to_output], [self.hidden_to_output]
        if self.labels is not None:
            of_new_state += [self.labels.query, self.labels.gate]
        groups = [self._layers_of_state(), of_context, of_new_state]
        embedded = [self.embedding_to_lstm, *([self.embedding_to_query] if self.embedding_to_query is not None else [])]
        return MergedProducts([group for group in groups if len(group) > 1], self.embedding, embedded)

    def _layers_of_state(self) -> list[nn.Linear]:
        """Return the layers that multiply h_{t-1} at every step."""
        query = getattr(self.score, "hidden_to_query", None)
        labels = None if self.labels is None else self.labels.query
        return [layer for layer in (query, self.hidden_to_gate, self.hidden_to_lstm, labels) if layer is not None]

    def _output_weight(self) -> Tensor | None:
        """Return the matrix s E of a tied output [V, M]; None if the output has weights of its own."""
        return self.output_scale * self.embedding.weight if self.tied_output else None


def _mean(annotations: Tensor, padding: Tensor | None) -> Tensor:
    """Return the mean of each image's annotations, without padding: [B, L, D] -> [B, 1, D]."""
    if padding is None:
        return mean_of_rows(annotations)
    exists = (~padding).to(annotations.dtype)
    return (exists / exists.sum(dim=1, keepdim=True)).unsqueeze(1) @ annotations


def _score(config: DecoderConfig, annotation_dim: int) -> AdditiveScore | DotScore | GeneralScore | None:
    if config.attention == "none":
        return None
    if config.score == "dot":
        return DotScore(annotation_dim, config.hidden_dim, config.attention_dim)
    if config.score == "general":
        return GeneralScore(annotation_dim, config.hidden_dim)
    return AdditiveScore(annotation_dim, config.hidden_dim, config.attention_dim, config.activation)
