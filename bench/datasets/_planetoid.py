"""The `ind.<name>.*` files of Planetoid (Yang et al. 2016), with their public split.

    x, y         features and one-hot labels of the training nodes, the first 20 per class of allx
    allx, ally   ... of all nodes but the test nodes: node numbers 0, 1, ...
    tx, ty       ... of the test nodes, in the order of test.index
    test.index   node numbers of the test nodes
    graph        node number -> neighbours; repeated edges and self-loops occur

The 500 nodes after the training nodes validate. The result is that of `torch_geometric.io.read_planetoid_data`: edges
without self-loops and repetitions, sorted by target, then source. In Citeseer, 15 numbers between those of the test
nodes are in `graph` only: nodes without features, whose unknown label is taken to be 0, and which are in no split.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix, vstack

from bench.datasets import _splits, _tensors
from bench.datasets._files import FileStore, Report
from bench.datasets._unpickle import load
from bench.task import DatasetInfo, FileState, NodeData, Nodes

# torch_geometric.datasets.Planetoid.url, without the seconds that importing it costs; a test compares the two.
UPSTREAM = "https://github.com/kimiyoung/planetoid/raw/master/data"

TRAIN_PER_CLASS = 20
VALIDATION = 500


@dataclass(frozen=True)
class Planetoid:
    """One of Cora, Citeseer and Pubmed."""

    info: DatasetInfo
    store: FileStore

    def files(self) -> list[FileState]:
        """See `bench.task.Dataset`."""
        return self.store.states()

    def fetch(self, report: Report) -> None:
        """See `bench.task.Dataset`."""
        self.store.fetch(report)

    def load(self) -> NodeData:
        """See `bench.task.Dataset`."""
        prefix = f"ind.{self.info.name}."
        return parse({name.removeprefix(prefix): content for name, content in self.store.read().items()})

    def nodes(self, data: NodeData, split: str, seed: int) -> Nodes:
        """The public split; the seed has no effect."""
        _splits.chosen(self.info, split)
        name = f"ind.{self.info.name}.test.index"
        train = TRAIN_PER_CLASS * self.info.classes
        return Nodes(
            train=torch.arange(train),
            validation=torch.arange(train, train + VALIDATION),
            test=torch.from_numpy(np.sort(_numbers(self.store.read([name])[name]))),
        )


def parse(contents: Mapping[str, bytes]) -> NodeData:
    """A data set from the contents of its files, by the last part of their names."""
    neighbours: dict[int, list[int]] = load(contents["graph"])
    features = vstack([load(contents["allx"]), load(contents["tx"])], format="coo")
    labels = np.vstack([load(contents["ally"]), load(contents["ty"])])
    known = np.arange(len(labels) - len(test := _numbers(contents["test.index"])))
    node = np.concatenate([known, test])  # of each row of features and labels
    N = len(neighbours)
    y = np.zeros(N, dtype=np.int64)
    y[node] = labels.argmax(axis=1)
    return NodeData(
        graph=_tensors.graph(N, *_edges(neighbours)),
        x=_tensors.sparse(
            csr_matrix((features.data, (node[features.row], features.col)), shape=(N, features.shape[1]))
        ),
        y=torch.from_numpy(y),
    )


def _numbers(content: bytes) -> npt.NDArray[np.int64]:
    return np.array(content.split(), dtype=np.int64)


def _edges(neighbours: Mapping[int, list[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    lengths = [len(targets) for targets in neighbours.values()]
    sources = np.repeat(np.array(list(neighbours), dtype=np.int64), lengths)
    return sources, np.fromiter(chain.from_iterable(neighbours.values()), dtype=np.int64)
