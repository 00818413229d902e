"""The default MLflow store of a results folder: where it is, whether it is sound, and how a store is named to people.

Nothing here imports MLflow, so that `bench ui` and error messages need not wait for it.
"""

import sqlite3
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from bench import sqlite_file

NAME = "mlflow.db"
ARTIFACTS = "mlartifacts"


class TrackingUnavailable(Exception):
    """MLflow could not be read or written. The text is one sentence; the records are not affected."""


def default_uri(results: Path) -> str:
    """The tracking URI of `results/mlflow.db`."""
    return sqlite_file.url(results.resolve() / NAME)


def damage(path: Path, wait_s: float = 20.0) -> str | None:
    """See `bench.sqlite_file.damage`.

    Raises:
        TrackingUnavailable: the file cannot be examined, because it is locked or may not be read.
    """
    try:
        return sqlite_file.damage(path, wait_s)
    except sqlite3.DatabaseError as problem:
        raise TrackingUnavailable(f"the MLflow store {path} cannot be examined: {problem}") from problem


def shown(uri: str) -> str:
    """A tracking URI as it may be printed: a file's path, or an address without user and password."""
    path = sqlite_file.path_of(uri)
    if path is not None:
        return str(path)
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
