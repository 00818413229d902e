"""PyTorch Geometric's GATConv, GATv2Conv and TransformerConv, self-loops and duplicates left as the graph has them."""

import importlib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from implementations import features
from implementations.contract import (
    Backend,
    Drawn,
    DrawsBlocks,
    Fact,
    Graph,
    LayerConfig,
    Operator,
    Semantics,
    TrainingProblem,
    message_passing_bytes,
)

NAMES = {
    "gat": {"weight": "conv.lin.weight", "a_source": "conv.att_src", "a_target": "conv.att_dst"},
    "gatv2": {
        "w_source": "conv.lin_l.weight",
        "b_source": "conv.lin_l.bias",
        "w_target": "conv.lin_r.weight",
        "b_target": "conv.lin_r.bias",
        "a": "conv.att",
    },
    "dpgat": {
        "w_source": "conv.lin_key.weight",
        "w_target": "conv.lin_query.weight",
        "w_value": "conv.lin_value.weight",
        "residual": "conv.lin_skip.weight",
    },
}
PROJECTIONS = ("lin", "lin_l", "lin_r", "res", "lin_key", "lin_query", "lin_value", "lin_skip")
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
    shipped_features: Literal["dense", "sparse"] = "dense"
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
            "Glorot uniform for weights and attention vectors; the output's bias zero, "
            "GATv2's biases on the projections uniform in +-1/sqrt(F)",
            "the canonical values are loaded",
        ),
        "dropout sites": Fact(
            "coefficients after the softmax, per edge and head; none on features",
            "the same; features are dropped before the layer, by torch",
        ),
        "weight sharing": Fact(
            "GAT: one weight; GATv2: two, or one with share_weights=True, which shares the bias too", "as configured"
        ),
        "duplicate edges": Fact("each a term of its own", "each a term of its own"),
    }

    def unsupported(self, operator: Operator, config: LayerConfig, device: torch.device) -> str | None:
        if operator.name not in NAMES:
            return f"PyG has no layer that computes {operator.name}"
        if operator.name == "dpgat" and (config.bias or config.share_weights):
            return "PyG's TransformerConv has biases on keys, queries and values or none at all, and shares no weights"
        try:
            _convolutions()
        except (ImportError, OSError) as problem:  # OSError: a compiled part that does not fit this torch
            return f"PyG cannot be imported ({problem}); pip install torch-geometric"
        return None

    def memory_bytes(self, operator: Operator, config: LayerConfig, num_nodes: int, num_edges: int) -> int:
        return message_passing_bytes(config, num_nodes, num_edges)

    def prepare(self, graph: Graph, device: torch.device) -> Tensor:
        return graph.edge_index.to(device)

    def layer(self, operator: Operator, config: LayerConfig) -> nn.Module:
        common: dict[str, Any] = {
            "in_channels": config.in_channels,
            "out_channels": config.out_channels,
            "heads": config.heads,
            "concat": config.concat,
            "dropout": config.attention_dropout,
            "bias": config.bias,
        }
        own = {"negative_slope": config.negative_slope, "add_self_loops": False, "residual": config.residual}
        if operator.name == "gat":
            conv = _convolutions().GATConv(**common, **own)
        elif operator.name == "gatv2":
            conv = _convolutions().GATv2Conv(**common, **own, share_weights=config.share_weights)
        else:
            conv = _convolutions().TransformerConv(**common, root_weight=config.residual)
            if not config.residual:
                del conv.lin_skip  # there all the same, and never used
        features.take_sparse_features(conv, PROJECTIONS)
        return PygLayer(conv)

    def names(self, operator: Operator, config: LayerConfig) -> Mapping[str, str]:
        known = AFTER_AGGREGATION | NAMES[operator.name]
        return {name: known[name] for name in operator.shapes(config)}

    def attention(self, layer: nn.Module, x: Tensor, prepared: Any) -> Tensor:
        assert isinstance(layer, PygLayer)
        _, (_, coefficients) = layer.conv(x, prepared, return_attention_weights=True)
        assert isinstance(coefficients, Tensor)
        return coefficients

    def dropout(self, x: Tensor, probability: float) -> Tensor:
        return features.dropout(x, probability)

    def whole_step(self, operator: Operator, problem: TrainingProblem) -> None:
        return None

    def unsampled(self) -> str | None:
        if any(importlib.util.find_spec(name) for name in ("pyg_lib", "torch_sparse")):
            return None
        return (
            "PyG's NeighborLoader needs pyg-lib or torch-sparse: with a C++ compiler, "
            "`pip install --no-build-isolation torch-scatter torch-sparse` builds the latter"
        )

    def sampler(self, starts: Tensor, neighbours: Tensor, fanout: Sequence[int], seed: int) -> DrawsBlocks:
        """NeighborLoader, not disjoint: a node's edges are drawn once, and all layers see all edges."""
        targets_of = torch.repeat_interleave(torch.arange(len(starts) - 1), starts.diff())
        edges = torch.stack([neighbours.long(), targets_of])
        data = _package("data").Data(edge_index=edges, num_nodes=len(starts) - 1)
        generator = torch.Generator().manual_seed(seed)

        def draw(targets: Tensor, at_once: int) -> Iterator[Drawn]:
            # It draws from torch's global generator, which dropout does, too: each goes on with a state of its own.
            seed_of_epoch = int(torch.randint(2**31, (), generator=generator))
            state = torch.Generator().manual_seed(seed_of_epoch).get_state()
            options = {"num_neighbors": list(fanout), "input_nodes": targets, "batch_size": at_once}
            parts: Iterator[Any] | None = None
            while True:
                with torch.random.fork_rng(devices=[]):
                    torch.set_rng_state(state)
                    parts = parts or iter(_loader(data, **options))  # which draws, too
                    part = next(parts, None)
                    state = torch.get_rng_state()
                if part is None:
                    return
                yield Drawn(part.n_id, [part.edge_index])

        return draw


BACKEND: Backend = _Pyg()


def _loader(data: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using 'NeighborSampler' without a 'pyg-lib'")  # torch-sparse does as well
        return _package("loader").NeighborLoader(data, **options)


@cache
def _convolutions() -> ModuleType:
    return _package("nn")


@cache
def _package(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own uses of torch.jit, which torch has deprecated
        return importlib.import_module(f"torch_geometric.{name}")
