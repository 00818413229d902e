"""A back end to copy: attention over edge lists, as short as can be. It passes every check as it stands.

    cp implementations/backends/_template.py implementations/backends/mine.py

set `name` below to the file's name, `mine`, and then

    python -m implementations.conformance mine

`implementations.contract` says what each member promises. Import your library where it is first needed, not
here: listing back ends must work without it.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from implementations import epilogue, features
from implementations.contract import (
    SEMANTIC_TOPICS,
    Backend,
    Fact,
    Graph,
    LayerConfig,
    Operator,
    Semantics,
    TrainingProblem,
    message_passing_bytes,
)
from implementations.copying import Copyable, in_use


class MyLayer(Copyable):
    """DECIDE: your library's layer, or one written from the operator's `terms` and `score`, which runs any operator."""

    def __init__(self, operator: Operator, config: LayerConfig) -> None:
        super().__init__()
        self.operator, self.config = operator, config
        for name, start in operator.init(config, torch.Generator().manual_seed(0)).items():
            self.register_parameter(name, nn.Parameter(start))

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        """x [N, F] -> [N, config.out_features]."""
        alpha, values = self.attend(x, graph)
        # Dropout belongs on the coefficients, after the softmax. Features are dropped before: never here.
        alpha = F.dropout(alpha, self.config.attention_dropout, self.training)
        aggregated = _sum_by_target(alpha.unsqueeze(-1) * values[graph.sources], graph)  # [N, H, C]
        # Merging heads, residual and bias are the same for all back ends unless your library's layer has them.
        return epilogue.apply(self.config, in_use(self, epilogue.shapes(self.config)), x, aggregated)

    def attend(self, x: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        """Coefficients [E, H], and what each node sends [N, H, C]."""
        params = in_use(self, self.operator.shapes(self.config))
        terms = self.operator.terms(self.config, params, x)
        pair = terms.source[graph.sources] + terms.target[graph.targets]
        score = self.operator.score(self.config, params, pair)  # [E, H]
        # A shift for each neighbourhood: with one for the whole graph, small scores would all become zero.
        shift = score.new_full((graph.num_nodes, score.shape[1]), -torch.inf)
        shift.scatter_reduce_(0, graph.targets.unsqueeze(-1).expand_as(score), score.detach(), "amax")
        weight = torch.exp(score - shift[graph.targets])
        return weight / _sum_by_target(weight, graph)[graph.targets], terms.values


class _Mine:
    # DECIDE: the file's name, so that people find one by the other.
    name = "_template"
    # DECIDE: what pip calls your library; its version is part of every record.
    packages = ("torch",)
    # DECIDE: True if x may be sparse CSR. `features.take_sparse_features` teaches it to a library's nn.Linear.
    sparse_features = True
    # DECIDE: the form of x in which your own users run it: the input of the track "as shipped".
    shipped_features: Literal["dense", "sparse"] = "dense"
    # DECIDE: for each topic what the library does by itself, and what runs here. `bench parity` shows both.
    semantics: Semantics = dict.fromkeys(SEMANTIC_TOPICS, Fact(native="as the contract asks", here="the same"))

    def unsupported(self, operator: Operator, config: LayerConfig, device: torch.device) -> str | None:
        # DECIDE: a sentence for a missing library, an operator or an option that you cannot do. It reaches the table.
        return None

    def memory_bytes(self, operator: Operator, config: LayerConfig, num_nodes: int, num_edges: int) -> int:
        # DECIDE: a generous estimate; what does not fit is skipped with this number.
        return message_passing_bytes(config, num_nodes, num_edges)

    def prepare(self, graph: Graph, device: torch.device) -> Graph:
        # DECIDE: your library's own form of a graph. Add no self-loops, merge no duplicates, keep the order of edges
        # or remember it for `attention`.
        return graph.to(device)

    def layer(self, operator: Operator, config: LayerConfig) -> nn.Module:
        # DECIDE: which of your layers computes `operator.name`, told every option of `config`.
        return MyLayer(operator, config)

    def names(self, operator: Operator, config: LayerConfig) -> Mapping[str, str]:
        # DECIDE: canonical name -> yours, for exactly the parameters that the layer has.
        return {name: name for name in operator.shapes(config)}

    def attention(self, layer: nn.Module, x: Tensor, prepared: Any) -> Tensor:
        # DECIDE: where your layer keeps its coefficients [E, H].
        assert isinstance(layer, MyLayer)
        return layer.attend(x, prepared)[0]

    def dropout(self, x: Tensor, probability: float) -> Tensor:
        # DECIDE: your library's own dropout of features, if it has one; most people use torch's.
        return features.dropout(x, probability)

    def whole_step(self, operator: Operator, problem: TrainingProblem) -> None:
        # DECIDE: a `Trainer` if your library owns forward, loss, backward and Adam at once; else leave it to autograd.
        return None


BACKEND: Backend = _Mine()


def _sum_by_target(terms: Tensor, graph: Graph) -> Tensor:
    return terms.new_zeros(graph.num_nodes, *terms.shape[1:]).index_add(0, graph.targets, terms)
