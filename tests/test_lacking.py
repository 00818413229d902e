"""What a dry run says of a machine that lacks something, before a run finds out."""

import json

import pytest

from bench import cli, lacking
from bench.config import Experiment
from bench.plugins import DEVICES

ABSENT = next(name for name in ("mps", "cuda") if DEVICES.get(name).unavailable())


def asked(**changes: object) -> Experiment:
    usual = {"title": "t", "backends": ["scatter"], "operators": ["gat"], "datasets": ["blocks"], "devices": ["cpu"]}
    return Experiment.model_validate({**usual, "seeds": [0], **changes})


def test_of_a_machine_that_has_everything_nothing_is_said():
    assert list(lacking.of_experiment(asked())) == []


def test_an_absent_device_is_named_once_and_its_back_ends_are_not_asked():
    (line,) = lacking.of_experiment(asked(devices=["cpu", ABSENT], backends=["scatter", "pyg"]))
    assert line == f"device {ABSENT}: {DEVICES.get(ABSENT).unavailable()}"


def test_what_a_back_end_cannot_compute_is_said_once_for_all_data_sets():
    found = asked(backends=["pyg"], operators=["gat", "gatv2_labml"], datasets=["blocks", "powerlaw-n100-d4"])
    assert list(lacking.of_experiment(found)) == ["pyg on cpu: PyG has no layer that computes gatv2_labml"]


def test_a_library_that_draws_no_neighbours_is_named_where_its_sampler_is_asked_for():
    batches = {"by": "neighbours", "targets": 5, "fanout": [2, 2], "sampler": "own"}
    lines = list(lacking.of_experiment(asked(backends=["scatter"], training={"batches": batches})))
    assert lines == ["scatter: scatter has no sampler of its own"]


@pytest.mark.usefixtures("no_data")
def test_data_that_must_be_brought_are_named_with_the_command(tmp_path, capsys):
    assert cli.main(["run", "equivalence", "--dry-run", "--results", str(tmp_path / "results")]) == 0
    shown = capsys.readouterr().out
    assert "data pubmed: not here; brought first, if that can be (`bench data pubmed --fetch` does so now)" in shown
    assert cli.main(["run", "attention", "--dry-run", "--json", "--results", str(tmp_path / "results")]) == 0
    (line,) = json.loads(capsys.readouterr().out)["lacking"]
    assert line.startswith("data cora_linqs: not here")


@pytest.mark.usefixtures("no_data")
def test_a_file_that_will_be_refused_is_named(tmp_path, monkeypatch):
    (tmp_path / "ind.citeseer.x").write_bytes(b"something else")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    (line,) = lacking.data(["citeseer"])
    assert line == "data citeseer: ind.citeseer.x is altered; `bench data citeseer --verify` says what to do"


@pytest.mark.usefixtures("no_data")
def test_of_a_cluster_nothing_that_its_workers_may_have_is_said_to_lack(tmp_path, capsys):
    asked_for = ["run", "equivalence", "--dry-run", "--cluster", "tcp://127.0.0.1:1", "--results", str(tmp_path)]
    assert cli.main(asked_for) == 0
    assert "not here" not in capsys.readouterr().out
