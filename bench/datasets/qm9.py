"""QM9 (Ramakrishnan et al. 2014), as Brockschmidt prepared it for GNN-FiLM: a number is foretold of a whole molecule.

    train.jsonl.gz, valid.jsonl.gz, test.jsonl.gz    a molecule a line:

    node_features   [n][15] numbers of each atom
    graph           [source, type, target] of each bond, in one direction; types 1 to 4
    targets         [13][1] properties of the molecule, brought to one scale

A bond is an edge both ways. Each type of bond is a relation of its own (`NodeData.relations`), without self-loops and
repetitions; a self-loop on each atom, where the protocol wants them, is one more. `qm9-mu` is the data set with the
first property, `qm9-omega` that with the last, `qm9` alone the first. An error counts in chemical accuracies: it is
divided by the constant that the released code has for the property (tf-gnn-samples, tasks/qm9_task.py).

Nobody has published digests of these files. So they are taken as they are: other molecules in the same layout can be
run, but what comes out says that they are not QM9's.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.datasets import _splits, _tensors
from bench.datasets._download import Upstream
from bench.datasets._files import FileStore
from bench.datasets._unpinned import Unpinned
from bench.errors import UserError, unknown
from bench.task import DatasetInfo, DataUnavailable, NodeData, Nodes
from implementations.contract import Graph

# The folder as of the commit that the released files came with.
UPSTREAM = (
    "https://raw.githubusercontent.com/microsoft/tf-gnn-samples/8e0b4354c4ce6d77f41e6aad7b29a94c07115227/data/qm9"
)
FILES = ("train.jsonl.gz", "valid.jsonl.gz", "test.jsonl.gz")
FEATURES, BOND_TYPES = 15, 4
ATOMS, EDGES = 18, 37  # of a molecule on average, about; a bond is two edges
FEWEST_MOLECULES = 130_000  # of the 134 thousand, less those that fail a check of consistency, as most users have it

PROPERTIES: Mapping[str, float] = {
    "mu": 0.066513725,
    "alpha": 0.012235489,
    "homo": 0.071939046,
    "lumo": 0.033730778,
    "gap": 0.033486113,
    "r2": 0.004278493,
    "zpve": 0.001330901,
    "u0": 0.004165489,
    "u": 0.004128926,
    "h": 0.00409976,
    "g": 0.004527465,
    "cv": 0.012292586,
    "omega": 0.037467458,
}
"""Each property, in the order of `targets`, and its chemical accuracy on the scale of the files."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Molecules:
    """What the three files hold, one after the other."""

    x: Floats  # [N, F]
    targets: Floats  # [G, 13]
    graph_of: Integers  # [N]
    bonds: Integers  # [B, 3] source, type, target
    sizes: tuple[int, ...]  # number of molecules in each file


@dataclass(frozen=True)
class Qm9(Unpinned):
    """The data set of one property; see the head of the file."""

    target: int  # place of the property among all

    def load(self) -> NodeData:
        """See `bench.task.Dataset`."""
        found = _molecules(self.store, self.store.digest)
        N = len(found.x)
        relations = tuple(_relation(found.bonds, type_, N) for type_ in range(1, BOND_TYPES + 1))
        return NodeData(
            graph=Graph(N, torch.cat([relation.edge_index for relation in relations], dim=1)),
            x=torch.from_numpy(found.x),
            y=torch.from_numpy(found.targets[found.graph_of, self.target]),
            graph_of=torch.from_numpy(found.graph_of),
            relations=relations,
            differs=_differs(found),
        )

    def nodes(self, data: NodeData, split: str, seed: int) -> Nodes:
        """The atoms of each file's molecules; the seed has no effect."""
        _splits.chosen(self.stated, split)
        found = _molecules(self.store, self.store.digest)
        until = np.searchsorted(found.graph_of, np.cumsum(found.sizes)[:-1])
        return Nodes(*torch.tensor_split(torch.arange(len(found.x)), torch.from_numpy(until)))


# One reading serves the load, the split, and all properties; the digest is that of the files which were read.
@lru_cache(maxsize=1)
def _molecules(store: FileStore, digest: str) -> _Molecules:
    del digest
    parts = [list(_lines(name, content)) for name, content in store.read(FILES).items()]
    every = [molecule for part in parts for molecule in part]
    if {x.shape[1] for x, _, _ in every} != {every[0][0].shape[1]}:
        raise DataUnavailable(f"{', '.join(FILES)}: not the same number of features for all atoms")
    sizes = np.array([len(x) for x, _, _ in every])
    first = np.cumsum(sizes) - sizes
    shifted = [bonds + np.array([at, 0, at]) for (_, bonds, _), at in zip(every, first, strict=True)]
    return _Molecules(
        x=np.concatenate([x for x, _, _ in every]),
        targets=np.stack([targets for _, _, targets in every]),
        graph_of=np.repeat(np.arange(len(every)), sizes),
        bonds=np.concatenate(shifted),
        sizes=tuple(map(len, parts)),
    )


def _lines(name: str, content: bytes) -> Iterator[tuple[Floats, Integers, Floats]]:
    """Features, bonds and targets of each molecule of a file."""
    try:
        lines = gzip.decompress(content).splitlines()
    except (OSError, EOFError, zlib.error) as problem:
        raise DataUnavailable(f"{name}: not a gzipped file: {problem}") from None
    if not lines:
        raise DataUnavailable(f"{name}: there is no molecule in it")
    for number, line in enumerate(lines, 1):
        try:
            yield _molecule(json.loads(line))
        except KeyError as missing:
            raise DataUnavailable(f"{name}, line {number}: not a molecule: {missing} is missing") from None
        except (ValueError, TypeError, OverflowError, RecursionError) as problem:
            raise DataUnavailable(f"{name}, line {number}: not a molecule: {problem}") from None


def _molecule(content: Any) -> tuple[Floats, Integers, Floats]:
    x = _numbers(content["node_features"], "node_features", "biuf").astype(np.float32)
    targets = _numbers(content["targets"], "targets", "iuf").astype(np.float32)
    bonds = _numbers(content["graph"] or np.empty((0, 3), np.int64), "graph", "iu").astype(np.int64)
    if x.ndim != 2 or not x.size:
        raise ValueError("node_features should be a row of numbers for each atom")
    if targets.shape != (len(PROPERTIES), 1):
        raise ValueError(f"targets should be {len(PROPERTIES)} lists of one number")
    if bonds.ndim != 2 or bonds.shape[1] != 3:
        raise ValueError("graph should be a list of [source, type, target]")
    ends, types = bonds[:, [0, 2]], bonds[:, 1]
    if ends.min(initial=0) < 0 or ends.max(initial=0) >= len(x):
        raise ValueError(f"a bond leads to an atom that has no features; there are {len(x)}")
    if types.min(initial=1) < 1 or types.max(initial=1) > BOND_TYPES:
        raise ValueError(f"a bond has a type that is not one of 1 to {BOND_TYPES}")
    return x, bonds, targets[:, 0]


def _numbers(given: Any, key: str, kinds: str) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.array(given)
    if array.dtype.kind not in kinds or not np.isfinite(array).all():
        raise ValueError(f"{key} should hold {'whole' if 'f' not in kinds else 'finite'} numbers only")
    return array


def _relation(bonds: Integers, type_: int, nodes: int) -> Graph:
    """The bonds of a type, both ways."""
    ends = bonds[bonds[:, 1] == type_]
    sources, targets = ends[:, 0], ends[:, 2]
    return _tensors.graph(nodes, np.append(sources, targets), np.append(targets, sources))


def _differs(found: _Molecules) -> str:
    molecules, features = len(found.targets), found.x.shape[1]
    if molecules >= FEWEST_MOLECULES and features == FEATURES:
        return ""
    return (
        f"these files hold {_joined(found.sizes)} molecules of {features} features; "
        f"QM9 has more than {FEWEST_MOLECULES:,} of {FEATURES}"
    )


def _joined(sizes: Sequence[int]) -> str:
    return " + ".join(f"{size:,}" for size in sizes)


def variant(parameters: str) -> Qm9:
    """The data set of another property: "alpha".

    Raises:
        UserError: there is no such property.
    """
    if parameters not in PROPERTIES:
        raise UserError(f"qm9-{parameters}: {unknown('property', parameters, PROPERTIES)}")
    return _of(f"qm9-{parameters}", parameters)


_STORE = FileStore(
    name="qm9",
    pinned=dict.fromkeys(FILES),
    sources=(Upstream(UPSTREAM),),
    folders=("qm9", "data/qm9", "tf-gnn-samples/data/qm9"),
)


def _of(name: str, property_: str) -> Qm9:
    return Qm9(
        DatasetInfo(
            name=name,
            title=f"QM9, {property_}",
            source=UPSTREAM,
            licence="CC0",
            citation="Ramakrishnan et al. 2014; graphs and split of Brockschmidt 2020",
            nodes=0,
            edges=0,
            features=FEATURES,
            classes=1,
            splits=("public",),
            digest="",
            graphs=0,
            metric="mae",
            unit=PROPERTIES[property_],
            about_nodes=FEWEST_MOLECULES * ATOMS,
            about_edges=FEWEST_MOLECULES * EDGES,
        ),
        _STORE,
        list(PROPERTIES).index(property_),
    )


DATASET = _of("qm9", next(iter(PROPERTIES)))
