"""A synthetic block graph for smoke runs: seconds instead of minutes, and nothing to download.

Each pair of nodes is joined with probability `INSIDE` within a class and `ACROSS` between classes; each of a class's
own words occurs in a node with probability `OWN_WORD`, every other word with `OTHER_WORD`. With the paper's settings,
two layers of GAT reach about 0.91 on the test nodes, and 0.60 without the edges: learnable, but not trivial.
"""

import json
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix

from bench.datasets import _splits, _tensors
from bench.datasets._files import Report, sha256
from bench.task import DatasetInfo, FileState, NodeData, Nodes

NODES, CLASSES, FEATURES = 400, 4, 64
INSIDE, ACROSS = 0.04, 0.005
OWN_WORD, OTHER_WORD = 0.15, 0.04
SEED = 0

TRAIN_PER_CLASS, VALIDATION, TEST = 10, 120, 240


@dataclass(frozen=True)
class Blocks:
    """The data set; see the head of the file."""

    info: DatasetInfo

    def files(self) -> list[FileState]:
        """None: it is generated."""
        return []

    def fetch(self, report: Report) -> None:
        """Nothing to do."""

    def load(self) -> NodeData:
        """The same graph at every call."""
        generator = np.random.default_rng(SEED)
        label = np.arange(NODES) % CLASSES
        same = label[:, None] == label
        pairs = np.triu(generator.random((NODES, NODES)) < np.where(same, INSIDE, ACROSS), k=1)
        own = label[:, None] == np.arange(FEATURES) % CLASSES
        words = generator.random((NODES, FEATURES)) < np.where(own, OWN_WORD, OTHER_WORD)
        return NodeData(
            graph=_tensors.graph(NODES, *np.nonzero(pairs | pairs.T)),
            x=_tensors.sparse(csr_matrix(words)),
            y=torch.from_numpy(label),
        )

    def nodes(self, data: NodeData, split: str, seed: int) -> Nodes:
        """Drawn for this seed: some training nodes per class, validation and test nodes of the rest."""
        chosen = _splits.chosen(self.info, split)
        order = _splits.shuffled(f"blocks {chosen}", seed, len(data.y))
        return _splits.balanced(data.y, order, TRAIN_PER_CLASS, VALIDATION, TEST)


# Everything that decides what is generated; a change to the procedure itself goes with a new version here.
_PARAMETERS = json.dumps(
    {
        "version": 1,
        "sizes": [NODES, CLASSES, FEATURES],
        "edges": [INSIDE, ACROSS],
        "words": [OWN_WORD, OTHER_WORD],
        "seed": SEED,
        "split": [TRAIN_PER_CLASS, VALIDATION, TEST],
    }
)

DATASET = Blocks(
    DatasetInfo(
        name="blocks",
        title="Block graph (synthetic)",
        source="generated",
        licence="MIT",
        citation="stochastic block model, Holland et al. 1983",
        nodes=NODES,
        edges=2180,
        features=FEATURES,
        classes=CLASSES,
        splits=("random",),
        digest=sha256(_PARAMETERS.encode()),
    )
)
