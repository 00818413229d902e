"""Small graphs on which implementations of attention go wrong, each for a reason of its own."""

from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor

from implementations.contract import Graph

NODES = 30


def inputs(graph: Graph, in_channels: int, classes: int) -> tuple[Tensor, Tensor]:
    """Seeded x [N, F] in float64 and labels [N]; the same objects for the same arguments."""
    return _inputs(graph.num_nodes, in_channels, classes)


@cache
def _inputs(num_nodes: int, in_channels: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_nodes)
    x = torch.randn(num_nodes, in_channels, dtype=torch.float64, generator=generator)
    return x, torch.randint(classes, (num_nodes,), generator=generator)


@cache
def _isolated_nodes() -> Graph:
    """A third of the nodes has no edge at all: their softmax runs over nothing."""
    return Graph(NODES, _pairs(2 * NODES // 3, 80))


@cache
def _self_loops_already_there() -> Graph:
    """Every other node comes with its self-loop: adding one to each would double some."""
    loops = torch.arange(0, NODES, 2).expand(2, -1)
    return Graph(NODES, torch.cat([_pairs(NODES, 60), loops], dim=1)).with_self_loops()


@cache
def _duplicate_edges() -> Graph:
    """Edges up to three times: each repetition is a term of its own in the softmax."""
    pairs = _pairs(NODES, 50)
    return Graph(NODES, torch.cat([pairs, pairs[:, :25], pairs[:, :10]], dim=1)).with_self_loops()


@cache
def _directed_edges() -> Graph:
    """Edges point one way only, from lower to higher numbers: sources and targets cannot be swapped unseen."""
    pairs = _pairs(NODES, 120)
    return Graph(NODES, pairs.sort(dim=0).values).with_self_loops()


@cache
def _hub() -> Graph:
    """One node hears 1,000 others and sends to none of them."""
    sources = torch.arange(1, 1001)
    return Graph(1001, torch.stack([sources, torch.zeros_like(sources)]))


@cache
def _bipartite_block() -> Graph:
    """Every node of one side sends to every node of the other; senders hear nothing."""
    senders, hearers = torch.arange(12), torch.arange(12, NODES)
    return Graph(NODES, torch.cartesian_prod(senders, hearers).t().contiguous())


@cache
def _single_node() -> Graph:
    """One node that hears itself only."""
    return Graph(1, torch.zeros(2, 1, dtype=torch.int64))


@cache
def _no_edges() -> Graph:
    """Nodes, and nothing between them."""
    return Graph(5, torch.zeros(2, 0, dtype=torch.int64))


ADVERSARIAL: Mapping[str, Callable[[], Graph]] = {
    "isolated nodes": _isolated_nodes,
    "self-loops already there": _self_loops_already_there,
    "duplicate edges": _duplicate_edges,
    "directed edges": _directed_edges,
    "hub of 1,000 edges": _hub,
    "bipartite block": _bipartite_block,
    "single node": _single_node,
    "no edges": _no_edges,
}
"""Name -> builder, which gives the same object at each call, so that references can be shared."""


def _pairs(num_nodes: int, num_edges: int) -> Tensor:
    """[2, E] distinct ordered pairs of different nodes, in no order."""
    generator = torch.Generator().manual_seed(num_edges)
    chosen = torch.randperm(num_nodes * (num_nodes - 1), generator=generator)[:num_edges]
    sources, targets = chosen // (num_nodes - 1), chosen % (num_nodes - 1)
    return torch.stack([sources, targets + (targets >= sources)])
