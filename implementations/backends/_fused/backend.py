"""What the three back ends have in common."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from implementations.backends._fused import functions, layers, library
from implementations.backends._fused.layers import FusedLayer
from implementations.backends._fused.ownership import can_own
from implementations.backends._fused.structures import Edges
from implementations.backends._fused.whole_step import WholeStep
from implementations.contract import (
    AMOUNT_OF_WORK,
    Fact,
    Graph,
    LayerConfig,
    Operator,
    Semantics,
    Trainer,
    TrainingProblem,
)
from implementations.copying import untraced

OPERATORS = ("gat", "gatv2")
DROPOUT = (
    "coefficients after the softmax, per edge and head, kept ones divided by 1 - p; features before the layer; "
    "both by a hash of a key and of what is dropped"
)


PRUNED = Fact(
    "trains on the receptive field of the training nodes",
    "a training step computes only the nodes and edges that the training nodes' logits depend on: the gradient is "
    "exact, the amount of work another; evaluation is of all nodes",
)


class FusedBackend:
    """Layers around the kernels."""

    packages = ("torch", "scipy")
    sparse_features = True
    shipped_features: Literal["dense", "sparse"] = "sparse"
    semantics: Semantics = {
        "self-loops": Fact("takes the edges as given", "takes the edges as given"),
        "bias sites": Fact("as the operator defines them", "as the operator defines them"),
        "initialisation": Fact("the operator's own", "the operator's own, or the canonical values loaded"),
        "dropout sites": Fact(DROPOUT, DROPOUT),
        "weight sharing": Fact("as configured, one parameter", "as configured, one parameter"),
        "duplicate edges": Fact("each a term of its own", "each a term of its own"),
    }

    def __init__(self, name: str, step: Literal["layers", "whole", "pruned"] = "layers") -> None:
        self.name = name
        self._step = step
        if step == "pruned":
            self.semantics = {**self.semantics, AMOUNT_OF_WORK: PRUNED}

    def unsupported(self, operator: Operator, config: LayerConfig, device: torch.device) -> str | None:
        """No kernels, another operator, or another device than the CPU."""
        if operator.name not in OPERATORS:
            return f"{self.name} has kernels for {' and '.join(OPERATORS)} only, not for {operator.name}"
        if device.type != "cpu":
            return f"{self.name} has kernels for the CPU only, none for {device.type}"
        if operator.name == "gat" and config.negative_slope < 0:
            return f"{self.name} takes the largest score of a GAT's neighbourhood from a slope that is not negative"
        return library.missing()

    def memory_bytes(self, operator: Operator, config: LayerConfig, num_nodes: int, num_edges: int) -> int:
        """See `layers.memory_bytes`."""
        return layers.memory_bytes(operator.name == "gatv2", config, num_nodes, num_edges)

    def prepare(self, graph: Graph, device: torch.device) -> Edges:
        """Edges by target and by source."""
        return Edges.of(graph)

    def layer(self, operator: Operator, config: LayerConfig) -> nn.Module:
        """Parameters under their canonical names."""
        return FusedLayer(operator, config)

    def names(self, operator: Operator, config: LayerConfig) -> Mapping[str, str]:
        """The canonical names are the layer's own."""
        return {name: name for name in operator.shapes(config)}

    def attention(self, layer: nn.Module, x: Tensor, prepared: Any) -> Tensor:
        """Computed anew: the kernels keep none."""
        assert isinstance(layer, FusedLayer)
        return untraced(layers.coefficients)(layer, x, prepared)

    def dropout(self, x: Tensor, probability: float) -> Tensor:
        """See `functions.dropout`."""
        return untraced(functions.dropout)(x, probability)

    def whole_step(self, operator: Operator, problem: TrainingProblem) -> Trainer | None:
        """One call for all, or None where the layers go through autograd."""
        if self._step == "layers" or not can_own(operator, problem):
            return None
        return WholeStep(problem, is_v2=operator.name == "gatv2", prunes=self._step == "pruned")
