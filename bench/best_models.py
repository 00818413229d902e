"""Which trained networks a results folder keeps: of each cell the one with the best validation score."""

from collections.abc import Iterable
from pathlib import Path

from bench.outcomes import Fitted
from bench.records import Record
from bench.saved_model import SUFFIX
from bench.work import CellKey

FOLDER = "models"


def paths(results: Path, records: Iterable[Record]) -> dict[CellKey, Path]:
    """The file of each cell's best network in an experiment's folder, where it is there."""
    files = {key: results / FOLDER / f"{id_}{SUFFIX}" for key, id_ in _best(records).items()}
    return {key: path for key, path in files.items() if path.is_file()}


def prune(results: Path, records: Iterable[Record]) -> None:
    """Remove the networks that are not their cell's best; what is not recorded stays, since its fit may be at work."""
    trained = [record for record in records if isinstance(record.outcome, Fitted)]
    kept = set(_best(trained).values())
    for path in {_path(results, record) for record in trained if record.id not in kept}:
        path.unlink(missing_ok=True)


def sweep(results: Path, records: Iterable[Record]) -> None:
    """Remove what a killed run left of fits that it did not record; while nothing is at work in the folder."""
    trained = {_path(results, record) for record in records if isinstance(record.outcome, Fitted)}
    folder = results / FOLDER
    for path in {*folder.glob(f"*{SUFFIX}"), *folder.glob(f".*{SUFFIX}.*")} - trained:
        path.unlink(missing_ok=True)


def _best(records: Iterable[Record]) -> dict[CellKey, str]:
    """Cell -> job; of equally good networks, that of the lowest seed."""
    found: dict[CellKey, tuple[float, int, str]] = {}
    for record in records:
        if isinstance(record.outcome, Fitted):
            rank = (-record.outcome.validation, record.outcome.seed, record.id)
            found[record.key] = min(rank, found.get(record.key, rank))
    return {key: id_ for key, (_, _, id_) in found.items()}


def _path(results: Path, record: Record) -> Path:
    return results / FOLDER / f"{record.id}{SUFFIX}"
