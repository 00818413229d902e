"""The one error that reaches a person as a line instead of a traceback, and naming the file that another is about."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """The user's mistake, or something only the user can mend: what was wrong, where, and what to do. Exit code 2."""


def folder_of(variable: str, text: str) -> Path:
    """The folder that a variable of the environment names.

    Raises:
        UserError: it begins with somebody's home, and there is nobody of that name.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as problem:
        raise UserError(f"{variable}={text}: {problem}; correct it or unset it") from None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an `OSError` of the block name `path`: what fails in an open or a temporary file does not by itself."""
    try:
        yield
    except OSError as problem:
        problem.filename, problem.filename2 = str(path), None
        raise
