"""What the tests of MLflow stores share: a small grid, its records, and what a store shows of them."""

import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import record_builders as build
from mlflow import MlflowClient

from bench.owner import Owner
from bench.records import Record
from bench.task import DatasetInfo
from bench.tracking import mlflow_store
from bench.tracking.pages import jobs_name
from bench.tracking.writer import Tracking
from bench.work import CellKey

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


def new_store(results: Path) -> Path:
    """A store with nothing in it."""
    Tracking(None, results)
    return results / mlflow_store.NAME


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
