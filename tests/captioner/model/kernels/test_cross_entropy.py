"""Cross-entropy of a few rows at a time equals the plain form and torch's, gradients included."""

import pytest
import torch
from torch.nn import functional

from captioner.model.kernels import cross_entropy as kernel
from captioner.model.kernels.cross_entropy import cross_entropy, plain_cross_entropy

PAD = 0


def rows(words=9):
    """Return logits [30, V] and targets [30]; half of the targets are ignored."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(1, words, (30,), generator=generator)
    targets[torch.randperm(30, generator=generator)[:15]] = PAD
    return torch.randn(30, words, generator=generator), targets


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-9), (torch.bfloat16, 0.02)])
def test_the_loss_and_its_gradient_equal_cross_entropy(monkeypatch, smoothing, dtype, tolerance):
    monkeypatch.setattr(kernel, "CACHED_LOGITS", 4 * 9)  # four rows at a time
    logits, targets = rows()
    ours, plain, reference = (logits.to(dtype, copy=True).requires_grad_() for _ in range(3))
    loss = cross_entropy(ours, targets, smoothing, PAD)
    expected = plain_cross_entropy(plain, targets, smoothing, PAD)
    exact = reference if dtype == torch.float64 else reference.float()
    by_torch = functional.cross_entropy(exact, targets, ignore_index=PAD, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(loss, by_torch, rtol=1e-5, atol=0)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    (loss / 15).backward()
    (expected / 15).backward()
    (by_torch / 15).backward()
    assert ours.grad.dtype == dtype
    for logits_copy in (plain, reference):
        torch.testing.assert_close(ours.grad, logits_copy.grad, rtol=tolerance, atol=tolerance / 15)
