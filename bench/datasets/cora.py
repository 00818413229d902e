"""Cora with the public Planetoid split, which is not on the package index: from upstream, or a folder of the user's.

LINQS Cora (`cora_linqs`) holds the same papers without this split, and never stands in for it.
"""

from bench.datasets._download import Upstream
from bench.datasets._files import FileStore
from bench.datasets._planetoid import UPSTREAM, Planetoid
from bench.task import DatasetInfo

_store = FileStore(
    name="cora",
    pinned={
        "ind.cora.x": "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
        "ind.cora.y": "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
        "ind.cora.tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
        "ind.cora.ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
        "ind.cora.allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
        "ind.cora.ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
        "ind.cora.graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
        "ind.cora.test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
    },
    sources=(Upstream(UPSTREAM),),
    folders=("planetoid-cora", "cora"),
)

DATASET = Planetoid(
    DatasetInfo(
        name="cora",
        title="Cora (public split)",
        source=UPSTREAM,
        licence="none stated",
        citation="Sen et al. 2008; split of Yang et al. 2016",
        nodes=2708,
        edges=10556,
        features=1433,
        classes=7,
        splits=("public",),
        digest=_store.digest,
    ),
    _store,
)
