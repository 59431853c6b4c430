"""Matrix products of a recurrent network, whose steps all multiply by the same matrices.

By the chain rule, the gradient of such a matrix is a sum over the steps. Autograd computes each summand as a separate
product and adds it to the previous ones: T steps take T small products, and the whole gradient goes to memory and back
T times. Shared products keep the operands of all steps, and compute one large product of them at the end.

A network calls `linear` and `matmul`, and runs its steps in `shared_products()`.

For a caption alone, a step takes as long as reading its matrices, and as each call. `MergedProducts` computes the
products of one operand at once, and looks up those of a word's embedding, which are the same in every caption.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

MAX_TABLE_BYTES = 2**26
"""Maximum size of a table of products with all words."""


class Products:
    """Plain form: separate products, as torch computes them."""

    def linear(self, layer: nn.Linear, rows: Tensor) -> Tensor:
        """Return layer(rows): [..., D] -> [..., O]."""
        return layer(rows)

    def between(self, rows: Tensor, matrix: Tensor) -> Tensor:
        """Return rows @ matrix: [B, K, D], [B, D, O] -> [B, K, O]."""
        return rows @ matrix

    def embed(self, layer: nn.Embedding, tokens: Tensor) -> Tensor:
        """Return layer(tokens): [...] -> [..., M]."""
        return layer(tokens)


class SharedProducts(Products):
    """Equal products, with the gradient of each layer and each matrix as one product. For one forward pass."""

    def __init__(self, groups: Sequence[Sequence[nn.Linear]] = ()) -> None:
        """groups: layers that multiply the same rows, as one product. A layer is in one of them at most."""
        self._merged = {layer: merged for merged in map(_Merged, groups) for layer in merged.layers}
        self._latest: dict[_Merged, tuple[Tensor, dict[nn.Linear, Tensor]]] = {}
        self._shared: dict[int, tuple[Any, _Shared]] = {}

    def linear(self, layer: nn.Linear, rows: Tensor) -> Tensor:
        if layer not in self._merged:
            self._merged[layer] = _Merged([layer])
        merged = self._merged[layer]
        latest, products = self._latest.get(merged, (None, {}))
        if latest is not rows:
            product = self._product(merged, merged.weight, rows)
            if any(each.bias is not None for each in merged.layers):
                product = product + merged.bias.to(product.dtype)
            products = merged.split(product)
            self._latest[merged] = rows, products
        return products[layer]

    def between(self, rows: Tensor, matrix: Tensor) -> Tensor:
        return self._product(matrix, matrix, rows)

    def _product(self, owner: Any, matrix: Tensor, rows: Tensor) -> Tensor:
        """owner: owner of the matrix. It is kept, so that no other object gets its id."""
        dtype = _product_dtype(rows)
        if id(owner) not in self._shared:
            self._shared[id(owner)] = owner, _Shared(matrix.to(dtype))
        return self._shared[id(owner)][1].product(rows.to(dtype))


class MergedProducts(Products):
    """Equal products, those of one operand as a single product, for inference. For one pass."""

    @torch.no_grad()
    def __init__(self, groups: Sequence[Sequence[nn.Linear]], embedding: nn.Embedding, embedded: Sequence[nn.Linear]):
        """groups: layers that multiply the same rows. A layer in several is never the first to multiply its rows.

        embedded: layers that multiply the embeddings. Their products with all words are computed here, unless the
        table of words, embeddings and products would take more than `MAX_TABLE_BYTES`.
        """
        self._groups, self._parts = [_Merged(group) for group in groups], {}
        merged, weight = _Merged(embedded), embedding.weight.detach()
        columns = weight.shape[1] + len(merged.bias)
        self._embedded, self._table = merged, None
        if len(weight) * columns * weight.element_size() <= MAX_TABLE_BYTES:
            self._table = torch.cat([weight, merged.product(weight)], dim=1)  # [V, M + O of all layers]
        else:
            self._groups.append(merged)

    def linear(self, layer: nn.Linear, rows: Tensor) -> Tensor:
        _, parts = self._parts.get(id(rows), (None, {}))
        if layer not in parts:
            group = next((group for group in self._groups if layer in group.layers), None)
            if group is None:
                return layer(rows)
            self._keep(rows, group, group.product(rows.flatten(0, -2)), rows.shape[:-1])
            _, parts = self._parts[id(rows)]
        return parts[layer]

    def embed(self, layer: nn.Embedding, tokens: Tensor) -> Tensor:
        if self._table is None:
            return layer(tokens)
        size = layer.embedding_dim
        embedding, products = nn.functional.embedding(tokens.flatten(), self._table).tensor_split([size], dim=-1)
        embedding = embedding.reshape(*tokens.shape, size)
        self._keep(embedding, self._embedded, products, tokens.shape)
        return embedding

    def _keep(self, rows: Tensor, group: "_Merged", products: Tensor, shape: Sequence[int]) -> None:
        """Keep the products of rows, [R, O of all layers], and the rows, so that no others get their id."""
        parts = group.split(products).items()
        self._parts[id(rows)] = rows, {layer: part.reshape(*shape, part.shape[-1]) for layer, part in parts}


class _Merged:
    """Layers with the same input, as one."""

    def __init__(self, layers: Sequence[nn.Linear]):
        self.layers = tuple(layers)
        self.weight = torch.cat([layer.weight for layer in layers])
        self.bias = torch.cat([_bias(layer) for layer in layers])

    def product(self, rows: Tensor) -> Tensor:
        """Return the products of all layers, [R, D] -> [R, O of all layers]."""
        return nn.functional.linear(rows, self.weight, self.bias)

    def split(self, products: Tensor) -> dict[nn.Linear, Tensor]:
        """Divide the products of all layers, [..., O of all layers], among the layers."""
        parts = products.split([layer.out_features for layer in self.layers], dim=-1)
        return dict(zip(self.layers, parts, strict=True))


def _bias(layer: nn.Linear) -> Tensor:
    return layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias


PLAIN = Products()

_products: ContextVar[Products] = ContextVar("products", default=PLAIN)


def linear(layer: nn.Linear, rows: Tensor) -> Tensor:
    """Return layer(rows): [..., D] -> [..., O]."""
    return _products.get().linear(layer, rows)


def matmul(rows: Tensor, matrix: Tensor) -> Tensor:
    """Return rows @ matrix: [B, K, D], [B, D, O] -> [B, K, O]."""
    return _products.get().between(rows, matrix)


def embed(layer: nn.Embedding, tokens: Tensor) -> Tensor:
    """Return layer(tokens): [...] -> [..., M]."""
    return _products.get().embed(layer, tokens)


@contextmanager
def computed_by(products: Products) -> Iterator[None]:
    """Compute the products of this block by other products, such as `MergedProducts`."""
    token = _products.set(products)
    try:
        yield
    finally:
        _products.reset(token)


@contextmanager
def shared_products(groups: Sequence[Sequence[nn.Linear]] = ()) -> Iterator[None]:
    """Compute the gradient of each matrix of `linear` and `matmul` as one product over all calls in this block.

    Without gradients, or outside such a block, products are plain. groups: as of `SharedProducts`.
    """
    with computed_by(SharedProducts(groups) if torch.is_grad_enabled() else PLAIN):
        yield


def plain_mean_of_rows(matrix: Tensor) -> Tensor:
    """[B, L, D] -> [B, 1, D]."""
    return matrix.mean(dim=1, keepdim=True)


def mean_of_rows(matrix: Tensor) -> Tensor:
    """Compute `plain_mean_of_rows` as a product, in a thirtieth of the time on a CPU.

    `mean` first copies 16-bit numbers to 32 bits there.
    """
    rows = matrix.shape[1]
    return matrix.new_full((matrix.shape[0], 1, rows), 1 / rows) @ matrix


def _product_dtype(rows: Tensor) -> torch.dtype:
    kind = rows.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else rows.dtype


_Operands = dict[int, tuple[Tensor, Tensor]]
"""Rows and the gradients of their products, by the number of the product, so that a second backward pass replaces them.

They are detached from the graph, which refers to the matrix: such a cycle would never be freed.
"""


class _Shared:
    """A layer's weight [O, D], or a matrix for each image [B, D, O], and its products."""

    def __init__(self, matrix: Tensor):
        self.operands: _Operands = {}
        self._matrix = _Gradient.apply(matrix, self.operands) if matrix.requires_grad else matrix
        self._count = 0

    def product(self, rows: Tensor) -> Tensor:
        """[..., D] -> [..., O]."""
        self._count += 1
        return _Product.apply(rows, self._matrix, self.operands, self._count)


def _multiplied(matrix: Tensor) -> Tensor:
    """Return what rows are multiplied by: [D, O] of a weight, which is stored transposed, or [B, D, O]."""
    return matrix if matrix.dim() == 3 else matrix.t()


class _Gradient(Function):
    """Identity; the backward pass, which follows those of all products, computes the gradient from their operands."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, operands: _Operands) -> Tensor:
        ctx.operands, ctx.by_image = operands, matrix.dim() == 3
        ctx.set_materialize_grads(False)
        return matrix.view_as(matrix)

    @staticmethod
    def backward(ctx: Any, _: None) -> tuple[Tensor | None, None]:
        if not ctx.operands:
            return None, None
        rows, gradients = (
            torch.cat([values if ctx.by_image else values.flatten(0, -2) for values in column], dim=-2)
            for column in zip(*ctx.operands.values(), strict=True)
        )
        # In the layout of the matrix: a transposed gradient would take as long to copy as to compute.
        return rows.mT @ gradients if ctx.by_image else gradients.mT @ rows, None


class _Product(Function):
    """rows @ matrix; the backward pass computes only the gradient of the rows and keeps the operands of the other."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrix: Tensor, operands: _Operands, number: int) -> Tensor:
        ctx.save_for_backward(rows, matrix)
        ctx.operands, ctx.number = operands, number
        return rows @ _multiplied(matrix)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, None]:
        rows, matrix = ctx.saved_tensors
        if ctx.needs_input_grad[1]:
            ctx.operands[ctx.number] = rows.detach(), gradient
        return gradient @ _multiplied(matrix).mT if ctx.needs_input_grad[0] else None, None, None, None
