"""Additive scores and gradients of the compiled kernel equal those of the plain formula."""

import shutil

import pytest
import torch
from torch.nn import functional

from captioner.model.kernels import fused
from captioner.model.kernels.fused import FusedScores, additive_scores, plain_scores

ACTIVATIONS = {"relu": functional.relu, "tanh": torch.tanh}

compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler: scores are computed plainly here")


def operands(photos: int, captions: int = 3, locations: int = 10, size: int = 8, dtype=torch.float32):
    generator = torch.Generator().manual_seed(photos)
    shapes = ((photos, locations, size), (photos, captions, size), (size,))
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


@pytest.fixture
def always(monkeypatch):
    """Every score counts as large, and the kernel is compiled without a wait."""
    monkeypatch.setattr(fused, "LARGE_SCORES", 1)
    monkeypatch.setattr(fused, "CALLS_BEFORE_COMPILING", 0)


def test_the_plain_formula_by_hand():
    keys, query = torch.tensor([[[1.0, -2.0], [0.0, 3.0]]]), torch.tensor([[[1.0, 1.0]]])
    assert plain_scores(functional.relu, keys, query, torch.tensor([2.0, 10.0])).tolist() == [[[4.0, 42.0]]]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_scores_of_each_activation_equal_the_plain_formula(activation):
    expected = plain_scores(ACTIVATIONS[activation], *operands(2))
    torch.testing.assert_close(additive_scores(activation, *operands(2)), expected)


@pytest.mark.stress
@compiler
@pytest.mark.filterwarnings("ignore")  # of the compiler's own
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_compiled_kernel_equals_the_plain_formula(always, activation):
    scores = FusedScores(ACTIVATIONS[activation])
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        for photos, captions in ((2, 3), (5, 1), (1, 4)):  # any size, once it is compiled
            inputs, plain_inputs = ([*operands(photos, captions, dtype=dtype)] for _ in range(2))
            fast, plain = scores(*inputs), plain_scores(ACTIVATIONS[activation], *plain_inputs)
            assert scores._compiled is not None and fast.dtype == dtype
            torch.testing.assert_close(fast, plain, rtol=tolerance, atol=tolerance)
            (fast.float() ** 2).sum().backward()
            (plain.float() ** 2).sum().backward()
            for first, second in zip(inputs, plain_inputs, strict=True):
                torch.testing.assert_close(first.grad, second.grad, rtol=4 * tolerance, atol=40 * tolerance)


def test_few_or_small_scores_are_not_compiled(monkeypatch):
    scores = FusedScores(torch.tanh)
    monkeypatch.setattr(torch, "compile", lambda *args, **options: pytest.fail("compiled"))
    for _ in range(2 * fused.CALLS_BEFORE_COMPILING):
        scores(*operands(2))
    monkeypatch.setattr(fused, "LARGE_SCORES", 2 * 3 * 10 * 8)
    for _ in range(fused.CALLS_BEFORE_COMPILING):
        scores(*operands(2))


def test_without_a_compiler_the_plain_formula_is_used(always, monkeypatch, caplog):
    def compiled(*operands):
        raise RuntimeError("no C++ compiler")

    attempts = []
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: attempts.append(function) or compiled)
    scores = FusedScores(torch.tanh)
    with caplog.at_level("INFO"):
        for _ in range(3):
            torch.testing.assert_close(scores(*operands(2)), plain_scores(torch.tanh, *operands(2)))
    assert len(attempts) == 1 and "no C++ compiler" in caplog.text


def test_running_out_of_memory_does_not_fall_back_to_the_plain_formula(always, monkeypatch):
    def compiled(*operands):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: compiled)
    with pytest.raises(torch.OutOfMemoryError):
        FusedScores(torch.tanh)(*operands(2))
