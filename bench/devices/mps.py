"""Apple GPUs through Metal: one slot, wall time around synchronisation, no float64."""

import time
from collections.abc import Callable

import torch


class Mps:
    """Not exercised by the default test run; see the tests marked `gpu`."""

    name = "mps"

    def unavailable(self) -> str | None:
        """Why Metal cannot be used here."""
        if not torch.backends.mps.is_built():
            return "this build of torch has no Metal support; it exists for macOS only"
        if not torch.backends.mps.is_available():
            return "torch finds no usable Apple GPU (macOS 12.3 or newer on Apple silicon)"
        return None

    def slots(self) -> tuple[str, ...]:
        """One."""
        return ("mps:0",)

    def model(self, slot: str) -> str:
        """Metal does not name the chip."""
        del slot
        return "Apple GPU (Metal)"

    def enter(self, slot: str, threads: int) -> torch.device:
        """Metal has one device."""
        torch.set_num_threads(threads)
        return torch.device("mps")

    def synchronize(self) -> None:
        """Wait for the GPU."""
        torch.mps.synchronize()

    def stopwatch(self) -> Callable[[], float]:
        """Wall time between two synchronisations."""
        torch.mps.synchronize()
        start = time.perf_counter()

        def stop() -> float:
            torch.mps.synchronize()
            return time.perf_counter() - start

        return stop

    def reset_peak_memory(self) -> None:
        """Metal keeps no peak."""
        torch.mps.empty_cache()

    def peak_memory_bytes(self) -> int | None:
        """Metal keeps no peak."""
        return None

    def free_memory_bytes(self) -> int:
        """What Metal recommends as a working set, less what is in use."""
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())

    def limit_memory(self, limit_bytes: int) -> None:
        """Bound PyTorch's share of the working set that Metal recommends."""
        torch.mps.set_per_process_memory_fraction(min(1.0, limit_bytes / torch.mps.recommended_max_memory()))

    def describe(self) -> dict[str, str]:
        """Nothing but its model."""
        return {"device": self.model("mps:0")}

    def supports_float64(self) -> bool:
        """No: the parity gate runs in float32 only and says so."""
        return False


DEVICE = Mps()
