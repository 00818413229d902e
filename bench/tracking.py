"""MLflow as a view of the records: `sync` brings a store up to date, during a run or after it was deleted.

Experiment `<name>` holds one run per cell, which is what people compare; `<name> · jobs` holds every job and trial.
They are linked by the tag `cell`, not by MLflow's parent tag, which would draw the cells into the page of jobs.
This file and `bench.mlflow_models` are the only ones that import mlflow.
"""
# ruff: noqa: E402

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

# MLflow reads these while it is imported. What a user has set stays.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # otherwise two lines on stdout for each run
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; MLflow's 120 would hold up a run whose server hangs
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's 7 take four minutes
}.items():
    os.environ.setdefault(_name, _value)

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from sqlalchemy.exc import SQLAlchemyError

from bench import best_models, mlflow_models, mlflow_runs, mlflow_store, mlflow_tables, mlflow_views, sqlite_file
from bench.config import Experiment
from bench.mlflow_points import Point
from bench.mlflow_runs import Content, Row
from bench.mlflow_store import TrackingUnavailable
from bench.mlflow_sync import KILLED, RUNNING, Cells, Jobs, StoredRun, final_status
from bench.owner import Owner
from bench.paper_rows import PaperTable
from bench.records import Record, latest
from bench.study_config import Study
from bench.task import DatasetInfo

__all__ = ["Tracking", "TrackingUnavailable"]

_LOCK_WAIT_S = 120.0
_REPORT_FILES = ("table.md", "table.csv", "report.html", "*.png", "plots/*.png")
# It logs the creation of tables, and every database error with its traceback before raising it.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL + 1)


class Tracking:
    """Writes to one MLflow store on behalf of one results folder.

    `notices` are sentences that the user should see, such as that a damaged store was set aside.

    Args:
        uri: Any MLflow tracking URI; `results/mlflow.db`, created if need be, when None.
        results: The folder that holds the experiments' folders.
        datasets: What is known of the data sets, by name; others are not logged as inputs.

    Raises:
        TrackingUnavailable: the store cannot be opened; so does every method when it cannot be used.
    """

    def __init__(self, uri: str | None, results: Path, datasets: Mapping[str, DatasetInfo] | None = None) -> None:
        self.notices: list[str] = []
        self._results = results.resolve()
        self._uri = uri or mlflow_store.default_uri(self._results)
        self._datasets = datasets or {}
        with self._exclusively():
            if path := sqlite_file.path_of(self._uri):
                self._prepare(path)
            owner = Owner.here()
            self._client = MlflowClient(self._uri)
            sqlite_file.remove_undecoded(self._uri)
            self._store = _MlflowStore(self._client, owner)
            self._jobs = Jobs(self._store)
            self._cells = Cells(self._store, owner)
        self._experiments: dict[str, Any] = {}

    def heal(self) -> int:
        """End runs that dead processes of this host left running, as KILLED; says how many there were."""
        with self._exclusively():
            ours = self._client.search_experiments(filter_string=f"tags.{mlflow_views.KIND_TAG} LIKE '%'")
            left = [
                run
                for experiment in ours
                for run in self._store.find(experiment.experiment_id, f"attributes.status = '{RUNNING}'")
                if (owner := Owner.from_tags(run.tags)) and owner.dead()
            ]
            for run in left:
                self._store.set_status(run.id, KILLED, _now_ms())
        return len(left)

    def sync(
        self,
        name: str,
        experiment: Experiment | Study,
        records: Sequence[Record],
        rows: Sequence[Row],
        *,
        live: bool,
    ) -> None:
        """Bring MLflow up to date with the records of `results/<name>`; what is there already is not repeated.

        Args:
            name: The experiment's short name.
            experiment: What was asked.
            records: All records of the folder.
            rows: One per cell of the grid, in the grid's order.
            live: Whether the run goes on: cells stay RUNNING until `finish`, or a sync that is not live.
        """
        with self._exclusively():
            cells, jobs = self._experiment(name), self._experiment(mlflow_views.jobs_name(name))
            self._describe(jobs, mlflow_views.jobs_tags(name, jobs.creation_time))
            self._describe(cells, mlflow_views.cells_tags(name, experiment, jobs.experiment_id, cells.creation_time))
            for record in latest(list(records)).values():
                self._sync_job(jobs.experiment_id, record)
            models = best_models.paths(self._results / name, records)
            contents = mlflow_runs.of_cells(
                experiment, records, rows, self._datasets, models, jobs.experiment_id, _now_ms()
            )
            self._cells.sync(cells.experiment_id, contents, live=live)
            if not live:
                self._sync_report(jobs.experiment_id, name)

    def sync_table(self, found: PaperTable) -> None:
        """Bring MLflow up to date with a paper's table: a run per row, its jobs beside it."""
        name, table = found.name, found.table
        with self._exclusively():
            rows, jobs = self._experiment(name), self._experiment(mlflow_views.jobs_name(name))
            self._describe(jobs, mlflow_views.jobs_tags(name, jobs.creation_time))
            tags = mlflow_views.table_tags(name, table.title, table.description, jobs.experiment_id, rows.creation_time)
            self._describe(rows, tags)
            for record in latest(list(found.records)).values():
                self._sync_job(jobs.experiment_id, record)
            self._cells.sync(rows.experiment_id, mlflow_tables.of_table(found, _now_ms()), live=False)
            self._sync_report(jobs.experiment_id, name)

    def finish(self, name: str, *, interrupted: bool = False) -> None:
        """End the cells that live syncs of this process left running; as KILLED if the run was interrupted."""
        with self._exclusively():
            self._cells.finish(self._experiment(name).experiment_id, interrupted=interrupted)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """One writer per results folder, so that what was looked up stays true until it is written."""
        try:
            self._results.mkdir(parents=True, exist_ok=True)
            with FileLock(self._results / ".mlflow.lock", timeout=_LOCK_WAIT_S):
                yield
        except (MlflowException, SQLAlchemyError, OSError) as problem:
            message = f"MLflow at {mlflow_store.shown(self._uri)}: {_reason(problem)}"
            raise TrackingUnavailable(message) from problem

    def _prepare(self, path: Path) -> None:
        """Have a sound store at `path`."""
        if found := mlflow_store.damage(path):
            aside = sqlite_file.set_aside(path)
            self.notices.append(
                f"the MLflow store {path} was damaged ({found}): it is now called {aside.name}, and a fresh one "
                "takes its place"
            )
        if not path.exists() or path.stat().st_size == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            # MLflow takes seconds to create its tables and cannot go on from a half-made store: rename a whole one.
            unfinished = path.with_name(f".{path.name}.unfinished")
            for leftover in path.parent.glob(unfinished.name + "*"):  # of a process that was killed here
                leftover.unlink()
            store = SqlAlchemyStore(sqlite_file.url(unfinished), self._artifacts_uri())
            store.engine.dispose()
            unfinished.replace(path)

    def _artifacts_uri(self, name: str = "") -> str:
        return (self._results / mlflow_store.ARTIFACTS / name).as_uri()

    def _experiment(self, name: str) -> Any:
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            if found is None:
                is_served = self._uri.startswith(("http://", "https://"))  # then the server keeps artifacts
                place = None if is_served else self._artifacts_uri(name)
                found = self._client.get_experiment(self._client.create_experiment(name, place))
            elif found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            self._experiments[name] = found
        return self._experiments[name]

    def _describe(self, experiment: Any, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            if experiment.tags.get(name) != value:
                self._client.set_experiment_tag(experiment.experiment_id, name, value)
                experiment.tags[name] = value

    def _sync_job(self, jobs_id: str, record: Record) -> None:
        self._jobs.sync(
            jobs_id,
            f"tags.job = '{record.id}'",
            mlflow_runs.identity(record),
            lambda: mlflow_runs.of_record(record),
        )

    def _sync_report(self, jobs_id: str, name: str) -> None:
        folder = self._results / name
        files = sorted(path for pattern in _REPORT_FILES for path in folder.glob(pattern))
        digest = sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
        if files:
            self._jobs.sync(
                jobs_id,
                "tags.level = 'report'",
                digest,
                lambda: mlflow_runs.of_report(name, files, digest, _now_ms()),
            )


class _MlflowStore:
    """What `bench.mlflow_sync` asks of a store, in MLflow's terms."""

    _METRICS_PER_CALL = 1000
    _DIGEST_CHARACTERS = 36

    def __init__(self, client: MlflowClient, owner: Owner) -> None:
        self._client = client
        self._owner = owner

    def find(self, experiment_id: str, search: str) -> Iterator[StoredRun]:
        token = None
        while True:
            page = self._client.search_runs([experiment_id], search, max_results=1000, page_token=token)
            yield from map(_stored, page)
            token = page.token
            if not token:
                return

    def write(self, experiment_id: str, content: Content, status: str, parent_id: str = "") -> str:
        tags = {**content.tags, **self._owner.tags(), **({MLFLOW_PARENT_RUN_ID: parent_id} if parent_id else {})}
        run = self._client.create_run(experiment_id, content.start_ms, tags, content.name)
        run_id: str = run.info.run_id
        self._log(run_id, content.points, [Param(*param) for param in content.params.items()])
        if content.dataset:
            self._client.log_inputs(run_id, [_dataset_input(content.dataset)])
        for name, text in content.texts.items():
            self._client.log_text(run_id, text, name)
        for path in content.files:
            self._client.log_artifact(run_id, str(path))
        for child in content.children:
            self.write(experiment_id, child, final_status(child), run_id)
        self.set_status(run_id, status, content.end_ms)
        return run_id

    def change(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str | None]) -> None:
        # MLflow shows the value with the latest time, so a changed one gets a later time, whatever the clock says.
        known = self._client.get_run(run_id).to_proto().data.metrics if metrics else ()
        later_ms = max([_now_ms(), *(metric.timestamp + 1 for metric in known)])
        points = [Point(name, value, 0, later_ms) for name, value in metrics.items()]
        self._log(run_id, points, tags=[RunTag(name, text) for name, text in tags.items() if text is not None])
        for name, text in tags.items():
            if text is None:
                self._client.delete_tag(run_id, name)

    def set_status(self, run_id: str, status: str, end_ms: int) -> None:
        if status == RUNNING:
            self._client.update_run(run_id, status)
        else:
            self._client.set_terminated(run_id, status, end_ms)

    def keep_model(self, run: StoredRun, path: Path) -> None:
        mlflow_models.keep(self._client, run.experiment_id, run.id, path)

    def discard(self, run: StoredRun) -> None:
        mlflow_models.remove(self._client, run.experiment_id, run.id)
        for child in self.find(run.experiment_id, f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run.id}'"):
            self.discard(child)
        if run.status == RUNNING:
            self.set_status(run.id, KILLED, _now_ms())
        self._client.delete_run(run.id)

    def _log(
        self, run_id: str, points: Sequence[Point], params: Sequence[Param] = (), tags: Sequence[RunTag] = ()
    ) -> None:
        metrics = [Metric(point.name, point.value, point.at_ms, point.step) for point in points]
        size = self._METRICS_PER_CALL
        self._client.log_batch(run_id, metrics[:size], params, tags)
        for start in range(size, len(metrics), size):
            self._client.log_batch(run_id, metrics[start : start + size])


def _stored(run: Any) -> StoredRun:
    return StoredRun(
        run.info.run_id,
        run.info.experiment_id,
        run.info.status,
        run.data.params,
        run.data.tags,
        run.data.metrics,
        bool(run.inputs and run.inputs.dataset_inputs),
    )


def _dataset_input(info: DatasetInfo) -> DatasetInput:
    """The data as MLflow names it; its digest is that of the real files, not of a table made for MLflow."""
    source = {"source": info.source, "licence": info.licence, "citation": info.citation}
    counts = {"nodes": info.nodes, "edges": info.edges, "features": info.features, "classes": info.classes}
    return DatasetInput(
        Dataset(
            name=info.name,
            digest=info.digest[: _MlflowStore._DIGEST_CHARACTERS],
            source_type="gat-bench",
            source=json.dumps(source),
            profile=json.dumps(counts),
        )
    )


def _reason(problem: Exception) -> str:
    """The cause in a few words: MLflow's messages can be a page of SQL."""
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    refused = re.search(r"\[Errno -?\d+\] ([\w ]+)", lines[0])
    return refused[1] if refused else lines[0].rstrip(".")[:200]


def _now_ms() -> int:
    return round(time.time() * 1e3)
