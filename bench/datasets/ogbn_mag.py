"""ogbn-mag (Hu et al. 2020), its papers only: citations between them, word vectors, 349 venues.

The whole has authors, institutions and fields of study besides; Brody et al. 2022 use papers alone, as does this file.
Split by time: learn from papers until 2017, validate on those of 2018, test on later ones.
"""

from bench.datasets._ogb import Layout, Ogb
from bench.task import DatasetInfo

PAPERS = 736_389

_layout = Layout(
    archive="mag",
    split="time",
    edges=5_416_271,
    node_type="paper",
    edge_type="paper___cites___paper",
    all_nodes={"author": 1_134_649, "field_of_study": 59_965, "institution": 8_740, "paper": PAPERS},
)

DATASET = Ogb(
    DatasetInfo(
        name="ogbn_mag",
        title="ogbn-mag (papers)",
        source=_layout.address,
        licence="ODC-BY",
        citation="Hu et al. 2020; Wang et al. 2020",
        nodes=PAPERS,
        edges=0,
        features=128,
        classes=349,
        splits=("time",),
        digest="",
        about_edges=_layout.both_ways,
    ),
    _layout.store("ogbn_mag"),
    _layout,
)
