"""What a layer's weights are multiplied with: sparse features, or rows of numbers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from implementations.backends._fused.arena import Arena
from implementations.backends._fused.calls import (
    MOST_PRODUCTS,
    PARTS,
    Left,
    Multiply,
    MultiplyBack,
    Product,
    Program,
    SparseProduct,
)
from implementations.backends._fused.library import Noise, address
from implementations.backends._fused.structures import SparseFeatures, SparseRows
from implementations.backends._fused.weights import Weight

Item = TypeVar("Item")


class Multiplied(NamedTuple):
    """A product with a layer's input: out [n, row] = x w + b, for as many rows as `out` has."""

    weight: Weight
    bias: int | None
    out: Tensor


class Inputs(Protocol):
    """A layer's input, dropped out already or while it is read."""

    def multiply(self, program: Program, products: Sequence[Multiplied]) -> None:
        """All products of one input."""
        ...

    def gradients(self, program: Program, arena: Arena, products: Sequence[tuple[Weight, Tensor]]) -> None:
        """The weights' gradients from those of their products, rows beyond a gradient's being zero."""
        ...


class SparseInputs:
    """Features that are read entry by entry; dropped ones are passed over. One pass serves several products."""

    def __init__(self, features: Mapping[int, SparseFeatures], noise: Noise) -> None:
        self.features = features  # of the first so many rows
        self.noise = noise

    def multiply(self, program: Program, products: Sequence[Multiplied]) -> None:
        """See `Inputs`."""
        for rows, alike in _by_rows((len(product.out), product) for product in products):
            calls = [Product(address(w.packed), bias, address(out), out.shape[1]) for w, bias, out in alike]
            x = self.features[rows]
            program.add(self._call(x.pattern.by_row, x.by_row, calls))

    def gradients(self, program: Program, arena: Arena, products: Sequence[tuple[Weight, Tensor]]) -> None:
        """See `Inputs`."""
        for rows, alike in _by_rows((len(grad), (weight, grad)) for weight, grad in products):
            calls = [Product(address(grad), None, address(w.grad), grad.shape[1]) for w, grad in alike]
            x = self.features[rows]
            program.add(self._call(x.pattern.by_column, x.by_column, calls))

    def _call(self, x: SparseRows, values: Tensor, products: Sequence[Product]) -> SparseProduct:
        return SparseProduct.of(x.c(), values, self.noise, products, in_order=True)


class DenseInputs:
    """Rows of numbers, dropped out already or, with `noise`, while they are read: into `near`, not as a second copy."""

    def __init__(self, rows: Tensor, noise: Noise | None = None, near: Tensor | None = None) -> None:
        self.rows = rows
        self._left = Left.of(rows, noise, near)

    def multiply(self, program: Program, products: Sequence[Multiplied]) -> None:
        """See `Inputs`."""
        inner = self.rows.shape[1]
        for weight, bias, out in products:
            sizes = (out.shape[0], inner, out.shape[1])
            program.add(Multiply(*sizes, self._left, address(weight.packed), bias, address(out), False))

    def gradients(self, program: Program, arena: Arena, products: Sequence[tuple[Weight, Tensor]]) -> None:
        """See `Inputs`."""
        for weight, grad in products:
            sizes = (grad.shape[0], self.rows.shape[1], grad.shape[1])
            partial = arena.take(PARTS, *sizes[1:])
            ends = (address(weight.grad), address(partial))
            program.add(MultiplyBack(*sizes, self._left, address(grad), *ends))
            arena.give(partial)


def _by_rows(items: Iterable[tuple[int, Item]]) -> Iterator[tuple[int, Sequence[Item]]]:
    """Those with as many rows together, at most as many as one call takes."""
    alike: dict[int, list[Item]] = {}
    for rows, item in items:
        alike.setdefault(rows, []).append(item)
    for rows, found in alike.items():
        for first in range(0, len(found), MOST_PRODUCTS):
            yield rows, found[first : first + MOST_PRODUCTS]


def restricted(x: Tensor, nodes: Tensor) -> Tensor:
    """Rows of sparse CSR or dense x."""
    if x.layout != torch.sparse_csr:
        return x[nodes]
    starts, lengths = x.crow_indices()[nodes], x.crow_indices().diff()[nodes]
    rows = torch.cat([starts.new_zeros(1), lengths.cumsum(0)])
    entries = torch.arange(int(rows[-1])) + torch.repeat_interleave(starts - rows[:-1], lengths)
    return torch.sparse_csr_tensor(
        rows, x.col_indices()[entries], x.values()[entries], (len(nodes), x.shape[1]), check_invariants=False
    )
