"""MLflow as a view of the records, on real stores: small SQLite files, and one real server in test_ui."""

import csv
import json
import multiprocessing
import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import record_builders as build
from mlflow import MlflowClient

from bench import mlflow_store
from bench.mlflow_views import jobs_name
from bench.owner import Owner
from bench.records import Record
from bench.task import DatasetInfo
from bench.tracking import Tracking, TrackingUnavailable
from bench.work import CellKey

ROOT = Path(__file__).resolve().parent.parent
NAME = "small"
PYG, DGL = build.key("pyg"), build.key("dgl")
GRID = build.experiment(backends=("pyg", "dgl"), operators=("gat",), seeds=(0, 1))
CORA = DatasetInfo(
    name="cora",
    title="Cora",
    source="linqs",
    licence="none stated",
    citation="Sen et al. 2008",
    nodes=2708,
    edges=10556,
    features=1433,
    classes=7,
    splits=("default",),
    digest="5c4f" * 16,
)


@dataclass
class Row:
    """A row of the table, as far as MLflow is concerned."""

    key: CellKey
    numbers: dict[str, float] = field(default_factory=dict)
    status: str = "done"

    def metrics(self) -> dict[str, float]:
        return self.numbers

    def tags(self) -> dict[str, str]:
        return {"status": self.status}


ROWS = [Row(PYG, {"accuracy_test_pct_mean": 81.5}), Row(DGL, {"accuracy_test_pct_mean": 81.0})]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to create its tables, so that is done once."""
    results = tmp_path_factory.mktemp("store")
    Tracking(None, results)
    return results / mlflow_store.NAME


@pytest.fixture
def results(tmp_path: Path, empty_store: Path) -> Path:
    return with_store(tmp_path / "results", empty_store)


def with_store(results: Path, empty_store: Path) -> Path:
    results.mkdir(parents=True)
    shutil.copy(empty_store, results / mlflow_store.NAME)
    return results


def sync(results: Path, records: list[Record], rows: list[Row] | None = None, *, live: bool = False) -> Tracking:
    """What one process does."""
    tracking = Tracking(None, results, {"cora": CORA})
    tracking.sync(NAME, GRID, records, ROWS if rows is None else rows, live=live)
    return tracking


def client(results: Path) -> Any:
    return MlflowClient(mlflow_store.default_uri(results))


def runs(results: Path, name: str = NAME) -> list[Any]:
    mlflow = client(results)
    return list(mlflow.search_runs([mlflow.get_experiment_by_name(name).experiment_id], max_results=1000))


def jobs(results: Path) -> list[Any]:
    return runs(results, jobs_name(NAME))


def by_name(found: list[Any]) -> dict[str, Any]:
    return {run.info.run_name: run for run in found}


def content(results: Path) -> list[Any]:
    """Everything that a person can see of the runs, without ids, which differ from store to store."""
    return sorted(
        (
            run.info.run_name,
            run.info.status,
            sorted(run.data.params.items()),
            sorted(run.data.metrics.items()),
            sorted((k, v) for k, v in run.data.tags.items() if not k.startswith(("owner.", "mlflow.parent"))),
            [(entry.dataset.name, entry.dataset.digest) for entry in run.inputs.dataset_inputs],
        )
        for run in runs(results) + jobs(results)
    )


def some_records() -> list[Record]:
    return [
        build.parity(PYG),
        build.study(backend="pyg"),
        *build.fits(PYG, (0.81, 0.82)),
        build.speed(PYG, 0, {"as_shipped": 0.02}),
        build.not_done(build.fit_job(DGL, 0), "out_of_memory", "needs 3 GiB"),
        build.not_done(build.fit_job(DGL, 1), "unsupported", "dgl has no such layer"),
    ]


def owned_run(results: Path, owner: Owner, tags: dict[str, str] | None = None) -> str:
    """A run that its owner left RUNNING."""
    mlflow = client(results)
    experiment = mlflow.get_experiment_by_name(NAME).experiment_id
    run_id: str = mlflow.create_run(experiment, tags={**owner.tags(), **(tags or {})}).info.run_id
    return run_id


def dead_owner() -> Owner:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    return Owner(platform.node(), Owner.here().boot, gone.pid, 1.0)


# What the store holds


def test_the_cells_page_holds_exactly_one_run_per_cell(results):
    sync(results, some_records())
    assert sorted(by_name(runs(results))) == [str(DGL), str(PYG)]


def test_each_job_and_trial_is_a_run_of_the_second_experiment(results):
    sync(results, some_records())
    levels = [run.data.tags["level"] for run in jobs(results)]
    assert sorted(levels) == ["job"] * 7 + ["trial"] * 3


def test_trials_belong_to_their_study_and_cells_to_nothing(results):
    sync(results, some_records())
    study = by_name(jobs(results))["tune · gat · cora"]
    parents = {run.data.tags.get("mlflow.parentRunId") for run in jobs(results) if run.data.tags["level"] == "trial"}
    assert parents == {study.info.run_id}
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs(results))


def test_a_cell_and_its_jobs_share_the_tag_that_links_them(results):
    sync(results, some_records())
    cell = by_name(runs(results))[str(PYG)]
    experiment = client(results).get_experiment_by_name(jobs_name(NAME)).experiment_id
    linked = client(results).search_runs([experiment], f"tags.cell = '{cell.data.tags['cell']}'")
    assert len(linked) == 5


def test_a_cell_shows_its_settings_numbers_and_the_digest_of_the_real_data(results):
    sync(results, some_records())
    cell = by_name(runs(results))[str(PYG)]
    assert cell.data.metrics == {"accuracy_test_pct_mean": 81.5}
    assert cell.data.params["backend"] == "pyg"
    assert cell.data.params["training.lr"] == "0.005"
    assert [entry.dataset.digest for entry in cell.inputs.dataset_inputs] == [CORA.digest[:36]]


def test_a_tuned_setting_replaces_the_file_s_own(results):
    sync(results, [build.fit(PYG, 0, 0.8, tuned={"training.lr": 0.02})])
    assert by_name(runs(results))[str(PYG)].data.params["training.lr"] == "0.02"


def test_accuracies_of_a_fit_are_percent(results):
    sync(results, build.fits(PYG, (0.815,)))
    fit = by_name(jobs(results))[f"fit seed 0 · {PYG}"]
    assert fit.data.metrics["accuracy_test_pct"] == pytest.approx(81.5)
    assert fit.data.metrics["curve/accuracy/validation_pct"] == pytest.approx(80.5)


def test_curves_are_complete_and_their_times_lie_within_the_job(results):
    curve = tuple(1 / epoch for epoch in range(1, 701))
    record = with_curves(build.fit(PYG, 0, 0.8), {"train_loss": curve, "validation_loss": curve})
    sync(results, [record])
    run = by_name(jobs(results))[f"fit seed 0 · {PYG}"]
    points = client(results).get_metric_history(run.info.run_id, "curve/train_loss")
    assert [point.step for point in points] == list(range(1, 701))
    assert tuple(point.value for point in points) == curve
    assert run.info.start_time <= points[0].timestamp <= points[-1].timestamp == run.info.end_time
    assert run.info.end_time - run.info.start_time == 2000


def test_a_loss_that_is_not_a_number_leaves_a_gap_instead_of_a_giant(results):
    record = with_curves(build.fit(PYG, 0, 0.8), {"train_loss": (1.0, float("inf"), float("nan"), 0.5)})
    sync(results, [record])
    run = by_name(jobs(results))[f"fit seed 0 · {PYG}"]
    points = client(results).get_metric_history(run.info.run_id, "curve/train_loss")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (4, 0.5)]


def test_a_timing_round_shows_every_sample_in_milliseconds(results):
    record = build.speed(PYG, 0, {"as_shipped": 0.02})
    sync(results, [record])
    run = by_name(jobs(results))[f"speed round 0, 1 threads · {PYG}"]
    points = client(results).get_metric_history(run.info.run_id, "as_shipped/train_step_ms")
    assert [point.value for point in points] == [
        1e3 * seconds for seconds in record.outcome.tracks["as_shipped"].train.seconds
    ]


def test_the_artifact_of_a_job_is_its_record(results):
    record = build.fit(PYG, 0, 0.8)
    sync(results, [record])
    run = by_name(jobs(results))[f"fit seed 0 · {PYG}"]
    path = Path(client(results).download_artifacts(run.info.run_id, "record.json"))
    assert Record.model_validate_json(path.read_text()) == record


def test_trials_are_a_table_too(results):
    sync(results, [build.study(backend="pyg")])
    run = by_name(jobs(results))["tune · gat · cora"]
    path = Path(client(results).download_artifacts(run.info.run_id, "trials.csv"))
    assert [row["state"] for row in csv.DictReader(path.read_text().splitlines())] == ["complete", "complete", "pruned"]


@pytest.mark.parametrize(
    ("status", "state"),
    [("unsupported", "FINISHED"), ("budget", "FINISHED"), ("out_of_memory", "FAILED"), ("timeout", "FAILED"),
     ("diverged", "FAILED"), ("error", "FAILED")],
)  # fmt: skip
def test_what_could_not_be_done_ends_in_the_state_that_it_deserves(results, status, state):
    sync(results, [build.not_done(build.fit_job(PYG, 0), status, "a reason")], [Row(PYG, status=status)])
    [job], [cell] = jobs(results), runs(results)
    assert (job.info.status, cell.info.status) == (state, state)
    assert (job.data.tags["status"], job.data.tags["reason"]) == (status, "a reason")
    assert cell.data.metrics == {}


def test_a_long_reason_is_cut_to_what_mlflow_takes(results):
    sync(results, [build.not_done(build.fit_job(PYG, 0), "error", "x" * 20_000)])
    [job] = jobs(results)
    assert job.data.tags["reason"] == "x" * 6000


def test_the_report_s_files_are_attached_once(results):
    (results / NAME).mkdir()
    (results / NAME / "table.md").write_text("| a |")
    for _ in range(2):
        sync(results, some_records())
    report = by_name(jobs(results))[f"report of {NAME}"]
    assert [file.path for file in client(results).list_artifacts(report.info.run_id)] == ["table.md"]


def test_a_changed_report_replaces_the_former(results):
    (results / NAME).mkdir()
    for text in ("old", "new"):
        (results / NAME / "table.md").write_text(text)
        sync(results, some_records())
    [report] = [run for run in jobs(results) if run.data.tags["level"] == "report"]
    assert Path(client(results).download_artifacts(report.info.run_id, "table.md")).read_text() == "new"


def test_the_pages_open_on_a_view_with_the_columns_that_matter(results):
    sync(results, some_records())
    tags = client(results).get_experiment_by_name(NAME).tags
    state = json.loads(json.loads(tags["mlflow.sharedViewState.gat-bench-cells"])["state"])
    assert "metrics.`accuracy_test_pct_mean`" in state["selectedColumns"]
    assert state["orderByKey"] == "tags.`order`"


# Writing again


def test_a_second_sync_adds_nothing(results):
    for _ in range(2):
        sync(results, some_records())
    assert len(runs(results)) == 2
    assert len(jobs(results)) == 10


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


def test_a_number_that_no_longer_holds_disappears(results):
    sync(results, some_records())
    sync(results, some_records(), [Row(PYG, status="parity"), ROWS[1]])
    assert len(runs(results)) == 2
    assert by_name(runs(results))[str(PYG)].data.metrics == {}


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
    elsewhere = owned_run(results, Owner("another-host", "boot", 1, 1.0))
    alive = owned_run(results, Owner.here())
    assert Tracking(None, results).heal() == 2
    state = {run.info.run_id: run.info.status for run in runs(results)}
    assert [state[run] for run in (dead, rebooted, elsewhere, alive)] == ["KILLED", "KILLED", "RUNNING", "RUNNING"]


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


def test_a_cell_of_a_live_process_is_left_to_it(results):
    sync(results, [])
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        owner = Owner(platform.node(), Owner.here().boot, other.pid, psutil.Process(other.pid).create_time())
        mlflow = client(results)
        [cell] = [run for run in runs(results) if run.info.run_name == str(PYG)]
        mlflow.delete_run(cell.info.run_id)
        theirs = owned_run(results, owner, {"level": "cell", "cell": str(PYG)})
        sync(results, some_records())
        other.communicate(b"\n")
    run = mlflow.get_run(theirs)
    assert (run.info.status, run.data.metrics) == ("RUNNING", {})


# Stores that are hard to use


def test_a_damaged_store_is_set_aside_by_name_and_a_fresh_one_made(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    garbage = b"SQLite format 3\0" + b"\xff" * 4096
    (results / mlflow_store.NAME).write_bytes(garbage)
    tracking = Tracking(None, results)
    [aside] = results.glob("mlflow.db.damaged-*")
    assert aside.read_bytes() == garbage
    [notice] = tracking.notices
    assert str(results / mlflow_store.NAME) in notice
    assert aside.name in notice
    assert tracking.heal() == 0


def test_a_second_damaged_store_does_not_overwrite_the_first(tmp_path):
    store = tmp_path / mlflow_store.NAME
    for content in ("first", "second", "third"):
        store.write_text(content)
        mlflow_store.set_aside(store)
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["first", "second", "third"]


def test_a_locked_store_is_not_taken_for_a_damaged_one(results):
    with closing(sqlite3.connect(results / mlflow_store.NAME)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingUnavailable, match="locked"):
            mlflow_store.damage(results / mlflow_store.NAME, wait_s=0.01)


def test_four_processes_may_create_the_store_at_once(tmp_path, capfd):
    # Forks, because each fresh process would import MLflow first and the race would be over.
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    racers = [context.Process(target=create, args=(tmp_path / "results", start)) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0, 0, 0, 0]
    assert capfd.readouterr() == ("", "")  # not a word of MLflow's or alembic's either
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [".mlflow.lock", "mlflow.db"]


def create(results: Path, start: Any) -> None:
    start.wait()
    assert Tracking(None, results).heal() == 0


@pytest.mark.parametrize("folder", ["with space", "Käfig-größe", "100%20", "what?", "a#b&c's"])
def test_any_folder_name_will_do(tmp_path, empty_store, folder):
    results = with_store(tmp_path / folder, empty_store)
    sync(results, build.fits(PYG, (0.8,)))
    assert len(jobs(results)) == 1
    assert len(list(results.rglob("record.json"))) == 1
    assert mlflow_store.sqlite_path(mlflow_store.default_uri(results)) == results / mlflow_store.NAME


def test_nothing_is_written_outside_the_results_folder(results, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    sync(results, some_records())
    assert list(elsewhere.iterdir()) == []


@pytest.fixture
def free_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_server_that_is_down_is_one_sentence(tmp_path, free_port):
    tracking = Tracking(f"http://someone:secret@127.0.0.1:{free_port}", tmp_path)
    with pytest.raises(TrackingUnavailable) as caught:
        tracking.sync(NAME, GRID, some_records(), ROWS, live=True)
    assert str(caught.value) == f"MLflow at http://127.0.0.1:{free_port}: Connection refused"


def test_a_store_that_cannot_be_written_is_one_sentence(results, capfd):
    tracking = Tracking(None, results)
    (results / "mlartifacts").write_text("a file where a folder must be")
    with pytest.raises(TrackingUnavailable, match=r"^MLflow at .*mlflow.db: [^\n]+$"):
        tracking.sync(NAME, GRID, some_records(), ROWS, live=False)
    assert capfd.readouterr() == ("", "")


def test_a_scheme_that_mlflow_does_not_know_is_one_sentence(tmp_path):
    with pytest.raises(TrackingUnavailable, match=r"^MLflow at gopher://x: [^\n]+$"):
        Tracking("gopher://x", tmp_path)


def with_curves(record: Record, curves: dict[str, tuple[float, ...]]) -> Record:
    return record.model_copy(update={"outcome": record.outcome.model_copy(update={"curves": curves})})
