"""A temporary folder for each worker, gone with it: libraries leave files there, and a killed process removes none.

The folder is locked by the process that made it, for as long as that lives; one that nobody holds is removed by whoever
makes the next. The system gives a lock back however its holder ends, which a process number in the name would not tell.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.errors import naming

PREFIX = "gat-bench-scratch-"


class Scratch:
    """A folder of its own under the system's temporary folder.

    Raises:
        OSError: none can be made, or locked: another would fare no better.
    """

    def __init__(self) -> None:
        _sweep()
        self._lock: int | None = None
        while self._lock is None:  # another process may sweep it before it is held
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            try:
                self._lock = _lock(self.path)
            except OSError:
                shutil.rmtree(self.path, ignore_errors=True)
                raise

    def close(self) -> None:
        """Remove it with all that is in it."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def _sweep() -> None:
    """Remove what processes that are gone have left."""
    for path in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):  # it is not ours to open, say
            if (lock := _lock(path)) is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _lock(path: Path) -> int | None:
    """An open lock on a folder, or None if another has it, or it is gone.

    Raises:
        OSError: it cannot be locked: it is not ours, too many files are open, or its file system knows no locks.
    """
    with naming(path), contextlib.suppress(BlockingIOError, FileNotFoundError), ExitStack() as unless_held:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        unless_held.callback(os.close, folder)
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(folder), path.stat()):
            unless_held.pop_all()
            return folder
    return None
