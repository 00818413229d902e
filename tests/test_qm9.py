"""QM9's files: what is read of them, and what is refused."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import qm9_files
import torch

from bench import cli, data
from bench.config import GraphBatches, Protocol, Training
from bench.datasets import qm9
from bench.errors import UserError
from bench.plugins import DATASETS
from bench.rig import task_of
from bench.task import DataUnavailable
from bench.training import parts

MOLECULE = {
    "targets": [[0.1 * place] for place in range(13)],
    "graph": [[0, 1, 1], [1, 4, 2]],
    "node_features": [[float(atom)] * 15 for atom in range(3)],
}
PROTOCOL = Protocol(row_normalise=False, features="dense")


pytestmark = pytest.mark.usefixtures("no_data")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with files in QM9's layout."""
    qm9_files.write(tmp_path / "data" / "qm9")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "qm9"


def lines(folder: Path, part: str) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress((folder / f"{part}.jsonl.gz").read_bytes()).splitlines()]


def test_every_molecule_is_read_with_its_bonds_both_ways_by_type(folder):
    loaded = qm9.DATASET.load()
    first = 0
    for number, given in enumerate(line for part in ("train", "valid", "test") for line in lines(folder, part)):
        inside = (loaded.graph_of == number).nonzero().squeeze(-1)
        assert inside.tolist() == list(range(first, first + len(given["node_features"])))
        torch.testing.assert_close(loaded.x[inside], torch.tensor(given["node_features"]))
        torch.testing.assert_close(loaded.y[inside], torch.tensor(given["targets"][0]).expand(len(inside)))
        for type_, relation in enumerate(loaded.relations, 1):
            edges = relation.edge_index[:, torch.isin(relation.targets, inside)] - first
            bonds = [(one, other) for one, kind, other in given["graph"] if kind == type_]
            assert sorted(edges.T.tolist()) == sorted([*map(list, bonds), *([b, a] for a, b in bonds)])
        first += len(inside)
    assert first == loaded.graph.num_nodes
    assert loaded.graph.num_edges == sum(relation.num_edges for relation in loaded.relations)


def test_each_property_has_its_own_numbers_on_the_same_molecules(folder):
    mu, omega = (DATASETS.get(f"qm9-{name}") for name in ("mu", "omega"))
    first = lines(folder, "train")[0]["targets"]
    assert [float(dataset.load().y[0]) for dataset in (mu, omega)] == pytest.approx([first[0][0], first[12][0]])
    assert torch.equal(mu.load().x, omega.load().x)
    assert (mu.info.unit, omega.info.unit) == (0.066513725, 0.037467458)
    with pytest.raises(UserError, match="qm9-lumi: there is no property 'lumi'; did you mean 'lumo'"):
        DATASETS.get("qm9-lumi")


def test_the_split_is_that_of_the_files_and_no_molecule_is_cut(folder):
    loaded = qm9.DATASET.load()
    nodes = qm9.DATASET.nodes(loaded, "public", seed=0)
    found = [loaded.graph_of[part].unique().tolist() for part in (nodes.train, nodes.validation, nodes.test)]
    assert found == [list(range(24)), list(range(24, 30)), list(range(30, 36))]
    assert sum(map(len, (nodes.train, nodes.validation, nodes.test))) == loaded.graph.num_nodes


def test_other_molecules_say_that_they_are_not_qm9s(folder):
    assert qm9.DATASET.load().differs == (
        "these files hold 24 + 6 + 6 molecules of 15 features; QM9 has more than 130,000 of 15"
    )


def test_another_file_is_read_anew_and_has_another_digest(folder):
    before, x = qm9.DATASET.info.digest, qm9.DATASET.load().x
    qm9_files.put(folder / "test.jsonl.gz", [MOLECULE])
    os.utime(folder / "test.jsonl.gz", ns=(1, 1))
    assert qm9.DATASET.info.digest != before
    assert len(qm9.DATASET.load().x) < len(x)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"graph": [[0, 1, 3]]}, "a bond leads to an atom that has no features; there are 3"),
        ({"graph": [[-1, 1, 2]]}, "a bond leads to an atom"),
        ({"graph": [[0, 0, 1]]}, "a type that is not one of 1 to 4"),
        ({"graph": [[0, 5, 1]]}, "a type that is not one of 1 to 4"),
        ({"graph": [[0, 1.5, 1]]}, "graph should hold whole numbers only"),
        ({"graph": [[0, 10**30, 1]]}, "graph should hold whole numbers only"),
        ({"graph": [[0, 1]]}, r"graph should be a list of \[source, type, target\]"),
        ({"graph": [[0, 1, 1], [0, 1]]}, "inhomogeneous shape"),
        ({"targets": [[1.0]] * 12}, "targets should be 13 lists of one number"),
        ({"targets": [[float("nan")]] * 13}, "targets should hold finite numbers only"),
        ({"targets": [["one"]] * 13}, "targets should hold finite numbers only"),
        ({"node_features": []}, "node_features should"),
        ({"node_features": [[1.0], [1.0, 2.0], [1.0]]}, "inhomogeneous shape"),
    ],
)
def test_a_molecule_that_is_none_is_refused_by_file_and_line(folder, change, said):
    qm9_files.put(folder / "valid.jsonl.gz", [MOLECULE, MOLECULE | change])
    with pytest.raises(DataUnavailable, match=rf"^valid\.jsonl\.gz, line 2: not a molecule: .*{said}[^\n]*$"):
        qm9.DATASET.load()


# mtime=0: the bytes are in the tests' names, which every worker has to find alike.
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not a gzipped file"),
        (gzip.compress(b"{}" * 99, mtime=0)[:-9], "not a gzipped file"),
        (gzip.compress(b"", mtime=0), "there is no molecule in it"),
        (gzip.compress(b"\n", mtime=0), "line 1: not a molecule"),
        (gzip.compress(b"{}", mtime=0), "line 1: not a molecule: 'node_features' is missing"),
        (gzip.compress(b"[1]", mtime=0), "line 1: not a molecule"),
        (gzip.compress(b"\xff", mtime=0), "line 1: not a molecule"),
        (gzip.compress(b"[" * 100_000, mtime=0), "line 1: not a molecule"),
    ],
)
def test_a_file_that_is_something_else_is_refused_by_name(folder, content, said):
    (folder / "train.jsonl.gz").write_bytes(content)
    with pytest.raises(DataUnavailable, match=rf"^train\.jsonl\.gz.*{said}[^\n]*$"):
        qm9.DATASET.load()


def test_molecules_with_other_features_than_the_rest_are_refused(folder):
    qm9_files.put(folder / "valid.jsonl.gz", [MOLECULE | {"node_features": [[1.0]] * 3}])
    with pytest.raises(DataUnavailable, match="not the same number of features for all atoms"):
        qm9.DATASET.load()


def test_what_is_said_of_it_holds_of_its_files(folder):
    (row,) = data.data_rows([qm9.DATASET], verify=True, report=print)
    assert (row.problem, row.state) == ("", "unverified")


def test_without_the_files_the_error_says_how_to_bring_them(monkeypatch, capsys):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # where nobody answers
    assert cli.main(["data", "qm9", "--fetch"]) == 2
    assert "qm9: no source has train.jsonl.gz and 2 more" in "".join(capsys.readouterr())


def test_a_step_sees_whole_molecules_with_all_relations_the_self_loops_first(folder):
    task = task_of("qm9-gap", PROTOCOL, seed=0)
    assert len(task.relations) == 5
    assert torch.equal(task.relations[0].sources, torch.arange(task.graph.num_nodes))
    epoch = list(parts.batches(task, Training(batches=GraphBatches(graphs=10)), torch.Generator().manual_seed(0)))
    assert [int(part.graph_of.max()) + 1 for part in epoch] == [10, 10, 4]
    for part in epoch:
        assert part.nodes.tolist() == list(range(part.graph.num_nodes))
        assert part.graph.num_edges == sum(relation.num_edges for relation in part.relations)
        for relation in part.relations:
            assert torch.equal(part.graph_of[relation.sources], part.graph_of[relation.targets])
    degree = np.concatenate([np.bincount(part.relations[1].targets, minlength=len(part.x)) for part in epoch])
    assert degree.sum() == (task.graph_of[task.relations[1].targets] < 24).sum()


def test_without_self_loops_there_is_no_relation_of_them(folder):
    assert len(task_of("qm9-gap", PROTOCOL.model_copy(update={"self_loops": False}), seed=0).relations) == 4
