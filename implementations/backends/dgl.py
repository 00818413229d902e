"""DGL's own GATConv and GATv2Conv, zero in-degrees allowed; heads, bias and residual follow outside."""

import importlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from implementations import epilogue, features
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
)
from implementations.copying import in_use

NAMES = {
    "gat": {"weight": "conv.fc.weight", "a_source": "conv.attn_l", "a_target": "conv.attn_r"},
    "gatv2": {
        "w_source": "conv.fc_src.weight",
        "b_source": "conv.fc_src.bias",
        "w_target": "conv.fc_dst.weight",
        "b_target": "conv.fc_dst.bias",
        "a": "conv.attn",
    },
}


class DglLayer(nn.Module):
    """A convolution that gives [N, H, C], and what every layer does after it."""

    def __init__(self, conv: nn.Module, config: LayerConfig) -> None:
        super().__init__()
        self.conv = conv
        self.config = config
        for name, start in epilogue.init(config, torch.Generator().manual_seed(0)).items():
            self.register_parameter(name, nn.Parameter(start))

    def forward(self, x: Tensor, graph: Any) -> Tensor:
        """x [N, F] -> [N, config.out_features]."""
        params = in_use(self, epilogue.shapes(self.config))
        return epilogue.apply(self.config, params, x, self.conv(graph, x))


class _Dgl:
    name = "dgl"
    packages = ("dgl",)
    sparse_features = True
    shipped_features: Literal["dense", "sparse"] = "dense"
    semantics: Semantics = {
        "self-loops": Fact(
            "takes the edges as given, and refuses a node without incoming edges",
            "takes the edges as given; a node without incoming edges aggregates zero (allow_zero_in_degree=True)",
        ),
        "bias sites": Fact(
            "GAT: on the output, per head, before heads are merged; GATv2: on both projections, none on the output",
            "GAT: on the merged output; GATv2: on both projections and on the merged output",
        ),
        "initialisation": Fact(
            "Glorot normal with the gain of ReLU for weights and attention vectors, zero biases",
            "the canonical values are loaded",
        ),
        "dropout sites": Fact(
            "coefficients after the softmax, per edge and head; on features too if feat_drop is set",
            "coefficients only; features are dropped before the layer, by torch",
        ),
        "weight sharing": Fact(
            "GAT: one weight; GATv2: two, or one with share_weights=True, which shares the bias too", "as configured"
        ),
        "duplicate edges": Fact("each a term of its own", "each a term of its own"),
    }

    def unsupported(self, operator: Operator, config: LayerConfig, device: torch.device) -> str | None:
        if operator.name not in NAMES:
            return f"DGL has no layer that computes {operator.name}"
        try:
            _dgl()
        except (ImportError, OSError) as problem:
            return f"DGL cannot be imported ({problem}); pip install dgl==1.1.3 (Linux x86-64, Python up to 3.11)"
        if device.type == "cuda" and "+cu" not in _dgl().__version__:
            return "the DGL wheel of the package index has no CUDA code, and no newer one works with this torch"
        if device.type != "cpu":
            return f"DGL has no {device.type} code"
        return None

    def memory_bytes(self, operator: Operator, config: LayerConfig, num_nodes: int, num_edges: int) -> int:
        # GAT never stores a message of C channels; GATv2 stores the pair, its LeakyReLU, the product, and gradients.
        width = 8 * config.heads + (6 * config.heads * config.out_channels if operator.name == "gatv2" else 0)
        return 4 * (num_edges * width + num_nodes * 6 * config.heads * config.out_channels)

    def prepare(self, graph: Graph, device: torch.device) -> Any:
        edges = (graph.sources.to(device), graph.targets.to(device))
        prepared = _dgl().graph(edges, num_nodes=graph.num_nodes, device=device)
        prepared.create_formats_()  # else the first step would pay for the sparse forms
        return prepared

    def layer(self, operator: Operator, config: LayerConfig) -> nn.Module:
        options: dict[str, Any] = {
            "in_feats": config.in_channels,
            "out_feats": config.out_channels,
            "num_heads": config.heads,
            "attn_drop": config.attention_dropout,
            "negative_slope": config.negative_slope,
            # DGL otherwise reads in_degrees() back from the device in every forward.
            "allow_zero_in_degree": True,
        }
        if operator.name == "gat":
            conv = _convolutions().GATConv(**options, bias=False)
        else:
            conv = _convolutions().GATv2Conv(**options, bias=config.bias, share_weights=config.share_weights)
        # Features are dropped before the layer, and this module would refuse sparse ones.
        conv.feat_drop = nn.Identity()
        features.take_sparse_features(conv, ("fc", "fc_src", "fc_dst"))
        return DglLayer(conv, config)

    def names(self, operator: Operator, config: LayerConfig) -> Mapping[str, str]:
        known = NAMES[operator.name] | {name: name for name in epilogue.shapes(config)}
        return {name: known[name] for name in operator.shapes(config)}

    def attention(self, layer: nn.Module, x: Tensor, prepared: Any) -> Tensor:
        assert isinstance(layer, DglLayer)
        _, coefficients = layer.conv(prepared, x, get_attention=True)
        assert isinstance(coefficients, Tensor)
        return coefficients.squeeze(-1)

    def dropout(self, x: Tensor, probability: float) -> Tensor:
        return features.dropout(x, probability)

    def whole_step(self, operator: Operator, problem: TrainingProblem) -> None:
        return None

    def unsampled(self) -> str | None:
        return None

    def sampler(self, starts: Tensor, neighbours: Tensor, fanout: Sequence[int], seed: int) -> DrawsBlocks:
        """dgl.dataloading's NeighborSampler: at each layer, edges into all nodes that the layer after it needs."""
        dgl, loading = _dgl(), _loading()
        columns = ("csc", (starts, neighbours.long(), torch.empty(0, dtype=torch.int64)))
        graph = dgl.graph(columns, num_nodes=len(starts) - 1)
        chosen = loading.NeighborSampler(list(reversed(fanout)))
        dgl.seed(seed)

        def draw(targets: Tensor, at_once: int) -> Iterator[Drawn]:
            # Its loader takes a seed from torch's generator, which dropout goes on with, for processes that it has not.
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
                warnings.simplefilter("ignore")  # of processes that would load beside this one
                batches = iter(loading.DataLoader(graph, targets, chosen, batch_size=at_once, shuffle=False))
            # A block numbers its targets first among its sources, so that the first block's numbers hold in all.
            for nodes, _, blocks in batches:
                yield Drawn(nodes, [torch.stack(block.edges()) for block in blocks])

        return draw


BACKEND: Backend = _Dgl()


@cache
def _dgl() -> ModuleType:
    os.environ["DGLBACKEND"] = "pytorch"  # else it asks, and writes to the home folder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports of names that torch and setuptools have moved
        return importlib.import_module("dgl")


@cache
def _loading() -> ModuleType:
    _dgl()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        return importlib.import_module("dgl.dataloading")


@cache
def _convolutions() -> ModuleType:
    _dgl()  # sets its environment first
    return importlib.import_module("dgl.nn")
