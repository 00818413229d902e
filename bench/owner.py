"""Which process a piece of work belongs to, and whether that process is still there.

A process is named by its host, the host's boot, its number and the moment it started, so that neither a reboot nor a
reused process number makes a dead owner look alive.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SAME_START_S = 2.0  # the boot time, in whole seconds, is added and taken off again


@dataclass(frozen=True)
class Owner:
    """One process on one host."""

    host: str
    boot: str
    pid: int
    started_s: float  # since the host's boot: time since the epoch changes when the clock is set

    @classmethod
    def here(cls) -> Self:
        """This process."""
        return cls.of(psutil.Process())

    @classmethod
    def of(cls, process: psutil.Process) -> Self:
        """A process of this host."""
        return cls(platform.node(), _boot_id(), process.pid, _started_s(process))

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Self | None:
        """The owner that `tags` name, or None if they do not name one."""
        try:
            return cls(tags["owner.host"], tags["owner.boot"], int(tags["owner.pid"]), float(tags["owner.started_s"]))
        except (KeyError, ValueError):
            return None

    def tags(self) -> dict[str, str]:
        """The owner as strings, to be read back by `from_tags`."""
        return {
            "owner.host": self.host,
            "owner.boot": self.boot,
            "owner.pid": str(self.pid),
            "owner.started_s": f"{self.started_s:.2f}",
        }

    def is_this_process(self) -> bool:
        """Whether the caller is the owner."""
        return self.host == platform.node() and self.pid == os.getpid() and not self.dead()

    def is_elsewhere(self) -> bool:
        """Whether the process is, or was, one of another host."""
        return self.host != platform.node()

    def dead(self) -> bool:
        """Whether the process is known to be gone; of another host nothing is known."""
        if self.is_elsewhere():
            return False
        if self.boot != _boot_id():
            return True
        try:
            process = psutil.Process(self.pid)
            reused = abs(_started_s(process) - self.started_s) > _SAME_START_S
            return reused or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False


def _started_s(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()


@cache
def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return str(round(psutil.boot_time()))
