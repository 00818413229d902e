"""The default MLflow store of a results folder, as a file: where it is, whether it is sound, setting it aside.

Nothing here imports MLflow, so that `bench ui` and error messages need not wait for it.
"""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

NAME = "mlflow.db"
ARTIFACTS = "mlartifacts"

_SQLITE = "sqlite:///"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class TrackingUnavailable(Exception):
    """MLflow could not be read or written. The text is one sentence; the records are not affected."""


def default_uri(results: Path) -> str:
    """The tracking URI of `results/mlflow.db`."""
    return file_uri(results.resolve() / NAME)


def file_uri(path: Path) -> str:
    """The tracking URI of an SQLite file with an absolute path.

    MLflow decodes percent signs and SQLAlchemy splits at a question mark; every other character stays as it is,
    because MLflow also creates the parent folder of the undecoded path.
    """
    return _SQLITE + str(path).replace("%", "%25").replace("?", "%3F")


def sqlite_path(uri: str) -> Path | None:
    """The file behind an SQLite URI, None for any other store."""
    return Path(unquote(uri.removeprefix(_SQLITE))).absolute() if uri.startswith(_SQLITE) else None


def damage(path: Path, wait_s: float = 20.0) -> str | None:
    """What is wrong with an SQLite file, or None if it is sound, empty or absent.

    Args:
        path: The file.
        wait_s: How long to wait for another process that is writing.

    Raises:
        TrackingUnavailable: the file cannot be examined, because it is locked or may not be read.
    """
    if not path.exists():
        return None
    try:
        connection = sqlite3.connect(path, timeout=wait_s)
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.DatabaseError as problem:
        if getattr(problem, "sqlite_errorcode", None) in _DAMAGED:
            return str(problem)
        raise TrackingUnavailable(f"the MLflow store {path} cannot be examined: {problem}") from problem
    return None if found == "ok" else str(found).splitlines()[0]


def set_aside(path: Path) -> Path:
    """Rename a damaged store, with its journal, to a name that is free; say which."""
    suffix = f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    number = 0
    while (aside := path.with_name(path.name + suffix + (f"-{number}" if number else ""))).exists():
        number += 1
    for part in ("-journal", "-wal", "-shm", ""):
        companion = path.with_name(path.name + part)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + part))
    return aside


def shown(uri: str) -> str:
    """A tracking URI as it may be printed: a file's path, or an address without user and password."""
    path = sqlite_path(uri)
    if path is not None:
        return str(path)
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
