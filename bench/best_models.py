"""Which trained networks a results folder keeps: of each cell the one with the best validation score, of a paper's
table each row's.

Fits are ranked that differ in nothing but their seed, and of which a network is there: a full disk costs one, and what
was trained under other settings, by other code or on other data is no rival.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import saved_model
from bench.outcomes import Fitted
from bench.records import Record
from bench.saved_model import SUFFIX
from bench.work import CellKey, FitJob, Job

FOLDER = "models"


def paths(results: Path, records: Sequence[Record]) -> dict[CellKey, Path]:
    """The file of each cell's best network in an experiment's folder, where it is there.

    Args:
        results: the experiment's folder.
        records: oldest first; of each cell, fits as the newest one was asked count.
    """
    fits = [record for record in records if isinstance(record.job, FitJob)]
    newest = {record.key: _but_for_seed(record.job) for record in fits}
    rivals: dict[CellKey, list[Record]] = defaultdict(list)
    for record in fits:
        if _but_for_seed(record.job) == newest[record.key]:
            rivals[record.key].append(record)
    return {key: found for key, fits in rivals.items() if (found := best(results, fits))}


def prune(results: Path, records: Iterable[Record], job: FitJob, *, is_alone: bool) -> None:
    """Remove the networks that a cell needs no more, now that a fit of it is recorded.

    What is not recorded stays, since its fit may be at work. So does all that there is, while nothing of the fit's own
    kind is there to take its place; and what was trained under other settings, unless its experiment `is_alone` in the
    folder, for one of a paper's table may have the same cell.
    """
    trained = [
        record
        for record in records
        if isinstance(record.outcome, Fitted)
        and record.key == job.key
        and (is_alone or _settings(record.job) == _settings(job))
    ]
    if kept := best(results, [other for other in trained if _but_for_seed(other.job) == _but_for_seed(job)]):
        for path in {_path(results, record) for record in trained} - {kept}:
            path.unlink(missing_ok=True)


def sweep(results: Path, records: Iterable[Record]) -> None:
    """Remove what a killed run left of fits that it did not record; while nothing is at work in the folder."""
    trained = {_path(results, record) for record in records if isinstance(record.outcome, Fitted)}
    folder = results / FOLDER
    for path in {*folder.glob(f"*{SUFFIX}"), *folder.glob(f".*{SUFFIX}.*")} - trained:
        path.unlink(missing_ok=True)


def _but_for_seed(job: Job) -> Job:
    """The same of all fits that are rivals."""
    return job.model_copy(update={"seed": 0})


def _settings(job: Job) -> Job:
    """The same of all fits that are asked for alike, by whatever code and data."""
    return job.model_copy(update={"seed": 0, "basis": ""})


def best(results: Path, records: Iterable[Record]) -> Path | None:
    """The best network of rivals that is in an experiment's folder; of equally good ones, that of the lowest seed."""
    ranked = [
        (_worse_with(record.outcome), record.outcome.seed, path)
        for record in records
        if isinstance(record.outcome, Fitted) and (path := _path(results, record)).is_file()
    ]
    return min(ranked)[2] if ranked else None


def _worse_with(fit: Fitted) -> float:
    return fit.validation if fit.is_error else -fit.validation


def _path(results: Path, record: Record) -> Path:
    return saved_model.path(results / FOLDER, record.id)
