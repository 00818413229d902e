"""An MLflow store: its experiments, and what `bench.tracking.sync` asks of its runs."""
# ruff: noqa: E402

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
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

from google.protobuf.json_format import ParseError
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from sqlalchemy.exc import SQLAlchemyError

from bench import sqlite_file
from bench.owner import Owner
from bench.task import DatasetInfo
from bench.tracking import models
from bench.tracking.points import Point
from bench.tracking.runs import Content
from bench.tracking.sync import KILLED, RUNNING, StoredRun, final_status

# It logs the creation of tables, and every database error with its traceback before raising it.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL + 1)
MISUNDERSTOOD = (json.JSONDecodeError, ParseError)
"""What MLflow raises as it is where an answer is none of an MLflow server."""
TROUBLE = (MlflowException, SQLAlchemyError, OSError, *MISUNDERSTOOD)
"""What is raised when a store cannot be opened, read or written."""


def create_tables(path: Path, artifacts_uri: str) -> None:
    """Make an empty store of the file `path`, whose runs keep their artifacts at `artifacts_uri`; it takes seconds."""
    SqlAlchemyStore(sqlite_file.url(path), artifacts_uri).engine.dispose()


def now_ms() -> int:
    """The time as MLflow counts it: milliseconds since 1970."""
    return round(time.time() * 1e3)


FOLDER_TAG = "owner.folder"


class MlflowStore:
    """Experiments and runs of the store at `uri`, written in the name of `owner` and of the results folder `folder`.

    Args:
        uri: A tracking URI.
        owner: This process.
        folder: See `bench.tracking.mlflow_store.folder_name`.
        shared: Whether other results folders write there too: then only this one's runs are found.

    Attributes:
        mine: Search that only this folder's runs meet; empty where there are no others.
    """

    _METRICS_PER_CALL = 1000
    _DIGEST_CHARACTERS = 36

    def __init__(self, uri: str, owner: Owner, folder: str, *, shared: bool) -> None:
        self._client = MlflowClient(uri)
        self._tags = {**owner.tags(), FOLDER_TAG: folder}
        self.mine = f"tags.`{FOLDER_TAG}` = '{folder}'" if shared else ""
        self._experiments: dict[str, Any] = {}

    def experiment(self, name: str, artifacts_uri: str | None) -> Any:
        """MLflow's experiment of that name: made if it is not there, brought back if it was deleted."""
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            if found is None:
                found = self._client.get_experiment(self._client.create_experiment(name, artifacts_uri))
            elif found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            self._experiments[name] = found
        return self._experiments[name]

    def experiments_with(self, tag: str) -> list[Any]:
        """Every experiment that carries a tag, whatever it says."""
        return list(self._client.search_experiments(filter_string=f"tags.{tag} LIKE '%'"))

    def describe(self, experiment: Any, tags: Mapping[str, str]) -> None:
        """Give an experiment its tags; those that it has are not written again."""
        for name, value in tags.items():
            if experiment.tags.get(name) != value:
                self._client.set_experiment_tag(experiment.experiment_id, name, value)
                experiment.tags[name] = value

    def find(self, experiment_id: str, search: str) -> Iterator[StoredRun]:
        """See `bench.tracking.sync.Store.find`."""
        return self._search(experiment_id, " and ".join(filter(None, (search, self.mine))))

    def running(self, experiment_id: str) -> Iterator[StoredRun]:
        """The runs that say so, whichever folder they belong to."""
        return self._search(experiment_id, f"attributes.status = '{RUNNING}'")

    def _search(self, experiment_id: str, search: str) -> Iterator[StoredRun]:
        token = None
        while True:
            page = self._client.search_runs([experiment_id], search, max_results=1000, page_token=token)
            yield from map(_stored, page)
            token = page.token
            if not token:
                return

    def write(self, experiment_id: str, content: Content, status: str, parent_id: str = "") -> str:
        """See `bench.tracking.sync.Store.write`."""
        tags = {**content.tags, **self._tags, **({MLFLOW_PARENT_RUN_ID: parent_id} if parent_id else {})}
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
        """See `bench.tracking.sync.Store.change`."""
        # MLflow shows the value with the latest time, so a changed one gets a later time, whatever the clock says.
        known = self._client.get_run(run_id).to_proto().data.metrics if metrics else ()
        later_ms = max([now_ms(), *(metric.timestamp + 1 for metric in known)])
        points = [Point(name, value, 0, later_ms) for name, value in metrics.items()]
        self._log(run_id, points, tags=[RunTag(name, text) for name, text in tags.items() if text is not None])
        for name, text in tags.items():
            if text is None:
                self._client.delete_tag(run_id, name)

    def set_status(self, run_id: str, status: str, end_ms: int) -> None:
        """See `bench.tracking.sync.Store.set_status`."""
        if status == RUNNING:
            self._client.update_run(run_id, status)
        else:
            self._client.set_terminated(run_id, status, end_ms)

    def keep_model(self, run: StoredRun, path: Path) -> None:
        """See `bench.tracking.sync.Store.keep_model`."""
        models.keep(self._client, run.experiment_id, run.id, path)

    def discard(self, run: StoredRun) -> None:
        """See `bench.tracking.sync.Store.discard`."""
        models.remove(self._client, run.experiment_id, run.id)
        for child in self.find(run.experiment_id, f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run.id}'"):
            self.discard(child)
        if run.status == RUNNING:
            self.set_status(run.id, KILLED, now_ms())
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
            digest=info.digest[: MlflowStore._DIGEST_CHARACTERS],
            source_type="gat-bench",
            source=json.dumps(source),
            profile=json.dumps(counts),
        )
    )
