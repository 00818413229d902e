"""What MLflow's pages say in words: names of runs that sort, and a description of each experiment and run."""

import fnmatch
import json
import re
from pathlib import Path

import pytest
import record_builders as build
from tracking_tools import DGL, GRID, NAME, PYG, client, jobs, runs, some_records, sync, with_store

from bench.config import Architecture, Protocol, Training
from bench.outcomes import Attended, Attention, HeadAttention, LookedUp
from bench.records import Record
from bench.study_config import LookupArchitecture, LookupProtocol, LookupTraining
from bench.tracking import names, notes
from bench.tracking import runs as contents
from bench.tracking.pages import NOTE_TAG, jobs_name
from bench.tracking.writer import Tracking
from bench.work import AttentionJob, LookupJob

PLACE = {"backend": "pyg", "operator": "gat", "dataset": "cora", "device": "cpu", "basis": ""}
SEEDS = (0, 2, 10, 90, 100, 1001)
ATTENTION = Attention(
    heads=(HeadAttention(layer=1, head=1, source_pairs=9, tau=0.5, unanimous=0.1, entropy=0.9),), targets=3
)


@pytest.fixture
def results(tmp_path: Path, empty_store: Path) -> Path:
    return with_store(tmp_path / "results", empty_store)


def lookup_job(seed: int = 0) -> LookupJob:
    asked = {"protocol": LookupProtocol(name="paper"), "architecture": LookupArchitecture()}
    return LookupJob(**PLACE, **asked, training=LookupTraining(), size=4, seed=seed, attention_graphs=2)


def attention_job(seed: int = 0) -> AttentionJob:
    asked = {"protocol": Protocol(), "architecture": Architecture(), "training": Training()}
    return AttentionJob(**PLACE, **asked, seed=seed, min_degree=2)


def looked_up() -> Record:
    outcome = LookedUp(
        seed=0,
        train=0.9,
        test=0.8,
        steps=200,
        best_step=100,
        stopped="steps",
        train_graphs=19,
        test_graphs=5,
        parameters=10,
        evaluate_every_steps=100,
        curves={"accuracy/test": (0.7, 0.8)},
        attention=ATTENTION,
    )
    return build.record(lookup_job(), outcome)


def attended() -> Record:
    return build.record(attention_job(), Attended(fitted=build.fit(PYG, 0, 0.8).outcome, attention=ATTENTION))


@pytest.mark.parametrize(
    "named",
    [
        [names.of_job(build.fit_job(PYG, seed)) for seed in SEEDS],
        [names.of_job(lookup_job(seed)) for seed in SEEDS],
        [names.of_job(attention_job(seed)) for seed in SEEDS],
        [names.of_job(build.speed_job(PYG, number)) for number in (0, 2, 10, 100)],
        [names.of_job(build.speed_job(PYG, 0, threads)) for threads in (1, 2, 16, 128)],
        [names.of_trial(build.study().job, number) for number in (0, 2, 10, 100)],
    ],
    ids=["fits", "lookups", "attention", "rounds", "threads", "trials"],
)
def test_names_sort_as_their_numbers_do(named):
    assert sorted(named) == named


def test_the_jobs_page_keeps_a_cell_s_jobs_together_in_the_order_of_their_seeds(results):
    sync(results, [fit for cell in (PYG, DGL) for fit in build.fits(cell, [0.8] * 11)])
    tags = client(results).get_experiment_by_name(jobs_name(NAME)).tags
    view = json.loads(json.loads(tags["mlflow.sharedViewState.gat-bench-jobs"])["state"])
    assert [key["groupByData"] for key in view["groupBy"]["groupByKeys"]] == ["cell", "phase"]
    ordered = sorted(jobs(results), key=lambda run: run.data.tags["order"])
    assert view["orderByKey"] == "tags.`order`"
    assert [(run.data.tags["cell"], run.data.params["seed"]) for run in ordered] == [
        (str(cell), str(seed)) for cell in (DGL, PYG) for seed in range(11)
    ]


def test_runs_that_an_earlier_version_named_are_renewed_by_the_next_sync(results, monkeypatch):
    (results / NAME).mkdir()
    (results / NAME / "table.md").write_text("| a |")
    monkeypatch.setattr(contents, "LAYOUT", "1")
    monkeypatch.setattr(names, "of_job", lambda job: f"an earlier name of {job.phase}")
    sync(results, some_records())
    monkeypatch.undo()
    earlier = {run.info.run_id for run in jobs(results)}
    sync(results, some_records())
    found = jobs(results)
    assert len(found) == len(earlier)
    assert not earlier & {run.info.run_id for run in found}
    assert "fit seed 0001 · pyg · gat · cora · cpu" in [run.info.run_name for run in found]


def test_every_run_has_a_description(results):
    (results / NAME).mkdir()
    (results / NAME / "table.md").write_text("| a |")
    sync(results, [*some_records(), looked_up(), attended(), build.speed(PYG, 0, {"as_shipped": 0.02}, replica=1)])
    found = [*runs(results), *jobs(results)]
    assert {run.data.tags["level"] for run in found} == {"cell", "job", "trial", "report"}
    assert [run.info.run_name for run in found if not run.data.tags.get(NOTE_TAG)] == []


@pytest.mark.parametrize(
    "record",
    [
        build.fit(PYG, 0, 0.8),
        build.speed(PYG, 0, {"as_shipped": 0.02, "same_input": 0.02}),
        build.parity(PYG),
        build.study(),
        looked_up(),
        attended(),
    ],
    ids=lambda record: record.job.phase,
)
def test_what_a_description_names_is_in_its_run(record):
    content = contents.of_record(record)
    there = [*(point.name for point in content.points), *content.params, *content.texts]
    named = [quoted.replace("…", "*") for quoted in re.findall("`(.+?)`", content.tags[NOTE_TAG])]
    assert len(named) > 1
    assert [pattern for pattern in named if not fnmatch.filter(there, pattern)] == []
    assert [name for name in content.texts if name not in named] == []


def test_an_error_is_described_as_one_and_an_accuracy_as_another():
    outcome = build.fit(PYG, 0, 0.8).outcome.model_copy(update={"is_error": True})
    assert "`error_test`" in notes.of_job(build.record(build.fit_job(PYG, 0), outcome))
    assert "`accuracy_test_pct`" in notes.of_job(build.fit(PYG, 0, 0.8))


def test_a_run_without_numbers_says_where_the_reason_is():
    said = notes.of_job(build.not_done(build.fit_job(PYG, 0), "out_of_memory", "needs 3 GiB"))
    assert "the tag `reason` why" in said
    assert "accuracy" not in said


def test_an_experiment_says_what_it_compares_and_how_to_read_it(results):
    asked = GRID.model_copy(update={"description": "Who is fastest at equal accuracy."})
    Tracking(None, results).sync(NAME, asked, [], [], live=False)
    jobs_id = client(results).get_experiment_by_name(jobs_name(NAME)).experiment_id
    said = client(results).get_experiment_by_name(NAME).tags[NOTE_TAG]
    assert said.startswith(f"**{GRID.title}**")
    assert asked.description in said
    assert f"](#/experiments/{jobs_id}/runs?" in said
    assert "one run per cell" in said
    assert "Accuracies are percent" in said


def test_the_experiment_of_jobs_says_what_each_kind_of_run_is(results):
    sync(results, [])
    said = client(results).get_experiment_by_name(jobs_name(NAME)).tags[NOTE_TAG]
    for kind in ("fits", "timing rounds", "parity checks", "tuning studies", "report", "`record.json`"):
        assert kind in said
