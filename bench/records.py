"""The records file: append-only JSON lines, synced to disk; everything else is a view of it.

A line is one finished job. A torn or garbled last line (the machine died while writing) is moved aside, never parsed. A
file written by a newer version is refused; an older one is upgraded while reading, step by step.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import AfterValidator, ValidationError

from bench.config import Frozen
from bench.errors import UserError, naming, newer
from bench.outcomes import NotDone, Outcome
from bench.work import CellKey, Job

SCHEMA_VERSION = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From version n, how a line becomes one of version n + 1."""

NAME = "records.jsonl"
TORN = "records.torn"
BLOCK_BYTES = 2**16
LOOKED_AT_ANEW = ("error", "unsupported", "parity", "budget")


def _of_a_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


class Record(Frozen):
    """One finished job: what was asked, what came out, where and when."""

    schema_version: Literal[1] = 1
    id: str
    experiment: str
    job: Job
    outcome: Outcome
    environment: dict[str, str]
    started_utc: Annotated[str, AfterValidator(_of_a_time)]  # ISO 8601
    seconds: float

    @property
    def key(self) -> CellKey:
        """The cell that the job belongs to."""
        return self.job.key

    @property
    def started(self) -> datetime:
        """When it began; without a zone it is UTC."""
        found = datetime.fromisoformat(self.started_utc)
        return found if found.tzinfo else found.replace(tzinfo=UTC)

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


def latest(records: Iterable[Record]) -> dict[str, Record]:
    """The newest record of each id."""
    return {record.id: record for record in records}


def append(folder: Path, record: Record) -> None:
    """Add one record and return once it is on disk.

    Raises:
        OSError: it cannot be written, as on a full disk; the file is as it was.
    """
    path = folder / NAME
    with naming(path):
        mend(folder)
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                _write_whole(file, record.model_dump_json().encode() + b"\n")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise


def mend(folder: Path) -> str | None:
    """Move a last line that is not whole to `records.torn`, so that the next record starts on a line of its own.

    Returns:
        What the user should see, if there was one.
    """
    path = folder / NAME
    if not path.exists():
        return None
    with naming(path), path.open("rb+") as file:
        start, line = _last_line(file)
        if _is_whole(line):
            return None
        with path.with_name(TORN).open("ab") as torn:
            torn.write(line.removesuffix(b"\n") + b"\n")
        file.truncate(start)
        file.flush()
        os.fsync(file.fileno())
    return f"{path}: the last line was not whole; it is in {TORN} now, and its job is run again"


def _parse(path: Path) -> Iterator[Record]:
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    complete = lines[:-1]  # a line without its newline was never finished
    for number, line in enumerate(complete, 1):
        if number == len(complete) and not _is_whole(line + b"\n"):
            return  # the next run moves it aside
        if line.strip():
            yield _record(line, f"{path}, line {number}")


def _record(line: bytes, where: str) -> Record:
    try:
        content = json.loads(line)
        version = content["schema_version"]
        is_newer = version > SCHEMA_VERSION
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise UserError(f"{where}: not a record ({problem}); move the line elsewhere to go on") from None
    if is_newer:
        raise newer(where, version, SCHEMA_VERSION)
    if version not in range(min(UPGRADES, default=SCHEMA_VERSION), SCHEMA_VERSION + 1):
        raise UserError(f"{where}: schema {version!r} is none of gat-bench's; move the line elsewhere to go on")
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


def _last_line(file: BinaryIO) -> tuple[int, bytes]:
    """Where the last line starts, and what it holds, with its newline if it has one."""
    start = end = file.seek(0, os.SEEK_END)
    tail = b""
    while start and b"\n" not in tail[:-1]:
        start = max(0, start - BLOCK_BYTES)
        file.seek(start)
        tail = file.read(end - start)
    cut = tail.rfind(b"\n", 0, -1) + 1
    return start + cut, tail[cut:]


def _is_whole(line: bytes) -> bool:
    """Whether a last line was written to its end, and as JSON; whether it is a record is another question."""
    if not line.strip():
        return line in (b"", b"\n")
    try:
        return isinstance(json.loads(line), dict) and line.endswith(b"\n")
    except (ValueError, RecursionError):
        return False
