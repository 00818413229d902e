"""PyTorch Geometric's own GATConv and GATv2Conv, self-loops and duplicates left as the graph has them."""

import importlib
import warnings
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from implementations.contract import Backend, Fact, Graph, LayerConfig, Operator, Semantics
from implementations.features import FeatureLinear

NAMES = {
    "gat": {"weight": "conv.lin.weight", "a_source": "conv.att_src", "a_target": "conv.att_dst"},
    "gatv2": {
        "w_source": "conv.lin_l.weight",
        "b_source": "conv.lin_l.bias",
        "w_target": "conv.lin_r.weight",
        "b_target": "conv.lin_r.bias",
        "a": "conv.att",
    },
}
AFTER_AGGREGATION = {"residual": "conv.res.weight", "bias": "conv.bias"}


class PygLayer(nn.Module):
    """A convolution whose first products also take sparse features."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """x [N, F] -> [N, config.out_features]."""
        out: Tensor = self.conv(x, edge_index)
        return out


class _Pyg:
    name = "pyg"
    packages = ("torch-geometric",)
    sparse_features = True
    semantics: Semantics = {
        "self-loops": Fact(
            "removes the graph's own and adds one to every node, in each forward (add_self_loops=True)",
            "takes the edges as given (add_self_loops=False)",
        ),
        "bias sites": Fact(
            "GAT: on the output; GATv2: on both projections (so in scores and messages) and on the output",
            "the same: they are the canonical sites",
        ),
        "initialisation": Fact(
            "Glorot uniform for weights and attention vectors, zero biases", "the canonical values are loaded"
        ),
        "dropout sites": Fact(
            "coefficients after the softmax, per edge and head; none on features",
            "the same; features are dropped by the harness",
        ),
        "weight sharing": Fact(
            "GAT: one weight; GATv2: two, or one with share_weights=True, which shares the bias too", "as configured"
        ),
        "duplicate edges": Fact("each a term of its own", "each a term of its own"),
    }

    def unsupported(self, operator: Operator, config: LayerConfig, device: torch.device) -> str | None:
        if operator.name not in NAMES:
            return f"PyG has no layer that computes {operator.name}"
        try:
            _convolutions()
        except ImportError as problem:
            return f"PyG cannot be imported ({problem}); pip install torch-geometric"
        return None

    def memory_bytes(self, operator: Operator, config: LayerConfig, num_nodes: int, num_edges: int) -> int:
        per_edge = 10 * config.heads * config.out_channels + 8 * config.heads
        return 4 * (num_edges * per_edge + num_nodes * 6 * config.heads * config.out_channels)

    def prepare(self, graph: Graph, device: torch.device) -> Tensor:
        return graph.edge_index.to(device)

    def layer(self, operator: Operator, config: LayerConfig) -> nn.Module:
        options: dict[str, Any] = {
            "in_channels": config.in_channels,
            "out_channels": config.out_channels,
            "heads": config.heads,
            "concat": config.concat,
            "negative_slope": config.negative_slope,
            "dropout": config.attention_dropout,
            "add_self_loops": False,
            "bias": config.bias,
            "residual": config.residual,
        }
        if operator.name == "gat":
            conv = _convolutions().GATConv(**options)
        else:
            conv = _convolutions().GATv2Conv(**options, share_weights=config.share_weights)
        _take_sparse_features(conv)
        return PygLayer(conv)

    def names(self, operator: Operator, config: LayerConfig) -> Mapping[str, str]:
        known = NAMES[operator.name] | AFTER_AGGREGATION
        return {name: known[name] for name in operator.shapes(config)}

    def attention(self, layer: nn.Module, x: Tensor, prepared: Any) -> Tensor:
        assert isinstance(layer, PygLayer)
        _, (_, coefficients) = layer.conv(x, prepared, return_attention_weights=True)
        assert isinstance(coefficients, Tensor)
        return coefficients


BACKEND: Backend = _Pyg()


@cache
def _convolutions() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own uses of torch.jit, which torch has deprecated
        return importlib.import_module("torch_geometric.nn")


def _take_sparse_features(conv: nn.Module) -> None:
    """Put `FeatureLinear` with the same parameters in place of the products that see the layer's input."""
    replaced: dict[nn.Module, FeatureLinear] = {}  # a shared product stays shared
    for name in ("lin", "lin_l", "lin_r", "res"):
        product = getattr(conv, name, None)
        if product is not None:
            replaced.setdefault(product, _feature_linear(product))
            setattr(conv, name, replaced[product])


def _feature_linear(product: Any) -> FeatureLinear:
    linear = FeatureLinear(product.in_channels, product.out_channels, bias=product.bias is not None)
    linear.weight, linear.bias = product.weight, product.bias
    return linear
