"""ogbl-collab (Hu et al. 2020): authors and who wrote with whom, word vectors; who will write together?

Split by time: learn from papers until 2017, validate on those of 2018, test on those of 2019. Two authors have an edge
for each year in which they wrote together.
"""

from bench.datasets._ogb_links import OgbLinks, link_layout
from bench.task import DatasetInfo

_layout = link_layout("collab", edges=1_179_052)

DATASET = OgbLinks(
    DatasetInfo(
        name="ogbl_collab",
        title="ogbl-collab",
        source=_layout.address,
        licence="ODC-BY",
        citation="Hu et al. 2020; Wang et al. 2020",
        nodes=235_868,
        edges=0,
        features=128,
        classes=0,
        splits=("time",),
        digest="",
        about_edges=_layout.both_ways,
        metric="hits_at_50",
    ),
    _layout.store("ogbl_collab"),
    _layout,
    parallel=True,
)
