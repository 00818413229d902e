"""ogbn-products (Hu et al. 2020): products of Amazon and which are bought together; words, 47 categories.

Split by sales rank: learn from the 8 % that are sold most, validate on the next 2 %, test on the rest.
"""

from bench.datasets._ogb import Layout, Ogb
from bench.task import DatasetInfo

_layout = Layout(archive="products", split="sales_ranking", edges=61_859_140)

DATASET = Ogb(
    DatasetInfo(
        name="ogbn_products",
        title="ogbn-products",
        source=_layout.address,
        licence="Amazon licence",
        citation="Hu et al. 2020; Chiang et al. 2019",
        nodes=2_449_029,
        edges=0,
        features=100,
        classes=47,
        splits=("sales_ranking",),
        digest="",
        about_edges=_layout.both_ways,
    ),
    _layout.store("ogbn_products"),
    _layout,
)
