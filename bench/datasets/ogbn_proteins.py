"""ogbn-proteins (Hu et al. 2020): proteins of eight species and how they are associated; any of 112 functions.

    raw/edge-feat.csv.gz    8 numbers in [0, 1] for each line of edge.csv.gz: kinds of association
    raw/node-label.csv.gz   112 numbers, 0 or 1

Proteins have no features; as in OGB's example, they get the sum of those of their edges. Split by species.
"""

import numpy as np
import torch

from bench.datasets import _tensors
from bench.datasets._ogb import Layout, Ogb, differs, lines, rows, sizes_of
from bench.task import DatasetInfo, DataUnavailable, NodeData

_layout = Layout(archive="proteins", split="species", edges=39_561_252, tables=("node-label", "edge-feat"))


class Proteins(Ogb):
    """The data set; see the head of the file."""

    def load(self) -> NodeData:
        """See `bench.task.Dataset`."""
        contents = self.store.read()
        sizes = sizes_of(contents, self.layout)
        N = sizes[""]
        edges = torch.from_numpy(lines(contents, N))
        of_edges = torch.from_numpy(rows(contents, "edge-feat.csv.gz", len(edges)))
        y = rows(contents, "node-label.csv.gz", N)
        if not np.isin(y, (0, 1)).all():
            raise DataUnavailable("node-label.csv.gz: a label that is neither 0 nor 1")
        x = torch.zeros(N, of_edges.shape[1])
        for end in edges.T:
            x.index_add_(0, end, of_edges)
        sources, targets = edges.T.numpy()
        return NodeData(
            graph=_tensors.graph(N, np.append(sources, targets), np.append(targets, sources)),
            x=x,
            y=torch.from_numpy(y),
            differs=differs(self.stated, self.layout, sizes, len(edges), x.shape[1]),
        )


DATASET = Proteins(
    DatasetInfo(
        name="ogbn_proteins",
        title="ogbn-proteins",
        source=_layout.address,
        licence="CC0",
        citation="Hu et al. 2020; Szklarczyk et al. 2019",
        nodes=132_534,
        edges=0,
        features=8,
        classes=112,
        splits=("species",),
        digest="",
        about_edges=_layout.both_ways,
        metric="roc_auc",
    ),
    _layout.store("ogbn_proteins"),
    _layout,
)
