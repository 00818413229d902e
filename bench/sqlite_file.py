"""An SQLite file that others own, MLflow and Optuna: its URL, how that is printed, whether the file is sound."""

import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

_SCHEME = "sqlite:///"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def url(path: Path) -> str:
    """The URL of an SQLite file with an absolute path.

    MLflow and SQLAlchemy decode percent signs and SQLAlchemy splits at a question mark; every other character stays as
    it is, because MLflow also creates the parent folder of the undecoded path (see `remove_undecoded`).
    """
    return _SCHEME + str(path).replace("%", "%25").replace("?", "%3F")


def remove_undecoded(url: str) -> None:
    """Remove the empty folders that MLflow creates at a URL whose percent signs it did not decode."""
    undecoded = Path(url.removeprefix(_SCHEME))
    if path_of(url) not in (None, undecoded):
        with suppress(OSError):
            for folder in undecoded.parents:
                folder.rmdir()  # fails at the first that is not empty


def path_of(url: str) -> Path | None:
    """The file behind an SQLite URL, None for any other store."""
    return Path(unquote(url.removeprefix(_SCHEME))).absolute() if url.startswith(_SCHEME) else None


def damage(path: Path, wait_s: float = 20.0) -> str | None:
    """What is wrong with an SQLite file, or None if it is sound, empty or absent.

    Args:
        path: The file.
        wait_s: How long to wait for another process that is writing.

    Raises:
        sqlite3.DatabaseError: the file cannot be examined, because it is locked or may not be read.
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
        raise
    return None if found == "ok" else str(found).splitlines()[0]


def set_aside(path: Path) -> Path:
    """Rename a damaged file, with its journal, to a name that is free; say which."""
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
    """A store's URI as it may be printed: a file's path, or an address without user and password."""
    path = path_of(uri)
    if path is not None:
        return str(path)
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
