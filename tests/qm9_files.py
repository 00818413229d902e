"""Molecules in the layout of tf-gnn-samples' QM9: what they are is made up."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.paper import table_file

FEATURES, PROPERTIES = 15, 13
MOLECULES = {"train": 24, "valid": 6, "test": 6}


def write(folder: Path, molecules: dict[str, int] = MOLECULES, seed: int = 0) -> None:
    """A property is a sum over atoms of what their kind and their bonds give it, so that it can be learned."""
    generator = np.random.default_rng(seed)
    worth = generator.standard_normal((FEATURES, PROPERTIES)) / 10
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in molecules.items():
        put(folder / f"{part}.jsonl.gz", [molecule(generator, worth) for _ in range(count)])


def put(path: Path, molecules: list[Any]) -> None:
    """One of the files."""
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, molecules)).encode()))


def molecule(generator: np.random.Generator, worth: np.ndarray) -> dict[str, Any]:
    """A tree of atoms, bonds of any of four types, each named in one direction."""
    N = int(generator.integers(4, 10))
    x = np.zeros((N, FEATURES))
    x[np.arange(N), generator.integers(0, 5, N)] = 1
    x[:, 5:] = generator.random((N, FEATURES - 5)).round(3)
    bonds = [[int(generator.integers(0, atom)), int(generator.integers(1, 5)), atom] for atom in range(1, N)]
    targets = (x @ worth).sum(0) + 0.05 * sum(kind for _, kind, _ in bonds)
    return {"targets": [[float(value)] for value in targets], "graph": bonds, "node_features": x.tolist(), "id": "made"}


def few_epochs(folder: Path) -> str:
    """GATv2's Table 2 as it comes along, with fewer epochs of smaller steps; a file in the folder."""
    text = (table_file.FOLDER / "gatv2-table2.toml").read_text()
    for whole, part in (("max_epochs = 10000", "max_epochs = 8"), ("graphs = 2750", "graphs = 12")):
        assert whole in text
        text = text.replace(whole, part)
    path = folder / "gatv2-table2.toml"
    path.write_text(text)
    return str(path)
