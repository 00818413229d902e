"""A paper's table or figure: one TOML file in `bench/tables/`, read and checked before anything runs.

All files together are the registry of published values.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from bench import toml_file
from bench.errors import UserError, unknown
from bench.folder import TABLE_SNAPSHOT, ResultsFolder, read_snapshot
from bench.kind import Line
from bench.paper.published import Published
from bench.paper.table import Part, TableFile
from bench.plugins import EXPERIMENT_KINDS

FOLDER = toml_file.TABLES
SNAPSHOT = TABLE_SNAPSHOT


@cache
def names() -> tuple[str, ...]:
    """Tables that come with the project."""
    return tuple(toml_file.names(FOLDER))


def find(name: str) -> Path:
    """The file of a built-in table, or the path given.

    Raises:
        UserError: neither exists.
    """
    return toml_file.find("table", name, FOLDER)


def read(path: Path) -> TableFile:
    """Read and check one table, with the experiments behind it.

    Raises:
        UserError: all that is wrong, one line each: file, key, what.
    """
    table = toml_file.validated(TableFile, toml_file.content(path), path)
    if problems := list(_problems(table)):
        raise UserError("\n".join(f"{path}: {line}" for line in problems))
    return table


def of(name: str) -> TableFile:
    """A table that comes with the project."""
    return read(find(name))


def keep(folder: ResultsFolder, table: TableFile) -> None:
    """Keep what is asked; see `ResultsFolder.keep`."""
    folder.keep(SNAPSHOT, table.model_dump_json(exclude_defaults=True))


def kept(folder: ResultsFolder) -> TableFile | None:
    """What the last run in this folder was asked; None if it was no paper's table.

    Raises:
        UserError: the snapshot cannot be read.
    """
    return read_snapshot(folder.path / SNAPSHOT, lambda content: TableFile, "table")


def registry() -> Mapping[str, Published]:
    """Every value of every table that comes with the project, by "table/row/column"."""
    tables = {name: of(name) for name in names()}
    return {f"{name}/{id_}": value for name, table in tables.items() for id_, value in table.registry(name).items()}


def _problems(table: TableFile) -> Iterator[str]:
    """What only the kinds of experiment know."""
    for part in table.part:
        if part.kind not in EXPERIMENT_KINDS.names():
            yield f"part {part.name}: kind: {unknown('kind of experiment', part.kind, EXPERIMENT_KINDS.names())}"
            continue
        kind = EXPERIMENT_KINDS.get(part.kind)
        found = list(kind.problems(part)) or list(_name_problems(table, part, kind.lines(part)))
        yield from (f"part {part.name}: {problem}" for problem in found)


def _name_problems(table: TableFile, part: Part, lines: Sequence[Line]) -> Iterator[str]:
    """Names of what is compared that nothing has: their rows would lack a published value, or never be ordered."""
    subjects, columns = sorted({line.subject for line in lines}), sorted({line.column for line in lines})
    orderings = [ordering for ordering in table.ordering if ordering.part == part.name]
    named = [
        *(("published", subject, subjects) for subject in part.published),
        *(("columns", column, columns) for column in part.columns),
        *(("ordering.better", ordering.better, subjects) for ordering in orderings),
        *(("ordering.worse", ordering.worse, subjects) for ordering in orderings),
    ]
    for key, name, known in named:
        if name not in known:
            yield f"{key}: {unknown('row or column', name, known)}"
