"""The one error that reaches a person as a line instead of a traceback, and naming the file that another is about."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """The user's mistake, or something only the user can mend: what was wrong, where, and what to do. Exit code 2."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an `OSError` of the block name `path`: what fails in an open or a temporary file does not by itself."""
    try:
        yield
    except OSError as problem:
        problem.filename, problem.filename2 = str(path), None
        raise
