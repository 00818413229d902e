"""A temporary folder for each worker, gone with it: libraries leave files there, and a killed process removes none.

The folder is locked by the process that made it, for as long as that lives; one that nobody holds is removed by whoever
makes the next. The system gives a lock back however its holder ends, which a process number in the name would not tell.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "gat-bench-scratch-"


class Scratch:
    """A folder of its own under the system's temporary folder."""

    def __init__(self) -> None:
        _sweep()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._lock = _lock(self.path)
            if self._lock is not None:  # else another process swept it before it was held
                break

    def close(self) -> None:
        """Remove it with all that is in it."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def _sweep() -> None:
    """Remove what processes that are gone have left."""
    for path in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        if (lock := _lock(path)) is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _lock(path: Path) -> int | None:
    """An open lock on a folder, or None if another has it, it is not ours to open, or it is gone."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(folder), path.stat()):
            return folder
    except OSError:
        pass
    os.close(folder)
    return None
