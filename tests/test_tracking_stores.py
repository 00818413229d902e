"""Stores that are hard to use: damaged, locked, raced for, oddly named, down or read-only."""

import multiprocessing
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import record_builders as build
from tracking_tools import GRID, NAME, PYG, ROWS, jobs, some_records, sync, with_store

from bench import sqlite_file
from bench.tracking import mlflow_store
from bench.tracking.writer import Tracking, TrackingUnavailable

pytestmark = pytest.mark.faults


@pytest.fixture
def results(tmp_path: Path, empty_store: Path) -> Path:
    return with_store(tmp_path / "results", empty_store)


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
        sqlite_file.set_aside(store)
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["first", "second", "third"]


def test_a_locked_store_is_not_taken_for_a_damaged_one(results):
    with closing(sqlite3.connect(results / mlflow_store.NAME)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingUnavailable, match="locked"):
            mlflow_store.damage(results / mlflow_store.NAME, wait_s=0.01)


def race(folders: list[Path], uri: str | None) -> list[int | None]:
    """Exit codes of processes that open a store at once, each for its folder."""
    # Forks, because each fresh process would import MLflow first and the race would be over.
    context = multiprocessing.get_context("fork")
    start = context.Barrier(len(folders))
    racers = [context.Process(target=create, args=(uri, folder, start)) for folder in folders]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    return [racer.exitcode for racer in racers]


def create(uri: str | None, results: Path, start: Any) -> None:
    start.wait()
    assert Tracking(uri, results).heal() == 0


def test_four_processes_may_create_the_store_at_once(tmp_path, capfd):
    assert race([tmp_path / "results"] * 4, None) == [0, 0, 0, 0]
    assert capfd.readouterr() == ("", "")  # not a word of MLflow's or alembic's either
    made = {path.name for path in (tmp_path / "results").iterdir()}
    assert made == {mlflow_store.NAME, mlflow_store.FOLDER_NAME, ".mlflow.lock", ".mlflow.db.lock"}


def test_so_may_those_of_several_results_folders_that_share_one(tmp_path, capfd):
    store = tmp_path / "shared" / "mlflow.db"
    assert race([tmp_path / f"results-{number}" for number in range(3)], sqlite_file.url(store)) == [0, 0, 0]
    assert capfd.readouterr() == ("", "")
    assert {path.name for path in store.parent.iterdir()} == {store.name, ".mlflow.db.lock"}


@pytest.mark.parametrize("folder", ["with space", "Käfig-größe", "100%20", "what?", "a#b&c's"])
def test_any_folder_name_will_do(tmp_path, empty_store, folder):
    results = with_store(tmp_path / folder, empty_store)
    sync(results, build.fits(PYG, (0.8,)))
    assert len(jobs(results)) == 1
    assert len(list(results.rglob("record.json"))) == 1
    assert sqlite_file.path_of(mlflow_store.default_uri(results)) == results / mlflow_store.NAME


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
