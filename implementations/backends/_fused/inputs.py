"""What a layer's weights are multiplied with: sparse features, or rows of numbers."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from implementations.backends._fused.arena import Arena
from implementations.backends._fused.calls import (
    PARTS,
    Multiply,
    MultiplyBack,
    Program,
    SparseProduct,
)
from implementations.backends._fused.library import Noise, address
from implementations.backends._fused.structures import SparsePattern
from implementations.backends._fused.weights import Weight


class Inputs(Protocol):
    """A layer's input, dropped out already or while it is read."""

    def multiply(self, program: Program, weight: Weight, bias: int | None, out: Tensor) -> None:
        """out [n, row] = x w + b, for as many rows as `out` has."""
        ...

    def gradient(self, program: Program, arena: Arena, grad: Tensor, weight: Weight) -> None:
        """The weight's gradient from that of the product, rows beyond grad's being zero."""
        ...


class SparseInputs:
    """Features that are read entry by entry; dropped ones are passed over."""

    def __init__(self, patterns: Mapping[int, SparsePattern], values: Tensor, noise: Noise) -> None:
        self.patterns = patterns  # of the first so many rows
        self.values = values
        self.noise = noise

    def multiply(self, program: Program, weight: Weight, bias: int | None, out: Tensor) -> None:
        """See `Inputs`."""
        program.add(
            SparseProduct(
                self.patterns[out.shape[0]].by_row.c(),
                address(self.values),
                self.noise,
                address(weight.packed),
                bias,
                address(out),
                out.shape[1],
            )
        )

    def gradient(self, program: Program, arena: Arena, grad: Tensor, weight: Weight) -> None:
        """See `Inputs`."""
        program.add(
            SparseProduct(
                self.patterns[grad.shape[0]].by_column.c(),
                address(self.values),
                self.noise,
                address(grad),
                None,
                address(weight.grad),
                grad.shape[1],
            )
        )


class DenseInputs:
    """Rows of numbers."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def multiply(self, program: Program, weight: Weight, bias: int | None, out: Tensor) -> None:
        """See `Inputs`."""
        program.add(
            Multiply(
                out.shape[0],
                self.rows.shape[1],
                out.shape[1],
                address(self.rows),
                address(weight.packed),
                bias,
                address(out),
                False,
            )
        )

    def gradient(self, program: Program, arena: Arena, grad: Tensor, weight: Weight) -> None:
        """See `Inputs`."""
        inner, row = self.rows.shape[1], grad.shape[1]
        partial = arena.take(PARTS, inner, row)
        program.add(
            MultiplyBack(
                grad.shape[0], inner, row, address(self.rows), address(grad), address(weight.grad), address(partial)
            )
        )
        arena.give(partial)


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
