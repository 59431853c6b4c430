"""Products that share a matrix give the same numbers and one gradient, the sum over all products."""

import gc
import weakref

import pytest
import torch
from torch import nn

from captioner.model.kernels import products as kernel
from captioner.model.kernels.products import (
    PLAIN,
    MergedProducts,
    SharedProducts,
    computed_by,
    embed,
    linear,
    matmul,
    mean_of_rows,
    plain_mean_of_rows,
    shared_products,
)


def test_gradients_are_the_sums_over_all_products():
    torch.manual_seed(0)
    layer, rows = nn.Linear(4, 3), torch.randn(5, 2, 6, 4, requires_grad=True)
    matrix = torch.randn(2, 3, 7, requires_grad=True)
    results = []
    for products in (PLAIN, SharedProducts()):
        outputs = [products.between(torch.tanh(products.linear(layer, step)), matrix) for step in rows]
        leaves = (rows, matrix, layer.weight, layer.bias)
        results.append((torch.stack(outputs), torch.autograd.grad(torch.stack(outputs).square().sum(), leaves)))
    (plain, expected), (shared, gradients) = results
    torch.testing.assert_close(shared, plain)
    for first, second in zip(gradients, expected, strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("biases", [(True, False), (False, False)])
def test_layers_of_one_operand_are_one_product_with_the_same_gradients(biases):
    torch.manual_seed(0)
    layers = [nn.Linear(4, size, bias=bias) for size, bias in zip((3, 2), biases, strict=True)]
    alone, rows = nn.Linear(4, 5), torch.randn(6, 2, 3, 4, requires_grad=True)
    shared = SharedProducts([layers])
    results = []
    for products in (PLAIN, shared):
        states = [torch.tanh(step) for step in rows]
        outputs = [products.linear(layer, state) for state in states for layer in (*layers, alone)]
        loss = sum(output.square().sum() for output in outputs)
        leaves = [rows, *(parameter for layer in (*layers, alone) for parameter in layer.parameters())]
        results.append((*outputs, *torch.autograd.grad(loss, leaves)))
    for plain, merged in zip(*results, strict=True):
        torch.testing.assert_close(merged, plain)
    assert [len(product.operands) for _, product in shared._shared.values()] == [6, 6]


def test_products_are_shared_only_inside_the_block(monkeypatch):
    layer, rows, matrix = nn.Linear(3, 3), torch.randn(2, 4, 3), torch.randn(2, 3, 5)
    instances = []
    monkeypatch.setattr(
        kernel, "SharedProducts", lambda groups: instances.append(SharedProducts(groups)) or instances[-1]
    )
    with pytest.raises(KeyError), shared_products():
        inside = linear(layer, rows), matmul(rows, matrix)
        raise KeyError
    assert [len(products._shared) for products in instances] == [2]
    outside = linear(layer, rows), matmul(rows, matrix)
    with torch.no_grad(), shared_products():
        linear(layer, rows)
    assert len(instances) == 1 and len(instances[0]._shared) == 2
    for first, second in zip(inside, outside, strict=True):
        torch.testing.assert_close(first, second)


@torch.no_grad()
@pytest.mark.parametrize("table_bytes", [kernel.MAX_TABLE_BYTES, 0])
def test_merged_products_equal_plain_ones_in_fewer_calls(monkeypatch, table_bytes):
    monkeypatch.setattr(kernel, "MAX_TABLE_BYTES", table_bytes)
    torch.manual_seed(0)
    embedding = nn.Embedding(6, 5)
    to_word, to_query, shared, alone, second = (nn.Linear(5, size, bias=size != 2) for size in (4, 2, 3, 2, 4))
    tokens, rows, others = torch.tensor([[1, 5], [0, 5]]), torch.randn(2, 3, 5), torch.randn(2, 3, 5)

    def compute() -> list[torch.Tensor]:
        words = embed(embedding, tokens)
        on_words = [linear(to_word, words), linear(to_query, words)]
        on_rows = [linear(to_query, rows), linear(shared, rows), linear(second, others), linear(shared, others)]
        return [words, *on_words, *on_rows, linear(alone, rows)]

    expected, calls, plain_linear = compute(), [], nn.functional.linear
    products = MergedProducts([[to_query, shared], [second, shared]], embedding, [to_word, to_query])
    monkeypatch.setattr(nn.functional, "linear", lambda *operands: calls.append(1) or plain_linear(*operands))
    with computed_by(products):
        merged = compute()
    assert len(calls) == (3 if table_bytes else 4)
    for first, other in zip(merged, expected, strict=True):
        torch.testing.assert_close(first, other)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12), (torch.bfloat16, 1e-2)]
)
def test_the_mean_as_a_product_equals_the_plain_mean(dtype, tolerance):
    generator = torch.Generator().manual_seed(0)
    ours, plain = (
        torch.randn(3, 10, 7, generator=generator.manual_seed(0)).to(dtype).requires_grad_() for _ in range(2)
    )
    torch.testing.assert_close(mean_of_rows(ours), plain_mean_of_rows(plain), rtol=tolerance, atol=tolerance)
    mean_of_rows(ours).square().sum().backward()
    plain_mean_of_rows(plain).square().sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad, rtol=tolerance, atol=tolerance)


def test_a_frozen_matrix_stores_nothing():
    products, rows = SharedProducts(), torch.randn(1, 2, 3, requires_grad=True)
    matrix = torch.randn(1, 3, 4)
    products.between(rows, matrix).sum().backward()
    torch.testing.assert_close(rows.grad, matrix.sum(-1).unsqueeze(1).expand(1, 2, 3))
    (shared,) = (shared for _, shared in products._shared.values())
    assert not shared.operands


def test_two_backward_passes_are_not_counted_twice():
    layer, products = nn.Linear(3, 2, bias=False), SharedProducts()
    output = sum(products.linear(layer, rows).sum() for rows in torch.ones(4, 1, 3))
    for _ in range(2):
        (gradient,) = torch.autograd.grad(output, layer.weight, retain_graph=True)
        assert gradient.tolist() == [[4.0] * 3] * 2


def test_a_product_outside_the_loss_has_no_gradient():
    layer, products = nn.Linear(3, 2), SharedProducts()
    product = products.linear(layer, torch.ones(1, 3))
    products.linear(layer, torch.ones(1, 3))
    product.sum().backward()
    assert layer.weight.grad.tolist() == [[1.0] * 3] * 2
    unused, products = nn.Linear(3, 2), SharedProducts()
    (torch.ones(1, requires_grad=True) + 0 * products.linear(unused, torch.ones(1, 3)).detach().sum()).sum().backward()
    assert unused.weight.grad is None


OPTIONS = [
    *({"score": score, "gate": gate} for score in ("additive", "dot", "general") for gate in ("scalar", "vector")),
    {"score": "dot", "query": "hidden_word", "deep_output": False},
    {"attention": "none"},
    {"attention": "hard", "score": "dot"},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("tuned", [False, True])
def test_a_decoder_learns_the_same_with_shared_products(make_decoder, monkeypatch, options, tuned):
    decoder = make_decoder(9, **options)
    annotations = torch.randn(3, 6, 7, generator=torch.Generator().manual_seed(1)).requires_grad_(tuned)
    tokens = torch.randint(1, 13, (3, 2, 5), generator=torch.Generator().manual_seed(2))

    def learned():
        decoder.zero_grad()
        annotations.grad = None
        output = decoder(annotations, tokens)
        (output.logits.square().mean() + output.alphas.square().sum() + output.gates.sum()).backward()
        return {name: parameter.grad for name, parameter in decoder.named_parameters()} | {"x": annotations.grad}

    shared = learned()
    monkeypatch.setattr(kernel, "SharedProducts", lambda groups: PLAIN)
    plain = learned()
    assert shared.keys() == plain.keys()
    for name, expected in plain.items():
        if expected is None:
            assert shared[name] is None, name
        else:
            torch.testing.assert_close(shared[name], expected, msg=name)


def test_nothing_is_kept_after_a_step():
    layer, freed = nn.Linear(3, 2), []
    for _ in range(2):
        products, rows = SharedProducts(), torch.ones(1, 3)
        for _ in range(3):
            rows = torch.cat([products.linear(layer, rows), torch.ones(1, 1)], dim=-1)
        weakref.finalize(next(iter(products._shared.values()))[1], freed.append, "shared")
        weakref.finalize(rows, freed.append, "rows")
        gc.disable()  # it would collect cycles, but not those through the graph
        rows.sum().backward()
        del products, rows
    gc.enable()
    assert sorted(freed) == ["rows", "rows", "shared", "shared"]


def test_the_bfloat16_gradient_is_no_further_from_the_exact_one():
    layer, steps = nn.Linear(16, 16, bias=False), torch.randn(40, 8, 16, generator=torch.Generator().manual_seed(0))
    gradients = {}
    for name, products, reduced in (
        ("exact", PLAIN, False),
        ("plain", PLAIN, True),
        ("shared", SharedProducts(), True),
    ):
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            output = torch.stack([products.linear(layer, rows) for rows in steps])
        (gradients[name],) = torch.autograd.grad(output.float().square().mean(), layer.weight)
        assert gradients[name].dtype == torch.float32
    exact, plain, shared = gradients.values()
    assert (shared - exact).norm() <= 1.2 * (plain - exact).norm() < 0.05 * exact.norm()
