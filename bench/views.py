"""Views of the records: tables, plots, page, MLflow. Each can be rebuilt from the records alone."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config import Experiment
from bench.errors import UserError, told
from bench.folder import ResultsFolder
from bench.plugins import BACKENDS, DATASETS
from bench.records import Record
from bench.study_config import Study
from bench.task import DatasetInfo
from bench.tracking.mlflow_store import TrackingUnavailable

if TYPE_CHECKING:
    from bench.paper.rows import PaperTable
    from bench.tracking.runs import Row as TrackedRow
    from bench.tracking.writer import Tracking


def write_views(folder: ResultsFolder) -> None:
    """Tables, plots and the page."""
    asked = folder.asked()
    if isinstance(asked, Experiment):
        from bench.report import write_report

        write_report(folder, semantics(asked))
    else:
        from bench.report.studies import views as study

        study.write(folder, asked, folder.records())


def write_index(results: Path) -> None:
    """The page over everything in a folder of results folders.

    Raises:
        UserError: nothing was run there.
    """
    from bench.report import index

    index.write(results, semantics)


def renew_index(results: Path) -> None:
    """`write_index` at the end of a run, whose own result stands whatever other folders or the disk are in for."""
    try:
        write_index(results)
    except (UserError, OSError) as problem:
        sys.stderr.write(f"index.html is behind. {told(problem)}. `bench report` writes it anew.\n")


def semantics(experiment: Experiment) -> dict[str, dict[str, tuple[str, str]]]:
    """Back end -> topic -> (what its library does by itself, what runs here)."""
    return {
        name: {topic: (fact.native, fact.here) for topic, fact in BACKENDS.get(name).semantics.items()}
        for name in experiment.backends
        if name in BACKENDS.names()
    }


def dataset_infos(experiment: Experiment | Study) -> dict[str, DatasetInfo]:
    """What is known of the experiment's data sets."""
    return {name: DATASETS.get(name).info for name in experiment.datasets if not DATASETS.problem(name)}


def table_rows(experiment: Experiment | Study, records: list[Record]) -> Sequence["TrackedRow"]:
    """One per cell of a grid, or per line of a study's figure: what MLflow shows of each."""
    if isinstance(experiment, Experiment):
        from bench.report.rows import rows

        return rows(experiment, records)
    from bench.report.studies import views as study

    return study.rows(experiment, records)


def plain(folder: ResultsFolder) -> dict[str, object]:
    """An experiment's or a study's results for a program: names, numbers and words, nothing formatted."""
    asked, records = folder.asked(), folder.records()
    cells = [{**row.key._asdict(), "metrics": row.metrics(), "tags": row.tags()} for row in table_rows(asked, records)]
    return {"experiment": folder.name, "title": asked.title, "folder": str(folder.path), "cells": cells}


def sync(uri: str | None, folder: ResultsFolder) -> list[str]:
    """Fill the MLflow store with whatever the records have and it has not; returns what the user should see.

    Raises:
        TrackingUnavailable: the store cannot be written; the records are not touched.
    """
    from bench.tracking.writer import Tracking

    with _held_if_free(folder) as holds:
        experiment, records = folder.asked(), folder.records()
        tracking = Tracking(uri, folder.path.parent, dataset_infos(experiment), holds=holds)
        tracking.heal()
        tracking.sync(folder.name, experiment, records, table_rows(experiment, records), live=False)
    return tracking.notices


def sync_table(uri: str | None, folder: ResultsFolder, found: "PaperTable") -> list[str]:
    """The same for a paper's table; returns what the user should see."""
    from bench.tracking.writer import Tracking

    with _held_if_free(folder) as holds:
        tracking = Tracking(uri, folder.path.parent, {}, holds=holds)
        tracking.heal()
        tracking.sync_table(found)
    return tracking.notices


@contextmanager
def _held_if_free(folder: ResultsFolder) -> Iterator[bool]:
    """Whether the block has the folder to itself; not where a run is at work in it, or where it is only read."""
    with ExitStack() as held:
        try:
            held.enter_context(folder.exclusive())
            holds = True
        except (UserError, OSError):
            holds = False
        yield holds


@contextmanager
def live_tracking(uri: str | None, folder: ResultsFolder, experiment: Experiment | Study) -> Iterator["LiveTracking"]:
    """MLflow kept up to date while the block runs; "off" keeps it out altogether. The caller holds the folder."""
    tracking = LiveTracking(uri, folder, experiment)
    if uri == "off":
        yield tracking
        return
    tracking.start()
    try:
        yield tracking
    except BaseException as end:
        if isinstance(end, KeyboardInterrupt):
            sys.stderr.write("\nbench: ending; MLflow is told, Ctrl-C once more ends at once\n")
        tracking.finish(interrupted=True)
        raise
    tracking.finish()


class LiveTracking:
    """Fills MLflow in the background; whatever happens to MLflow, the run goes on.

    `trouble` is why it fell behind, or empty.
    """

    EVERY_S = 10.0  # a sync looks up what is there, which is not worth doing for each record

    def __init__(self, uri: str | None, folder: ResultsFolder, experiment: Experiment | Study) -> None:
        self.trouble = ""
        self.notices: list[str] = []
        self._interrupted = False
        self._uri, self._folder, self._experiment = uri, folder, experiment
        self._news = threading.Event()
        self._over = threading.Event()
        self._at_work = threading.Lock()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def finished(self, record: Record) -> None:
        """A record is on disk; it will be read from there."""
        del record
        self._news.set()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Nothing is done inside the block: timing is at work."""
        with self._at_work:
            yield

    def finish(self, *, interrupted: bool = False) -> None:
        """Bring the store up to date and end; cells of an interrupted run are left for the next one."""
        self._interrupted = interrupted
        self._over.set()
        self._news.set()
        self._thread.join()

    def _follow(self) -> None:
        try:
            with self._at_work:  # importing MLflow keeps a core busy for seconds
                from bench.tracking.writer import Tracking

                known = dataset_infos(self._experiment)
                tracking = Tracking(self._uri, self._folder.path.parent, known, holds=True)
                self.notices = tracking.notices
                tracking.heal()
            while not self._over.is_set():
                self._news.wait()
                self._news.clear()
                with self._at_work:
                    self._sync(tracking, live=True)
                self._over.wait(self.EVERY_S)
            if self._interrupted:
                tracking.finish(self._folder.name, interrupted=True)
            else:
                self._sync(tracking, live=False)
        except TrackingUnavailable as problem:
            self.trouble = str(problem)
        except Exception as problem:  # noqa: BLE001 - nobody else hears of what ends this thread
            said = str(problem).partition("\n")[0]
            self.trouble = (
                f"It could not be told, by a mistake of gat-bench or MLflow ({type(problem).__name__}: {said})"
            )

    def _sync(self, tracking: "Tracking", *, live: bool) -> None:
        records = self._folder.records()
        table = table_rows(self._experiment, records)
        tracking.sync(self._folder.name, self._experiment, records, table, live=live)
