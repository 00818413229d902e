"""What the runner asks of a device. One file in `bench/devices/` exports each as `DEVICE`."""

from collections.abc import Callable
from typing import Protocol

import torch


class Device(Protocol):
    """A kind of device: cpu, cuda, mps. A slot is one of them on this machine: `cuda:1`."""

    @property
    def name(self) -> str:
        """What an experiment file calls it."""
        ...

    def unavailable(self) -> str | None:
        """Why there is none here, as a sentence for the table, or None."""
        ...

    def slots(self) -> tuple[str, ...]:
        """Names of the units that can each run one job at a time."""
        ...

    def model(self, slot: str) -> str:
        """What its maker calls it: times on two models are never one measurement."""
        ...

    def enter(self, slot: str, threads: int) -> torch.device:
        """Take a slot in this process, with that many CPU threads; returns where tensors go."""
        ...

    def synchronize(self) -> None:
        """Return once everything asked of the device is done."""
        ...

    def stopwatch(self) -> Callable[[], float]:
        """Start timing; the returned function stops and gives seconds of device work."""
        ...

    def reset_peak_memory(self) -> None:
        """Forget the peak; what is resident now is the new baseline."""
        ...

    def peak_memory_bytes(self) -> int | None:
        """Peak beyond the baseline since the last reset, or None where it cannot be told."""
        ...

    def free_memory_bytes(self) -> int:
        """What a job may still allocate."""
        ...

    def limit_memory(self, limit_bytes: int) -> None:
        """Let this process allocate so much beyond what it has; more fails as if memory had ended."""
        ...

    def describe(self) -> dict[str, str]:
        """What a record says of the device that was entered: model, driver, clock."""
        ...

    def supports_float64(self) -> bool:
        """Whether the parity gate can run in float64 here."""
        ...
