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
from collections.abc import Mapping
from dataclasses import dataclass

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
class PowerLaw:
    """The data set; see the head of the file."""

    info: DatasetInfo

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
        y = (raw.random_raw(info.nodes) % np.uint64(info.classes)).astype(np.int64)
        centres = _noise(raw, info.classes, info.features)
        x = _noise(raw, info.nodes, info.features) + centres[y] / np.float32(2)
        graph = _tensors.graph(info.nodes, ends.ravel(), ends[::-1].ravel())
        return NodeData(graph, torch.from_numpy(x), torch.from_numpy(y))

    def nodes(self, data: NodeData, split: str, seed: int) -> Nodes:
        """Drawn for this seed, in the proportions of ogbn-arxiv."""
        chosen = _splits.chosen(self.info, split)
        order = _splits.shuffled(f"{self.info.name} {chosen}", seed, len(data.y))
        train, validation = round(TRAIN * len(order)), round((TRAIN + VALIDATION) * len(order))
        parts = (order[:train], order[train:validation], order[validation:])
        return Nodes(*(part.sort().values for part in parts))


def variant(parameters: str) -> PowerLaw:
    """The data set of another size: "n10000-d10-f128-c40", every part optional.

    Raises:
        UserError: a part is not understood, or such a graph cannot be.
    """
    chosen: dict[str, int] = {}
    for part in parameters.split("-"):
        found = re.fullmatch(r"([ndfc])([1-9][0-9]{0,8})", part)
        if not found or found[1] in chosen:
            raise UserError(
                f"powerlaw-{parameters}: {part!r} is not understood; sizes are written as in "
                "powerlaw-n10000-d10-f128-c40, each once: n nodes, d incoming edges per node on average, f features, "
                "c classes"
            )
        chosen[found[1]] = int(found[2])
    return _of(f"powerlaw-{parameters}", chosen)


def _of(name: str, chosen: Mapping[str, int]) -> PowerLaw:
    nodes, degree = chosen.get("n", NODES), chosen.get("d")
    features, classes = chosen.get("f", FEATURES), chosen.get("c", CLASSES)
    pairs = PAIRS if degree is None and nodes == NODES else nodes * (degree or 2 * PAIRS // NODES) // 2
    if nodes < 2 * classes or pairs > nodes * (nodes - 1) // 2 // MOST_OF_ALL_PAIRS:
        raise UserError(
            f"{name}: {nodes:,} nodes are too few for {2 * pairs / nodes:.0f} incoming edges each and {classes} classes"
        )
    parameters = [VERSION, SEED, RANK_OFFSET, nodes, pairs, features, classes]
    return PowerLaw(
        DatasetInfo(
            name=name,
            title=f"Power-law graph of {nodes:,} nodes (synthetic)",
            source="generated",
            licence="MIT",
            citation="Chung and Lu 2002",
            nodes=nodes,
            edges=2 * pairs,
            features=features,
            classes=classes,
            splits=("random",),
            digest=sha256(json.dumps(parameters).encode()),
        )
    )


def _pairs(raw: np.random.Philox, nodes: int, count: int) -> Integers:
    """Ranks [2, count] at the two ends of each undirected edge, in the order of their drawing."""
    root = np.sqrt(np.arange(nodes, dtype=np.float64) + RANK_OFFSET)
    until = np.cumsum(1 / (root * np.sqrt(root)))
    keys = np.empty(0, dtype=np.int64)
    while len(keys) < count:
        ends = np.searchsorted(until, _uniform(raw, 2 * count) * until[-1], side="right").reshape(2, -1)
        low, high = ends.min(0), np.minimum(ends.max(0), nodes - 1)
        keys = _first_of_each(np.append(keys, (low * nodes + high)[low != high]))
    return np.stack([keys[:count] // nodes, keys[:count] % nodes])


def _first_of_each(keys: Integers) -> Integers:
    """Without repetitions, in the order in which they first occur."""
    _, first = np.unique(keys, return_index=True)
    return keys[np.sort(first)]


def _uniform(raw: np.random.Philox, count: int) -> Floats:
    """In [0, 1), 53 bits each."""
    return (raw.random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _noise(raw: np.random.Philox, rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Mean 0, variance 1, nearly normal: the sum of four uniform 16-bit integers (Irwin and Hall)."""
    parts = raw.random_raw(rows * columns).view(np.uint16).reshape(rows, columns, 4)
    total = parts.sum(-1, dtype=np.int32) - 2 * 65535
    scale = np.float32(np.sqrt(3.0) / 65536)
    noise: npt.NDArray[np.float32] = total.astype(np.float32) * scale
    return noise


NODES, PAIRS, FEATURES, CLASSES = 169_343, 1_150_000, 128, 40
# Where a graph holds so large a part of all pairs, drawing until there are enough takes for ever.
MOST_OF_ALL_PAIRS = 8

DATASET = _of("powerlaw", {})
