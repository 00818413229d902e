"""The part of a task that one step or one evaluation needs.

Of a single graph that is the whole; of a data set of many graphs, those in which the nodes lie that are looked at. A
part is a graph again, with nodes numbered from 0: graphs side by side, with no edge between them, are one graph.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from bench.config import GraphBatches, LinkBatches, NeighbourBatches, Training, WalkBatches
from bench.task import REGRESSION_METRICS, NodeTask
from bench.training.sampling import Adjacency
from bench.training.stored import StoredGraph, in_degrees
from implementations.contract import Drawn, DrawsBlocks, Graph, Sampling
from implementations.features import is_sparse

T = TypeVar("T", covariant=True)

# Parity's reference walks over blocks of targets in float64; beyond these a part of the graph stands for it.
MOST_NODES, MOST_EDGES = 4000, 500_000


@dataclass(frozen=True, eq=False)
class Part:
    """A graph with its features and labels, and which of its nodes count."""

    graph: Graph
    x: Tensor
    y: Tensor
    nodes: Tensor  # in the part's own numbers; or links between such
    of_layers: tuple[Graph, ...] = ()  # on the same nodes, where each layer has one of its own; `graph` is all of it
    relations: tuple[Graph, ...] = ()  # as in `NodeTask`
    graph_of: Tensor | None = None  # which of the part's graphs a node lies in, where it is they that count

    @property
    def edges_of_a_layer(self) -> float:
        """Edges that a layer sees: the mean, where each has a graph of its own."""
        graphs = self.of_layers or (self.graph,)
        return sum(graph.num_edges for graph in graphs) / len(graphs)


class Batches(Protocol[T]):
    """What one epoch is made of. Each iteration is another epoch, in another order."""

    def __len__(self) -> int:
        """Steps of an epoch."""
        ...

    def __iter__(self) -> Iterator[T]:
        """One epoch."""
        ...


def around(task: NodeTask, nodes: Tensor) -> Part:
    """What the predictions for these nodes depend on: all graphs that hold any of them."""
    if task.graph_of is None:
        return Part(task.graph, task.x, task.y, nodes)
    return _of_graphs(task, torch.unique(task.graph_of[nodes]), nodes)


def evaluated(task: NodeTask, nodes: Tensor, training: Training, generator: torch.Generator) -> Part:
    """What is computed to score these nodes: all they depend on; or some of them with some of it, if asked so."""
    asked = training.batches
    if not isinstance(asked, NeighbourBatches) or asked.evaluated is None:
        return around(task, nodes)
    some = nodes[torch.randperm(len(nodes), generator=generator)[: asked.evaluated]]
    return _Neighbours(task, Adjacency.of(task.graph), asked, generator).part(some.sort().values)


def of_test(task: NodeTask, training: Training, generator: torch.Generator) -> Part:
    """As `evaluated`, of the test nodes or links, with all edges that are known by then."""
    part = evaluated(task, task.held_out, training, generator)
    return part if task.test_graph is None else replace(part, graph=task.test_graph)


def has_own_sampler(training: Training) -> bool:
    """Whether each back end is trained on what its own library draws."""
    return isinstance(training.batches, NeighbourBatches) and training.batches.sampler == "own"


def batches(
    task: NodeTask, training: Training, generator: torch.Generator, sampling: Sampling | None = None
) -> Batches[Part]:
    """What training sees of a task, epoch after epoch; `sampling` draws it, if each back end has its own sampler."""
    match training.batches:
        case None:
            return [around(task, task.split.train)]
        case GraphBatches(graphs=at_once):
            assert task.graph_of is not None  # else the experiment was refused
            return _GraphBatches(task, torch.unique(task.graph_of[task.split.train]), at_once, generator)
        case WalkBatches():
            return _Walks(task, Adjacency.of(task.graph), training.batches, generator)
        case NeighbourBatches():
            every = _Neighbours(task, Adjacency.of(task.graph), training.batches, generator)
            return _OwnNeighbours.of(every, sampling) if has_own_sampler(training) and sampling else every
        case LinkBatches(fanout=fanout):
            return _Links(task, Adjacency.of(task.graph) if fanout else None, training.batches, generator)


def induced(graph: Graph, x: Tensor, kept: Tensor) -> tuple[Graph, Tensor]:
    """The graph and the features of the nodes `kept`, in that order, with the edges between them."""
    return _between(graph, kept), _rows(x, kept)


def hubs(graph: Graph, x: Tensor) -> tuple[Graph, Tensor]:
    """The part that the `MOST_NODES` nodes with the most incoming edges induce, or fewer if that has many edges.

    Hubs are where sums are long, and among the first nodes of a large graph there are hardly any edges.
    """
    ranked = in_degrees(graph).argsort(descending=True, stable=True)[:MOST_NODES]
    part = induced(graph, x, ranked.sort().values)
    while part[0].num_edges > MOST_EDGES:
        ranked = ranked[: len(ranked) // 2]
        part = induced(graph, x, ranked.sort().values)
    return part


def largest(graph: Graph, graph_of: Tensor | None, training: Training | None) -> tuple[int, int]:
    """Nodes and edges of what is computed at once, at most; without training, of what parity is checked on."""
    asked = training.batches if training else GraphBatches(graphs=1)
    if isinstance(asked, NeighbourBatches) and asked.evaluated:
        return _most_sampled(graph, asked, max(asked.targets, asked.evaluated))
    if graph_of is None and training is None and graph.num_nodes > MOST_NODES:
        return MOST_NODES, min(graph.num_edges, MOST_EDGES)
    if graph_of is None or not isinstance(asked, GraphBatches):
        return graph.num_nodes, graph.num_edges
    at_once = asked.graphs
    nodes, edges = graph_of.bincount(), graph_of[graph.targets].bincount()
    most_nodes, most_edges = (int(sizes.sort(descending=True).values[:at_once].sum()) for sizes in (nodes, edges))
    return most_nodes, most_edges


@dataclass(frozen=True, eq=False)
class _GraphBatches:
    """So many of the training graphs at once, each once an epoch."""

    task: NodeTask
    graphs: Tensor
    at_once: int
    generator: torch.Generator

    def __len__(self) -> int:
        return -(-len(self.graphs) // self.at_once)

    def __iter__(self) -> Iterator[Part]:
        order = self.graphs[torch.randperm(len(self.graphs), generator=self.generator)]
        for chosen in torch.split(order, self.at_once):
            yield _of_graphs(self.task, chosen, self.task.split.train)


@dataclass(frozen=True, eq=False)
class _Walks:
    """What random walks visit, with all edges between (Zeng et al. 2020); the loss is that of its training nodes."""

    task: NodeTask
    adjacency: Adjacency
    asked: WalkBatches
    generator: torch.Generator

    def __len__(self) -> int:
        return self.asked.steps

    def __iter__(self) -> Iterator[Part]:
        trains = _mask(self.task, self.task.split.train)
        for _ in range(len(self)):
            kept = self.adjacency.visited(self.asked.roots, self.asked.length, self.generator)
            graph, x = induced(self.task.graph, self.task.x, kept)
            yield Part(graph, x, self.task.y[kept], trains[kept].nonzero().squeeze(-1))


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """Training nodes, each with some of its neighbours, theirs, and so on (Hamilton et al. 2017)."""

    task: NodeTask
    adjacency: Adjacency
    asked: NeighbourBatches
    generator: torch.Generator

    def __len__(self) -> int:
        everything = -(-len(self.task.split.train) // self.asked.targets)
        return min(everything, self.asked.steps or everything)

    def __iter__(self) -> Iterator[Part]:
        return (self.part(targets) for targets in torch.split(self.targets(), self.asked.targets))

    def targets(self) -> Tensor:
        """Those of an epoch, in their order."""
        train = self.task.split.train
        if self.asked.shuffle:
            train = train[torch.randperm(len(train), generator=self.generator)]
        return train[: len(self) * self.asked.targets]

    def part(self, targets: Tensor) -> Part:
        """These nodes and what is drawn around them."""
        nodes, edges = self.adjacency.neighbourhood(targets, self.asked.fanout, self.generator)
        graph = _looped(self.task, Graph(len(nodes), edges))
        return Part(graph, _rows(self.task.x, nodes), self.task.y[nodes], torch.arange(len(targets)))


@dataclass(frozen=True, eq=False)
class _OwnNeighbours:
    """As `_Neighbours`, with the neighbours that a library's own sampler draws."""

    every: _Neighbours
    draw: DrawsBlocks

    @classmethod
    def of(cls, every: _Neighbours, sampling: Sampling) -> "_OwnNeighbours":
        """By the same seed as the shared sampler, which makes other draws of it."""
        near, seed = every.adjacency, every.generator.initial_seed() % 2**31
        return cls(every, sampling.sampler(near.starts, near.neighbours, every.asked.fanout, seed))

    def __len__(self) -> int:
        return len(self.every)

    def __iter__(self) -> Iterator[Part]:
        return map(self._part, self.draw(self.every.targets(), self.every.asked.targets), self._counts())

    def _counts(self) -> Iterator[int]:
        asked, total = self.every.asked.targets, len(self.every.task.split.train)
        return (min(asked, total - step * asked) for step in range(len(self)))

    def _part(self, drawn: Drawn, targets: int) -> Part:
        task, nodes = self.every.task, drawn.nodes
        graphs = tuple(_looped(task, Graph(len(nodes), edges)) for edges in drawn.edges)
        every = graphs[0] if len(graphs) == 1 else Graph(len(nodes), torch.cat([*drawn.edges], dim=1))
        x, y, own = _rows(task.x, nodes), task.y[nodes], graphs if len(graphs) > 1 else ()
        return Part(every, x, y, torch.arange(targets), own)


@dataclass(frozen=True, eq=False)
class _Links:
    """Training links, and pairs that are none; with some neighbours of their nodes, or in the whole graph."""

    task: NodeTask
    adjacency: Adjacency | None
    asked: LinkBatches
    generator: torch.Generator

    def __len__(self) -> int:
        everything = -(-self.task.split.train.shape[1] // self.asked.links)
        return min(everything, self.asked.steps or everything)

    def __iter__(self) -> Iterator[Part]:
        train = self.task.split.train
        order = torch.randperm(train.shape[1], generator=self.generator)
        for chosen in torch.split(order, self.asked.links)[: len(self)]:
            none = torch.randint(self.task.graph.num_nodes, (2, len(chosen)), generator=self.generator)
            yield self._part(torch.cat([train[:, chosen], torch.cat([none, torch.zeros_like(none[:1])])], dim=1))

    def _part(self, links: Tensor) -> Part:
        if self.adjacency is None:
            return Part(self.task.graph, self.task.x, self.task.y, links)
        targets, place = torch.unique(links[:2], return_inverse=True)
        nodes, edges = self.adjacency.neighbourhood(targets, self.asked.fanout, self.generator)
        graph = _looped(self.task, Graph(len(nodes), edges))
        return Part(graph, _rows(self.task.x, nodes), self.task.y[nodes], torch.cat([place, links[2:]]))


def _most_sampled(graph: Graph, asked: NeighbourBatches, targets: int) -> tuple[int, int]:
    drawn = targets * sum(math.prod(asked.fanout[: hop + 1]) for hop in range(len(asked.fanout)))
    nodes = min(graph.num_nodes, targets + drawn)
    return nodes, min(graph.num_edges, drawn + nodes)


def _looped(task: NodeTask, graph: Graph) -> Graph:
    return graph.with_self_loops() if task.self_loops else graph


def _of_graphs(task: NodeTask, graphs: Tensor, nodes: Tensor) -> Part:
    assert task.graph_of is not None
    kept = torch.isin(task.graph_of, graphs).nonzero().squeeze(-1)
    graph, x = induced(task.graph, task.x, kept)
    counting = _mask(task, nodes)[kept].nonzero().squeeze(-1)
    relations = tuple(_between(relation, kept) for relation in task.relations)
    whole = task.metric in REGRESSION_METRICS
    graph_of = torch.unique(task.graph_of[kept], return_inverse=True)[1] if whole else None
    return Part(graph, x, task.y[kept], counting, relations=relations, graph_of=graph_of)


def _between(graph: Graph, kept: Tensor) -> Graph:
    number = torch.full((graph.num_nodes,), -1).index_copy(0, kept, torch.arange(len(kept)))
    edges = number[graph.into(kept) if isinstance(graph, StoredGraph) else graph.edge_index]
    return Graph(len(kept), edges[:, (edges >= 0).all(dim=0)])


def _mask(task: NodeTask, nodes: Tensor) -> Tensor:
    return torch.zeros(task.graph.num_nodes, dtype=torch.bool).index_fill(0, nodes, value=True)


def _rows(x: Tensor, kept: Tensor) -> Tensor:
    return x.to_dense()[kept].to_sparse_csr() if is_sparse(x) else x[kept]
