"""A graph that lies in arrays node by node, memory-mapped perhaps: what needs few nodes reads their edges only."""

from functools import cached_property

import torch
from torch import Tensor

from implementations.contract import Graph


class StoredGraph(Graph):
    """The incoming edges of each node, one node after the other, without self-loops.

    `edge_index` lists all edges, in memory, once somebody asks for them: sorted by target, self-loops last.
    """

    starts: Tensor  # [N + 1] int64
    neighbours: Tensor  # [E] integers, the source of each edge, sorted within a node
    looped: bool  # every node hears itself besides

    def __init__(self, starts: Tensor, neighbours: Tensor, *, looped: bool = False) -> None:
        values = {"num_nodes": len(starts) - 1, "starts": starts, "neighbours": neighbours, "looped": looped}
        for name, value in values.items():
            object.__setattr__(self, name, value)  # a graph is frozen

    @cached_property
    def edge_index(self) -> Tensor:
        """See `Graph`."""
        return self.into(torch.arange(self.num_nodes))

    @property
    def num_edges(self) -> int:
        """See `Graph`; lists nothing."""
        return len(self.neighbours) + self.looped * self.num_nodes

    def with_self_loops(self) -> "StoredGraph":
        """See `Graph`; copies nothing."""
        return StoredGraph(self.starts, self.neighbours, looped=True)

    def into(self, targets: Tensor) -> Tensor:
        """All edges [2, n] into these nodes, in their order; self-loops last."""
        first = self.starts[targets]
        degree = self.starts[targets + 1] - first
        place = torch.arange(int(degree.sum())) - torch.repeat_interleave(degree.cumsum(0) - degree, degree)
        sources = self.neighbours[torch.repeat_interleave(first, degree) + place].long()
        edges = torch.stack([sources, torch.repeat_interleave(targets, degree)])
        return torch.cat([edges, targets.expand(2, -1)], dim=1) if self.looped else edges


def in_degrees(graph: Graph) -> Tensor:
    """Incoming edges of each node, [N]."""
    if isinstance(graph, StoredGraph):
        return graph.starts.diff() + graph.looped
    return torch.bincount(graph.targets, minlength=graph.num_nodes)
