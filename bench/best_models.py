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
    """Remove every network that is not its cell's best."""
    kept = set(_best(records).values())
    for path in (results / FOLDER).glob(f"*{SUFFIX}"):
        if path.stem not in kept:
            path.unlink(missing_ok=True)


def _best(records: Iterable[Record]) -> dict[CellKey, str]:
    """Cell -> job; of equally good networks, that of the lowest seed."""
    found: dict[CellKey, tuple[float, int, str]] = {}
    for record in records:
        if isinstance(record.outcome, Fitted):
            rank = (-record.outcome.validation, record.outcome.seed, record.id)
            found[record.key] = min(rank, found.get(record.key, rank))
    return {key: id_ for key, (_, _, id_) in found.items()}
