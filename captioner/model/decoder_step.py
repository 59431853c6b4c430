"""A step of a decoder, and a step of beam search around it, from states and totals to the best continuations.

A step of beam search is one function of tensors, so that a runtime can compile all of it. For one photo, its small
operations would otherwise take as long as the network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captioner.text.vocabulary import PAD

IMPOSSIBLE = float("-inf")
"""Log-probability of a hypothesis that does not exist."""

_BLOCK = 64
"""Number of values of which `_top` first compares only the maximum."""


@dataclass(frozen=True)
class DecoderState:
    """h_t and c_t of the LSTM for K captions of each image."""

    hidden: Tensor
    """[B, K, N]"""
    cell: Tensor
    """[B, K, N]"""

    def select(self, parents: Tensor) -> "DecoderState":
        """Return the states of the hypotheses that `parents` [B, K'] names, image by image."""
        index = parents.unsqueeze(-1).expand(-1, -1, self.hidden.shape[-1])
        return DecoderState(self.hidden.gather(1, index), self.cell.gather(1, index))

    def rows(self, images: Tensor) -> "DecoderState":
        """Select images of the batch, [B']."""
        return DecoderState(self.hidden[images], self.cell[images])


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
    """[B, K, J + 1]: attention to each of J labels, and to "none of these"; None without labels."""
    scores: Tensor | None = None
    """[B, K, L]: e_t, before the softmax; None without attention, and from faster decoders that leave it out."""


class Beams(NamedTuple):
    """The K hypotheses of each image, as a search passes them to a step."""

    parents: Tensor
    """[B, K] int64, the position of each hypothesis in the state, where hypotheses have the order of the step before"""
    tokens: Tensor
    """[B, K] int64, their last words"""
    open_totals: Tensor
    """[B, K] log-probabilities in nats; -inf for finished hypotheses"""
    finished_totals: Tensor
    """[B, K], -inf for open ones"""
    forbidden: Tensor
    """[B, K, F] int64, words that must not follow each hypothesis, PAD among them"""
    penalties: Tensor
    """[V], added to the log-probabilities of words after all hypotheses: 0, or -inf"""


class BeamStep(NamedTuple):
    """The K best continuations of each image, and the network's outputs for the hypotheses that they continue."""

    totals: Tensor
    """[B, K] log-probabilities in nats, best first"""
    indices: Tensor
    """[B, K] int64: hypothesis * V + word; a finished hypothesis continues with PAD, at no cost"""
    state: DecoderState
    """After the step, in the order of the hypotheses before it, like the attention below"""
    alpha: Tensor
    """[B, K, L]"""
    gate: Tensor
    """[B, K]"""
    label_alpha: Tensor | None
    """[B, K, J + 1]; None without labels"""


def beam_step(step: Callable[..., Step], features: Any, state: DecoderState, beams: Beams, location: str) -> BeamStep:
    """Take a step of beam search. step, features, location: of a decoder, such as `Decoder.step` and its operands."""
    output = step(features, state.select(beams.parents), beams.tokens, location)
    logits = output.logits.float()
    candidates = logits + (beams.open_totals - logits.logsumexp(dim=-1)).unsqueeze(-1)  # [B, K, V]
    candidates = candidates.add_(beams.penalties).scatter_(-1, beams.forbidden, IMPOSSIBLE)
    ends = torch.full_like(beams.tokens, PAD).unsqueeze(-1)
    candidates = candidates.scatter_(-1, ends, beams.finished_totals.unsqueeze(-1))
    totals, indices = _top(candidates.flatten(1), beams.tokens.shape[1])
    return BeamStep(totals, indices, output.state, output.alpha, output.gate, output.label_alpha)


def _top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest values of each row and their indices, as `topk` does: [B, N] -> [B, count], largest first.

    On a CPU, torch's `topk` takes long for a batch. The blocks with the largest maxima hold the largest values, and it
    takes a third of the time to find these blocks and to sort them alone.
    """
    if torch.jit.is_tracing() or len(values) == 1 or values.device.type != "cpu":
        return values.topk(count, dim=-1)
    length = values.shape[1] // _BLOCK * _BLOCK
    if length <= count * _BLOCK:
        return values.topk(count, dim=-1)
    blocks = values[:, :length].unflatten(1, (-1, _BLOCK)).amax(dim=-1).topk(count, dim=-1).indices  # [B, count]
    in_blocks = (blocks.unsqueeze(-1) * _BLOCK + torch.arange(_BLOCK)).flatten(1)
    after_blocks = torch.arange(length, values.shape[1]).expand(len(values), -1)
    indices = torch.cat([in_blocks, after_blocks], dim=1)
    best = values.gather(1, indices).topk(count, dim=-1)
    return best.values, indices.gather(1, best.indices)
