"""The default MLflow store of a results folder: where it is, whether it is sound, what may name another, and as
whom the folder writes to one that is not its own.

Nothing here imports MLflow, so that `bench ui` and error messages need not wait for it.
"""

import os
import platform
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from bench import sqlite_file
from bench.errors import UserError

NAME = "mlflow.db"
FOLDER_NAME = ".mlflow-folder"
ARTIFACTS = "mlartifacts"

_SERVED = ("http", "https", "postgresql", "mysql", "mssql", "databricks")
_NUMBERS = ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES")


class TrackingUnavailable(Exception):
    """MLflow could not be read or written. The text is one sentence; the records are not affected."""


def default_uri(results: Path) -> str:
    """The tracking URI of `results/mlflow.db`."""
    return sqlite_file.url(results.resolve() / NAME)


def folder_name(results: Path) -> str:
    """As whom a results folder writes, so that others can write to the same server; made once, and kept in it."""
    path = results / FOLDER_NAME
    if not path.exists() or not path.read_text().strip():
        path.write_text(f"{platform.node()}-{uuid4().hex[:8]}\n")
    return path.read_text().strip()


def problem(uri: str) -> str | None:
    """Why a text can be no tracking URI, or None; nothing is opened, and nobody is asked."""
    if uri == "off" or (sqlite_file.path_of(uri) and uri != "sqlite:///"):
        return None
    try:
        parts = urlsplit(uri)
        host = parts.hostname
        _ = parts.port
    except ValueError as wrong:
        return str(wrong)
    scheme = parts.scheme.partition("+")[0]
    if scheme not in _SERVED:
        return f"there is no store of kind {scheme!r}" if scheme else "it has no kind, as sqlite: or http:"
    return None if host or scheme == "databricks" else "it names no host"


def require_settings() -> None:
    """Refuse values of MLflow's variables that MLflow itself would meet with a traceback in the middle of a run.

    Raises:
        UserError: one is no number, or negative.
    """
    for name in _NUMBERS:
        value = os.environ.get(name)
        if value is not None and not value.strip().isdecimal():
            raise UserError(f"{name}={value}: must be a whole number from 0 on; correct it or unset it")


def damage(path: Path, wait_s: float = 20.0) -> str | None:
    """See `bench.sqlite_file.damage`.

    Raises:
        TrackingUnavailable: the file cannot be examined, because it is locked or may not be read.
    """
    try:
        return sqlite_file.damage(path, wait_s)
    except sqlite3.DatabaseError as problem:
        raise TrackingUnavailable(f"the MLflow store {path} cannot be examined: {problem}") from problem
