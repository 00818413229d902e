"""Who uses which slot of this machine, among processes that know nothing of each other: two lock files a slot.

One is held by whoever uses the slot, the other by whoever waits for it next. So a run that gives a slot back after each
job has it again only after the one that waited. The system gives a lock back however its holder ends.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import BaseFileLock, FileLock, Timeout

from bench.errors import UserError, folder_of
from bench.plugins import DEVICES

POLL_S = 0.2
FOLDER = "BENCH_LOCKS"
Wanted = Callable[[], bool]
"""Whether anybody still waits for what the slot is needed for."""


class Unwanted(Exception):
    """Nobody waits for it any more."""


class Claim:
    """Some slots, to be held all together until the end of the block.

    They are taken in one order, or two of us would wait for each other.

    Raises:
        UserError: the folder of the locks cannot be made.
    """

    def __init__(self, slots: Iterable[str]) -> None:
        self._slots = [_Slot(name) for name in sorted(set(slots))]

    def is_held(self) -> bool:
        """Whether all are held by now; takes what is free, and does not wait.

        Raises:
            OSError: there can be no locks.
        """
        return all(slot.is_held() for slot in self._slots)

    def release(self) -> None:
        """Give back what is held."""
        for slot in self._slots:
            slot.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Slot:
    def __init__(self, name: str) -> None:
        # Whatever thread ends a claim gives all of it back.
        paths = (_folder() / f"{name}.{kind}" for kind in ("next", "lock"))
        self._next, self._used = (FileLock(path, thread_local=False) for path in paths)

    def is_held(self) -> bool:
        if not self._used.is_locked and _take(self._next) and _take(self._used):
            self._next.release()
        return self._used.is_locked

    def release(self) -> None:
        self._next.release()
        self._used.release()


def _take(lock: BaseFileLock) -> bool:
    if not lock.is_locked:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
    return True


@contextmanager
def one_of(slots: Sequence[str], wanted: Wanted) -> Iterator[str]:
    """Hold the first of these slots that is free, waiting for one if need be.

    Raises:
        Unwanted: nobody waits any more.
    """
    with ExitStack() as claims:
        waiting = {slot: claims.enter_context(Claim([slot])) for slot in slots}
        while wanted():
            for slot, claim in waiting.items():
                if claim.is_held():
                    for other in set(slots) - {slot}:
                        waiting[other].release()
                    yield slot
                    return
            time.sleep(POLL_S)
    raise Unwanted


@contextmanager
def all_of(slots: Sequence[str], wanted: Wanted) -> Iterator[None]:
    """Hold every one of these slots, so that nothing else is at work on the machine.

    Raises:
        Unwanted: nobody waits any more.
    """
    with Claim(slots) as claim:
        while wanted():
            if claim.is_held():
                yield
                return
            time.sleep(POLL_S)
    raise Unwanted


def of_device(device: str) -> tuple[str, ...]:
    """All slots of a device on this machine; none where it is absent."""
    plugin = DEVICES.get(device)
    return plugin.slots() if plugin.unavailable() is None else ()


def of_machine() -> list[str]:
    """All slots of all devices."""
    return [slot for device in DEVICES.names() for slot in of_device(device)]


def _folder() -> Path:
    """Where a user's processes on a machine find each other's locks.

    Raises:
        UserError: it cannot be made.
    """
    shared = Path(tempfile.gettempdir()) / f"gat-bench-slots-{os.getuid()}"
    folder = folder_of(FOLDER, os.environ.get(FOLDER, "") or str(shared))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UserError(f"{folder}: {problem.strerror}; let {FOLDER} name a folder that can be written") from None
    return folder
