"""The one error that reaches a person as a line instead of a traceback, and what such lines say of names and files."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_NAMED = 20  # of names that there are


class UserError(Exception):
    """The user's mistake, or something only the user can mend: what was wrong, where, and what to do. Exit code 2."""


def newer(where: object, version: int, most: int) -> UserError:
    """What is refused because a version wrote it that knew more than this one, which reads up to `most`."""
    return UserError(
        f"{where}: written by a newer gat-bench (schema {version}, this one reads up to {most}); "
        "update gat-bench or choose another results folder"
    )


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """ "there is no back end 'pig'; did you mean 'pyg'?" """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    cure = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names[:MOST_NAMED])}{more}"
    return f"there is no {kind} {name!r}; {cure}"


def folder_of(variable: str, text: str) -> Path:
    """The folder that a variable of the environment names.

    Raises:
        UserError: it begins with somebody's home, and there is nobody of that name.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as problem:
        raise UserError(f"{variable}={text}: {problem}; correct it or unset it") from None


def told(problem: Exception) -> str:
    """What a person is told of a problem; of the system's, its words for it, and the file if there is one."""
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror if problem.filename is None else f"{problem.filename}: {problem.strerror}"
    return str(problem)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an `OSError` of the block name `path`: what fails in an open or a temporary file does not by itself."""
    try:
        yield
    except OSError as problem:
        problem.filename, problem.filename2 = str(path), None
        raise
