"""The kernels as differentiable functions on rows in the kernels' own layout."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from implementations.backends._fused import library
from implementations.backends._fused.calls import (
    PARTS,
    Drop,
    Left,
    Multiply,
    MultiplyBack,
    Product,
    Program,
    SparseProduct,
)
from implementations.backends._fused.library import WIDTH, address, is_double, kernels
from implementations.backends._fused.noise import Noise, c_noise, new_key
from implementations.backends._fused.structures import Edges, Rows, SparsePattern, SparseRows
from implementations.features import is_sparse, with_values

NARROW = 16
"""Up to so many columns a product goes through our kernels; those that torch calls are made for wider ones."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What a call of an attention kernel needs besides numbers."""

    edges: Edges
    rows: Rows
    slope: float
    noise: Noise | None  # decision of edge e and head h at e * H + h
    keeps: bool  # what backward needs


def attention(
    is_v2: bool, setting: Setting, source: Tensor, target: Tensor, a_source: Tensor, a_target: Tensor
) -> Tensor:
    """Aggregated rows [N, row]. GATv2 takes its attention vector as `a_source`; GAT has no use for `target`."""
    out: Tensor = _Attention.apply(is_v2, setting, source, target, a_source, a_target)  # type: ignore[no-untyped-call]
    return out


def sparse_products(
    x: Tensor, pattern: SparsePattern, weights: Sequence[Tensor], biases: Sequence[Tensor | None]
) -> tuple[Tensor, ...]:
    """x weight + bias of each pair, for sparse CSR x [N, F] and weights [F, row]; x has no gradient."""
    products: tuple[Tensor, ...] = _SparseProducts.apply(x.values(), pattern, *weights, *biases)  # type: ignore[no-untyped-call]
    return products


def dense_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x weight + bias for dense x [N, F] and weight [F, row]."""
    if weight.shape[1] <= NARROW and weight.shape[0] % WIDTH[weight.dtype] == 0:
        product: Tensor = _NarrowProduct.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return product
    return x @ weight if bias is None else torch.addmm(bias, x, weight)


def dropout(x: Tensor, probability: float) -> Tensor:
    """x [N, F] with entries dropped by counter; of a sparse CSR x, which has no gradient, stored entries only."""
    if is_sparse(x):
        return with_values(x, _dropped(x.values(), Noise.draw(x.values().numel(), probability, new_key())))
    out: Tensor = _Dropout.apply(x, Noise.draw(x.numel(), probability, new_key()))  # type: ignore[no-untyped-call]
    return out


def to_canonical(out: Tensor, rows: Rows) -> Tensor:
    """Rows [N, row] -> [N, H, C]."""
    if not rows.heads_in_lanes:
        return out.view(-1, rows.heads, rows.padded_channels)[..., : rows.channels]
    canonical: Tensor = _ToCanonical.apply(out, rows)  # type: ignore[no-untyped-call]
    return canonical


class Buffers(NamedTuple):
    """What an attention kernel reads and writes, under the names of its struct."""

    source: Tensor
    target: Tensor
    a_source: Tensor
    a_target: Tensor
    stats: Tensor
    out: Tensor
    source_score: Tensor | None = None
    positive: Tensor | None = None
    score: Tensor | None = None
    sign: Tensor | None = None

    @classmethod
    def of(cls, is_v2: bool, setting: Setting, source: Tensor, target: Tensor, *vectors: Tensor) -> "Buffers":
        """The given tensors, and new ones for what is written."""
        N, E = setting.edges.num_nodes, setting.edges.num_edges
        row, stat_row, keeps = setting.rows.row, setting.rows.padded_heads, setting.keeps
        a_source, a_target = vectors
        return cls(
            source=source.contiguous(),
            target=target.contiguous(),
            a_source=a_source.contiguous(),
            a_target=a_target.contiguous(),
            stats=source.new_empty(N, kernels().fused_stats(setting.rows.heads_in_lanes), stat_row),
            out=source.new_empty(N, row),
            source_score=None if is_v2 else source.new_empty(N, stat_row),
            positive=source.new_empty(N, row) if keeps and not is_v2 else None,
            score=source.new_empty(E, stat_row) if keeps and is_v2 else None,
            sign=torch.empty(E, row // WIDTH[source.dtype], dtype=torch.uint8) if keeps and is_v2 else None,
        )


def attend(is_v2: bool, setting: Setting, buffers: Buffers) -> None:
    """Fill what is written: `out` is the aggregated rows."""
    call = _call(setting, buffers)
    kernels().fused_attend(ctypes.byref(call), is_double(buffers.out.dtype), is_v2, 0)


def attend_back(
    is_v2: bool, setting: Setting, buffers: Buffers, grad_out: Tensor
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Gradients of the source rows, of GATv2's target rows, and of both vectors [2, row]."""
    source = buffers.source
    grad_out = grad_out.contiguous()
    grad_source = torch.empty_like(source)
    grad_target = torch.empty_like(source) if is_v2 else None
    # Not in place of the scores: a graph that is retained runs backward again.
    grad_score = None if buffers.score is None else torch.empty_like(buffers.score)
    grad_a = source.new_empty(2, source.shape[1])
    partial = source.new_empty(kernels().fused_parts(), 2, source.shape[1])
    call = _call(setting, buffers)
    call.grad_out, call.grad_score = address(grad_out), address(grad_score)
    call.grad_source, call.grad_target = address(grad_source), address(grad_target)
    call.grad_a, call.partial = address(grad_a), address(partial)
    kernels().fused_attend(ctypes.byref(call), is_double(source.dtype), is_v2, 1)
    return grad_source, grad_target, grad_a


def _call(setting: Setting, buffers: Buffers) -> library.Attention:
    return library.Attention(
        edges=setting.edges.c(),
        shape=setting.rows.c(),
        noise=c_noise(setting.noise),
        slope=setting.slope,
        threads=torch.get_num_threads(),
        training=setting.keeps,
        **{name: address(buffer) for name, buffer in buffers._asdict().items()},
    )


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, is_v2: bool, setting: Setting, source: Tensor, target: Tensor, a_source: Tensor, a_target: Tensor
    ) -> Tensor:
        buffers = Buffers.of(is_v2, setting, source, target, a_source, a_target)
        attend(is_v2, setting, buffers)
        if setting.keeps:
            # As autograd keeps tensors: it frees them after use, and refuses those that were changed in between.
            ctx.is_v2, ctx.setting = is_v2, setting
            ctx.save_for_backward(*buffers)
        return buffers.out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        buffers = Buffers(*ctx.saved_tensors)
        grad_source, grad_target, grad_a = attend_back(ctx.is_v2, ctx.setting, buffers, grad_outputs[0])
        return None, None, grad_source, grad_target, grad_a[0], None if ctx.is_v2 else grad_a[1]


class _SparseProducts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, pattern: SparsePattern, *weights_and_biases: Tensor | None
    ) -> tuple[Tensor, ...]:
        values, ctx.pattern = values.contiguous(), pattern
        ctx.save_for_backward(values)
        count = len(weights_and_biases) // 2
        return _products(pattern.by_row, values, weights_and_biases[:count], weights_and_biases[count:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        count = len(grad_outputs)
        (values,) = ctx.saved_tensors
        weights = _products(ctx.pattern.by_column, values, grad_outputs, [None] * count)
        needed = ctx.needs_input_grad[2 + count :]
        biases = (grad.sum(0) if wanted else None for grad, wanted in zip(grad_outputs, needed, strict=True))
        return None, None, *weights, *biases


def _products(
    x: SparseRows, values: Tensor, tables: Sequence[Tensor | None], biases: Sequence[Tensor | None]
) -> tuple[Tensor, ...]:
    given = [
        (table.contiguous(), None if bias is None else bias.contiguous())
        for table, bias in zip(tables, biases, strict=True)
        if table is not None
    ]
    outs = tuple(table.new_empty(x.num_rows, table.shape[1]) for table, _ in given)
    products = [
        Product(address(table), address(bias), address(out), out.shape[1])
        for (table, bias), out in zip(given, outs, strict=True)
    ]
    _run(values.dtype, SparseProduct.of(x.c(), values, c_noise(None), products, in_order=False))
    return outs


class _NarrowProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _narrow_product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        grad = grad_outputs[0].contiguous()
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            _narrow_product(grad, weight.t(), None) if wants_x else None,
            _narrow_weight_gradient(x, grad) if wants_weight else None,
            grad.sum(0) if wants_bias else None,
        )


def _narrow_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    x, weight, bias = x.contiguous(), weight.contiguous(), None if bias is None else bias.contiguous()
    out = x.new_empty(len(x), weight.shape[1])
    sizes = (len(x), *weight.shape)
    _run(x.dtype, Multiply(*sizes, Left.of(x), address(weight), address(bias), address(out), False))
    return out


def _narrow_weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    x = x.contiguous()
    out = x.new_empty(x.shape[1], grad.shape[1])
    partial = x.new_empty(PARTS, *out.shape)
    _run(x.dtype, MultiplyBack(len(x), *out.shape, Left.of(x), address(grad), address(out), address(partial)))
    return out


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Noise) -> Tensor:
        ctx.noise = noise
        return _dropped(x, noise)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return _dropped(grad_outputs[0], ctx.noise), None


def _dropped(x: Tensor, noise: Noise) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    _run(x.dtype, Drop(x.numel(), c_noise(noise), address(x), address(out)))
    return out


def _run(dtype: torch.dtype, call: ctypes.Structure) -> None:
    program = Program(dtype, torch.get_num_threads())
    program.add(call)
    program.run()


class _ToCanonical(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, rows: Rows) -> Tensor:
        ctx.rows = rows
        canonical = out.new_empty(len(out), rows.heads, rows.channels)
        _reorder(kernels().fused_to_canonical, out, canonical, rows)
        return canonical

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        grad = grad_outputs[0].contiguous()
        own = grad.new_empty(len(grad), ctx.rows.row)
        _reorder(kernels().fused_from_canonical, grad, own, ctx.rows)
        return own, None


def _reorder(function: Any, given: Tensor, result: Tensor, rows: Rows) -> None:
    shape = rows.c()
    sizes = (is_double(given.dtype), torch.get_num_threads())
    function(address(given), address(result), len(given), ctypes.byref(shape), *sizes)
