"""Graphs in the layout of the Open Graph Benchmark (Hu et al. 2020): gzipped CSV without headers.

    raw/edge.csv.gz             source, target
    raw/node-feat.csv.gz        a row of numbers for each node
    raw/node-label.csv.gz       its class
    raw/num-node-list.csv.gz    number of nodes of each graph: of one
    raw/num-edge-list.csv.gz    number of edges
    split/<name>/{train,valid,test}.csv.gz    node numbers

A graph with several types of nodes has these files once for each type of edge or node, in folders named after it, and
raw/num-node-dict.csv.gz with a header of types. One type of node, and the edges within it, are read. Edges are taken
both ways, without self-loops and repetitions, as `torch_geometric.transforms.ToUndirected` and the layers have them.

OGB has not published digests of these files. So they are taken as they are, and recognised by what they hold.
"""

import gzip
import io
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.datasets import _splits, _tensors
from bench.datasets._download import UpstreamArchive
from bench.datasets._files import FileStore
from bench.datasets._unpinned import Unpinned
from bench.task import DatasetInfo, DataUnavailable, NodeData, Nodes

UPSTREAM = "https://snap.stanford.edu/ogb/data"

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Layout:
    """Where a data set's files lie, and what they hold if they are what its name stands for."""

    archive: str  # name of the upstream archive, without .zip
    split: str  # name of the only split
    edges: int  # lines of edge.csv.gz
    node_type: str = ""  # of several; empty where there is one
    edge_type: str = ""
    all_nodes: Mapping[str, int] = field(default_factory=dict)  # number of nodes of each type, where there are several
    family: str = "nodeproppred"
    tables: tuple[str, ...] = ("node-feat", "node-label")  # besides those of the edges
    parts: str = "csv.gz"  # the split's files

    @property
    def address(self) -> str:
        """Of the upstream archive."""
        return f"{UPSTREAM}/{self.family}/{self.archive}.zip"

    @property
    def both_ways(self) -> int:
        """Edges as they are taken, but for self-loops and repetitions."""
        return 2 * self.edges

    @property
    def sizes(self) -> str:
        """The file that holds the number of nodes."""
        return "num-node-dict.csv.gz" if self.node_type else "num-node-list.csv.gz"

    def folders(self) -> dict[str, str]:
        """Each file's folder."""
        typed = bool(self.node_type)
        of_edges = f"raw/relations/{self.edge_type}" if typed else "raw"
        of_split = f"split/{self.split}/{self.node_type}" if typed else f"split/{self.split}"
        return {
            self.sizes: "raw",
            "edge.csv.gz": of_edges,
            "num-edge-list.csv.gz": of_edges,
            **{f"{table}.csv.gz": f"raw/{table}/{self.node_type}" if typed else "raw" for table in self.tables},
            **{f"{part}.{self.parts}": of_split for part in PARTS},
        }

    def store(self, name: str) -> FileStore:
        """The files, in the user's folder as OGB or the archive lays them out."""
        folders, place = self.folders(), name.replace("-", "_")
        roots = (place, f"{place}/{self.archive}", self.archive)
        return FileStore(
            name=name,
            pinned=dict.fromkeys(folders),
            sources=(UpstreamArchive(self.address, {file: f"{folder}/{file}" for file, folder in folders.items()}),),
            folders=tuple(f"{root}/{folder}" for root in roots for folder in dict.fromkeys(folders.values())),
        )


@dataclass(frozen=True)
class Ogb(Unpinned):
    """One data set; see the head of the file."""

    layout: Layout

    def load(self) -> NodeData:
        """See `bench.task.Dataset`."""
        return parse(self.store.read(), self.stated, self.layout)

    def nodes(self, data: NodeData, split: str, seed: int) -> Nodes:
        """The split that comes with the files; the seed has no effect."""
        _splits.chosen(self.stated, split)
        contents = self.store.read([f"{part}.csv.gz" for part in PARTS])
        parts = [column(contents, f"{part}.csv.gz") for part in PARTS]
        together = np.concatenate(parts)
        if len(np.unique(together)) < len(together) or together.min() < 0 or together.max() >= data.graph.num_nodes:
            raise DataUnavailable(f"{self.stated.name}: the split repeats a node, or names one that does not exist")
        return Nodes(*(torch.from_numpy(np.sort(part)) for part in parts))


def parse(contents: Mapping[str, bytes], stated: DatasetInfo, layout: Layout) -> NodeData:
    """Graph, features and classes from the files by name.

    Raises:
        DataUnavailable: a file is not what the head of this file says.
    """
    sizes = sizes_of(contents, layout)
    N = sizes[layout.node_type]
    edges, x, y = lines(contents, N), rows(contents, "node-feat.csv.gz", N), column(contents, "node-label.csv.gz")
    if len(y) != N or y.min() < 0:
        raise DataUnavailable(f"node-label.csv.gz {y.shape}: not a class, from 0 on, for each of {N:,} nodes")
    sources, targets = edges.T
    return NodeData(
        graph=_tensors.graph(N, np.append(sources, targets), np.append(targets, sources)),
        x=torch.from_numpy(x),
        y=torch.from_numpy(y),
        differs=differs(stated, layout, sizes, len(edges), x.shape[1]),
    )


def lines(contents: Mapping[str, bytes], num_nodes: int) -> npt.NDArray[np.int64]:
    """The edges as they stand in their file, [E, 2].

    Raises:
        DataUnavailable: there are not as many as are listed, or one leads to a node that does not exist.
    """
    edges, listed = table(contents, "edge.csv.gz", np.int64), int(column(contents, "num-edge-list.csv.gz").sum())
    if edges.shape != (listed, 2):
        raise DataUnavailable(f"edge.csv.gz {edges.shape}: not {listed:,} edges")
    if edges.min(initial=0) < 0 or edges.max(initial=-1) >= num_nodes:
        raise DataUnavailable(f"edge.csv.gz: an edge leads beyond the {num_nodes:,} nodes")
    return edges


def rows(contents: Mapping[str, bytes], name: str, count: int) -> npt.NDArray[np.float32]:
    """A row of numbers for each of so many things.

    Raises:
        DataUnavailable: there are not as many.
    """
    values = table(contents, name, np.float32)
    if len(values) != count:
        raise DataUnavailable(f"{name} {values.shape}: not a row for each of {count:,}")
    return values


def differs(stated: DatasetInfo, layout: Layout, sizes: Mapping[str, int], edges: int, features: int) -> str:
    """In what files are not those of the data set, as far as their sizes tell."""
    found = _counted(sizes, edges, features)
    expected = _counted(layout.all_nodes or {"": stated.nodes}, layout.edges, stated.features)
    return "" if found == expected else f"these files hold {found}; {stated.title} has {expected}"


def _counted(sizes: Mapping[str, int], edges: int, features: int) -> str:
    """ "169,343 nodes, 1,166,243 edges and 128 features"."""
    nodes = ", ".join(f"{sizes[kind]:,} {f'nodes of type {kind}' if kind else 'nodes'}" for kind in sorted(sizes))
    return f"{nodes}, {edges:,} edges and {features} features"


def sizes_of(contents: Mapping[str, bytes], layout: Layout) -> dict[str, int]:
    """Number of nodes by type, of the one graph there must be."""
    counts = table(contents, layout.sizes, np.int64, header=bool(layout.node_type))
    names = _header(contents, layout.sizes) if layout.node_type else [""]
    if counts.shape != (1, len(names)) or layout.node_type not in names:
        wanted = f"nodes of type {layout.node_type}" if layout.node_type else "one number"
        raise DataUnavailable(f"{layout.sizes}: not one graph with {wanted}")
    return dict(zip(names, map(int, counts[0]), strict=True))


def column(contents: Mapping[str, bytes], name: str) -> npt.NDArray[np.int64]:
    """The only column of a file of integers."""
    values = table(contents, name, np.int64)
    if values.shape[1] != 1:
        raise DataUnavailable(f"{name}: {values.shape[1]} columns instead of one")
    return np.ascontiguousarray(values[:, 0])


def _header(contents: Mapping[str, bytes], name: str) -> list[str]:
    return gzip.decompress(contents[name]).decode().splitlines()[0].split(",")


def table(contents: Mapping[str, bytes], name: str, dtype: Any, *, header: bool = False) -> npt.NDArray[Any]:
    """[rows, columns]; pandas, since NumPy needs minutes for a million rows of text."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns whose type is not the same in all blocks
            frame = pd.read_csv(io.BytesIO(contents[name]), compression="gzip", header=0 if header else None)
        values: npt.NDArray[Any] = np.array(frame.to_numpy(), dtype=dtype, order="C")
    except (ValueError, OverflowError, OSError, EOFError, zlib.error) as problem:  # pandas' own are ValueErrors
        raise DataUnavailable(f"{name}: not a gzipped table of numbers: {problem}") from None
    if not np.isfinite(values).all():
        raise DataUnavailable(f"{name}: an entry is missing, or not a finite number")
    return values
