"""Dropout whose coins are thrown eight at a time."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from captioner.model.draws import drawn
from captioner.ranks import BatchSlice


class ByteDropout(nn.Dropout):
    """`nn.Dropout` in a fifth of its time on a CPU: each number's fate is a random byte, so p is rounded to 1/256."""

    def forward(self, values: Tensor, share: BatchSlice | None = None) -> Tensor:
        """Any shape -> the same, zeros in place of what was dropped, the rest scaled so that the mean stays.

        share: of a batch, where `values` [B, ...] are of some of its images only.
        """
        if not self.training or self.p in (0, 1):
            return super().forward(values)
        if values.device.type != "cpu":
            if share is None:
                return super().forward(values)
            return values * drawn(lambda shape: self._plain_coins(values, shape), values.shape, share)
        dropped = min(255, round(256 * self.p))
        kept = drawn(_random_bytes, values.shape, share) >= dropped
        return values * (kept * (256 / (256 - dropped))).to(values.dtype)

    def _plain_coins(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        """What `nn.Dropout` multiplies values of this shape by."""
        return super().forward(values.new_ones(shape))


def _random_bytes(shape: Sequence[int]) -> Tensor:
    count = math.prod(shape)
    draws = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)  # any 64 bits
    return draws.view(torch.uint8)[:count].view(tuple(shape))
