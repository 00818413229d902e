"""What comes out of jobs that are handed to a real Dask scheduler and real workers on loopback."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from agreement_tools import substance
from cluster_tools import TERMS, dask, finished, fits
from fault_tools import ROOT, bench, succeeds, tiny
from grid_tools import changed, timed
from record_builders import record
from span_tools import most_at_once, timings_are_alone
from test_paper_tables import TABLE as SMALL_TABLE

from bench import plan, records, saved_model
from bench.basis import build
from bench.folder import ResultsFolder
from bench.jobs import run_job
from bench.options import Options
from bench.outcomes import Checked, Fitted
from bench.plugins import DEVICES
from bench.progress import PlainDisplay, title
from bench.rig import Place
from bench.runner import Grid, Unheard
from bench.workers import roster
from bench.workers.dask_worker import device_resource
from bench.workers.engage import engage

Client = pytest.importorskip("distributed", reason="the extra `cluster` is not installed").Client
SPARE = Path(__file__).parent / "spare"


def in_substance(outcome):
    assert isinstance(outcome, Fitted), outcome
    return (outcome.test, outcome.validation, outcome.epochs)


def test_a_fit_on_a_dask_worker_gives_what_it_gives_here(small, tmp_path, cpu):
    jobs, terms = fits(small, 2), replace(TERMS, models=str(tmp_path / "there"))
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    with (
        dask(tmp_path / "dask", workers=1) as cluster,
        contextlib.closing(engage(terms, ["blocks"], cluster.address)) as force,
    ):
        outcomes = finished(force, jobs)
        assert (force.size("cpu"), force.at_work) == (1, {})
    here = {job.id: run_job(job, Place(cpu.slots()[0], models=str(tmp_path / "here"))) for job in jobs}
    for job in jobs:
        states = [
            saved_model.load(saved_model.path(tmp_path / at, job.id)).network.state_dict() for at in ("here", "there")
        ]
        torch.testing.assert_close(*states)
    assert {id_: in_substance(found) for id_, found in outcomes.items()} == {
        id_: in_substance(found) for id_, found in here.items()
    }


@pytest.mark.slow
def test_an_experiment_on_a_cluster_leaves_the_records_that_one_machine_leaves(tmp_path):
    experiment = tiny(tmp_path)
    succeeds("run", experiment, "--mlflow", "off", "--results", tmp_path / "one")
    with dask(tmp_path / "dask", workers=2) as cluster:
        options = ("--mlflow", "off", "--results", tmp_path / "many", "--cluster", cluster.address)
        succeeds("run", experiment, *options)
        again = bench("run", experiment, *options)
    assert again.returncode == 0
    assert substance(tmp_path / "many" / "tiny") == substance(tmp_path / "one" / "tiny")
    kept = [{path.name for path in (tmp_path / at / "tiny" / "models").iterdir()} for at in ("many", "one")]
    assert kept[0] == kept[1] != set()


@pytest.mark.slow
def test_a_cluster_that_lacks_a_device_of_the_experiment_does_everything_else(small, tmp_path, monkeypatch):
    if DEVICES.get("cuda").unavailable() is None:
        pytest.skip("this machine has the device that a worker here should lack")
    monkeypatch.setattr(roster, "ABSENT_S", 1.0)
    cells = {"operators": ["gat", "gatv2"], "devices": ["cuda", "cpu"]}
    asked = changed(timed(small), backends=["scatter"], seeds=[0], **cells)
    folder = ResultsFolder(tmp_path / "grid")
    folder.write_experiment(asked)
    early = next(job for job in plan.parity_jobs(asked) if (job.operator, job.device) == ("gat", "cuda"))
    records.append(folder.path, record(early, Checked(passed=True, checks=())))  # when there was a worker with it
    with dask(tmp_path / "dask", workers=1) as cluster:
        assert Grid(asked, folder, PlainDisplay(), Unheard(), Options(cluster=cluster.address)).run() == 0
    found = {(each.job.device, each.job.operator, each.job.phase): each.outcome for each in folder.records()}
    assert {where: outcome.kind for where, outcome in found.items() if where[0] == "cpu"} == {
        ("cpu", operator, phase): phase for operator in asked.operators for phase in ("parity", "speed", "fit")
    }
    lacking = {where[1:]: outcome for where, outcome in found.items() if where[0] == "cuda"}
    assert lacking.keys() == {("gat", "parity"), ("gat", "fit"), ("gatv2", "parity")}
    for where in (("gat", "fit"), ("gatv2", "parity")):
        assert (lacking[where].status, "has cuda" in lacking[where].reason) == ("unsupported", True)


@pytest.fixture
def spare(monkeypatch) -> Iterator[None]:
    """Another package with a kind of device is installed: here, and in the workers."""
    monkeypatch.syspath_prepend(str(SPARE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SPARE), os.environ.get("PYTHONPATH", "")]))
    DEVICES.__dict__.pop("_announced", None)
    yield
    DEVICES.__dict__.pop("_announced", None)


@pytest.mark.slow
@pytest.mark.usefixtures("spare")
def test_each_kind_of_device_that_a_worker_has_is_offered_and_gets_its_own_jobs_one_a_unit(small, tmp_path):
    asked = changed(timed(small), backends=["scatter"], devices=["cpu", "spare"], seeds=[0, 1, 2])
    folder = ResultsFolder(tmp_path / "grid")
    folder.write_experiment(asked)
    with dask(tmp_path / "dask") as cluster:
        cluster.add_worker(threads=2)
        grid = Grid(asked, folder, PlainDisplay(), Unheard(), Options(cluster=cluster.address))
        assert grid.run() == 0
        with Client(cluster.address, set_as_default=False) as client:
            (worker,) = client.scheduler_info()["workers"].values()
    assert worker["resources"][device_resource("spare", build())] == 1
    assert worker["resources"][device_resource("cpu", build())] == min(2, len(os.sched_getaffinity(0)))
    found = folder.records()
    on_spare = [each for each in found if each.job.device == "spare"]
    assert [each.outcome.kind for each in on_spare] == ["parity", "speed", "fit", "fit", "fit"]
    assert {each.environment["device"] for each in on_spare} == {"a stand-in"}
    assert "a stand-in" not in {each.environment["device"] for each in found if each not in on_spare}
    assert most_at_once(on_spare) == 1
    assert timings_are_alone(found)


@pytest.mark.slow
def test_a_papers_table_on_a_cluster_gets_the_values_that_one_machine_gets(tmp_path):
    table = tmp_path / "small.toml"
    table.write_text(SMALL_TABLE)
    succeeds("tables", table, "--mlflow", "off", "--results", tmp_path / "one")
    with dask(tmp_path / "dask", workers=2) as cluster:
        succeeds("tables", table, "--mlflow", "off", "--results", tmp_path / "many", "--cluster", cluster.address)
    assert substance(tmp_path / "many" / "small") == substance(tmp_path / "one" / "small")


@pytest.mark.slow
@pytest.mark.faults
def test_a_worker_with_other_code_is_named_and_gets_no_job(small, tmp_path):
    for package in ("bench", "implementations"):
        shutil.copytree(ROOT / package, tmp_path / "other" / package)
    with (tmp_path / "other" / "bench" / "training" / "train.py").open("a") as file:
        file.write("\n# another version\n")
    said: list[str] = []
    with dask(tmp_path / "dask") as cluster:
        cluster.add_worker(code=tmp_path / "other")
        with contextlib.closing(engage(TERMS, ["blocks"], cluster.address, say=said.append)) as force:
            for item in force.together(fits(small, 1), title):
                assert item is None
                if said:
                    break
            assert force.size("cpu") == 0
    assert "is not used: it has code" in said[0]
    assert "\n" not in said[0]


@pytest.mark.slow
def test_two_workers_share_40_equal_jobs(small, tmp_path, record_property, capsys):
    """What it takes against one worker is a report, for the machine may be busy; 0.5 is the best there is."""
    experiment = changed(small, backends=["scatter"], seeds=list(range(40)), training={"max_epochs": 200})
    jobs = plan.fit_jobs(experiment, plan.cells(experiment), {})
    taken_s = {}
    for workers in (1, 2):
        with (
            dask(tmp_path / f"dask-{workers}", workers=workers) as cluster,
            contextlib.closing(engage(TERMS, ["blocks"], cluster.address)) as force,
        ):
            while force.size("cpu") < workers:
                force.machine("cpu")
                finished(force, jobs[:1])
            finished(force, jobs[: 2 * workers])  # every child process has started
            begun = time.monotonic()
            finished(force, jobs)
            taken_s[workers] = time.monotonic() - begun
    ratio = taken_s[2] / taken_s[1]
    record_property("two workers / one worker", ratio)
    with capsys.disabled():
        sys.stdout.write(f"\n40 jobs: {taken_s[1]:.1f} s on one worker, {taken_s[2]:.1f} s on two, ratio {ratio:.2f}\n")
