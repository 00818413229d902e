"""The records file: append-only JSON lines, synced to disk; everything else is a view of it.

A line is one finished job. A torn last line (the machine died while writing) is moved aside, never parsed. A file
written by a newer version is refused; an older one is upgraded while reading, step by step.
"""

import json
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from bench.config import Frozen
from bench.errors import UserError, naming
from bench.outcomes import NotDone, Outcome
from bench.work import CellKey, Job

SCHEMA_VERSION = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From version n, how a line becomes one of version n + 1."""

NAME = "records.jsonl"
LOOKED_AT_ANEW = ("error", "unsupported", "parity", "budget")


class Record(Frozen):
    """One finished job: what was asked, what came out, where and when."""

    schema_version: Literal[1] = 1
    id: str
    experiment: str
    job: Job
    outcome: Outcome
    environment: dict[str, str]
    started_utc: str  # ISO 8601
    seconds: float

    @property
    def key(self) -> CellKey:
        """The cell that the job belongs to."""
        return self.job.key

    @property
    def final(self) -> bool:
        """Whether a later run leaves it alone.

        A crash, a missing library or data set, and a skip for the budget are looked at anew; what cost its time
        (out of memory, timeout, diverged) stands.
        """
        return not (isinstance(self.outcome, NotDone) and self.outcome.status in LOOKED_AT_ANEW)


def read(folder: Path) -> list[Record]:
    """All records of a results folder, oldest first; empty if there is no file.

    Raises:
        UserError: a line other than the last cannot be read, or a newer version wrote the file.
    """
    return list(_parse(folder / NAME))


def latest(records: list[Record]) -> dict[str, Record]:
    """The newest record of each id."""
    return {record.id: record for record in records}


def append(folder: Path, record: Record) -> None:
    """Add one record and return once it is on disk.

    Raises:
        OSError: it cannot be written, as on a full disk; the file is as it was.
    """
    path = folder / NAME
    with naming(path):
        _set_torn_tail_aside(path)
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                _write_whole(file, record.model_dump_json().encode() + b"\n")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise


def _parse(path: Path) -> Iterator[Record]:
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    complete = lines[:-1]  # a line without its newline was never finished
    for number, line in enumerate(complete, 1):
        if line.strip():
            yield _record(line, f"{path}, line {number}")


def _record(line: bytes, where: str) -> Record:
    try:
        content = json.loads(line)
        version = content["schema_version"]
    except (ValueError, KeyError, TypeError) as problem:
        raise UserError(f"{where}: not a record ({problem}); move the line elsewhere to go on") from None
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{where}: written by a newer gat-bench (schema {version}, this one reads up to {SCHEMA_VERSION}); "
            "update gat-bench or choose another results folder"
        )
    while version < SCHEMA_VERSION:
        content = UPGRADES[version](content)
        version += 1
    try:
        return Record.model_validate(content)
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: {place}: {first['msg']}; move the line elsewhere to go on") from None


def _write_whole(file: FileIO, content: bytes) -> None:
    """Unbuffered, so that nothing is left to be written after a failure; the system may take a part at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _set_torn_tail_aside(path: Path) -> None:
    """Move an unfinished last line to `records.torn`, so that the next record starts on a line of its own."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        end = content.rfind(b"\n") + 1
        if end == len(content):
            return
        with path.with_name("records.torn").open("ab") as torn:
            torn.write(content[end:] + b"\n")
        file.truncate(end)
        file.flush()
        os.fsync(file.fileno())
