"""Dropout that draws the random bits of eight numbers at a time."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from captioner.model.draws import draw_for_batch
from captioner.ranks import BatchSlice


def plain_dropout(values: Tensor, keep_mask: Tensor, p: float) -> Tensor:
    """Return values / (1 - p) where `keep_mask` is true, else 0. Both of one shape."""
    return torch.where(keep_mask, values / (1 - p), 0)


class ByteDropout(nn.Dropout):
    """`nn.Dropout` in a fifth of its time on a CPU: a random byte decides on each number, so p is rounded to 1/256."""

    def forward(self, values: Tensor, batch_slice: BatchSlice | None = None) -> Tensor:
        """Drop values with probability p and scale the rest so that the mean stays: any shape -> the same.

        batch_slice: position of `values` [B, ...] in a batch that processes share.
        """
        if not self.training or self.p == 0:
            return values
        if self.p == 1:
            return super().forward(values)
        if values.device.type != "cpu":
            if batch_slice is None:
                return super().forward(values)
            return values * draw_for_batch(lambda shape: self._factors(values, shape), values.shape, batch_slice)
        dropped_bytes = min(255, round(256 * self.p))
        keep_mask = draw_for_batch(_random_bytes, values.shape, batch_slice) >= dropped_bytes
        return values * (keep_mask * (256 / (256 - dropped_bytes))).to(values.dtype)

    def _factors(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        """Return what `nn.Dropout` multiplies values of this shape by."""
        return super().forward(values.new_ones(shape))


def _random_bytes(shape: Sequence[int]) -> Tensor:
    count = math.prod(shape)
    draws = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)  # any 64 bits
    return draws.view(torch.uint8)[:count].view(tuple(shape))
