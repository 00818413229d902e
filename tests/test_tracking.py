"""MLflow as a view of the records: what a store holds, on real SQLite files, and one real server in test_ui."""

import csv
import json
from pathlib import Path

import pytest
import record_builders as build
from tracking_tools import (
    CORA,
    DGL,
    NAME,
    PYG,
    Row,
    by_name,
    client,
    jobs,
    runs,
    some_records,
    sync,
    with_store,
)

from bench.records import Record
from bench.tracking.pages import jobs_name


@pytest.fixture
def results(tmp_path: Path, empty_store: Path) -> Path:
    return with_store(tmp_path / "results", empty_store)


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


def test_numbers_that_people_compare_have_four_digits_and_no_noise(results):
    numbers = {"accuracy_test_pct_mean": 81.42999999999999, "accuracy_test_pct_std": 1.50632001911943}
    speeds = {"as_shipped/edges_per_s": 1234567.8, "as_shipped/peak_memory_mib": 0.0123456, "warnings": 0.0}
    sync(results, some_records(), [Row(PYG, numbers | speeds), Row(DGL)])
    assert by_name(runs(results))[str(PYG)].data.metrics == {
        "accuracy_test_pct_mean": 81.43,
        "accuracy_test_pct_std": 1.506,
        "as_shipped/edges_per_s": 1234568.0,
        "as_shipped/peak_memory_mib": 0.01235,
        "warnings": 0.0,
    }


def test_a_tuned_setting_replaces_the_file_s_own(results):
    sync(results, [build.fit(PYG, 0, 0.8, tuned={"training.lr": 0.02})])
    assert by_name(runs(results))[str(PYG)].data.params["training.lr"] == "0.02"


def test_accuracies_of_a_fit_are_percent(results):
    sync(results, build.fits(PYG, (0.815,)))
    fit = by_name(jobs(results))[f"fit seed 0000 · {PYG}"]
    assert fit.data.metrics["accuracy_test_pct"] == pytest.approx(81.5)
    assert fit.data.metrics["curve/accuracy/validation_pct"] == pytest.approx(80.5)


@pytest.mark.parametrize("metric", ["accuracy", "micro_f1", "roc_auc", "hits_at_50", "mrr"])
def test_the_curve_of_a_share_is_in_percent_as_its_end_is_whatever_it_is_called(results, metric):
    sync(
        results, [with_curves(build.fit(PYG, 0, 0.8), {f"validation_{metric}": (0.5, 0.79), "train_loss": (1.5, 0.5)})]
    )
    metrics = by_name(jobs(results))[f"fit seed 0000 · {PYG}"].data.metrics
    assert metrics[f"curve/validation_{metric}_pct"] == pytest.approx(metrics["accuracy_validation_pct"])
    assert metrics["curve/train_loss"] == 0.5


def test_the_curve_of_an_error_is_in_its_own_unit(results):
    record = with_curves(build.fit(PYG, 0, 0.8), {"validation_mae": (1.5, 0.79)})
    sync(results, [record.model_copy(update={"outcome": record.outcome.model_copy(update={"is_error": True})})])
    metrics = by_name(jobs(results))[f"fit seed 0000 · {PYG}"].data.metrics
    assert metrics["curve/validation_mae"] == metrics["error_validation"] == pytest.approx(0.79)


def test_curves_are_complete_and_their_times_lie_within_the_job(results):
    curve = tuple(1 / epoch for epoch in range(1, 701))
    record = with_curves(build.fit(PYG, 0, 0.8), {"train_loss": curve, "validation_loss": curve})
    sync(results, [record])
    run = by_name(jobs(results))[f"fit seed 0000 · {PYG}"]
    points = client(results).get_metric_history(run.info.run_id, "curve/train_loss")
    assert [point.step for point in points] == list(range(1, 701))
    assert tuple(point.value for point in points) == curve
    assert run.info.start_time <= points[0].timestamp <= points[-1].timestamp == run.info.end_time
    assert run.info.end_time - run.info.start_time == 2000


def test_a_loss_that_is_not_a_number_leaves_a_gap_instead_of_a_giant(results):
    record = with_curves(build.fit(PYG, 0, 0.8), {"train_loss": (1.0, float("inf"), float("nan"), 0.5)})
    sync(results, [record])
    run = by_name(jobs(results))[f"fit seed 0000 · {PYG}"]
    points = client(results).get_metric_history(run.info.run_id, "curve/train_loss")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (4, 0.5)]


def test_a_timing_round_shows_every_sample_in_milliseconds(results):
    record = build.speed(PYG, 0, {"as_shipped": 0.02})
    sync(results, [record])
    run = by_name(jobs(results))[f"speed round 000, 001 threads · {PYG}"]
    points = client(results).get_metric_history(run.info.run_id, "as_shipped/train_step_ms")
    assert [point.value for point in points] == [
        1e3 * seconds for seconds in record.outcome.tracks["as_shipped"].train.seconds
    ]


def test_the_artifact_of_a_job_is_its_record(results):
    record = build.fit(PYG, 0, 0.8)
    sync(results, [record])
    run = by_name(jobs(results))[f"fit seed 0000 · {PYG}"]
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


def test_the_report_s_files_and_plots_are_attached_once(results):
    (results / NAME / "plots").mkdir(parents=True)
    (results / NAME / "table.md").write_text("| a |")
    (results / NAME / "plots" / "cora.png").write_bytes(b"of a plot")
    sync(results, some_records())
    first = by_name(jobs(results))[f"report of {NAME}"]
    sync(results, some_records())
    (report,) = [run for run in jobs(results) if run.info.run_name == f"report of {NAME}"]
    assert report.info.run_id == first.info.run_id
    attached = [file.path for file in client(results).list_artifacts(report.info.run_id)]
    assert sorted(attached) == ["cora.png", "table.md"]
    plot = Path(client(results).download_artifacts(report.info.run_id, "cora.png"))
    assert plot.read_bytes() == b"of a plot"


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


def with_curves(record: Record, curves: dict[str, tuple[float, ...]]) -> Record:
    return record.model_copy(update={"outcome": record.outcome.model_copy(update={"curves": curves})})
