"""Which nodes and edges the logits of some nodes depend on, layer by layer."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from implementations.backends._fused.ordering import ends, order_of, reordered
from implementations.backends._fused.structures import Edges
from implementations.contract import Graph


@dataclass(frozen=True, eq=False)
class Field:
    """Nodes renumbered; each layer's targets are the first of its sources."""

    nodes: Tensor  # [n] int64, their numbers in the graph; those that a receptive field is of come first
    layers: list[Edges]  # first layer to last


def whole(edges: Edges, num_layers: int) -> Field:
    """Everything, for every layer, in an order in which neighbours are near."""
    order = order_of(edges)
    if order is None:
        return Field(torch.arange(edges.num_nodes), [edges] * num_layers)
    return Field(order, [reordered(edges, order)] * num_layers)


def receptive(edges: Edges, nodes: Tensor, num_layers: int) -> Field:
    """The edges into `nodes`, the edges into the sources of those, and so on; gradients of `nodes` are exact."""
    target_of, source_of = ends(edges)
    number = torch.full((edges.num_nodes,), -1, dtype=torch.int64)
    number[nodes] = torch.arange(len(nodes))
    order = nodes
    layers: list[Edges] = []
    for _ in range(num_layers):
        targets = len(order)
        inside = number[target_of] >= 0
        sources = torch.unique(source_of[inside])
        new = sources[number[sources] < 0]
        order = torch.cat([order, new])
        number[new] = torch.arange(targets, len(order))
        graph = Graph(len(order), torch.stack([number[source_of[inside]], number[target_of[inside]]]))
        layers.insert(0, replace(Edges.of(graph), num_targets=targets))
    return Field(order, layers)
