"""A task as training sees it, and the data sets that make one: of nodes to classify, of links to tell from others, or
of numbers to foretell of whole graphs.

Links are columns [3, n] int64 in place of node numbers [n]: source, target, and 1 for a link or 0 for none. True ones
come first; where each is ranked among others of its own, those follow in the same order, equally many each. A graph's
number stands at each of its nodes, and the nodes of a split are those of its graphs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bench.errors import UserError
from implementations.contract import Graph
from implementations.features import is_sparse

LINK_METRICS = ("hits_at_50", "mrr")
REGRESSION_METRICS = ("mae",)


@dataclass(frozen=True, eq=False)
class Split:
    """What training and tuning may see. It has no test nodes: they are out of reach by type."""

    train: Tensor  # node numbers [n] int64, or links [3, n]
    validation: Tensor


@dataclass(frozen=True, eq=False)
class NodeTask:
    """One data set under one protocol and seed. The graph already has its self-loops, if any."""

    graph: Graph
    x: Tensor  # [N, F] float32, sparse CSR or dense
    y: Tensor  # [N] int64 classes, [N, C] float32 labels, or [N] float32 numbers of the nodes' graphs
    split: Split
    held_out: Tensor  # test nodes or links; read in exactly one function, `bench.jobs.fit`
    graph_of: Tensor | None = None  # [N] which of many graphs a node lies in
    self_loops: bool = True  # whether the graph has them, and so must every part of it
    test_graph: Graph | None = None  # the edges that are known by the time of the test, if more
    metric: str = ""  # what is scored, as in `DatasetInfo`
    relations: tuple[Graph, ...] = ()  # as in `NodeData`; with self-loops, they are the first


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before it is loaded."""

    name: str
    title: str  # for people: "Cora (LINQS)"
    source: str  # where it comes from, in words or as an address
    licence: str
    citation: str
    nodes: int
    edges: int  # directed, as stored, without added self-loops; 0: not known before it is loaded
    features: int
    classes: int
    splits: tuple[str, ...]  # what `protocol.split` may name; the first is "default"
    digest: str  # of the files' digests, or of the generator's parameters
    graphs: int = 1  # 0: many, and not known before they are loaded
    metric: str = ""  # one of `bench.training.objective.SCORES`; "": accuracy, or micro-F1 where nodes have many labels
    unit: float = 1.0  # what an error is counted in
    # About as many as there are published to be, where that is not known before it is loaded: how long jobs take is
    # guessed from it.
    about_nodes: int = 0
    about_edges: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Nodes and edges, as they are known or else about as many as published."""
        return self.nodes or self.about_nodes, self.edges or self.about_edges

    @property
    def has_links(self) -> bool:
        """Whether links are to be told from others, instead of nodes classified."""
        return self.metric in LINK_METRICS

    @property
    def is_regression(self) -> bool:
        """Whether a number is foretold of each graph, instead of nodes classified."""
        return self.metric in REGRESSION_METRICS


@dataclass(frozen=True, eq=False)
class NodeData:
    """A loaded data set: no self-loops added, features as stored."""

    graph: Graph
    x: Tensor  # [N, F] float32, sparse CSR or dense
    # [N] int64, a class each; or [N, C] float32, 1 for each label that a node has; zeros where links count; or [N]
    # float32, a number of the graph that the node lies in.
    y: Tensor
    graph_of: Tensor | None = None  # [N] which of many graphs, that share no edge, a node lies in; None: all in one
    differs: str = ""  # in what it is not what its name stands for, where a user's files are taken unverified
    relations: tuple[Graph, ...] = ()  # of several types of edge, each on its own; `graph` is all of them together

    @property
    def classes(self) -> int:
        """Classes that occur, or labels there are; of numbers one."""
        if self.y.dim() == 2:
            return int(self.y.shape[1])
        return 1 if self.y.is_floating_point() else len(torch.unique(self.y))


@dataclass(frozen=True, eq=False)
class Nodes:
    """A split with its test nodes, or with its test links; of the links that train, all are true."""

    train: Tensor
    validation: Tensor
    test: Tensor


@dataclass(frozen=True)
class FileState:
    """Whether one file of a data set is here and intact."""

    name: str
    state: str  # "verified", "unverified" (here, but its digest is not known), "absent", "altered"
    place: str
    note: str = ""


class Dataset(Protocol):
    """A data set: one file in `bench/datasets/` that exports `DATASET`."""

    @property
    def info(self) -> DatasetInfo:
        """What is known before loading."""
        ...

    def files(self) -> list[FileState]:
        """State of each file, without fetching; empty for generated data."""
        ...

    def fetch(self, report: Callable[[str], None]) -> None:
        """Bring and verify what is absent, saying what it does.

        Raises:
            DataUnavailable: when no source has it, with what to do about it.
        """
        ...

    def load(self) -> NodeData:
        """Read verified files; fetches what is absent first."""
        ...

    def nodes(self, data: NodeData, split: str, seed: int) -> Nodes:
        """The split called `split`; for a fixed split the seed has no effect."""
        ...


class DataUnavailable(UserError):
    """No source has the data, or a file is not what it should be; the text says which and what to do."""


def with_self_loops(graph: Graph, relations: tuple[Graph, ...]) -> tuple[Graph, tuple[Graph, ...]]:
    """A graph with a self-loop on each node; of several types of edge, these are one more, which comes first."""
    loops = Graph(graph.num_nodes, graph.edge_index[:, :0]).with_self_loops()
    return graph.with_self_loops(), (loops, *relations) if relations else ()


def row_normalised(x: Tensor) -> Tensor:
    """x, sparse CSR or dense, with each row divided by its sum; rows that sum to zero stay as they are.

    Raises:
        DataUnavailable: an entry is negative; then a row's sum says nothing of its size, and may be close to zero.
    """
    if (x.values() if is_sparse(x) else x).min() < 0:
        raise DataUnavailable("features with negative entries have no row sums to divide by; "
                              "set protocol.row_normalise = false")  # fmt: skip
    if not is_sparse(x):
        row_sums = x.sum(1, keepdim=True)
        return x / torch.where(row_sums == 0, 1, row_sums)
    sums = torch.zeros(x.shape[0], dtype=x.dtype)
    rows = torch.repeat_interleave(torch.arange(x.shape[0]), x.crow_indices().diff())
    sums.index_add_(0, rows, x.values())
    sums[sums == 0] = 1
    return torch.sparse_csr_tensor(
        x.crow_indices(), x.col_indices(), x.values() / sums[rows], x.shape, check_invariants=False
    )
