"""Link prediction in the layout of the Open Graph Benchmark (Hu et al. 2020): graph and features as in `_ogb`, and

    split/time/{train,valid,test}.pt    arrays by name, saved by torch, of links that come one after the other in time

The graph has the links that train. What the others are held against is the same for all,

    edge [n, 2], edge_neg [m, 2]

or each link's own: other targets that its source might have had.

    source_node [n], target_node [n], target_node_neg [n, m]
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.datasets import _saved, _splits, _tensors
from bench.datasets._ogb import PARTS, Layout, differs, lines, rows, sizes_of
from bench.datasets._unpinned import Unpinned
from bench.task import DatasetInfo, DataUnavailable, NodeData, Nodes
from implementations.contract import Graph

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class OgbLinks(Unpinned):
    """One data set; see the head of the file."""

    layout: Layout
    parallel: bool = False  # a line that stands there twice is two edges, as OGB's loader has it

    def load(self) -> NodeData:
        """See `bench.task.Dataset`."""
        contents = self.store.read([name for name in self.store.pinned if name.endswith(".csv.gz")])
        return parse(contents, self.stated, self.layout, self.parallel)

    def nodes(self, data: NodeData, split: str, seed: int) -> Nodes:
        """The links of each file, and what they are held against; the seed has no effect."""
        _splits.chosen(self.stated, split)
        contents = self.store.read([f"{part}.pt" for part in PARTS])
        parts = {part: _saved.arrays(contents[f"{part}.pt"], f"{part}.pt") for part in PARTS}
        N = data.graph.num_nodes
        train, validation, test = (_checked(name, _links(name, parts[name]), N) for name in PARTS)
        return Nodes(train[:, train[2] > 0], validation, test)


def link_layout(archive: str, edges: int) -> Layout:
    """Where such a data set's files lie."""
    return Layout(archive, "time", edges, family="linkproppred", tables=("node-feat",), parts="pt")


def parse(contents: Mapping[str, bytes], stated: DatasetInfo, layout: Layout, parallel: bool) -> NodeData:
    """Graph and features from the files by name; edges both ways.

    Raises:
        DataUnavailable: a file is not what the head of `_ogb` says.
    """
    sizes = sizes_of(contents, layout)
    N = sizes[layout.node_type]
    edges, x = lines(contents, N), rows(contents, "node-feat.csv.gz", N)
    sources, targets = np.append(edges[:, 0], edges[:, 1]), np.append(edges[:, 1], edges[:, 0])
    return NodeData(
        graph=_multigraph(N, sources, targets) if parallel else _tensors.graph(N, sources, targets),
        x=torch.from_numpy(x),
        y=torch.zeros(N, dtype=torch.int64),
        differs=differs(stated, layout, sizes, len(edges), x.shape[1]),
    )


def _multigraph(num_nodes: int, sources: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]) -> Graph:
    """Edges without self-loops, which the layers have once; sorted by target, then source."""
    between = sources != targets
    keys = np.sort(targets[between] * num_nodes + sources[between])
    return Graph(num_nodes, torch.from_numpy(np.stack([keys % num_nodes, keys // num_nodes])))


def _links(name: str, arrays: Arrays) -> npt.NDArray[np.int64]:
    """[3, n] as in `bench.task`; without others where the file has none."""
    try:
        if "edge" in arrays:
            true, other = arrays["edge"], arrays.get("edge_neg", np.empty((0, 2)))
        else:
            sources, targets = arrays["source_node"], arrays["target_node"]
            others = arrays.get("target_node_neg", np.empty((len(sources), 0)))
            true = np.stack([sources, targets], axis=1)
            other = np.stack([np.repeat(sources, others.shape[1]), others.reshape(-1)], axis=1)
        pairs = np.concatenate([true, other]).astype(np.int64)
        told = np.append(np.ones(len(true), np.int64), np.zeros(len(other), np.int64))
        return np.concatenate([pairs.T, told[None]])
    except (KeyError, ValueError, IndexError, TypeError, MemoryError) as problem:
        raise DataUnavailable(f"{name}.pt: not links, and what they are held against: {problem}") from None


def _checked(name: str, links: npt.NDArray[np.int64], num_nodes: int) -> Tensor:
    if links.shape[0] != 3 or not links[2].any() or links.min() < 0 or links[:2].max() >= num_nodes:
        raise DataUnavailable(f"{name}.pt: it holds no link, or one that leads beyond the {num_nodes:,} nodes")
    if name != "train" and links[2].all():
        raise DataUnavailable(f"{name}.pt: there is nothing that its links could be held against")
    return torch.from_numpy(links)
