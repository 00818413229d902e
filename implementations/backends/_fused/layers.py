"""GAT and GATv2 as modules around the kernels, with the operator's own parameters."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from implementations import epilogue
from implementations.backends._fused import functions
from implementations.backends._fused.functions import Setting
from implementations.backends._fused.noise import Noise, new_key
from implementations.backends._fused.structures import Edges, Rows, SparsePattern
from implementations.contract import LayerConfig, Operator, Params
from implementations.copying import Copyable, in_use, untraced
from implementations.features import indices, is_sparse


class _Known(NamedTuple):
    """A pattern, and the indices that it was made from: they are held, so no others can have come to lie there."""

    indices: tuple[Tensor, Tensor]
    versions: tuple[int | None, ...]  # how often each had been changed in place
    pattern: SparsePattern

    @classmethod
    def of(cls, x: Tensor) -> "_Known":
        found = indices(x)
        return cls(found, _versions(found), SparsePattern.of(x))

    def is_of(self, x: Tensor) -> bool:
        asked = indices(x)
        return _versions(asked) == self.versions and all(
            ours.data_ptr() == theirs.data_ptr() and ours.shape == theirs.shape
            for ours, theirs in zip(self.indices, asked, strict=True)
        )

    def is_untracked(self) -> bool:
        return None in self.versions


def _versions(found: tuple[Tensor, ...]) -> tuple[int | None, ...]:
    return tuple(None if each.is_inference() else each._version for each in found)


class FusedLayer(Copyable):
    """One attention layer. Parameters have canonical names and shapes, and lie in memory as the kernels read them.

    So they have no `view(-1)`, which `torch.nn.utils.parameters_to_vector` and unstructured pruning ask for. After
    `parameter.data = parameter.data.contiguous()` they have, and every forward brings them into that order anew.
    """

    made_again = ("_pattern",)

    def __init__(self, operator: Operator, config: LayerConfig) -> None:
        super().__init__()
        self.config = config
        self.is_v2 = operator.name == "gatv2"
        rows = Rows.of(config, torch.float32)
        self._names = tuple(operator.shapes(config))
        for name, start in operator.init(config, torch.Generator().manual_seed(0)).items():
            is_per_head = start.shape[:2] == (config.heads, config.out_channels) and name != "residual"
            value = rows.empty(*start.shape[2:]).copy_(start) if is_per_head else start
            self.register_parameter(name, nn.Parameter(value))
        self.noise: Noise | None = None  # decisions to use instead of drawn ones
        self._pattern: _Known | None = None

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """x [N, F], dense or sparse CSR -> [N, config.out_features].

        Raises:
            ValueError: x is not of that shape.
            TypeError: its dtype is not the parameters', or neither float32 nor float64.
        """
        if torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):  # the kernels have no dtype of their own to choose
                return self.forward(x, edges)
        params = self.params()
        aggregated = untraced(FusedLayer._aggregated)(self, params, x, edges)
        return epilogue.apply(self.config, params, x, aggregated)

    def _aggregated(self, params: Params, x: Tensor, edges: Edges) -> Tensor:
        """What attention makes of x: [N, H, C]."""
        rows = self.rows(params, x, edges)
        keeps = torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in params.values()))
        setting = Setting(edges, rows, self.config.negative_slope, self._noise(edges), keeps)
        source, target = self.project(params, x, rows)
        if self.is_v2:
            a = rows.pack(params["a"])
            out = functions.attention(True, setting, source, target, a, a.detach())
        else:
            vectors = rows.pack(params["a_source"]), rows.pack(params["a_target"])
            out = functions.attention(False, setting, source, source.detach(), *vectors)
        return functions.to_canonical(out, rows)

    def params(self) -> dict[str, Tensor]:
        """Canonical name -> value as it counts now."""
        return in_use(self, self._names)

    def rows(self, params: Params, x: Tensor, edges: Edges) -> Rows:
        """The layout of x's numbers. What does not fit would have the kernels read beyond it."""
        shape, dtype = (edges.num_nodes, self.config.in_channels), next(iter(params.values())).dtype
        if tuple(x.shape) != shape:
            raise ValueError(f"x has shape {tuple(x.shape)} where the graph and the layer have {shape}")
        if x.dtype != dtype:
            raise TypeError(f"x is {x.dtype} and the layer {dtype}: make them one, `layer.to(x.dtype)` for example")
        return Rows.of(self.config, dtype)

    def project(self, params: Params, x: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """Rows [N, row] of every node as a source and as a target; they are the same where the weight is."""
        if not self.is_v2:
            (source,) = self._products(x, [rows.pack(params["weight"])], [None])
            return source, source
        sides = ("source",) if self.config.share_weights else ("source", "target")
        weights = [rows.pack(params[f"w_{side}"]) for side in sides]
        biases = [rows.pack(params[f"b_{side}"]) if self.config.bias else None for side in sides]
        projected = self._products(x, weights, biases)
        return projected[0], projected[-1]

    def _products(self, x: Tensor, weights: list[Tensor], biases: list[Tensor | None]) -> tuple[Tensor, ...]:
        if is_sparse(x):
            return functions.sparse_products(x, self._pattern_of(x), weights, biases)
        pairs = zip(weights, biases, strict=True)
        return tuple(functions.dense_product(x, weight, bias) for weight, bias in pairs)

    def _pattern_of(self, x: Tensor) -> SparsePattern:
        """The order by column of x's entries, computed once for all x that share their indices."""
        known = self._pattern  # read once: another thread may put its own there
        if known is not None and known.is_of(x):
            return known.pattern
        made = _Known.of(x)
        self._pattern = None if made.is_untracked() else made
        return made.pattern

    def _noise(self, edges: Edges) -> Noise | None:
        if not self.training or self.config.attention_dropout == 0.0:
            return None
        count = edges.num_edges * self.config.heads
        return self.noise or Noise.draw(count, self.config.attention_dropout, new_key())


def coefficients(layer: FusedLayer, x: Tensor, edges: Edges) -> Tensor:
    """Attention [E, H] in the order of the graph's edges.

    The kernels keep no coefficients. Read from what they do keep: scores per node or edge, shift and inverse sum.
    """
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        params = layer.params()
        by_target = torch.repeat_interleave(torch.arange(edges.num_nodes), edges.target_rows.diff())
        rows = layer.rows(params, x, edges)
        source, target = layer.project(params, x, rows)
        setting = Setting(edges, rows, layer.config.negative_slope, None, keeps=True)
        vectors = [rows.pack(params[name]) for name in (("a", "a") if layer.is_v2 else ("a_source", "a_target"))]
        buffers = functions.Buffers.of(layer.is_v2, setting, source, target, *vectors)
        functions.attend(layer.is_v2, setting, buffers)
        if buffers.score is not None:
            score, shift, inverse = buffers.score, buffers.stats[:, 0], buffers.stats[:, 1]
        else:
            assert buffers.source_score is not None
            pair = buffers.source_score[edges.source_of] + buffers.stats[by_target, 0]
            score = nn.functional.leaky_relu(pair, layer.config.negative_slope)
            shift, inverse = buffers.stats[:, 1], buffers.stats[:, 2]
        in_order = torch.exp(score - shift[by_target]) * inverse[by_target]
        result = torch.empty_like(in_order)
        result[edges.order.to(torch.int64)] = in_order
        return result[:, : layer.config.heads].contiguous()


def memory_bytes(is_v2: bool, config: LayerConfig, num_nodes: int, num_edges: int) -> int:
    """Predicted peak of a training step of one layer in float32, beyond its input."""
    rows = Rows.of(config, torch.float32)
    # Projected rows, aggregated rows, their steep part or the target's rows; as many gradients; the layer's output.
    per_node = 8 * rows.row + 6 * rows.padded_heads + 3 * config.out_features
    scores = 2 * rows.padded_heads if is_v2 else 0
    per_edge_bytes = 4 * scores + (rows.row // 8 if is_v2 else 0) + math.ceil(config.heads / 8)
    weights = 6 * config.in_channels * rows.row * (2 if is_v2 else 1)
    return 4 * (num_nodes * per_node + weights) + num_edges * (per_edge_bytes + 24)
