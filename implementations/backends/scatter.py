"""Attention over edge lists in plain PyTorch: gather, softmax per target, add up. Runs any operator."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from implementations import epilogue, features
from implementations.contract import (
    Backend,
    Fact,
    Graph,
    LayerConfig,
    Operator,
    Params,
    Semantics,
    TrainingProblem,
    message_passing_bytes,
)
from implementations.copying import Copyable, in_use


class SortedEdges(NamedTuple):
    """Edges in the order of their targets."""

    num_nodes: int
    sources: Tensor  # [E]
    targets: Tensor  # [E], ascending
    restore: Tensor  # [E] position of each edge of the graph


class ScatterLayer(Copyable):
    """An operator's terms per node, its score per edge, and a softmax over each target's edges."""

    def __init__(self, operator: Operator, config: LayerConfig) -> None:
        super().__init__()
        self.operator = operator
        self.config = config
        # Parameters lie in the module itself, so that their names are the canonical ones.
        for name, start in operator.init(config, torch.Generator().manual_seed(0)).items():
            self.register_parameter(name, nn.Parameter(start))

    def forward(self, x: Tensor, edges: SortedEdges) -> Tensor:
        """x [N, F] -> [N, config.out_features]."""
        params = in_use(self, self.operator.shapes(self.config))
        coefficients, values = self.attend(params, x, edges)
        coefficients = F.dropout(coefficients, self.config.attention_dropout, self.training)
        messages = coefficients.unsqueeze(-1) * values.index_select(0, edges.sources)  # [E, H, C]
        aggregated = _sum_by_target(messages, edges)
        return epilogue.apply(self.config, params, x, aggregated)

    def attend(self, params: Params, x: Tensor, edges: SortedEdges) -> tuple[Tensor, Tensor]:
        """Coefficients [E, H] of the sorted edges, and what each node sends [N, H, C]."""
        terms = self.operator.terms(self.config, params, x)
        pair = terms.source.index_select(0, edges.sources) + terms.target.index_select(0, edges.targets)
        score = self.operator.score(self.config, params, pair)  # [E, H]
        return _softmax_by_target(score, edges), terms.values


class _Scatter:
    name = "scatter"
    packages = ("torch",)
    sparse_features = True
    shipped_features: Literal["dense", "sparse"] = "dense"
    semantics: Semantics = {
        "self-loops": Fact("takes the edges as given", "takes the edges as given"),
        "bias sites": Fact("as the operator defines them", "as the operator defines them"),
        "initialisation": Fact("the operator's own", "the operator's own, or the canonical values loaded"),
        "dropout sites": Fact(
            "coefficients after the softmax, per edge and head, kept ones divided by 1 - p",
            "the same; features are dropped before the layer, by torch",
        ),
        "weight sharing": Fact("as configured, one parameter", "as configured, one parameter"),
        "duplicate edges": Fact("each a term of its own", "each a term of its own"),
    }

    def unsupported(self, operator: Operator, config: LayerConfig, device: torch.device) -> str | None:
        return None

    def memory_bytes(self, operator: Operator, config: LayerConfig, num_nodes: int, num_edges: int) -> int:
        return message_passing_bytes(config, num_nodes, num_edges)

    def prepare(self, graph: Graph, device: torch.device) -> SortedEdges:
        order = torch.argsort(graph.targets, stable=True)
        edges = SortedEdges(graph.num_nodes, graph.sources[order], graph.targets[order], restore=torch.argsort(order))
        return SortedEdges(edges.num_nodes, *(index.to(device) for index in edges[1:]))

    def layer(self, operator: Operator, config: LayerConfig) -> nn.Module:
        return ScatterLayer(operator, config)

    def names(self, operator: Operator, config: LayerConfig) -> Mapping[str, str]:
        return {name: name for name in operator.shapes(config)}

    def attention(self, layer: nn.Module, x: Tensor, prepared: Any) -> Tensor:
        assert isinstance(layer, ScatterLayer)
        params = in_use(layer, layer.operator.shapes(layer.config))
        coefficients, _ = layer.attend(params, x, prepared)
        return coefficients[prepared.restore]

    def dropout(self, x: Tensor, probability: float) -> Tensor:
        return features.dropout(x, probability)

    def whole_step(self, operator: Operator, problem: TrainingProblem) -> None:
        return None


BACKEND: Backend = _Scatter()


def _softmax_by_target(score: Tensor, edges: SortedEdges) -> Tensor:
    # Any shift cancels, so the largest score, which keeps exp below 1, needs no gradient.
    largest = score.new_full((edges.num_nodes, score.shape[1]), -torch.inf)
    index = edges.targets.unsqueeze(-1).expand_as(score)
    largest.scatter_reduce_(0, index, score.detach(), "amax")
    weight = torch.exp(score - largest.index_select(0, edges.targets))
    return weight / _sum_by_target(weight, edges).index_select(0, edges.targets)


def _sum_by_target(terms: Tensor, edges: SortedEdges) -> Tensor:
    return terms.new_zeros(edges.num_nodes, *terms.shape[1:]).index_add(0, edges.targets, terms)
