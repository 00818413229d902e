"""What goes wrong in one cell of a grid, or is over its budget, is a result, and the others finish."""

import os

import pytest
from grid_tools import Notes, changed, outcome_of, run, timed
from record_builders import otherwise

from bench import records
from bench.folder import ResultsFolder
from bench.options import Options
from bench.outcomes import Checked, Fitted, NotDone, Timed
from bench.progress import PlainDisplay
from bench.report.rows import rows
from bench.runner import Grid


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


@pytest.mark.usefixtures("foreign")
def test_a_reason_that_holds_again_is_told_again_after_another_code_gave_another(small, tmp_path):
    asked = changed(small, backends=["absent"])
    (record,) = run(asked, tmp_path)[1]
    records.append(tmp_path / "grid", otherwise(record, reason="a mistake, since mended"))
    _, found, _ = run(asked, tmp_path)
    assert [rows(asked, found)[0].parity.reason, len(found)] == [record.outcome.reason, 3]
    assert run(asked, tmp_path)[1] == found


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
