"""MLflow as a view of the records: `sync` brings a store up to date, during a run or after it was deleted.

Experiment `<name>` holds one run per cell, which is what people compare; `<name> · jobs` holds every job and trial.
They are linked by the tag `cell`, not by MLflow's parent tag, which would draw the cells into the page of jobs. On a
server that several results folders write to, each has its own runs, side by side, and leaves the others' alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench import best_models, sqlite_file
from bench.config import Experiment
from bench.owner import Owner
from bench.paper.rows import PaperTable
from bench.records import Record, latest
from bench.study_config import Study
from bench.task import DatasetInfo
from bench.tracking import mlflow_store, pages, runs, tables
from bench.tracking.client import MISUNDERSTOOD, TROUBLE, MlflowStore, create_tables, now_ms
from bench.tracking.mlflow_store import TrackingUnavailable
from bench.tracking.runs import Row
from bench.tracking.sync import KILLED, Cells, Hands, Jobs

__all__ = ["Tracking", "TrackingUnavailable"]

_LOCK_WAIT_S = 120.0
_REPORT_FILES = ("table.md", "table.csv", "report.html", "*.png", "plots/*.png")


class Tracking:
    """Writes to one MLflow store on behalf of one results folder.

    `notices` are sentences that the user should see, such as that a damaged store was set aside.

    Args:
        uri: Any MLflow tracking URI; `results/mlflow.db`, created if need be, when None.
        results: The folder that holds the experiments' folders.
        datasets: What is known of the data sets, by name; others are not logged as inputs.
        holds: Whether the caller holds the folder of the experiment that is synced: whatever a process of another
            host left running is then taken over.

    Raises:
        TrackingUnavailable: the store cannot be opened; so does every method when it cannot be used.
    """

    def __init__(
        self,
        uri: str | None,
        results: Path,
        datasets: Mapping[str, DatasetInfo] | None = None,
        *,
        holds: bool = False,
    ) -> None:
        self.notices: list[str] = []
        self._left = ""
        self._results = results.resolve()
        self._uri = uri or mlflow_store.default_uri(self._results)
        self._datasets = datasets or {}
        self._hands = Hands(alone=holds)
        with self._exclusively():
            if path := sqlite_file.path_of(self._uri):
                self._prepare(path)
            owner = Owner.here()
            shared = self._uri != mlflow_store.default_uri(self._results)
            self._store = MlflowStore(self._uri, owner, mlflow_store.folder_name(self._results), shared=shared)
            sqlite_file.remove_undecoded(self._uri)
            self._jobs = Jobs(self._store, self._hands)
            self._cells = Cells(self._store, owner, self._hands)

    def heal(self) -> int:
        """End runs that dead processes of this host left running, as KILLED; says how many there were."""
        with self._exclusively():
            left = [
                run
                for experiment in self._store.experiments_with(pages.KIND_TAG)
                for run in self._store.running(experiment.experiment_id)
                if (owner := Owner.from_tags(run.tags)) and owner.dead()
            ]
            for run in left:
                self._store.set_status(run.id, KILLED, now_ms())
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
        with self._exclusively(), self._telling(name):
            cells, jobs = self._experiment(name), self._experiment(pages.jobs_name(name))
            self._store.describe(jobs, pages.jobs_tags(name, jobs.creation_time, experiment))
            self._store.describe(cells, pages.cells_tags(name, experiment, jobs.experiment_id, cells.creation_time))
            for record in latest(list(records)).values():
                self._sync_job(jobs.experiment_id, record)
            models = best_models.paths(self._results / name, records)
            page = pages.JobsPage(jobs.experiment_id, self._store.mine)
            contents = runs.of_cells(experiment, records, rows, self._datasets, models, page, now_ms())
            self._cells.sync(cells.experiment_id, contents, live=live)
            if not live:
                self._sync_report(jobs.experiment_id, name)

    def sync_table(self, found: PaperTable) -> None:
        """Bring MLflow up to date with a paper's table: a run per row, its jobs beside it."""
        name, table = found.name, found.table
        with self._exclusively(), self._telling(name):
            rows, jobs = self._experiment(name), self._experiment(pages.jobs_name(name))
            self._store.describe(jobs, pages.jobs_tags(name, jobs.creation_time))
            tags = pages.table_tags(name, table.title, table.description, jobs.experiment_id, rows.creation_time)
            self._store.describe(rows, tags)
            for record in latest(list(found.records)).values():
                self._sync_job(jobs.experiment_id, record)
            self._cells.sync(rows.experiment_id, tables.of_table(found, self._results / name, now_ms()), live=False)
            self._sync_report(jobs.experiment_id, name)

    def finish(self, name: str, *, interrupted: bool = False) -> None:
        """End the cells that live syncs of this process left running; as KILLED if the run was interrupted."""
        with self._exclusively():
            self._cells.finish(self._experiment(name).experiment_id, interrupted=interrupted)

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Have `notices` say what a sync left to others, as far as that may have been for nothing."""
        self._hands.hosts.clear()
        yield
        self.notices[:] = [notice for notice in self.notices if notice != self._left]
        if self._hands.hosts:
            self._left = (
                f"MLflow: runs of {name} that a process on {', '.join(sorted(self._hands.hosts))} is writing were left "
                f"to it; if it is gone, delete what says RUNNING there, and `bench mlflow sync {name}` writes it anew"
            )
            self.notices.append(self._left)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """One writer per results folder, so that what was looked up stays true until it is written."""
        try:
            self._results.mkdir(parents=True, exist_ok=True)
            with FileLock(self._results / ".mlflow.lock", timeout=_LOCK_WAIT_S):
                yield
        except TROUBLE as problem:
            message = f"MLflow at {sqlite_file.shown(self._uri)}: {_reason(problem)}"
            raise TrackingUnavailable(message) from problem

    def _prepare(self, path: Path) -> None:
        """Have a sound store at `path`; one process at a time, for other results folders may write to it, too."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_WAIT_S):
            self._set_aside_damaged(path)
            if not path.exists() or path.stat().st_size == 0:
                self._create(path)

    def _set_aside_damaged(self, path: Path) -> None:
        if found := mlflow_store.damage(path):
            aside = sqlite_file.set_aside(path)
            self.notices.append(
                f"the MLflow store {path} was damaged ({found}): it is now called {aside.name}, and a fresh one "
                "takes its place"
            )

    def _create(self, path: Path) -> None:
        """MLflow takes seconds to create its tables and cannot go on from a half-made store: rename a whole one."""
        unfinished = path.with_name(f".{path.name}.unfinished")
        for leftover in path.parent.glob(unfinished.name + "*"):  # of a process that was killed here
            leftover.unlink()
        create_tables(unfinished, self._artifacts_uri())
        unfinished.replace(path)

    def _artifacts_uri(self, name: str = "") -> str:
        return (self._results / mlflow_store.ARTIFACTS / name).as_uri()

    def _experiment(self, name: str) -> Any:
        is_served = self._uri.startswith(("http://", "https://"))  # then the server keeps artifacts
        return self._store.experiment(name, None if is_served else self._artifacts_uri(name))

    def _sync_job(self, jobs_id: str, record: Record) -> None:
        self._jobs.sync(
            jobs_id,
            f"tags.job = '{record.id}'",
            runs.identity(record),
            lambda: runs.of_record(record),
        )

    def _sync_report(self, jobs_id: str, name: str) -> None:
        folder = self._results / name
        files = sorted(path for pattern in _REPORT_FILES for path in folder.glob(pattern))
        identity = f"{runs.LAYOUT}/{sha256(b''.join(path.read_bytes() for path in files)).hexdigest()}"
        if files:
            self._jobs.sync(
                jobs_id,
                "tags.level = 'report'",
                identity,
                lambda: runs.of_report(name, files, identity, now_ms()),
            )


def _reason(problem: Exception) -> str:
    """The cause in a few words: MLflow's messages can be a page of SQL."""
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    if isinstance(problem, MISUNDERSTOOD) or "not in a valid JSON format" in lines[0]:
        return "something other than an MLflow server answers there"
    refused = re.search(r"\[Errno -?\d+\] ([\w ]+)", lines[0])
    return refused[1] if refused else lines[0].rstrip(".")[:200]
