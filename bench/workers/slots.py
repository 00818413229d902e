"""Who uses which slot of this machine, among processes that know nothing of each other: one lock file a slot.

The system gives a lock back however its holder ends.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

POLL_S = 0.2
Wanted = Callable[[], bool]
"""Whether anybody still waits for what the slot is needed for."""


class Unwanted(Exception):
    """Nobody waits for it any more."""


@contextmanager
def one_of(slots: Sequence[str], wanted: Wanted) -> Iterator[str]:
    """Hold the first of these slots that is free, waiting for one if need be.

    Raises:
        Unwanted: nobody waits any more.
    """
    while wanted():
        for slot in slots:
            lock = FileLock(_folder() / f"{slot}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield slot
            finally:
                lock.release()
            return
        time.sleep(POLL_S)
    raise Unwanted


@contextmanager
def all_of(slots: Sequence[str], wanted: Wanted) -> Iterator[None]:
    """Hold every one of these slots, so that nothing else is at work on the machine.

    Raises:
        Unwanted: nobody waits any more.
    """
    with ExitStack() as held:
        for slot in sorted(slots):  # in one order, or two of us wait for each other
            held.enter_context(one_of([slot], wanted))
        yield


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"gat-bench-slots-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder
