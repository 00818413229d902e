"""The least that a step must do: operations and bytes of attention layers, counted from their shapes alone.

Symbols as everywhere (N nodes, E edges, F features in, H heads, C channels), and for one layer

    D = H C        P parameters        O columns of all its projections together        4 bytes a number
    S              stored entries of its input: non-zeros where that is sparse, else N F
    K              numbers per node and head that a pair's score is made of: 1 for GAT, C for GATv2
    s              1 where scores are made of other numbers than what is sent (K != C), else 0

Bytes are compulsory: each array is read or written once per pass that cannot be fused with its neighbour, as if caches
held all the rest. Gathered bytes are what edges fetch from other nodes, as if nothing were ever found in a cache.

    forward    flops     2 S O + 4 s N D + E H (5 K + 6) + 2 E D + N out
               bytes     x + 4 P + 8 N O + 4 N out + (4 E + 8 N)
               gathered  4 E D + 4 s E H
    backward   flops     2 S O + 2 N F O (not of the first layer) + 8 s N D + E H (8 K + 4) + 4 E D
               bytes     x + 4 P + 12 N O + 4 N out + 4 N F (not of the first layer) + 2 (4 E + 8 N)
               gathered  4 E (3 - s) D + 12 s E H
    Adam       flops     14 P
               bytes     28 P

where x is 8 S bytes sparse (value and column) and 4 N F dense, and `out` is the layer's output width. Softmax,
LeakyReLU and exp count one operation each per number; random numbers, ELU and the loss are left out: they can hide
behind the rest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from implementations.contract import LayerConfig, Operator

NUMBER_BYTES = 4
SPARSE_ENTRY_BYTES = 8


@dataclass(frozen=True)
class Work:
    """What has to be done, whoever does it."""

    flops: float = 0.0
    bytes: float = 0.0  # compulsory
    gathered_bytes: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.flops + other.flops, self.bytes + other.bytes, self.gathered_bytes + other.gathered_bytes
        )  # fmt: skip

    @property
    def intensity(self) -> float:
        """Operations per compulsory byte."""
        return self.flops / self.bytes

    def floor_s(self, flops_per_s: float, bytes_per_s: float) -> tuple[float, float]:
        """Seconds below which no implementation comes on such a machine.

        low  = max(flops / GEMM speed, compulsory bytes / copy speed)
        high = max(flops / GEMM speed, (compulsory + gathered bytes) / copy speed)
        """
        compute_s = self.flops / flops_per_s
        low_s = max(compute_s, self.bytes / bytes_per_s)
        return low_s, max(compute_s, (self.bytes + self.gathered_bytes) / bytes_per_s)


@dataclass(frozen=True)
class Size:
    """What a network works on."""

    nodes: int
    edges: int  # with self-loops
    stored_features: int  # S of the first layer


def evaluation(operator: Operator, configs: Sequence[LayerConfig], size: Size) -> Work:
    """One forward pass through the layers."""
    return sum((_Layer.of(operator, configs, position, size).forward() for position in range(len(configs))), Work())


def training(operator: Operator, configs: Sequence[LayerConfig], size: Size) -> Work:
    """One training step: forward, backward, Adam."""
    layers = [_Layer.of(operator, configs, position, size) for position in range(len(configs))]
    return sum((layer.forward() + layer.backward() + layer.adam() for layer in layers), Work())


@dataclass(frozen=True)
class _Layer:
    """One layer in the symbols of the module's docstring."""

    N: int
    E: int
    F: int
    H: int
    C: int
    K: int
    O: int  # noqa: E741
    P: int
    S: int
    out: int
    is_first: bool

    @classmethod
    def of(cls, operator: Operator, configs: Sequence[LayerConfig], position: int, size: Size) -> "_Layer":
        config = configs[position]
        P, wider = (_parameters(operator, replace(config, in_channels=config.in_channels + more)) for more in (0, 1))
        return cls(
            N=size.nodes,
            E=size.edges,
            F=config.in_channels,
            H=config.heads,
            C=config.out_channels,
            K=_score_width(operator, config),
            O=wider - P,
            P=P,
            S=size.nodes * config.in_channels if position else size.stored_features,
            out=config.out_features,
            is_first=position == 0,
        )

    @property
    def D(self) -> int:  # noqa: N802
        return self.H * self.C

    @property
    def s(self) -> int:
        return int(self.K != self.C)

    @property
    def x_bytes(self) -> float:
        dense = NUMBER_BYTES * self.N * self.F
        return min(dense, SPARSE_ENTRY_BYTES * self.S) if self.is_first else dense

    @property
    def index_bytes(self) -> float:
        return 4 * self.E + 8 * self.N

    def forward(self) -> Work:
        N, E, H, D, K, s = self.N, self.E, self.H, self.D, self.K, self.s
        return Work(
            flops=2 * self.S * self.O + 4 * s * N * D + E * H * (5 * K + 6) + 2 * E * D + N * self.out,
            bytes=self.x_bytes + 4 * self.P + 8 * N * self.O + 4 * N * self.out + self.index_bytes,
            gathered_bytes=4 * E * D + 4 * s * E * H,
        )

    def backward(self) -> Work:
        N, E, H, D, K, s = self.N, self.E, self.H, self.D, self.K, self.s
        later = 0 if self.is_first else N * self.F
        return Work(
            flops=2 * (self.S + later) * self.O + 8 * s * N * D + E * H * (8 * K + 4) + 4 * E * D,
            bytes=self.x_bytes + 4 * self.P + 12 * N * self.O + 4 * N * self.out + 4 * later + 2 * self.index_bytes,
            gathered_bytes=4 * E * (3 - s) * D + 12 * s * E * H,
        )

    def adam(self) -> Work:
        return Work(flops=14 * self.P, bytes=28 * self.P)


def _parameters(operator: Operator, config: LayerConfig) -> int:
    return sum(math.prod(shape) for shape in operator.shapes(config).values())


def _score_width(operator: Operator, config: LayerConfig) -> int:
    """K, as the operator's own terms have it."""
    narrow = replace(config, in_channels=1)
    params = operator.init(narrow, torch.Generator().manual_seed(0))
    return operator.terms(narrow, params, torch.zeros(1, 1)).source.shape[-1]
