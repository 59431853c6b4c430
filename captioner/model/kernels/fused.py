"""Additive scores in one pass over memory, by a kernel that torch compiles when there is enough to do.

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

LARGE = 2**20
"""Numbers in [B, K, L, A] from which on the kernel is faster."""

ENOUGH = 30
"""Large scores after which the kernel is compiled, which takes some seconds: few scores do not wait for it."""


def plain_scores(activation: Callable[[Tensor], Tensor], keys: Tensor, query: Tensor, weights: Tensor) -> Tensor:
    """sum_a w_a act(keys_la + query_ka): [B, L, A], [B, K, A], [A] -> [B, K, L]."""
    return functional.linear(activation(keys.unsqueeze(1) + query.unsqueeze(2)), weights.unsqueeze(0)).squeeze(-1)


def _to_compile(activation: Callable[[Tensor], Tensor], keys: Tensor, query: Tensor, weights: Tensor) -> Tensor:
    """The same, as torch.compile makes one loop of it; a matrix product it would leave as it is."""
    return (activation(keys.unsqueeze(1) + query.unsqueeze(2)) * weights).sum(dim=-1)


class FusedScores:
    """`plain_scores` of one activation, compiled once it is worth it; plain where there is no compiler."""

    def __init__(self, activation: Callable[[Tensor], Tensor]):
        self._plain, self._to_compile = partial(plain_scores, activation), partial(_to_compile, activation)
        self._compiled: Callable[..., Tensor] | None = None
        self._large, self._can_compile = 0, True

    def __call__(self, keys: Tensor, query: Tensor, weights: Tensor) -> Tensor:
        """[B, L, A], [B, K, A], [A] -> [B, K, L]."""
        weights = weights.to(keys.dtype)
        if self._can_compile and query.shape[1] * keys.numel() >= LARGE:
            self._large += 1
            if self._large > ENOUGH:
                return self._by_kernel(keys, query, weights)
        return self._plain(keys, query, weights)

    def _by_kernel(self, keys: Tensor, query: Tensor, weights: Tensor) -> Tensor:
        if self._compiled is None:
            self._compiled = torch.compile(self._to_compile, dynamic=True)
        try:
            return self._compiled(keys, query, weights)
        except Exception as error:  # no compiler, no room for what it writes, and what else a machine may lack
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self._can_compile = False
            log.info("Scores are computed plainly, for they could not be compiled: %s", error)
            return self._plain(keys, query, weights)


_SCORES = {"relu": FusedScores(functional.relu), "tanh": FusedScores(torch.tanh)}


def additive_scores(activation: str, keys: Tensor, query: Tensor, weights: Tensor) -> Tensor:
    """sum_a w_a act(keys_la + query_ka): [B, L, A], [B, K, A], [A] -> [B, K, L]. activation: relu or tanh."""
    return _SCORES[activation](keys, query, weights)
