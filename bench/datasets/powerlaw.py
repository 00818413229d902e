"""A generated graph with hubs, of the size and the skew of ogbn-arxiv: 169,343 nodes, 2.3 million directed edges.

Two ends of an undirected edge are drawn independently, node of rank i with probability proportional to

    w_i = (i + 3)^(-3/4)         a power law of degrees with exponent 1 + 4/3 (Chung and Lu 2002)

without self-loops and repetitions, until there are enough; each makes an edge in both directions. Ranks are dealt to
nodes at random. Features are dense: noise, plus the centre of the node's class. Edges know nothing of classes, so
accuracy on this graph means nothing; it is there to be timed.

`powerlaw` is the whole graph, `powerlaw-n10000-d10` one of 10,000 nodes with 10 incoming edges each on average;
further `f` features and `c` classes. All bits are the same on every machine: the generator's raw integers, and of
floating point only what IEEE 754 rounds correctly (+, x, /, square root).
"""

import json
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from bench.datasets import _splits, _tensors
from bench.datasets._files import Report, sha256
from bench.errors import UserError
from bench.task import DatasetInfo, FileState, NodeData, Nodes

VERSION = 1
SEED = 0
RANK_OFFSET = 3
TRAIN, VALIDATION = 0.54, 0.18  # of the nodes, as ogbn-arxiv's split by year comes to

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sizes:
    """Of a graph; each pair of nodes makes an edge in both directions."""

    nodes: int
    pairs: int
    features: int
    classes: int


@dataclass(frozen=True)
class PowerLaw:
    """The data set; see the head of the file."""

    info: DatasetInfo
    has_signed_features: ClassVar[bool] = True

    def files(self) -> list[FileState]:
        """None: it is generated."""
        return []

    def fetch(self, report: Report) -> None:
        """Nothing to do."""

    def load(self) -> NodeData:
        """The same graph at every call."""
        info, raw = self.info, np.random.Philox(SEED)
        node_of_rank = np.argsort(raw.random_raw(info.nodes), kind="stable")
        ends = node_of_rank[_pairs(raw, info.nodes, info.edges // 2)]
        y = classes_of(raw.random_raw(info.nodes), info.classes)
        centres = noise(raw.random_raw(info.classes * info.features), info.features)
        x = features_of(raw.random_raw(info.nodes * info.features), centres[y])
        graph = _tensors.graph(info.nodes, ends.ravel(), ends[::-1].ravel())
        return NodeData(graph, torch.from_numpy(x), torch.from_numpy(y))

    def nodes(self, data: NodeData, split: str, seed: int) -> Nodes:
        """Drawn for this seed, in the proportions of ogbn-arxiv."""
        chosen = _splits.chosen(self.info, split)
        order = _splits.shuffled(f"{self.info.name} {chosen}", seed, len(data.y))
        return _splits.in_shares(order, TRAIN, VALIDATION)


def variant(parameters: str) -> PowerLaw:
    """The data set of another size: "n10000-d10-f128-c40", every part optional.

    Raises:
        UserError: a part is not understood, or such a graph cannot be.
    """
    return PowerLaw(described(f"powerlaw-{parameters}", sizes("powerlaw", parameters, SIZES)))


def sizes(family: str, parameters: str, usual: Sizes) -> Sizes:
    """What the name of a variant asks for.

    Raises:
        UserError: a part is not understood.
    """
    asked: dict[str, int] = {}
    for part in parameters.split("-"):
        found = re.fullmatch(r"([ndfc])([1-9][0-9]{0,8})", part)
        if not found or found[1] in asked:
            raise UserError(
                f"{family}-{parameters}: {part!r} is not understood; write sizes as in "
                f"{family}-n10000-d10-f128-c40, each once: n nodes, d incoming edges per node on average, f features, "
                "c classes"
            )
        asked[found[1]] = int(found[2])
    nodes, degree = asked.get("n", usual.nodes), asked.get("d")
    known = degree is None and nodes == usual.nodes
    pairs = usual.pairs if known else nodes * (degree or 2 * usual.pairs // usual.nodes) // 2
    return Sizes(nodes, pairs, asked.get("f", usual.features), asked.get("c", usual.classes))


def described(name: str, sizes: Sizes) -> DatasetInfo:
    """What is known of a graph of these sizes.

    Raises:
        UserError: such a graph cannot be.
    """
    nodes, pairs = sizes.nodes, sizes.pairs
    if nodes < 2 * sizes.classes or pairs > nodes * (nodes - 1) // 2 // MOST_OF_ALL_PAIRS:
        raise UserError(
            f"{name}: {nodes:,} nodes are too few for {2 * pairs / nodes:.0f} incoming edges each and "
            f"{sizes.classes} classes; name more of them, or fewer edges and classes"
        )
    parameters = [VERSION, SEED, RANK_OFFSET, nodes, pairs, sizes.features, sizes.classes]
    return DatasetInfo(
        name=name,
        title=f"Power-law graph of {nodes:,} nodes (synthetic)",
        source="generated",
        licence="MIT",
        citation="Chung and Lu 2002",
        nodes=nodes,
        edges=2 * pairs,
        features=sizes.features,
        classes=sizes.classes,
        splits=("random",),
        digest=sha256(json.dumps(parameters).encode()),
    )


def _pairs(raw: np.random.Philox, nodes: int, count: int) -> Integers:
    """Ranks [2, count] at the two ends of each undirected edge, in the order of their drawing."""
    until = cumulated(nodes)
    keys = np.empty(0, dtype=np.int64)
    while len(keys) < count:
        low, high = drawn_ends(until, raw.random_raw(2 * count).reshape(2, -1))
        keys = _first_of_each(np.append(keys, (low * nodes + high)[low != high]))
    return np.stack([keys[:count] // nodes, keys[:count] % nodes])


def cumulated(nodes: int) -> Floats:
    """Sums of w_0 to w_i."""
    root = np.sqrt(np.arange(nodes, dtype=np.float64) + RANK_OFFSET)
    sums: Floats = np.cumsum(1 / (root * np.sqrt(root)))
    return sums


def drawn_ends(until: Floats, raw: npt.NDArray[np.uint64]) -> tuple[Integers, Integers]:
    """The lower and the higher rank of each pair, from two raw integers [2, n]; equal in a self-loop."""
    uniform = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53  # in [0, 1), 53 bits each
    ends = np.searchsorted(until, uniform.ravel() * until[-1], side="right").reshape(2, -1)
    return ends.min(0), np.minimum(ends.max(0), len(until) - 1)


def _first_of_each(keys: Integers) -> Integers:
    """Without repetitions, in the order in which they first occur."""
    _, first = np.unique(keys, return_index=True)
    return keys[np.sort(first)]


def classes_of(raw: npt.NDArray[np.uint64], classes: int) -> Integers:
    """A class for each raw integer."""
    return (raw % np.uint64(classes)).astype(np.int64)


def features_of(raw: npt.NDArray[np.uint64], centres: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Noise around the centre [n, F] of each node's class, half as far out."""
    return noise(raw, centres.shape[1]) + centres / np.float32(2)


def noise(raw: npt.NDArray[np.uint64], columns: int) -> npt.NDArray[np.float32]:
    """[n, columns] from as many raw integers. Mean 0, variance 1, nearly normal: four uniform 16-bit integers each,
    summed (Irwin and Hall).
    """
    parts = raw.view(np.uint16).reshape(-1, columns, 4)
    total = parts.sum(-1, dtype=np.int32) - 2 * 65535
    scale = np.float32(np.sqrt(3.0) / 65536)
    normal: npt.NDArray[np.float32] = total.astype(np.float32) * scale
    return normal


SIZES = Sizes(nodes=169_343, pairs=1_150_000, features=128, classes=40)
# Where a graph holds so large a part of all pairs, drawing until there are enough takes for ever.
MOST_OF_ALL_PAIRS = 8

DATASET = PowerLaw(described("powerlaw", SIZES))
