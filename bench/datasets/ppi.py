"""PPI (Zitnik and Leskovec 2017; Hamilton et al. 2017): 24 tissues' protein interactions, 20 of them to learn from.

For each of train, valid and test:

    train_graph.json     nodes and links of all its graphs, as networkx's node_link_data writes them
    train_graph_id.npy   [n] number of the graph that each node lies in
    train_feats.npy      [n, 50] positional gene sets, motif gene sets, immunological signatures
    train_labels.npy     [n, 121] 0 or 1 for each gene ontology set

Node k of a file is row k of its arrays. The result is that of `torch_geometric.datasets.PPI`, all graphs side by side:
links as directed edges (both ways if the file calls itself undirected), without self-loops and repetitions.

Nobody has published digests of these files. So they are taken as they are, and recognised by what they hold: other
graphs in the same layout can be run, but what comes out says that it is not PPI's.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.datasets import _splits, _tensors
from bench.datasets._download import UpstreamArchive
from bench.datasets._files import FileStore
from bench.datasets._unpinned import Unpinned
from bench.task import DatasetInfo, DataUnavailable, NodeData, Nodes

# torch_geometric.datasets.PPI.url; a test compares the two.
UPSTREAM = "https://data.dgl.ai/dataset/ppi.zip"

PARTS = ("train", "valid", "test")
ARRAYS = ("feats", "labels", "graph_id")
GRAPHS = (20, 2, 2)
NODES = (44_906, 6_514, 5_524)
LINKS = 818_716  # as the GAT paper counts them, Table 1
FEATURES, LABELS = 50, 121

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Graphs:
    """What one of the three parts holds."""

    sources: Integers
    targets: Integers
    graph_id: Integers  # [n] from 0
    feats: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.graph_id)


@dataclass(frozen=True)
class Ppi(Unpinned):
    """The data set; see the head of the file."""

    def load(self) -> NodeData:
        """See `bench.task.Dataset`."""
        return parse(self.store.read())

    def nodes(self, data: NodeData, split: str, seed: int) -> Nodes:
        """The graphs of each file; the seed has no effect."""
        _splits.chosen(self.stated, split)
        sizes = [len(_array(self.store, f"{part}_graph_id.npy")) for part in PARTS]
        return Nodes(*torch.split(torch.arange(sum(sizes)), sizes))


def parse(contents: Mapping[str, bytes]) -> NodeData:
    """All graphs side by side, from the twelve files by name.

    Raises:
        DataUnavailable: a file is not what the head of this file says.
    """
    parts = [_part(contents, name) for name in PARTS]
    first_nodes = np.cumsum([0, *map(len, parts)])[:-1]
    first_graphs = np.cumsum([0, *(part.graph_id.max() + 1 for part in parts)])[:-1]
    N = sum(map(len, parts))
    sources = np.concatenate([part.sources + first for part, first in zip(parts, first_nodes, strict=True)])
    targets = np.concatenate([part.targets + first for part, first in zip(parts, first_nodes, strict=True)])
    graph_of = np.concatenate([part.graph_id + first for part, first in zip(parts, first_graphs, strict=True)])
    return NodeData(
        graph=_tensors.graph(N, sources, targets),
        x=torch.from_numpy(np.concatenate([part.feats for part in parts])),
        y=torch.from_numpy(np.concatenate([part.labels for part in parts])),
        graph_of=torch.from_numpy(graph_of),
        differs=_differs(parts),
    )


def _differs(parts: list[_Graphs]) -> str:
    graphs = [int(part.graph_id.max()) + 1 for part in parts]
    found = _counted(graphs, list(map(len, parts)), parts[0].feats.shape[1], parts[0].labels.shape[1])
    expected = _counted(GRAPHS, NODES, FEATURES, LABELS)
    return "" if found == expected else f"these files hold {found}; PPI has {expected}"


def _counted(graphs: Sequence[int], nodes: Sequence[int], features: int, labels: int) -> str:
    """ "20 + 2 + 2 graphs of 44,906 + 6,514 + 5,524 nodes, 50 features and 121 labels"."""
    sizes = " + ".join(f"{count:,}" for count in nodes)
    return f"{' + '.join(map(str, graphs))} graphs of {sizes} nodes, {features} features and {labels} labels"


def _part(contents: Mapping[str, bytes], name: str) -> _Graphs:
    feats, labels, graph_id = (_loaded(contents, f"{name}_{array}.npy") for array in ARRAYS)
    if not (feats.ndim == labels.ndim == 2 and graph_id.ndim == 1 and len(feats) == len(labels) == len(graph_id) > 0):
        raise DataUnavailable(
            f"{name}_feats.npy {feats.shape}, {name}_labels.npy {labels.shape}, {name}_graph_id.npy {graph_id.shape}: "
            "not a row of each for every node"
        )
    graph_id = np.unique(graph_id, return_inverse=True)[1].astype(np.int64)
    sources, targets = _links(contents, f"{name}_graph.json", len(graph_id))
    inside = graph_id[sources] == graph_id[targets]  # torch_geometric.datasets.PPI leaves out the others as well
    return _Graphs(
        sources[inside], targets[inside], graph_id, feats.astype(np.float32), (labels > 0).astype(np.float32)
    )


def _links(contents: Mapping[str, bytes], name: str, nodes: int) -> tuple[Integers, Integers]:
    try:
        content = json.loads(contents[name])
        ends = [(link["source"], link["target"]) for link in content["links"]]
        edges = np.array(ends, dtype=np.int64).reshape(-1, 2)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as problem:
        reason = f"{type(problem).__name__}: {problem}"
        raise DataUnavailable(f"{name}: not a graph in networkx's node-link form: {reason}") from None
    if len(edges) and (edges.min() < 0 or edges.max() >= nodes):
        raise DataUnavailable(f"{name}: a link names a node that has no row; there are {nodes:,}")
    if not content.get("directed", False):
        edges = np.concatenate([edges, edges[:, ::-1]])
    return edges[:, 0], edges[:, 1]


def _loaded(contents: Mapping[str, bytes], name: str) -> npt.NDArray[Any]:
    try:
        array = np.load(io.BytesIO(contents[name]), allow_pickle=False)
    except Exception as problem:  # noqa: BLE001 - NumPy has a dozen for what it cannot read, none of them its own
        reason, _, _ = str(problem).partition("\n")
        raise DataUnavailable(f"{name}: not an array: {reason}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise DataUnavailable(f"{name}: not an array of finite numbers")
    return array


def _array(store: FileStore, name: str) -> npt.NDArray[Any]:
    return _loaded(store.read([name]), name)


_NAMES = [f"{part}_{name}" for part in PARTS for name in ("graph.json", *(f"{array}.npy" for array in ARRAYS))]

DATASET = Ppi(
    DatasetInfo(
        name="ppi",
        title="PPI (24 graphs)",
        source=UPSTREAM,
        licence="none stated",
        citation="Zitnik and Leskovec 2017; graphs and split of Hamilton et al. 2017",
        nodes=sum(NODES),
        edges=0,
        features=FEATURES,
        classes=LABELS,
        splits=("public",),
        digest="",
        graphs=sum(GRAPHS),
        about_edges=2 * LINKS,
    ),
    FileStore(
        name="ppi",
        pinned=dict.fromkeys(_NAMES),
        sources=(UpstreamArchive(UPSTREAM),),
        folders=("ppi", "ppi/raw", "PPI/raw"),
    ),
)
