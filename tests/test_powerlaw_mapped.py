"""The generated graph that is never in memory as a whole: made in pieces, mapped, sampled."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fault_tools import ROOT

from bench.config import Experiment, Training
from bench.data import data_rows
from bench.datasets import _powerlaw_files, powerlaw
from bench.datasets.powerlaw_mapped import DATASET, variant
from bench.jobs import run_job
from bench.outcomes import Checked, Fitted
from bench.plan import cells, fit_jobs, parity_jobs
from bench.rig import Place, task_of
from bench.task import DataUnavailable, NodeData, NodeTask
from bench.training import parts
from bench.training.sampling import Adjacency
from bench.training.stored import StoredGraph
from implementations.contract import Graph

SIZES = "n3000-d12-f16-c5"
ASKED = {"by": "neighbours", "targets": 40, "fanout": [4, 3], "shuffle": True, "steps": 3, "evaluated": 60}


@pytest.fixture(autouse=True)
def _small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph of a few thousand nodes goes through as many pieces as one of millions."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_powerlaw_files, "CHUNK", 1500)


@pytest.fixture
def mapped() -> NodeData:
    return variant(SIZES).load()


def in_memory() -> NodeData:
    return powerlaw.variant(SIZES).load()


def experiment(**changes: object) -> Experiment:
    return Experiment.model_validate(
        {
            "title": "mapped",
            "backends": ["scatter", "pyg", "dgl", "fused"],
            "operators": ["gatv2"],
            "datasets": [f"powerlaw_mapped-{SIZES}"],
            "devices": ["cpu"],
            "seeds": [3],
            "protocol": {"row_normalise": False},
            "architecture": {"feature_dropout": 0.0, "attention_dropout": 0.0},
            "training": {"max_epochs": 4, "batches": ASKED},
            "timing": {"rounds": 0},
            "budget": {"memory_gib": 16},
        }
        | changes
    )


def task(dataset: str) -> NodeTask:
    return task_of(dataset, experiment().protocol, seed=0)


def test_the_graph_is_of_the_size_of_ogbn_products():
    info = DATASET.info
    assert (info.nodes, info.edges, info.features, info.classes) == (2_449_029, 2 * 61_859_140, 100, 47)


def test_bit_by_bit_it_is_the_graph_that_powerlaw_makes_in_memory(mapped):
    whole = in_memory()
    assert torch.equal(mapped.graph.edge_index, whole.graph.edge_index)
    assert torch.equal(mapped.x, whole.x)
    assert torch.equal(mapped.y, whole.y)


def test_every_count_is_what_the_data_set_says_of_itself():
    small = variant(SIZES)
    (absent,) = data_rows([small], report=lambda line: None)
    assert absent.state == "absent"
    (row,) = data_rows([small], fetch=True, verify=True, report=lambda line: None)
    assert (row.problem, row.state) == ("", "unverified")


def test_features_and_edges_are_mapped_and_not_read(mapped):
    for tensor in (mapped.x, mapped.graph.starts, mapped.graph.neighbours):
        assert any(
            int(start, 16) <= tensor.data_ptr() < int(end, 16) and line.rstrip().endswith(".npy")
            for line in Path("/proc/self/maps").read_text().splitlines()
            for start, end in [line.split()[0].split("-")]
        )


def test_what_is_finished_is_not_made_again(mapped, monkeypatch):
    small = variant(SIZES)
    before = {path.name: path.stat().st_mtime_ns for path in small.folder.glob("*.npy")}
    (small.folder / "x.npy").unlink()
    monkeypatch.setitem(_powerlaw_files.WRITERS, "neighbours.npy", None)
    assert torch.equal(small.load().x, mapped.x)
    after = {path.name: path.stat().st_mtime_ns for path in small.folder.glob("*.npy")}
    assert {name for name in before if before[name] != after[name]} == {"x.npy"}


def test_a_generator_that_dies_leaves_no_half_file_and_goes_on_from_what_is_whole(monkeypatch):
    small, made = variant(SIZES), []

    def dies(info: object, folder: Path) -> None:
        with _powerlaw_files._array(folder, small.info, "x.npy") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(_powerlaw_files.WRITERS, "x.npy", dies)
        with pytest.raises(KeyboardInterrupt):
            small.load()
    assert not list(small.folder.glob("*x.npy*"))
    assert not list(small.folder.glob(".scratch*"))
    small.fetch(made.append)
    assert [Path(line.split(": ")[0]).name for line in made] == ["x.npy"]


def test_what_a_killed_generator_left_goes_before_the_next_makes_its_own():
    small = variant(SIZES)
    code = (
        "import os, sys\nfrom bench.datasets import _powerlaw_files, powerlaw_mapped\n"
        "_powerlaw_files._save = lambda *given: os.kill(os.getpid(), 9)\n"
        "powerlaw_mapped.variant(sys.argv[1]).load()\n"
    )
    subprocess.run([sys.executable, "-c", code, SIZES], cwd=ROOT, check=False)
    (small.folder / ".x.npy.a1b2").write_bytes(b"half")
    assert list(small.folder.glob(".scratch.*/*"))
    small.fetch(lambda line: None)
    assert {path.name for path in small.folder.iterdir()} == {*_powerlaw_files.shapes(small.info), ".lock"}


def test_a_file_of_another_size_is_refused_and_made_anew_when_asked():
    small = variant(SIZES)
    expected = small.load().graph.starts.clone()  # what is mapped goes with its file
    np.save(small.folder / "starts.npy", np.zeros(3, dtype=np.int64))
    with pytest.raises(DataUnavailable, match=r"int64 \(3,\) instead of.*--fetch"):
        small.load()
    (small.folder / "starts.npy").write_bytes(b"torn")
    with pytest.raises(DataUnavailable, match="not a whole array"):
        small.load()
    small.fetch(lambda line: None)
    assert torch.equal(small.load().graph.starts, expected)


def test_a_stored_graph_says_of_itself_what_the_listed_one_says(mapped):
    for stored, listed in (
        (mapped.graph, in_memory().graph),
        (mapped.graph.with_self_loops(), in_memory().graph.with_self_loops()),
    ):
        assert isinstance(stored, StoredGraph)
        assert stored.num_edges == listed.num_edges
        assert "edge_index" not in vars(stored)
        kept = torch.arange(0, stored.num_nodes, 7)
        one, two = (parts.induced(graph, mapped.x, kept)[0].edge_index for graph in (stored, listed))
        assert torch.equal(one, two)
        assert torch.equal(parts.hubs(stored, mapped.x)[0].edge_index, parts.hubs(listed, mapped.x)[0].edge_index)
        assert "edge_index" not in vars(stored)
        assert torch.equal(stored.edge_index, listed.edge_index)


def test_hubs_are_fewer_where_they_have_many_edges(mapped, monkeypatch):
    every, _ = parts.hubs(mapped.graph, mapped.x)
    monkeypatch.setattr(parts, "MOST_EDGES", every.num_edges // 3)
    fewer, x = parts.hubs(mapped.graph, mapped.x)
    assert fewer.num_edges <= every.num_edges // 3
    assert len(x) == fewer.num_nodes == every.num_nodes // 2 ** round(np.log2(every.num_nodes / fewer.num_nodes))


def test_its_batches_are_those_of_the_graph_in_memory():
    stored, listed = task(f"powerlaw_mapped-{SIZES}").graph, task(f"powerlaw-{SIZES}").graph
    targets = torch.arange(0, 3000, 50)
    (nodes, edges), (other_nodes, other_edges) = (
        Adjacency.of(graph).neighbourhood(targets, (4, 3), torch.Generator().manual_seed(1))
        for graph in (stored, listed)
    )
    assert torch.equal(nodes, other_nodes)
    assert torch.equal(edges, other_edges)
    assert "edge_index" not in vars(stored)


def test_what_validates_is_drawn_once_and_holds_no_more_than_was_asked():
    whole = task(f"powerlaw_mapped-{SIZES}")
    training = Training(batches=ASKED)
    one, two = (
        parts.evaluated(whole, whole.split.validation, training, torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(one.graph.edge_index, two.graph.edge_index)
    rows = {tuple(row) for row in whole.x[whole.split.validation].tolist()}
    assert len(one.nodes) == min(60, len(rows)) == 48
    assert all(tuple(row) in rows for row in one.x[one.nodes].tolist())
    most_nodes, most_edges = parts.largest(whole.graph, None, training)
    assert one.graph.num_nodes <= most_nodes < whole.graph.num_nodes
    assert one.graph.num_edges <= most_edges < whole.graph.num_edges


def test_it_is_checked_and_trained_on_alike_by_every_back_end_and_never_listed(cpu, monkeypatch):
    monkeypatch.setattr(parts, "MOST_NODES", 300)
    asked, place = experiment(), Place(cpu.slots()[0])
    checked = run_job(parity_jobs(asked)[0], place)
    assert isinstance(checked, Checked)
    assert checked.passed
    fits = [run_job(job, place) for job in fit_jobs(asked, cells(asked), {})]
    assert all(isinstance(fit, Fitted) for fit in fits), fits
    for fit in fits:
        assert fit.curves["train_loss"] == pytest.approx(fits[0].curves["train_loss"], rel=1e-2)
        assert fit.curves["train_loss"][-1] < fit.curves["train_loss"][0]
        assert fit.peak_bytes is not None
    assert "edge_index" not in vars(task_of(asked.datasets[0], asked.protocol, 3).graph)


def test_the_memory_of_a_fit_without_the_limit_on_what_is_evaluated_is_that_of_the_whole_graph():
    graph = Graph(5000, torch.randint(5000, (2, 9000)))
    everything = Training(batches=ASKED | {"evaluated": None})
    assert parts.largest(graph, None, everything) == (5000, 9000)
