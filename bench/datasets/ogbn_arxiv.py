"""ogbn-arxiv (Hu et al. 2020): computer science papers of arXiv and their citations; word vectors, 40 subjects.

Split by time: learn from papers until 2017, validate on those of 2018, test on later ones.
"""

from bench.datasets._ogb import Layout, Ogb
from bench.task import DatasetInfo

_layout = Layout(archive="arxiv", split="time", edges=1_166_243)

DATASET = Ogb(
    DatasetInfo(
        name="ogbn_arxiv",
        title="ogbn-arxiv",
        source=_layout.address,
        licence="ODC-BY",
        citation="Hu et al. 2020",
        nodes=169_343,
        edges=0,
        features=128,
        classes=40,
        splits=("time",),
        digest="",
        about_edges=_layout.both_ways,
    ),
    _layout.store("ogbn_arxiv"),
    _layout,
)
