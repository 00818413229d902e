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


def test_what_a_killed_process_left_of_rebuilding_is_in_nobodys_way(store, finished):
    store.rename(store.with_name(".optuna.db.unfinished"))
    study_store.mend(url(store), [finished])
    assert optuna.get_all_study_names(url(store)) == [finished.outcome.study]


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


def content(store: Path) -> list[object]:
    trials = optuna.load_study(study_name=None, storage=url(store)).trials
    return [(one.params, one.value, one.state, one.user_attrs, one.intermediate_values) for one in trials]
