"""Additive scores in one pass over memory, by a kernel that torch compiles once there is enough work.

Written plainly, act(keys + query) is a tensor [B, K, L, A] that goes to memory and back, and is read again for the
gradient. The compiled kernel holds each of its numbers only until it is multiplied and added.
"""

import logging
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

log = logging.getLogger(__name__)

LARGE_SCORES = 2**20
"""Size of [B, K, L, A] from which the kernel is faster."""

CALLS_BEFORE_COMPILING = 30
"""Number of calls with large scores before the kernel is compiled, which takes some seconds."""


def plain_scores(activation: Callable[[Tensor], Tensor], keys: Tensor, query: Tensor, weights: Tensor) -> Tensor:
    """sum_a w_a act(keys_la + query_ka): [B, L, A], [B, K, A], [A] -> [B, K, L]."""
    return functional.linear(activation(keys.unsqueeze(1) + query.unsqueeze(2)), weights.unsqueeze(0)).squeeze(-1)


def _compilable_scores(activation: Callable[[Tensor], Tensor], keys: Tensor, query: Tensor, weights: Tensor) -> Tensor:
    """Compute the same without a matrix product, so that torch.compile can fuse it into one loop."""
    return (activation(keys.unsqueeze(1) + query.unsqueeze(2)) * weights).sum(dim=-1)


class FusedScores:
    """`plain_scores` with one activation, compiled after enough large calls; plain if there is no compiler."""

    def __init__(self, activation: Callable[[Tensor], Tensor]):
        self._plain, self._compilable = partial(plain_scores, activation), partial(_compilable_scores, activation)
        self._compiled: Callable[..., Tensor] | None = None
        self._large_calls, self._can_compile = 0, True

    def __call__(self, keys: Tensor, query: Tensor, weights: Tensor) -> Tensor:
        """[B, L, A], [B, K, A], [A] -> [B, K, L]."""
        weights = weights.to(keys.dtype)
        if self._can_compile and query.shape[1] * keys.numel() >= LARGE_SCORES:
            self._large_calls += 1
            if self._large_calls > CALLS_BEFORE_COMPILING:
                return self._compute_compiled(keys, query, weights)
        return self._plain(keys, query, weights)

    def _compute_compiled(self, keys: Tensor, query: Tensor, weights: Tensor) -> Tensor:
        if self._compiled is None:
            self._compiled = torch.compile(self._compilable, dynamic=True)
        try:
            return self._compiled(keys, query, weights)
        except Exception as error:  # no compiler, no disk space for its output, and others
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self._can_compile = False
            log.info("Scores are computed without a kernel, because it could not be compiled: %s", error)
            return self._plain(keys, query, weights)


_SCORES = {"relu": FusedScores(functional.relu), "tanh": FusedScores(torch.tanh)}


def additive_scores(activation: str, keys: Tensor, query: Tensor, weights: Tensor) -> Tensor:
    """sum_a w_a act(keys_la + query_ka): [B, L, A], [B, K, A], [A] -> [B, K, L]. activation: relu or tanh."""
    return _SCORES[activation](keys, query, weights)
