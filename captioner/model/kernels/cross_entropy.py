"""Cross-entropy with label smoothing, summed over words, some rows at a time.

Written plainly, the 32-bit log-probabilities of all rows go to memory and back several times. The kernel works on as
many rows as fit the processor's cache, and computes their gradient along the way.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

CACHED_LOGITS = 2**18
"""Number of logits processed at once on a CPU: one megabyte."""


def plain_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float, ignored: int) -> Tensor:
    """-log p of each target, mixed with the uniform distribution by `smoothing`, summed: [N, V], [N] -> scalar, nats.

    Rows with the target `ignored` do not count.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return functional.cross_entropy(precise, targets, ignore_index=ignored, label_smoothing=smoothing, reduction="sum")


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float, ignored: int) -> Tensor:
    """Compute `plain_cross_entropy`, faster. Rows with the target `ignored` cost nothing."""
    return _CrossEntropy.apply(logits, targets, smoothing, ignored)


class _CrossEntropy(Function):
    """The gradient has the precision of the logits."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, smoothing: float, ignored: int) -> Tensor:
        vocabulary_size, precision = logits.shape[1], torch.promote_types(logits.dtype, torch.float32)
        gradient = torch.zeros_like(logits) if ctx.needs_input_grad[0] else None
        total = logits.new_zeros((), dtype=precision)
        size = max(1, (CACHED_LOGITS if logits.device.type == "cpu" else 128 * CACHED_LOGITS) // vocabulary_size)
        for rows in (targets != ignored).nonzero().squeeze(-1).split(size):
            scores, target_ids = logits[rows].to(precision), targets[rows].unsqueeze(-1)
            normaliser = scores.logsumexp(dim=-1, keepdim=True)
            mean = scores.mean(dim=-1, keepdim=True)
            target_scores = (1 - smoothing) * scores.gather(-1, target_ids) + smoothing * mean
            total += (normaliser - target_scores).sum()
            if gradient is not None:
                row_gradient = scores.sub_(normaliser).exp_().sub_(smoothing / vocabulary_size)
                row_gradient.scatter_add_(-1, target_ids, row_gradient.new_full(target_ids.shape, smoothing - 1))
                gradient[rows] = row_gradient.to(gradient.dtype)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * weight.to(gradient.dtype), None, None, None
