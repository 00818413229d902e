"""The CPU: one slot per core that this process may use, threads fixed and cores pinned."""

import ctypes
import os
import platform
import resource
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import psutil
import torch

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


class Cpu:
    """Peak memory is the process's resident set (Linux only; elsewhere it cannot be told per phase)."""

    name = "cpu"

    def __init__(self) -> None:
        self._baseline: int | None = None

    def unavailable(self) -> str | None:
        """A CPU is always there."""
        return None

    def slots(self) -> tuple[str, ...]:
        """One per core, named by the core."""
        return tuple(f"cpu:{core}" for core in _cores())

    def model(self, slot: str) -> str:
        """Of all cores alike."""
        del slot
        return _model()

    def enter(self, slot: str, threads: int) -> torch.device:
        """Pin this process to `threads` cores, starting at the slot's own."""
        cores = _cores()
        first = cores.index(int(slot.split(":")[1]))
        taken = [cores[(first + offset) % len(cores)] for offset in range(min(threads, len(cores)))]
        if hasattr(os, "sched_setaffinity"):
            for thread in _threads():
                os.sched_setaffinity(thread, taken)
        torch.set_num_threads(threads)
        return torch.device("cpu")

    def synchronize(self) -> None:
        """CPU work is done when the call returns."""

    def stopwatch(self) -> Callable[[], float]:
        """Wall time."""
        start = time.perf_counter()
        return lambda: time.perf_counter() - start

    def reset_peak_memory(self) -> None:
        """Give freed heap back to the system, then reset the kernel's high-water mark."""
        self._baseline = None
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            CLEAR_REFS.write_text("5")
            self._baseline = _status_bytes("VmRSS")
        except OSError:
            return

    def peak_memory_bytes(self) -> int | None:
        """High-water mark of the resident set beyond the baseline."""
        if self._baseline is None:
            return None
        return max(0, _status_bytes("VmHWM") - self._baseline)

    def free_memory_bytes(self) -> int:
        """What the kernel says can be had without swapping."""
        return int(psutil.virtual_memory().available)

    def limit_memory(self, limit_bytes: int) -> None:
        """Bound the process's data, which unlike its address space is only what can be written (Linux only)."""
        if STATUS.exists():
            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            resource.setrlimit(resource.RLIMIT_DATA, (_status_bytes("VmData") + limit_bytes, hard))

    def describe(self) -> dict[str, str]:
        """Model and core count."""
        return {"device": _model(), "device_cores": str(len(_cores()))}

    def supports_float64(self) -> bool:
        """Yes."""
        return True


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _threads() -> list[int]:
    """Every thread of this process: libraries start some while they are imported."""
    tasks = Path("/proc/self/task")
    return [int(task.name) for task in tasks.iterdir()] if tasks.exists() else [0]


def _status_bytes(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no {field}")


@cache
def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


DEVICE = Cpu()
