"""Nodes drawn from a graph: by random walks, or neighbour by neighbour.

torch_geometric has both samplers, but needs torch-sparse or pyg-lib for them, of which no package index has wheels.
Self-loops are no way to walk and nobody's neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.training.stored import StoredGraph
from implementations.contract import Graph


@dataclass(frozen=True, eq=False)
class Adjacency:
    """The sources of each node's incoming edges, one node after the other; in an undirected graph its neighbours."""

    starts: Tensor  # [N + 1]
    neighbours: Tensor  # [E] integers

    @classmethod
    def of(cls, graph: Graph) -> "Adjacency":
        """Of all edges but self-loops; of a stored graph it is the very arrays."""
        if isinstance(graph, StoredGraph):
            return cls(graph.starts, graph.neighbours)
        between = graph.sources != graph.targets
        sources, targets = graph.sources[between], graph.targets[between]
        degree = torch.bincount(targets, minlength=graph.num_nodes)
        starts = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
        return cls(starts, sources[torch.argsort(targets, stable=True)])

    def visited(self, roots: int, length: int, generator: torch.Generator) -> Tensor:
        """The nodes, ascending, on so many walks of so many edges from roots drawn with replacement.

        A walk that comes to a node without neighbours stays there.
        """
        at = torch.randint(len(self.starts) - 1, (roots,), generator=generator)
        seen = [at]
        for _ in range(length):
            degree = self._degree(at)
            step = (torch.rand(roots, generator=generator, dtype=torch.float64) * degree).long()
            stuck = degree == 0
            there = self._at((self.starts[at] + step).masked_fill(stuck, 0)) if len(self.neighbours) else at
            at = torch.where(stuck, at, there)
            seen.append(at)
        nodes: Tensor = torch.unique(torch.cat(seen))
        return nodes

    def neighbourhood(
        self, targets: Tensor, fanout: Sequence[int], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Nodes, the targets first, and edges [2, E] in their numbers: so many into each target, then into those, ...

        A node's neighbours are drawn once, without replacement, however often it is reached.
        """
        nodes, edges = targets, []
        number = torch.full((len(self.starts) - 1,), -1).index_copy(0, targets, torch.arange(len(targets)))
        frontier = targets
        for most in fanout:
            sources, into = self._drawn(frontier, most, generator)
            new = torch.unique(sources[number[sources] < 0])
            number[new] = torch.arange(len(nodes), len(nodes) + len(new))
            nodes, frontier = torch.cat([nodes, new]), new
            edges.append(torch.stack([number[sources], number[into]]))
        return nodes, torch.cat(edges, dim=1)

    def _drawn(self, targets: Tensor, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """At most so many incoming edges of each target: their sources and targets."""
        degree = self._degree(targets)
        into = torch.repeat_interleave(torch.arange(len(targets)), degree)
        first = degree.cumsum(0) - degree
        place = torch.arange(len(into)) - first[into]
        # In an order of their own, the first of each target's edges are a draw without replacement.
        key = torch.rand(len(into), generator=generator, dtype=torch.float64)
        order = torch.argsort(into + key)
        chosen = order[place < most]
        return self._at((self.starts[targets][into] + place)[chosen]), targets[into[chosen]]

    def _at(self, places: Tensor) -> Tensor:
        return self.neighbours[places].long()

    def _degree(self, nodes: Tensor) -> Tensor:
        return self.starts[nodes + 1] - self.starts[nodes]
