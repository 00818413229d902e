"""ogbl-citation2 (Hu et al. 2020): papers and their citations, word vectors; what else did a recent paper cite?

Two citations are taken out of each of the papers of 2019, one to validate and one to test, each held against 1,000
papers that are not cited there.
"""

from bench.datasets._ogb_links import OgbLinks, link_layout
from bench.task import DatasetInfo

_layout = link_layout("citation-v2", edges=30_387_995)

DATASET = OgbLinks(
    DatasetInfo(
        name="ogbl_citation2",
        title="ogbl-citation2",
        source=_layout.address,
        licence="ODC-BY",
        citation="Hu et al. 2020; Wang et al. 2020",
        nodes=2_927_963,
        edges=0,
        features=128,
        classes=0,
        splits=("time",),
        digest="",
        about_edges=_layout.both_ways,
        metric="mrr",
    ),
    _layout.store("ogbl_citation2"),
    _layout,
)
