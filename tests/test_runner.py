"""The grid, with real child processes: what goes wrong in one cell is a result, and nothing is done twice."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from record_builders import otherwise

from bench import basis, records
from bench.config import Experiment
from bench.folder import ResultsFolder
from bench.options import Options
from bench.outcomes import Checked, Fitted, NotDone, Timed, Tuned
from bench.progress import PlainDisplay
from bench.report.cells import gather
from bench.report.results import Results
from bench.report.rows import rows
from bench.report.sittings import APART
from bench.runner import Grid


class Notes:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.is_quiet = False

    def finished(self, record: records.Record) -> None:
        self.ids.append(record.id)
        if isinstance(record.outcome, Timed):
            assert self.is_quiet, "timing while the listener may be at work"

    @contextmanager
    def quiet(self):
        self.is_quiet = True
        yield
        self.is_quiet = False


class Silent(PlainDisplay):
    def say(self, text: str) -> None:
        pass


def changed(experiment: Experiment, **changes: object) -> Experiment:
    return Experiment.model_validate(experiment.model_dump() | changes)


def run(experiment: Experiment, tmp_path: Path, **options: object) -> tuple[int, list[records.Record], Notes]:
    folder, notes = ResultsFolder(tmp_path / "grid"), Notes()
    storage = f"sqlite:///{folder.path / 'optuna.db'}"
    folder.write_experiment(experiment)
    errors = Grid(experiment, folder, Silent(), notes, Options(storage_url=storage, **options)).run()
    return errors, folder.records(), notes


def outcome_of(found: list[records.Record], backend: str) -> object:
    return next(record.outcome for record in found if record.job.backend == backend)


def accuracies(experiment: Experiment, found: list[records.Record]) -> dict[int, float]:
    """By seed, of the experiment's only cell."""
    (cell,) = gather(experiment, found)
    return dict(cell.accuracies)


def timed(experiment: Experiment, rounds: int = 1, self_test: str = "") -> Experiment:
    timing = experiment.timing.model_dump() | {"rounds": rounds, "self_test": self_test}
    return changed(experiment, timing=timing)


def test_a_grid_ends_with_parity_speed_study_and_fits_for_every_cell(small, tmp_path):
    tuning = {"trials": 2, "seeds": [50, 51], "space": {"training.lr": {"low": 1e-3, "high": 1e-1, "log": True}}}
    errors, found, notes = run(timed(changed(small, tuning=tuning), self_test="scatter"), tmp_path)
    kinds = [type(record.outcome) for record in found]
    assert errors == 0
    assert {kind: kinds.count(kind) for kind in kinds} == {Checked: 2, Timed: 3, Tuned: 1, Fitted: 4}
    assert sorted(record.job.replica for record in found if isinstance(record.outcome, Timed)) == [0, 0, 1]
    assert notes.ids == [record.id for record in found]


def test_an_experiment_without_seeds_checks_and_times_with_the_ceilings_beside(small, tmp_path):
    timing = small.timing.model_dump() | {"rounds": 1, "ceilings": True, "parts": True}
    datasets = ["powerlaw-n60-d4-f6-c3"]
    protocol = {"row_normalise": False}
    asked = changed(small, seeds=[], datasets=datasets, timing=timing, protocol=protocol)
    errors, found, _ = run(asked, tmp_path)
    outcomes = [record.outcome for record in found if isinstance(record.outcome, Timed)]
    assert errors == 0
    assert {type(record.outcome) for record in found} == {Checked, Timed}
    assert {outcome.stored_features for outcome in outcomes} == {60 * 6}
    # Dense features leave one input: the second track is the first.
    assert [(list(outcome.tracks), outcome.same_as) for outcome in outcomes] == [
        (["as_shipped"], {"same_input": "as_shipped"})
    ] * 2
    assert all(outcome.ceilings.gemm_flops_per_s > 0 for outcome in outcomes)
    assert all(outcome.tracks["as_shipped"].parts_s for outcome in outcomes)


def test_rounds_that_the_budget_does_not_allow_are_not_run_and_not_missed(small, tmp_path):
    timing = small.timing.model_dump() | {"rounds": 3}
    asked = changed(small, timing=timing, budget={"timing_s": 0.001})
    errors, found, _ = run(asked, tmp_path)
    rounds = [record.job.round for record in found if isinstance(record.outcome, Timed)]
    assert (errors, rounds) == (0, [0, 0])  # the first is always run
    assert run(asked, tmp_path)[1] == found
    assert {row.status for row in rows(asked, found)} == {"done"}
    assert "1 of at most 3 rounds" in rows(asked, found)[0].speeds[0].state.reason
    more = run(changed(small, timing=timing, budget={"timing_s": 600}), tmp_path)[1]
    assert sum(isinstance(record.outcome, Timed) for record in more) == 6


def test_a_second_run_repeats_nothing(small, tmp_path):
    _, first, _ = run(small, tmp_path)
    errors, second, notes = run(small, tmp_path)
    assert errors == 0
    assert second == first
    assert notes.ids == []


def test_a_back_end_that_joins_is_held_against_the_others_times_once_all_are_made_again(small, tmp_path):
    alone = changed(timed(small, rounds=2), backends=["scatter"], seeds=[])
    both = changed(alone, backends=["scatter", "fused"])

    def barred(found: list[records.Record]) -> set[str]:
        return {verdict.pair.barred for verdict in Results.of(both, found).comparisons.time}

    run(alone, tmp_path)
    _, joined, _ = run(both, tmp_path)
    assert barred(joined) == {APART}
    _, again, notes = run(both, tmp_path, retime=True)
    assert barred(again) == {""}
    assert len(notes.ids) == 4
    assert again[: len(joined)] == joined
    assert run(both, tmp_path)[2].ids == []


def test_of_a_finished_grid_nothing_is_expected_to_be_left(small, tmp_path):
    run(small, tmp_path)
    grid = Grid(small, ResultsFolder(tmp_path / "grid"), Silent(), Notes())
    assert [grid.history.missing(jobs) for jobs in grid.forecast.phases.values()] == [[], [], [], []]
    assert grid.left_s() == 0


def test_more_seeds_add_only_the_missing_jobs(small, tmp_path):
    _, first, _ = run(small, tmp_path)
    _, second, _notes = run(changed(small, seeds=[0, 1, 2]), tmp_path)
    assert second[: len(first)] == first
    assert [record.outcome.seed for record in second[len(first) :]] == [2, 2]


def test_results_of_an_earlier_code_count_again_when_it_is_the_code_of_now_again(small, tmp_path):
    experiment = changed(small, backends=["scatter"], seeds=[0])
    _, found, _ = run(experiment, tmp_path)
    (parity,) = (record for record in found if isinstance(record.outcome, Checked))
    broken = parity.job.model_copy(update={"basis": "a mistake, since mended"})
    failed = parity.outcome.model_copy(update={"passed": False})
    records.append(tmp_path / "grid", parity.model_copy(update={"id": broken.id, "job": broken, "outcome": failed}))
    (row,) = rows(experiment, records.read(tmp_path / "grid"))
    assert row.parity.status == "failed"
    errors, after, notes = run(experiment, tmp_path)
    (row,) = rows(experiment, after)
    assert (errors, notes.ids, row.parity.status, row.status) == (0, [], "passed", "done")
    assert run(experiment, tmp_path)[1] == after


def test_what_decides_a_jobs_result_is_its_own_plugins_and_what_they_import_or_build_on():
    names = {path.stem for path in basis.code_of("pyg_compile", "gat", "powerlaw_mapped-n9-d2", "cpu")}
    assert {"pyg_compile", "_compiled", "pyg", "gat", "_softmax", "cpu", "parity", "train", "contract"} <= names
    assert {"powerlaw_mapped", "_powerlaw_files", "powerlaw"} <= names
    assert names.isdisjoint({"scatter", "dgl", "fused", "gatv2", "cora_linqs", "cuda", "conformance", "report"})
    assert {"gat.h", "pool.cpp"} <= {path.name for path in basis.code_of("fused", "gat", "blocks", "cpu")}
    assert "pyg" not in {path.stem for path in basis.code_of(None, "gat", "blocks", "cpu")}


IMPORTED = """
import sys
from pathlib import Path
from bench import basis, jobs, rounds
from bench.environment import ROOT
from bench.plugins import BACKENDS, DATASETS, DEVICES, OPERATORS
cell = ("fused_step", "gatv2", "blocks", "cpu")
for plugins, name in zip((BACKENDS, OPERATORS, DATASETS, DEVICES), cell, strict=True):
    plugins.get(name)
files = {Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)}
ours = {path for path in files if any(path.is_relative_to(ROOT / folder) for folder in basis.FOLLOWED)}
left_out = ours - basis.code_of(*cell)
print(sorted(str(path.relative_to(ROOT)) for path in left_out if path.name != "__init__.py"))
"""


def test_nothing_that_a_jobs_process_imports_is_left_out_of_what_decides_its_result():
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_study_that_one_back_end_ran_for_all_is_recorded_once_whoever_asks(small, tmp_path):
    tuning = {"trials": 1, "seeds": [50], "space": {"training.lr": {"low": 1e-3, "high": 1e-1}}}
    for backend in ("scatter", "dense", "scatter", "dense"):
        experiment = changed(small, backends=[backend], seeds=[0], tuning=tuning)
        _, found, _ = run(experiment, tmp_path)
    kinds = [type(record.outcome) for record in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {Checked: 2, Tuned: 1, Fitted: 2}


def test_whatever_a_cell_was_asked_counts_again_and_not_only_the_first_of_it(small, tmp_path):
    parts = [changed(small, backends=["scatter"], training={"max_epochs": epochs}) for epochs in (3, 5)]
    found = [run(part, tmp_path)[1] for part in parts][-1]
    before = [accuracies(part, found) for part in parts]
    for record in found:
        if isinstance(record.outcome, Fitted):
            records.append(tmp_path / "grid", otherwise(record, test=0.0))
    assert [set(accuracies(part, records.read(tmp_path / "grid")).values()) for part in parts] == [{0.0}] * 2
    found = [run(part, tmp_path)[1] for part in parts][-1]
    assert [accuracies(part, found) for part in parts] == before
    assert [run(part, tmp_path)[1] for part in parts] == [found, found]


def test_answers_of_a_cell_that_is_over_its_budget_by_now_count_again_too(small, tmp_path):
    asked = changed(timed(small), backends=["scatter"])
    _, found, _ = run(asked, tmp_path)
    before = accuracies(asked, found)
    for record in found:
        if isinstance(record.outcome, Fitted):
            records.append(tmp_path / "grid", otherwise(record, test=0.0))
    _, found, _ = run(changed(asked, budget={"cell_fit_s": 1e-6}), tmp_path)
    assert accuracies(asked, found) == before


@pytest.mark.usefixtures("foreign")
def test_a_reason_that_holds_again_is_told_again_after_another_code_gave_another(small, tmp_path):
    asked = changed(small, backends=["absent"])
    (record,) = run(asked, tmp_path)[1]
    records.append(tmp_path / "grid", otherwise(record, reason="a mistake, since mended"))
    _, found, _ = run(asked, tmp_path)
    assert [rows(asked, found)[0].parity.reason, len(found)] == [record.outcome.reason, 3]
    assert run(asked, tmp_path)[1] == found


def test_the_same_seed_trains_to_the_same_accuracy_whenever_it_is_run(small, tmp_path):
    _, first, _ = run(small, tmp_path / "a")
    _, second, _ = run(small, tmp_path / "b", parallel=1)
    accuracies = [{r.id: r.outcome.test for r in found if isinstance(r.outcome, Fitted)} for found in (first, second)]
    assert accuracies[0] == accuracies[1] != {}


@pytest.mark.usefixtures("foreign")
def test_faults_of_some_back_ends_are_results_and_the_others_finish(small, tmp_path):
    faulty = ["failing", "crashing", "greedy", "absent", "wrong"]
    errors, found, _ = run(changed(timed(small), backends=[*faulty, "stranger"]), tmp_path)
    said = {name: outcome_of(found, name) for name in faulty}
    assert errors == 3  # the gate that was not passed counts, too
    assert said["failing"].status == said["crashing"].status == "error"
    assert "out of sorts" in said["failing"].reason
    assert "signal 6" in said["crashing"].reason
    assert said["greedy"].status == "out_of_memory"
    assert "predicted" in said["greedy"].reason
    assert said["absent"] == NotDone(status="unsupported", reason="foreign cannot be imported; install it")
    assert not said["wrong"].passed
    assert {r.job.backend for r in found if isinstance(r.outcome, Fitted | Timed)} == {"stranger"}
    reasons = {row.key.backend: row for row in rows(small.model_copy(update={"backends": tuple(faulty)}), found)}
    assert reasons["wrong"].parity.status == "failed"
    assert reasons["absent"].parity.reason == said["absent"].reason


@pytest.mark.usefixtures("foreign")
def test_a_back_end_that_takes_no_track_that_is_asked_is_trained_and_its_times_say_why_there_are_none(small, tmp_path):
    asked = changed(timed(small), backends=["picky"])
    asked = changed(asked, timing=asked.timing.model_dump() | {"tracks": ["same_input"]})
    errors, found, _ = run(asked, tmp_path)
    assert errors == 0
    assert [type(record.outcome) for record in found] == [Checked, Timed, Fitted, Fitted]
    (row,) = rows(asked, found)
    assert [speed.state.reason for speed in row.speeds] == ["picky takes dense features only"]


@pytest.mark.usefixtures("foreign")
def test_a_job_that_hangs_is_killed_at_its_limit(small, tmp_path):
    experiment = changed(small, backends=["hanging"], budget={"job_s": 20})
    _, found, _ = run(experiment, tmp_path)
    assert outcome_of(found, "hanging") == NotDone(status="timeout", reason="killed after its limit of 20 s")


@pytest.mark.usefixtures("foreign")
def test_an_error_is_tried_again_and_a_timeout_only_on_request(small, tmp_path, monkeypatch):
    monkeypatch.setenv("TRIES", str(tmp_path))
    experiment = changed(small, backends=["failing", "hanging"], budget={"job_s": 20})

    def tries() -> list[int]:
        return [len(list(tmp_path.glob(f"{name}-*"))) for name in ("failing", "hanging")]

    assert (len(run(experiment, tmp_path)[1]), tries()) == (2, [1, 1])
    _, found, notes = run(experiment, tmp_path)
    assert (len(found), tries()) == (2, [2, 1]), "the same error twice is one record"
    assert notes.ids == []
    run(experiment, tmp_path, retry=True)
    assert tries() == [3, 2]


@pytest.mark.usefixtures("foreign")
def test_a_failure_that_is_there_again_is_told_again_and_recorded_once(small, tmp_path, capsys):
    asked = changed(small, backends=["absent"])
    run(asked, tmp_path)
    folder = ResultsFolder(tmp_path / "grid")
    Grid(asked, folder, PlainDisplay(), Notes(), Options()).run()
    (record,) = folder.records()
    assert record.outcome.reason in capsys.readouterr().err


@pytest.mark.usefixtures("no_data")
def test_a_reason_that_names_a_folder_whose_name_is_no_text_is_recorded_once(small, tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.setenv("BENCH_DATA", str(folder))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # where nobody answers
    asked = changed(small, backends=["scatter"], datasets=["ppi"])
    _, (found,), _ = run(asked, tmp_path)
    assert f"not in {tmp_path}/caf\\udce9" in found.outcome.reason
    assert run(asked, tmp_path)[1] == [found]


def test_a_loss_that_is_no_number_is_recorded_as_diverged(small, tmp_path):
    hopeless = changed(small, backends=["scatter"], training={"lr": 1e30, "max_epochs": 20})
    errors, found, _ = run(hopeless, tmp_path)
    assert errors == 0
    assert {record.outcome.status for record in found if isinstance(record.outcome, NotDone)} == {"diverged"}


def test_a_cell_over_its_budget_says_what_it_would_take(small, tmp_path):
    dear = changed(timed(small), backends=["scatter"], training={"max_epochs": 100_000}, budget={"cell_fit_s": 1.0})
    errors, found, _ = run(dear, tmp_path)
    refused = [record for record in found if isinstance(record.outcome, NotDone)]
    assert errors == 0
    assert [record.outcome.status for record in refused] == ["budget"]
    assert "would take" in refused[0].outcome.reason
    assert "2 seeds of 100000 epochs" in refused[0].outcome.reason


def test_a_study_over_its_budget_says_what_it_would_take_and_nothing_is_fitted(small, tmp_path):
    tuning = {"trials": 2, "seeds": [50], "space": {"training.lr": {"low": 1e-3, "high": 1e-1}}}
    dear = changed(timed(small), backends=["scatter"], tuning=tuning, budget={"study_s": 0.001})
    errors, found, _ = run(dear, tmp_path)
    (refused,) = [record for record in found if isinstance(record.outcome, NotDone)]
    assert errors == 0
    assert refused.job.phase == "tune"
    assert "a study of 2 trials on scatter would take up to" in refused.outcome.reason
    (row,) = rows(dear, found)
    assert "a study of 2 trials" in row.accuracy_state.reason


def test_an_absent_device_is_a_reason_and_no_error(small, tmp_path):
    errors, found, _ = run(changed(small, backends=["scatter"], devices=["mps"]), tmp_path)
    assert errors == 0
    assert [record.outcome.status for record in found] == ["unsupported"]
    assert "Metal" in found[0].outcome.reason
