"""A small set of graphs in PPI's layout on disk: what it holds is not PPI's."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NODES, FEATURES, LABELS = 24, 6, 4  # of each graph
GRAPHS = {"train": 3, "valid": 1, "test": 1}


def write(folder: Path, graphs: dict[str, int] = GRAPHS, seed: int = 0) -> None:
    """Labels are the signs of a projection of what a node and its neighbours have: to be learned by averaging."""
    generator = np.random.default_rng(seed)
    projection = generator.standard_normal((FEATURES, LABELS))
    folder.mkdir(parents=True, exist_ok=True)
    first_id = 1
    for part, count in graphs.items():
        N = NODES * count
        ids = np.repeat(np.arange(first_id, first_id + count), NODES)
        feats = generator.standard_normal((N, FEATURES))
        links = _links(generator, count)
        adjacency = np.eye(N)
        adjacency[tuple(np.array(links).T)] = 1
        mean = adjacency @ feats / adjacency.sum(1, keepdims=True)
        arrays = {"feats": feats, "labels": (mean @ projection > 0).astype(np.int64), "graph_id": ids}
        for name, array in arrays.items():
            np.save(folder / f"{part}_{name}.npy", array)
        (folder / f"{part}_graph.json").write_text(json.dumps(node_link(N, links)))
        first_id += count


def described(descr: str, shape: str) -> bytes:
    """An `.npy` file whose header says so, and without a number."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def node_link(nodes: int, links: Sequence[tuple[int, int]]) -> dict[str, object]:
    """What networkx's `node_link_data` writes of a directed graph."""
    return {
        "directed": True,
        "multigraph": False,
        "graph": {},
        "nodes": [{"id": node} for node in range(nodes)],
        "links": [{"source": source, "target": target} for source, target in links],
    }


def _links(generator: np.random.Generator, graphs: int) -> list[tuple[int, int]]:
    """Both directions of each, within the graphs; some nodes are joined to themselves, as some of PPI's are."""
    pairs = np.triu(generator.random((graphs, NODES, NODES)) < 0.15)
    number, one, other = np.nonzero(pairs)
    ends = [(int(g * NODES + a), int(g * NODES + b)) for g, a, b in zip(number, one, other, strict=True)]
    return sorted({*ends, *((b, a) for a, b in ends)})
