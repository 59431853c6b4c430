"""The LSTM decoder of Show, Attend and Tell: one word at a time, looking at the image before each."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captioner.attention import AdditiveScore, attend
from captioner.config import CaptionerConfig


@dataclass(frozen=True)
class ImageMemory:
    """What the decoder reads of a batch of images, computed once and used at every word of every caption."""

    annotations: Tensor
    """[B, L, D]"""
    keys: Tensor
    """[B, L, A]: the annotations as the score sees them."""


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


@dataclass(frozen=True)
class DecoderOutput:
    """One prediction for each position of each caption."""

    logits: Tensor
    """[B, K, T, V]"""
    alphas: Tensor
    """[B, K, T, L]: the map that was attended to before word t was predicted."""
    gates: Tensor
    """[B, K, T]"""


class Decoder(nn.Module):
    """Xu et al. 2015, section 3.1.2, eq. 1-3 and 7, with the gating scalar of section 4.2.1.

    The LSTM is written out as three matrix products, one for each of its inputs, because two of them (the words') can
    then be made for a whole caption at once.
    """

    def __init__(self, config: CaptionerConfig, annotation_dim: int, vocabulary_size: int):
        super().__init__()
        word, hidden = config.embedding_dim, config.hidden_dim
        self.embedding = nn.Embedding(vocabulary_size, word)
        self.score = AdditiveScore(annotation_dim, hidden, config.attention_dim, config.activation)
        self.init_hidden = nn.Linear(annotation_dim, hidden)
        self.init_cell = nn.Linear(annotation_dim, hidden)
        self.hidden_to_gate = nn.Linear(hidden, 1)
        self.embedding_to_lstm = nn.Linear(word, 4 * hidden)
        self.context_to_lstm = nn.Linear(annotation_dim, 4 * hidden, bias=False)
        self.hidden_to_lstm = nn.Linear(hidden, 4 * hidden, bias=False)
        self.hidden_to_output = nn.Linear(hidden, word)
        self.context_to_output = nn.Linear(annotation_dim, word, bias=False)
        self.output = nn.Linear(word, vocabulary_size)
        self.dropout = nn.Dropout(config.dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
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
        return self.output.out_features

    def remember(self, annotations: Tensor) -> ImageMemory:
        """annotations [B, L, D] -> what every step reads."""
        return ImageMemory(annotations, self.score.keys(annotations))

    def initial_state(self, memory: ImageMemory, captions: int) -> DecoderState:
        """h_0 and c_0 from the mean annotation vector, the same for all K captions of an image."""
        mean = self.dropout(memory.annotations.mean(dim=1, keepdim=True))  # [B, 1, D]
        hidden, cell = torch.tanh(self.init_hidden(mean)), torch.tanh(self.init_cell(mean))
        return DecoderState(hidden.expand(-1, captions, -1), cell.expand(-1, captions, -1))

    def _look(self, memory: ImageMemory, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """h_{t-1} [B, K, N] -> gated context [B, K, D], alpha [B, K, L], gate [B, K, 1]."""
        alpha, context = attend(self.score(memory.keys, hidden), memory.annotations)
        gate = torch.sigmoid(self.hidden_to_gate(hidden))
        return gate * context, alpha, gate

    def _lstm(self, word_part: Tensor, context: Tensor, state: DecoderState) -> DecoderState:
        """`word_part` [B, K, 4N]: the embedding's share of the four gates, the biases included."""
        gates = word_part + self.context_to_lstm(context) + self.hidden_to_lstm(state.hidden)
        take, keep, show, candidate = gates.chunk(4, dim=-1)
        cell = torch.sigmoid(keep) * state.cell + torch.sigmoid(take) * torch.tanh(candidate)
        return DecoderState(torch.sigmoid(show) * torch.tanh(cell), cell)

    def _logits(self, embedded: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        """Deep output, eq. 7: L_o(E y_{t-1} + L_h h_t + L_z z_t). [..., M], [..., N], [..., D] -> [..., V]."""
        combined = embedded + self.hidden_to_output(self.dropout(hidden)) + self.context_to_output(context)
        return self.output(self.dropout(combined))

    def step(
        self, memory: ImageMemory, state: DecoderState, tokens: Tensor
    ) -> tuple[Tensor, DecoderState, Tensor, Tensor]:
        """One word for each caption: ids before it [B, K] -> logits [B, K, V], state, alpha [B, K, L], gate [B, K]."""
        embedded = self.dropout(self.embedding(tokens))
        context, alpha, gate = self._look(memory, state.hidden)
        state = self._lstm(self.embedding_to_lstm(embedded), context, state)
        return self._logits(embedded, state.hidden, context), state, alpha, gate.squeeze(-1)

    def forward(self, annotations: Tensor, tokens: Tensor) -> DecoderOutput:
        """Teacher forcing: at each position, predict the word that follows `tokens` [B, K, T] (the start first).

        Equal to T calls of `step`; the words' share of the LSTM and the output layer run once, over all positions.
        """
        memory = self.remember(annotations)
        state = self.initial_state(memory, tokens.shape[1])
        embedded = self.dropout(self.embedding(tokens))  # [B, K, T, M]
        word_parts = self.embedding_to_lstm(embedded)  # [B, K, T, 4N]
        hiddens, contexts, alphas, gates = [], [], [], []
        for word_part in word_parts.unbind(dim=2):
            context, alpha, gate = self._look(memory, state.hidden)
            state = self._lstm(word_part, context, state)
            hiddens.append(state.hidden)
            contexts.append(context)
            alphas.append(alpha)
            gates.append(gate)
        hidden, context = torch.stack(hiddens, dim=2), torch.stack(contexts, dim=2)
        return DecoderOutput(
            self._logits(embedded, hidden, context), torch.stack(alphas, dim=2), torch.cat(gates, dim=-1)
        )
