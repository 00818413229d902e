"""A results folder that was damaged is mended by the next run, which says what it did."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from agreement_tools import studies_agree, substance
from fault_tools import bench, ids, succeeds, tiny
from server_tools import agrees
from tracking_tools import with_store

from bench import records
from bench.tracking import mlflow_store
from bench.tuning import study_store

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def garble(path: Path) -> None:
    """As a bad sector in its middle would."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 65536)


def test_a_folder_that_is_damaged_or_bereft_of_its_stores_is_whole_after_the_next_run(tmp_path):
    experiment, results = tiny(tmp_path), tmp_path / "results"
    folder, uri = results / "tiny", mlflow_store.default_uri(results)
    run = ("run", experiment, "--results", results)
    succeeds(*run)
    before, done = substance(folder), ids(folder)
    path = folder / records.NAME
    path.write_bytes(path.read_bytes()[:-300])
    garble(results / mlflow_store.NAME)
    garble(folder / study_store.NAME)
    mended = bench(*run)
    assert (mended.returncode, "Traceback" in mended.stderr) == (0, False), mended.stderr
    assert f"{path}: the last line was not whole; it is in records.torn now" in mended.stderr
    assert f"the Optuna store {folder / study_store.NAME} was damaged" in mended.stderr
    assert f"the MLflow store {results / mlflow_store.NAME} was damaged" in mended.stdout
    assert substance(folder) == before
    assert ids(folder) == done
    studies_agree(folder)
    agrees(uri, folder)
    assert len(list(results.rglob("*.damaged-*"))) == 2
    for store in (results / mlflow_store.NAME, folder / study_store.NAME):
        store.unlink()
    succeeds(*run)
    assert ids(folder) == done
    studies_agree(folder)
    agrees(uri, folder)


def test_a_store_that_somebody_holds_costs_the_run_nothing_but_the_view(tmp_path, empty_store):
    results = with_store(tmp_path / "results", empty_store)
    with closing(sqlite3.connect(results / mlflow_store.NAME)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        said = succeeds("run", tiny(tmp_path), "--results", results)
    assert "MLflow is behind. the MLflow store" in said
    assert "database is locked" in said
    assert len(ids(results / "tiny")) == 6
    succeeds("mlflow", "sync", "--results", results)
    agrees(mlflow_store.default_uri(results), results / "tiny")
