"""An Optuna store that is lost is named, set aside, and made again from the records."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import record_builders as build
from test_tuning import Hill, job, search

from bench.errors import UserError
from bench.records import Record
from bench.tuning import study_store
from bench.tuning.search import tune

pytestmark = pytest.mark.faults


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / study_store.NAME


@pytest.fixture
def finished(tmp_path: Path) -> Record:
    """A study as a run recorded it."""
    tuned = search(study_store.default_url(tmp_path), Hill(), trials=10)
    return build.record(job(trials=10), tuned)


def url(store: Path) -> str:
    return study_store.default_url(store.parent)


def test_a_damaged_store_is_set_aside_by_name_and_made_again(store, finished):
    before = content(store)
    garbage = store.read_bytes()[:4096] + b"\xff" * 9000
    store.write_bytes(garbage)
    damaged, rebuilt = study_store.mend(url(store), [finished])
    [aside] = store.parent.glob("optuna.db.damaged-*")
    assert aside.read_bytes() == garbage
    assert str(store) in damaged
    assert aside.name in damaged
    assert "made again from the records: 1 finished" in rebuilt
    assert content(store) == before
    assert study_store.mend(url(store), [finished]) == []


@pytest.mark.parametrize("lose", [Path.unlink, lambda store: store.write_bytes(b"")])
def test_a_deleted_store_is_made_again_and_its_studies_evaluate_nothing(store, finished, lose):
    lose(store)
    assert len(study_store.mend(url(store), [finished])) == 1
    again = Hill()
    assert search(url(store), again, trials=10) == finished.outcome
    assert again.asked == []
    assert [path.name for path in store.parent.iterdir() if path.suffix != ".lock"] == ["optuna.db"]


def test_what_a_killed_process_left_of_rebuilding_is_removed(store, finished):
    left = store.with_name(".optuna.db.unfinished-x7_a")
    left.mkdir()
    store.rename(left / store.name)
    study_store.mend(url(store), [finished])
    assert optuna.get_all_study_names(url(store)) == [finished.outcome.study]
    assert not left.exists()


@pytest.fixture
def other(store) -> Record:
    """A study of another folder that shares the store."""
    asked = job(trials=4).model_copy(update={"operator": "gatv2"})
    return build.record(asked, tune(asked, {"training.lr": 0.005}, url(store), Hill()))


def test_of_a_store_that_two_folders_share_each_puts_back_its_own_studies(store, finished, other):
    before = trials(store)
    store.unlink()
    assert len(study_store.mend(url(store), [finished])) == 1
    (notice,) = study_store.mend(url(store), [other])
    assert notice == f"{store} lacked 1 finished studies, which are put back from the records"
    assert trials(store) == before
    assert study_store.mend(url(store), [finished, other]) == []


def test_two_runs_that_mend_a_store_at_the_same_time_lose_none_of_each_other_s_studies(store, finished, other):
    before = trials(store)
    store.unlink()
    both, failures = threading.Barrier(2), []

    def mend(record: Record) -> None:
        both.wait()
        try:
            study_store.mend(url(store), [record])
        except Exception as problem:  # noqa: BLE001 - a thread's own would be heard by nobody
            failures.append(problem)

    runs = [threading.Thread(target=mend, args=(record,)) for record in (finished, other)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert failures == []
    assert trials(store) == before
    assert [path.name for path in store.parent.iterdir() if path.suffix != ".lock"] == ["optuna.db"]


def test_a_study_that_another_run_is_at_is_left_to_it(store, finished):
    begun = "never begun by us"
    with study_store.opened(url(store)) as storage:
        optuna.create_study(study_name=begun, storage=storage, direction="maximize")
    theirs = finished.model_copy(update={"outcome": finished.outcome.model_copy(update={"study": begun})})
    assert study_store.mend(url(store), [theirs]) == []
    assert optuna.load_study(study_name=begun, storage=url(store)).trials == []


def test_without_finished_studies_there_is_nothing_to_make(store):
    assert study_store.mend(url(store), [build.parity(build.key())]) == []
    assert not store.exists()


def test_a_locked_store_is_not_taken_for_a_damaged_one(store, finished, monkeypatch):
    monkeypatch.setattr(study_store, "BUSY_S", 0.05)
    with closing(sqlite3.connect(store)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"optuna.db cannot be examined: database is locked"):
            study_store.mend(url(store), [finished])
    assert study_store.mend(url(store), [finished]) == []


def test_a_study_waits_for_whoever_is_writing_to_its_store(store):
    search(url(store), Hill(), trials=1)
    holder = sqlite3.connect(store, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.5, holder.rollback)
    release.start()
    tuned = search(url(store), Hill(), trials=2)
    release.join()
    holder.close()
    assert len(tuned.trials) == 2


@pytest.mark.parametrize(
    ("url", "fit"),
    [
        ("sqlite:////somewhere/optuna.db", True),
        ("postgresql+psycopg://bench@host/optuna", True),
        ("sqlite://", False),
        ("sqlite+pysqlite:////somewhere/optuna.db", False),
        ("mysql://bench@host/optuna", False),
    ],
)
def test_only_where_a_study_can_be_held_may_it_be_kept(url, fit):
    assert (study_store.problem(url) is None) == fit
    if not fit:
        with pytest.raises(UserError, match="cannot be held against other runs"), study_store.holding(url, "it"):
            pass


def test_a_store_that_is_no_file_is_left_to_its_server(finished):
    assert study_store.mend("postgresql://somewhere/studies", [finished]) == []


def trials(store: Path) -> dict[str, list[object]]:
    """By study: what its trials were and came to."""
    names = optuna.get_all_study_names(url(store))
    studies = [optuna.load_study(study_name=name, storage=url(store)) for name in sorted(names)]
    return {study.study_name: [(one.params, one.value, one.user_attrs) for one in study.trials] for study in studies}


def content(store: Path) -> list[object]:
    trials = optuna.load_study(study_name=None, storage=url(store)).trials
    return [(one.params, one.value, one.state, one.user_attrs, one.intermediate_values) for one in trials]
