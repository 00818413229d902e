"""Small graphs in OGB's directory layout: what they hold is not what OGB's files of those names hold."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

NODES, FEATURES, CLASSES, LINES = 90, 8, 5, 260


def write_arxiv(folder: Path, seed: int = 0) -> None:
    """ogbn_arxiv/, as OGB unpacks it."""
    root = folder / "ogbn_arxiv"
    edges, feats, classes = _papers(np.random.default_rng(seed))
    _graph(root / "raw", root / "raw", root / "raw", root / "split" / "time", edges, feats, classes)
    _table(root / "raw" / "num-node-list.csv.gz", [[NODES]])
    _table(root / "mapping" / "labelidx2arxivcategeory.csv.gz", [[0, "arxiv cs na"]])  # there, and read by nobody


def write_products(folder: Path, seed: int = 0) -> None:
    """ogbn_products/, split by sales rank."""
    root = folder / "ogbn_products"
    edges, feats, classes = _papers(np.random.default_rng(seed))
    _graph(root / "raw", root / "raw", root / "raw", root / "split" / "sales_ranking", edges, feats, classes)
    _table(root / "raw" / "num-node-list.csv.gz", [[NODES]])


def write_proteins(folder: Path, seed: int = 0) -> None:
    """ogbn_proteins/: no features of nodes but of edges, and labels of which a node may have several."""
    root = folder / "ogbn_proteins"
    edges, feats, classes = _papers(np.random.default_rng(seed))
    _graph(root / "raw", root / "raw", root / "raw", root / "split" / "species", edges, feats, classes)
    (root / "raw" / "node-feat.csv.gz").unlink()
    near = np.array([[one == other, one != other, 0.5] for one, other in classes[edges]])
    _table(root / "raw" / "edge-feat.csv.gz", np.concatenate([near, np.eye(CLASSES)[classes[edges[:, 0]]]], axis=1))
    _table(root / "raw" / "node-label.csv.gz", np.eye(CLASSES, dtype=int)[classes] | (np.arange(CLASSES) == 0))
    _table(root / "raw" / "num-node-list.csv.gz", [[NODES]])


def write_mag(folder: Path, seed: int = 0) -> None:
    """ogbn_mag/, with authors whose files must not be taken for those of papers."""
    root = folder / "ogbn_mag"
    edges, feats, classes = _papers(np.random.default_rng(seed))
    _graph(
        root / "raw" / "relations" / "paper___cites___paper",
        root / "raw" / "node-feat" / "paper",
        root / "raw" / "node-label" / "paper",
        root / "split" / "time" / "paper",
        edges,
        feats,
        classes,
    )
    _table(root / "raw" / "relations" / "author___writes___paper" / "edge.csv.gz", [[0, 1]])
    _table(root / "raw" / "num-node-dict.csv.gz", [["author", "paper"], [7, NODES]])


def write_collab(folder: Path, seed: int = 0) -> None:
    """ogbl_collab/: authors who write with their own kind, some of them year after year."""
    edges, feats, _ = _papers(np.random.default_rng(seed))
    generator = np.random.default_rng(seed + 1)
    train, valid, test = edges[:160], edges[160:210], edges[210:]
    others = {part: generator.integers(0, NODES, (60, 2)) for part in ("valid", "test")}
    _links(
        folder / "ogbl_collab",
        np.concatenate([train, train[:5]]),
        feats,
        train={"edge": train, "weight": np.ones(len(train)), "year": np.full(len(train), 2017)},
        valid={"edge": valid, "edge_neg": others["valid"]},
        test={"edge": test, "edge_neg": others["test"]},
    )


def write_citation2(folder: Path, seed: int = 0) -> None:
    """ogbl_citation2/: each link that is asked for has seven others of its own."""
    edges, feats, _ = _papers(np.random.default_rng(seed))
    generator = np.random.default_rng(seed + 1)
    asked = {}
    for part, links in {"train": edges[:200], "valid": edges[200:230], "test": edges[230:]}.items():
        asked[part] = {"source_node": links[:, 0], "target_node": links[:, 1]}
        if part != "train":
            asked[part]["target_node_neg"] = generator.integers(0, NODES, (len(links), 7))
    _links(folder / "ogbl_citation2", edges[:200], feats, **asked)


def _links(root: Path, edges: np.ndarray, feats: np.ndarray, **parts: dict[str, np.ndarray]) -> None:
    _table(root / "raw" / "edge.csv.gz", edges)
    _table(root / "raw" / "num-edge-list.csv.gz", [[len(edges)]])
    _table(root / "raw" / "num-node-list.csv.gz", [[NODES]])
    _table(root / "raw" / "node-feat.csv.gz", np.round(feats, 6))
    (root / "split" / "time").mkdir(parents=True)
    for part, arrays in parts.items():
        torch.save(arrays, root / "split" / "time" / f"{part}.pt")


def _papers(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Papers mostly cite their own subject; some cite each other, and some a paper twice."""
    classes = generator.integers(0, CLASSES, NODES)
    edges = []
    while len(edges) < LINES:
        one, other = generator.integers(0, NODES, 2)
        if classes[one] == classes[other] or generator.random() < 0.1:
            edges.append((one, other))
    centres = generator.standard_normal((CLASSES, FEATURES))
    return np.array(edges), centres[classes] + generator.standard_normal((NODES, FEATURES)), classes


def _graph(
    of_edges: Path,
    of_feats: Path,
    of_classes: Path,
    of_split: Path,
    edges: np.ndarray,
    feats: np.ndarray,
    classes: np.ndarray,
) -> None:
    _table(of_edges / "edge.csv.gz", edges)
    _table(of_edges / "num-edge-list.csv.gz", [[len(edges)]])
    _table(of_feats / "node-feat.csv.gz", np.round(feats, 6))
    _table(of_classes / "node-label.csv.gz", classes[:, None])
    for part, nodes in {"train": range(50), "valid": range(50, 70), "test": range(70, NODES)}.items():
        _table(of_split / f"{part}.csv.gz", [[node] for node in nodes])


def _table(path: Path, rows: Iterable[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, header=False, index=False, compression="gzip")
