"""Writing to MLflow again: what is there stays, what changed is brought, and whose run it is decides who may."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import record_builders as build
from tracking_tools import (
    DGL,
    GRID,
    NAME,
    PYG,
    ROWS,
    Row,
    by_name,
    client,
    content,
    dead_owner,
    jobs,
    owned_run,
    runs,
    some_records,
    sync,
    with_store,
)

from bench.owner import Owner
from bench.records import Record
from bench.tracking import mlflow_store
from bench.tracking.pages import jobs_name
from bench.tracking.writer import Tracking

pytestmark = pytest.mark.faults
ELSEWHERE = Owner("another-host", "boot", 1, 1.0)


@pytest.fixture
def results(tmp_path: Path, empty_store: Path) -> Path:
    return with_store(tmp_path / "results", empty_store)


def test_a_second_sync_adds_nothing(results):
    sync(results, some_records())
    first = {run.info.run_id: run.info.end_time for run in jobs(results)}
    sync(results, some_records())
    assert len(runs(results)) == 2
    assert len(jobs(results)) == 10
    assert {run.info.run_id: run.info.end_time for run in jobs(results)} == first


def test_a_deleted_store_is_rebuilt_equal(tmp_path, empty_store):
    live, rebuilt = with_store(tmp_path / "live", empty_store), with_store(tmp_path / "rebuilt", empty_store)
    records = some_records()
    tracking = sync(live, [], live=True)
    for done in range(1, len(records) + 1):
        rows = [Row(PYG, {"accuracy_test_pct_mean": 80.0 + done, "seeds": done}), Row(DGL)]
        tracking.sync(NAME, GRID, records[:done], rows, live=done < len(records))
    sync(rebuilt, records, rows)
    assert content(live) == content(rebuilt)


def test_a_further_seed_updates_its_cell(results):
    tracking = sync(results, build.fits(PYG, (0.81,)), live=True)
    before = by_name(runs(results))[str(PYG)].info.run_id
    better = [Row(PYG, {"accuracy_test_pct_mean": 70.0, "accuracy_test_pct_std": 1.0}), ROWS[1]]
    tracking.sync(NAME, GRID, build.fits(PYG, (0.81, 0.59)), better, live=True)
    cell = by_name(runs(results))[str(PYG)]
    assert cell.info.run_id == before
    assert cell.data.metrics == {"accuracy_test_pct_mean": 70.0, "accuracy_test_pct_std": 1.0}


def test_a_changed_number_is_shown_though_the_clock_went_back(results, monkeypatch):
    tracking = sync(results, some_records(), live=True)
    now_s = time.time()
    for hours_back in (1, 2):
        monkeypatch.setattr(time, "time", lambda back=hours_back: now_s - 3600 * back)
        rows = [Row(PYG, {"accuracy_test_pct_mean": 81.5 - hours_back}), ROWS[1]]
        tracking.sync(NAME, GRID, some_records(), rows, live=True)
        assert by_name(runs(results))[str(PYG)].data.metrics == {"accuracy_test_pct_mean": 81.5 - hours_back}


def test_a_number_that_no_longer_holds_disappears(results):
    sync(results, some_records())
    sync(results, some_records(), [Row(PYG, status="parity"), ROWS[1]])
    assert len(runs(results)) == 2
    assert by_name(runs(results))[str(PYG)].data.metrics == {}


def test_a_cell_that_is_no_longer_asked_for_goes_at_the_end_and_its_jobs_stay(results):
    sync(results, some_records())
    tracking = sync(results, some_records(), ROWS[:1], live=True)
    assert set(by_name(runs(results))) == {str(PYG), str(DGL)}
    tracking.sync(NAME, GRID, some_records(), ROWS[:1], live=False)
    assert set(by_name(runs(results))) == {str(PYG)}
    assert len(jobs(results)) == 10
    tracking.sync(NAME, GRID, some_records(), ROWS, live=False)
    assert {name: run.data.tags["order"] for name, run in by_name(runs(results)).items()} == {
        str(PYG): "0000",
        str(DGL): "0001",
    }


def test_a_job_done_again_replaces_its_former_run(results):
    job = build.fit_job(PYG, 0)
    failed = build.not_done(job, "error", "killed", day=1)
    again = build.record(job, build.fit(PYG, 0, 0.8).outcome, day=2)
    sync(results, [failed])
    sync(results, [failed, again])
    [run] = jobs(results)
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "done")


# Owners


def test_cells_run_until_they_are_finished(results):
    tracking = sync(results, some_records(), [ROWS[0], Row(DGL, status="error")], live=True)
    assert {run.info.status for run in runs(results)} == {"RUNNING"}
    assert "RUNNING" not in {run.info.status for run in jobs(results)}
    tracking.finish(NAME)
    assert {name: run.info.status for name, run in by_name(runs(results)).items()} == {
        str(PYG): "FINISHED",
        str(DGL): "FAILED",
    }


def test_an_interrupted_run_leaves_killed_cells_that_the_next_takes_over(results):
    sync(results, some_records(), live=True).finish(NAME, interrupted=True)
    assert {run.info.status for run in runs(results)} == {"KILLED"}
    before = {run.info.run_id for run in runs(results)}
    sync(results, some_records())
    assert {run.info.run_id for run in runs(results)} == before
    assert {run.info.status for run in runs(results)} == {"FINISHED"}


def test_only_what_a_dead_process_of_this_host_left_running_is_healed(results):
    sync(results, [])
    dead = owned_run(results, dead_owner())
    rebooted = owned_run(results, Owner(platform.node(), "an earlier boot", os.getpid(), 1.0))
    elsewhere = owned_run(results, ELSEWHERE)
    alive = owned_run(results, Owner.here())
    assert Tracking(None, results).heal() == 2
    state = {run.info.run_id: run.info.status for run in runs(results)}
    assert [state[run] for run in (dead, rebooted, elsewhere, alive)] == ["KILLED", "KILLED", "RUNNING", "RUNNING"]


def test_an_owner_is_alive_whatever_becomes_of_the_clock(monkeypatch):
    owner = Owner.here()
    boot_s = psutil.boot_time()
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot_s - 3600)
    assert owner.is_this_process()


def test_a_run_that_a_dead_process_left_half_written_is_written_anew(results):
    sync(results, [])
    record = build.fit(PYG, 0, 0.8)
    mlflow = client(results)
    experiment = mlflow.get_experiment_by_name(jobs_name(NAME)).experiment_id
    mlflow.create_run(experiment, tags={**dead_owner().tags(), "job": record.id, "level": "job"})
    sync(results, [record])
    [run] = jobs(results)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["accuracy_test_pct"] == pytest.approx(80)


def half_written_elsewhere(results: Path) -> Record:
    """A job whose run, and a cell whose run, a process of another host left RUNNING."""
    sync(results, [])
    record, mlflow = build.fit(PYG, 0, 0.8), client(results)
    [cell] = [run for run in runs(results) if run.info.run_name == str(PYG)]
    mlflow.delete_run(cell.info.run_id)
    owned_run(results, ELSEWHERE, {"level": "cell", "cell": str(PYG)})
    experiment = mlflow.get_experiment_by_name(jobs_name(NAME)).experiment_id
    mlflow.create_run(experiment, tags={**ELSEWHERE.tags(), "job": record.id, "level": "job"})
    return record


def test_whoever_holds_the_folder_takes_over_what_another_host_left_in_its_store(results):
    record = half_written_elsewhere(results)
    tracking = Tracking(None, results, holds=True)
    tracking.sync(NAME, GRID, [record], ROWS, live=False)
    assert [(run.info.status, "accuracy_test_pct" in run.data.metrics) for run in jobs(results)] == [("FINISHED", True)]
    cells = by_name(runs(results))
    assert {run.info.status for run in cells.values()} == {"FINISHED"}
    assert cells[str(PYG)].data.metrics == {"accuracy_test_pct_mean": 81.5}
    assert tracking.notices == []


def test_what_may_be_at_work_on_another_host_is_left_to_it_and_told_of(results):
    record = half_written_elsewhere(results)
    tracking = Tracking(None, results)
    for _ in range(2):
        tracking.sync(NAME, GRID, [record], ROWS, live=False)
    [notice] = tracking.notices
    assert f"runs of {NAME} that a process on another-host is writing were left to it" in notice
    assert [run.info.status for run in jobs(results)] == ["RUNNING"]


def test_two_folders_write_to_one_server_side_by_side_and_leave_each_others_runs_alone(results, tmp_path):
    server = mlflow_store.default_uri(results)  # of a third folder, which writes nothing to it
    folders = [tmp_path / "here" / "results", tmp_path / "there" / "results"]
    records = {folder: build.fits(PYG, (accuracy, 0.9)) for folder, accuracy in zip(folders, (0.7, 0.8), strict=True)}
    for _ in range(2):
        for folder in folders:
            Tracking(server, folder, holds=True).sync(NAME, GRID, records[folder], ROWS, live=False)
    assert len(jobs(results)) == len(runs(results)) == 4
    Tracking(server, folders[0], holds=True).sync(NAME, GRID, records[folders[0]][:1], ROWS[:1], live=False)
    names = [mlflow_store.folder_name(folder) for folder in folders]
    whose = [(run.data.tags["owner.folder"], run.info.run_name) for run in runs(results)]
    assert sorted(whose) == sorted([(names[0], str(PYG)), (names[1], str(PYG)), (names[1], str(DGL))])
    accuracies = {
        run.data.tags["owner.folder"]: run.data.metrics["accuracy_test_pct"]
        for run in jobs(results)
        if run.data.params["seed"] == "0"
    }
    assert accuracies == pytest.approx(dict(zip(names, (70, 80), strict=True)))
    for run in runs(results):
        assert run.data.tags["owner.folder"] in run.data.tags["mlflow.note.content"]


def test_what_another_host_left_half_written_on_a_server_is_taken_over_by_whoever_holds_the_folder(results, tmp_path):
    server, folder = mlflow_store.default_uri(results), tmp_path / "elsewhere"
    record = build.fit(PYG, 0, 0.8)
    Tracking(server, folder).sync(NAME, GRID, [], ROWS, live=False)
    mlflow = client(results)
    experiment = mlflow.get_experiment_by_name(jobs_name(NAME)).experiment_id
    its_folder = {"owner.folder": mlflow_store.folder_name(folder)}
    for tags in (its_folder, {"owner.folder": "somebody-elses"}):
        mlflow.create_run(experiment, tags={**ELSEWHERE.tags(), **tags, "job": record.id, "level": "job"})
    Tracking(server, folder, holds=True).sync(NAME, GRID, [record], ROWS, live=False)
    found = {run.data.tags["owner.folder"]: run.info.status for run in jobs(results)}
    assert found == {its_folder["owner.folder"]: "FINISHED", "somebody-elses": "RUNNING"}


def test_a_cell_of_a_live_process_is_left_to_it(results):
    sync(results, [])
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        owner = Owner.of(psutil.Process(other.pid))
        mlflow = client(results)
        [cell] = [run for run in runs(results) if run.info.run_name == str(PYG)]
        mlflow.delete_run(cell.info.run_id)
        theirs = owned_run(results, owner, {"level": "cell", "cell": str(PYG)})
        sync(results, some_records())
        other.communicate(b"\n")
    run = mlflow.get_run(theirs)
    assert (run.info.status, run.data.metrics) == ("RUNNING", {})


def test_a_cell_that_nobody_asks_for_is_left_where_another_host_may_be_at_work_on_it(results):
    sync(results, some_records(), ROWS[:1])
    owned_run(results, ELSEWHERE, {"level": "cell", "cell": str(DGL)})
    Tracking(None, results).sync(NAME, GRID, some_records(), ROWS[:1], live=False)
    assert len(runs(results)) == 2
    Tracking(None, results, holds=True).sync(NAME, GRID, some_records(), ROWS[:1], live=False)
    assert set(by_name(runs(results))) == {str(PYG)}
