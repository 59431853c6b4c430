"""Dropout by random bytes behaves like torch's dropout."""

import pytest
import torch

from captioner.model.kernels.dropout import ByteDropout, plain_dropout


@pytest.mark.parametrize("p", [0.25, 0.5, 0.9])
def test_the_expected_share_is_dropped_and_the_mean_is_kept(p):
    torch.manual_seed(0)
    values = torch.ones(400, 501, requires_grad=True)
    output = ByteDropout(p)(values)
    assert float((output == 0).float().mean()) == pytest.approx(p, abs=0.01)
    assert float(output.detach().mean()) == pytest.approx(1, abs=0.02)
    assert len(output.unique()) == 2
    output.sum().backward()
    torch.testing.assert_close(values.grad, output.detach())  # of ones: dropped elements get no gradient


def test_elements_of_a_row_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (ByteDropout(0.5)(torch.ones(20_000, 16)) == 0).float()
    together = torch.corrcoef(dropped.T) - torch.eye(16)
    assert together.abs().max() < 0.03


def test_the_seed_determines_the_mask():
    torch.manual_seed(3)
    first = ByteDropout(0.5)(torch.ones(9, 7))
    assert not torch.equal(first, ByteDropout(0.5)(torch.ones(9, 7)))
    torch.manual_seed(3)
    assert torch.equal(first, ByteDropout(0.5)(torch.ones(9, 7)))


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_evaluation_drops_nothing_and_rates_0_and_1_equal_torch(p):
    values = torch.randn(5, 3)
    torch.testing.assert_close(ByteDropout(p).eval()(values), values)
    if p != 0.5:
        torch.testing.assert_close(ByteDropout(p)(values), values * (1 - p))


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), ()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_shape_is_accepted(shape, dtype):
    output = ByteDropout(0.5)(torch.ones(shape, dtype=dtype))
    assert output.shape == shape and output.dtype == dtype


@pytest.mark.parametrize("p", [0.25, 0.5, 0.875])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kept_values_equal_the_plain_form(p, dtype):
    values = torch.randn(40, 50, dtype=dtype)
    torch.manual_seed(0)
    keep_mask = ByteDropout(p)(torch.ones_like(values)) != 0
    torch.manual_seed(0)
    torch.testing.assert_close(ByteDropout(p)(values), plain_dropout(values, keep_mask, p))
    torch.manual_seed(0)
    torch_output = torch.nn.Dropout(p)(values)
    torch.testing.assert_close(torch_output, plain_dropout(values, torch_output != 0, p))
