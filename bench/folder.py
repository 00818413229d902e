"""A results folder: `results/<experiment>/`, and who may write to it."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from bench import records, toml_file
from bench.config import Experiment
from bench.errors import UserError, naming, newer, unknown
from bench.study_config import SCHEMAS, AttentionStudy, LookupStudy, Study

SNAPSHOT = "experiment.json"
TABLE_SNAPSHOT = "paper-table.json"
SNAPSHOT_VERSION = 1
"""Of both; one without a number is of version 1. One that is newer is neither read nor replaced."""
Schema = TypeVar("Schema", bound=BaseModel)


@dataclass(frozen=True)
class ResultsFolder:
    """`records.jsonl` is the truth; `experiment.json` says what was asked; the rest is views of the two."""

    path: Path

    @property
    def name(self) -> str:
        """The experiment's short name, which is the folder's."""
        return self.path.name

    def records(self) -> list[records.Record]:
        """See `bench.records.read`."""
        return records.read(self.path)

    def experiment(self) -> Experiment:
        """What the last run in this folder was asked.

        Raises:
            UserError: nothing was run here, or the snapshot cannot be read.
        """
        asked = self.asked()
        if isinstance(asked, Experiment):
            return asked
        raise UserError(f"{self.path}: holds a study of kind {asked.kind!r}, which has no grid of cells")

    def asked(self) -> Experiment | Study:
        """As `experiment`, or a study.

        Raises:
            UserError: nothing was run here, or the snapshot cannot be read.
        """
        asked = read_snapshot(self.path / SNAPSHOT, _schema, "experiment")
        if asked is None:
            raise UserError(f"{self.path}: {self._emptiness()}")
        return asked

    def _emptiness(self) -> str:
        """Why no experiment was asked here, and what would bring one, or what may have been meant."""
        if (self.path / TABLE_SNAPSHOT).exists():
            return f"holds a paper's table, which has no grid of cells; `bench report {self.name}` prints it"
        experiments, tables = toml_file.names(toml_file.EXPERIMENTS), toml_file.names(toml_file.TABLES)
        if self.name in experiments:
            return f"nothing was run here; `bench run {self.name}` does"
        if self.name in tables:
            return f"nothing was run here; `bench tables {self.name}` does"
        own = [path.parent.name for path in self.path.parent.glob(f"*/{SNAPSHOT}")]  # of files of somebody's own
        return f"nothing was run here; {unknown('experiment or table', self.name, {*experiments, *tables, *own})}"

    def write_experiment(self, experiment: Experiment | Study) -> None:
        """Keep what is asked; see `keep`."""
        self.keep(SNAPSHOT, experiment.model_dump_json())

    def keep(self, name: str, asked: str) -> None:
        """Keep what is asked, a model's JSON text, beside what comes out: views can be rebuilt without the file.

        Raises:
            UserError: a newer version was at work here, or a record cannot be read; then everything stays as it is.
        """
        path = self.path / name
        self.records()
        with suppress(OSError, ValueError, RecursionError):  # one that is absent or damaged is written anew
            _unnumbered(json.loads(path.read_text(encoding="utf-8")), path)
        self.path.mkdir(parents=True, exist_ok=True)
        numbered = {"schema_version": SNAPSHOT_VERSION, **json.loads(asked)}
        write_atomically(path, json.dumps(numbered, indent=1, ensure_ascii=False) + "\n")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the folder for one run.

        Raises:
            UserError: another run holds it; says which process, on which host, since when.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        holder = self.path / ".holder"
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{self.path}: another run is at work here ({_read(holder)}); wait for it, "
                "or pass --results with another folder"
            ) from None
        try:
            with naming(holder):
                holder.write_text(f"process {os.getpid()} on {os.uname().nodename}\n")
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()


def read_snapshot(path: Path, schema: Callable[[Any], type[Schema]], what: str) -> Schema | None:
    """What a run wrote down of what it was asked, as the schema that its content asks for; None if there is no file.

    Raises:
        UserError: it cannot be read, is something else, or a newer version wrote it.
    """
    try:
        content = _unnumbered(json.loads(path.read_text(encoding="utf-8")), path)
        return schema(content).model_validate_json(json.dumps(content))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([".".join(map(str, first["loc"])), first["msg"]]).removeprefix(": ")
    except OSError as problem:
        reason = problem.strerror or str(problem)
    except RecursionError:
        reason = "nested without end"
    except ValueError as problem:
        reason = str(problem)
    raise UserError(f"{path}: cannot be read ({reason}); run the {what} again")


def _unnumbered(content: Any, path: Path) -> Any:
    """What a snapshot says besides the version that it has."""
    version = content.pop("schema_version", 1) if isinstance(content, dict) else 1
    if isinstance(version, int) and version > SNAPSHOT_VERSION:
        raise newer(path, version, SNAPSHOT_VERSION)
    if version != SNAPSHOT_VERSION:
        raise ValueError(f"schema {version!r} is none of gat-bench's")
    return content


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write under a temporary name, then rename: a reader sees the old content or the new, never half."""
    data = content.encode() if isinstance(content, str) else content
    with naming(path), atomic_file(path) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """As `write_atomically`, for what is written bit by bit."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sweep(folder: Path, names: Iterable[str], scratch: str = "") -> None:
    """Remove what killed processes left of `atomic_file` with these names, and folders whose names begin as `scratch`.

    Whoever writes there holds the lock that the caller holds.
    """
    unfinished = tuple(f".{name}." for name in names)
    for path in list(folder.iterdir()):
        with suppress(OSError):  # what cannot be removed is in nobody's way
            if path.name.startswith(unfinished):
                path.unlink()
            elif scratch and path.name.startswith(scratch):
                shutil.rmtree(path)


def _schema(content: Any) -> type[Experiment] | type[LookupStudy] | type[AttentionStudy]:
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind is None:
        return Experiment
    if not isinstance(kind, str) or kind not in SCHEMAS:
        raise ValueError(f"there is no kind of study {kind!r}")
    return SCHEMAS[kind]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "unknown process"
