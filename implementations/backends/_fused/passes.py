"""One pass over a network as a program: forward for evaluation, or forward, loss and backward for training."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from implementations.backends._fused import library
from implementations.backends._fused.arena import Arena
from implementations.backends._fused.calls import (
    PARTS,
    Activate,
    ActivateBack,
    Add,
    Attend,
    AttendBack,
    Fill,
    Left,
    Logits,
    Loss,
    Multiply,
    Program,
    Spread,
    SumColumns,
    near_rows,
    no_noise,
)
from implementations.backends._fused.inputs import DenseInputs, Inputs, Multiplied, SparseInputs
from implementations.backends._fused.library import WIDTH, Noise, address, kernels
from implementations.backends._fused.noise import SPARE_BYTES, threshold
from implementations.backends._fused.receptive import Field
from implementations.backends._fused.structures import Edges, SparseFeatures
from implementations.backends._fused.weights import Weight, Weights


@dataclass(frozen=True, eq=False)
class Net:
    """What every pass works on."""

    is_v2: bool
    weights: Sequence[Weights]
    feature_dropout: float
    key: Tensor  # [1] of this step's decisions
    threads: int

    @property
    def dtype(self) -> torch.dtype:
        """Of parameters, features and all that is computed."""
        return self.weights[0].dtype


@dataclass(frozen=True, eq=False)
class Data:
    """What a pass starts from."""

    field: Field
    x: Tensor  # of the field's nodes, in its order; sparse CSR or dense
    sparse: Mapping[int, SparseFeatures]  # the first so many rows of a sparse x
    labels: Tensor | None = None  # [n] of the nodes trained on; None: no training
    nodes: Tensor | None = None  # [n] those nodes in the field's order


class Mask(NamedTuple):
    """The decisions of one dropout site."""

    site: str  # "features 0", "attention 1"
    keep: Tensor  # bits
    decisions: int


@dataclass(eq=False)
class _Attended:
    """What a layer's forward leaves to its backward."""

    inputs: Inputs
    edges: Edges
    call: library.Attention
    source: Tensor
    target: Tensor | None  # None: the same as source, or of no use
    out: Tensor
    rest: list[Tensor]  # stats, scores and whatever else is of no use afterwards


@dataclass(eq=False)
class Pass:
    """See the module. Everything that the program points into is held here or by `net`, `data` and the arena."""

    net: Net
    data: Data
    arena: Arena
    program: Program = field(init=False)
    masks: list[Mask] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.program = Program(self.net.dtype, self.net.threads)
        self.trains = self.data.labels is not None
        self.loss = torch.zeros(1, dtype=self.net.dtype)
        self._losses = torch.zeros(PARTS, dtype=torch.float64)
        self._noises: dict[str, Noise] = {}
        self._pack()
        layers = self._forward()
        if self.trains:
            self._backward(layers, self._output_gradient())

    def _pack(self) -> None:
        for weights in self.net.weights:
            for weight in weights.by_name.values():
                weight.pack(self.program, with_transposed=self.trains)

    def _forward(self) -> list[_Attended]:
        layers: list[_Attended] = []
        inputs = self._first_inputs()
        for position, (weights, edges) in enumerate(zip(self.net.weights, self.data.field.layers, strict=True)):
            layer, more = self._attended(position, weights, inputs, edges)
            layers.append(layer)
            if weights.is_last:
                self._logits(weights, layer, more)
            else:
                inputs = self._activated(position, weights, layer, more)
            self.arena.give(more)
            if not self.trains:
                self._forget(layer)
        return layers

    def _first_inputs(self) -> Inputs:
        x = self.data.x
        if x.layout == torch.sparse_csr:
            noise = self._noise("features 0", x.values().numel(), self.net.feature_dropout)
            return SparseInputs(self.data.sparse, noise)
        noise = self._noise("features 0", x.numel(), self.net.feature_dropout)
        if not noise.keep:
            return DenseInputs(x)
        return DenseInputs(x, noise, self.arena.take(near_rows(len(x)), x.shape[1]))

    def _attended(
        self, position: int, weights: Weights, inputs: Inputs, edges: Edges
    ) -> tuple[_Attended, Tensor | None]:
        """Attention of one layer, and the residual part of its output."""
        row, targets = weights.rows.row, edges.num_targets
        source = self.arena.take(edges.num_nodes, row)
        target = more = None
        if self.net.is_v2:
            products = [Multiplied(weights["w_source"], weights.packed("b_source"), source)]
            if not weights.config.share_weights:
                target = self.arena.take(targets, row)
                products.append(Multiplied(weights["w_target"], weights.packed("b_target"), target))
        else:
            products = [Multiplied(weights["weight"], None, source)]
        if residual := weights.get("residual"):
            more = self.arena.take(targets, weights.out_row)
            products.append(Multiplied(residual, None, more))
        inputs.multiply(self.program, products)
        return self._attention(position, weights, edges, source, target, inputs), more

    def _attention(
        self, position: int, weights: Weights, edges: Edges, source: Tensor, target: Tensor | None, inputs: Inputs
    ) -> _Attended:
        is_v2, targets, rows = self.net.is_v2, edges.num_targets, weights.rows
        E, stat_row = edges.num_edges, rows.padded_heads
        take = self.arena.take
        out = take(targets, rows.row)
        stats = take(targets, kernels().fused_stats(rows.heads_in_lanes), stat_row)
        source_score = None if is_v2 else take(edges.num_nodes, stat_row)
        positive = take(targets, rows.row) if self.trains and not is_v2 else None
        score = take(E, stat_row) if self.trains and is_v2 else None
        sign_bytes = E * (rows.row // WIDTH[self.net.dtype])
        sign = take(-(-sign_bytes // self.net.dtype.itemsize)) if self.trains and is_v2 else None
        vectors = ("a", "a") if is_v2 else ("a_source", "a_target")
        call = library.Attention(
            edges=edges.c(),
            shape=rows.c(),
            noise=self._noise(f"attention {position}", E * rows.heads, weights.config.attention_dropout),
            slope=weights.config.negative_slope,
            threads=self.net.threads,
            training=self.trains,
            source=address(source),
            target=address(source if target is None else target),
            a_source=weights.packed(vectors[0]),
            a_target=weights.packed(vectors[1]),
            source_score=address(source_score),
            stats=address(stats),
            out=address(out),
            positive=address(positive),
            score=address(score),
            sign=address(sign),
            grad_score=address(score),
        )
        self.program.add(Attend(ctypes.pointer(call), is_v2))
        kept = [tensor for tensor in (stats, source_score, positive, score, sign) if tensor is not None]
        return _Attended(inputs, edges, call, source, target, out, kept)

    def _activated(self, position: int, weights: Weights, layer: _Attended, more: Tensor | None) -> Inputs:
        """The next layer's input: dropout(ELU(.))."""
        targets, row = layer.out.shape
        noise = self._noise(f"features {position + 1}", targets * row, self.net.feature_dropout)
        rows = self.arena.take(targets, row)
        self.program.add(
            Activate(targets, row, address(layer.out), address(more), weights.packed("bias"), noise, address(rows))
        )
        return DenseInputs(rows)

    def _logits(self, weights: Weights, layer: _Attended, more: Tensor | None) -> None:
        targets = layer.edges.num_targets
        self.logits = self.arena.take(targets, weights.out_row)
        self.program.add(
            Logits(
                targets,
                weights.out_row,
                weights.rows.c(),
                address(layer.out),
                address(more),
                weights.packed("bias"),
                address(self.logits),
            )
        )

    def _output_gradient(self) -> Tensor:
        """Of the logits; the loss beside it."""
        labels, nodes = self.data.labels, self.data.nodes
        assert labels is not None
        grad = self.arena.take(*self.logits.shape)
        self.program.add(
            Loss(
                *self.logits.shape,
                self.net.weights[-1].config.out_channels,
                len(labels),
                address(nodes),
                address(labels),
                address(self.logits),
                address(grad),
                address(self.loss),
                address(self._losses),
            )
        )
        self.arena.give(self.logits)  # whoever wants logits evaluates
        return grad

    def _backward(self, layers: list[_Attended], grad: Tensor) -> None:
        """From the gradient of what leaves the last layer to those of all parameters."""
        for position in reversed(range(len(layers))):
            weights, layer = self.net.weights[position], layers[position]
            self._sum_columns(grad, weights.get("bias"))
            grad_out = self._spread(weights, grad) if weights.is_last else grad
            grad_source, grad_target = self._attention_gradient(weights, layer, grad_out)
            self._forget(layer)
            products = self._products(weights, grad, grad_source, grad_target)
            layer.inputs.gradients(self.program, self.arena, products)
            before = self._input_gradient(layer, products) if position else None
            self.arena.give(grad_source, grad_target, grad, None if grad_out is grad else grad_out)
            if before is not None:
                self._through_activation(position, layer, before)
                grad = before

    def _spread(self, weights: Weights, grad: Tensor) -> Tensor:
        """The mean over heads backwards; the same rows where there is one head."""
        if weights.config.heads == 1 and weights.rows.row == grad.shape[1]:
            return grad
        spread = self.arena.take(len(grad), weights.rows.row)
        self.program.add(Spread(*grad.shape, weights.rows.c(), address(grad), address(spread)))
        return spread

    def _attention_gradient(self, weights: Weights, layer: _Attended, grad_out: Tensor) -> tuple[Tensor, Tensor | None]:
        row = weights.rows.row
        grad_source = self.arena.take(layer.edges.num_nodes, row)
        grad_target = self.arena.take(layer.edges.num_targets, row) if self.net.is_v2 else None
        partial = self.arena.take(PARTS, 2, row)
        call = layer.call
        call.grad_out, call.grad_source, call.grad_target = (
            address(grad_out),
            address(grad_source),
            address(grad_target),
        )
        call.grad_a, call.partial = address(weights.vector_grads), address(partial)
        self.program.add(AttendBack(ctypes.pointer(call), self.net.is_v2))
        self.arena.give(partial)
        if grad_target is not None and weights.config.share_weights:
            self.program.add(Add(grad_target.numel(), address(grad_target), address(grad_source)))
        return grad_source, grad_target

    def _products(
        self, weights: Weights, grad: Tensor, grad_source: Tensor, grad_target: Tensor | None
    ) -> list[tuple[Weight, Tensor]]:
        """Each weight that the layer's input was multiplied with, and the gradient of that product."""
        self._sum_columns(grad_source, weights.get("b_source"))
        products = [(weights["w_source" if self.net.is_v2 else "weight"], grad_source)]
        if grad_target is not None and not weights.config.share_weights:
            self._sum_columns(grad_target, weights.get("b_target"))
            products.append((weights["w_target"], grad_target))
        if residual := weights.get("residual"):
            products.append((residual, grad))
        return products

    def _input_gradient(self, layer: _Attended, products: list[tuple[Weight, Tensor]]) -> Tensor:
        """Of the layer's input rows: the sum over all that they were multiplied with."""
        transposed = products[0][0].transposed
        assert transposed is not None
        before = self.arena.take(layer.edges.num_nodes, transposed.shape[1])
        for number, (weight, rows) in enumerate(products):
            self.program.add(
                Multiply(
                    *rows.shape,
                    before.shape[1],
                    Left.of(rows),
                    address(weight.transposed),
                    None,
                    address(before),
                    number > 0,
                )
            )
        return before

    def _through_activation(self, position: int, layer: _Attended, grad: Tensor) -> None:
        """From the gradient of a layer's input to that of what left the layer before."""
        assert isinstance(layer.inputs, DenseInputs)
        noise = self._noises[f"features {position}"]
        self.program.add(ActivateBack(*grad.shape, address(layer.inputs.rows), noise, address(grad)))
        self.arena.give(layer.inputs.rows)

    def _sum_columns(self, grad: Tensor, weight: Weight | None) -> None:
        if weight is None:
            return
        partial = self.arena.take(PARTS, grad.shape[1])
        self.program.add(SumColumns(*grad.shape, address(grad), address(weight.grad), address(partial)))
        self.arena.give(partial)

    def _forget(self, layer: _Attended) -> None:
        self.arena.give(layer.source, layer.target, layer.out, *layer.rest)

    def _noise(self, site: str, count: int, probability: float) -> Noise:
        """The decisions of a site, drawn anew in each step of training."""
        noise = no_noise()
        if self.trains and probability:
            keep = torch.empty(count // 8 + SPARE_BYTES, dtype=torch.uint8)
            stream = len(self.masks)
            self.program.add(Fill(address(self.net.key), stream, threshold(probability), count, address(keep)))
            self.masks.append(Mask(site, keep, count))
            noise = Noise(address(keep), 1 / (1 - probability))
        self._noises[site] = noise
        return noise
