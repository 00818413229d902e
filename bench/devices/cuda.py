"""NVIDIA GPUs through CUDA: one slot per GPU, time from events, peak memory from torch's allocator."""

from collections.abc import Callable

import torch


class Cuda:
    """Not exercised by the default test run; see the tests marked `gpu`."""

    name = "cuda"

    def unavailable(self) -> str | None:
        """Why CUDA cannot be used here."""
        if torch.version.cuda is None:
            return "this build of torch has no CUDA; install torch's CUDA wheel (README, set-up)"
        if not torch.cuda.is_available():
            return "torch finds no usable NVIDIA GPU on this machine"
        return None

    def slots(self) -> tuple[str, ...]:
        """One per GPU."""
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))

    def model(self, slot: str) -> str:
        """As the driver names the GPU."""
        return torch.cuda.get_device_name(slot)

    def enter(self, slot: str, threads: int) -> torch.device:
        """Make the GPU current."""
        torch.set_num_threads(threads)
        device = torch.device(slot)
        torch.cuda.set_device(device)
        return device

    def synchronize(self) -> None:
        """Wait for the current GPU."""
        torch.cuda.synchronize()

    def stopwatch(self) -> Callable[[], float]:
        """Time between two events on the current stream, host gaps included."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start.record()

        def stop() -> float:
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / 1000

        return stop

    def reset_peak_memory(self) -> None:
        """Release cached blocks and start a new peak."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self._baseline = torch.cuda.memory_allocated()

    def peak_memory_bytes(self) -> int | None:
        """Peak of allocated bytes beyond the baseline."""
        return int(torch.cuda.max_memory_allocated() - self._baseline)

    def free_memory_bytes(self) -> int:
        """Free memory of the current GPU."""
        return int(torch.cuda.mem_get_info()[0])

    def limit_memory(self, limit_bytes: int) -> None:
        """Bound PyTorch's share of the current GPU."""
        total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total))

    def describe(self) -> dict[str, str]:
        """Model, memory and CUDA version."""
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        return {
            "device": properties.name,
            "device_memory_gib": f"{properties.total_memory / 2**30:.1f}",
            "cuda": str(torch.version.cuda),
        }

    def supports_float64(self) -> bool:
        """Yes."""
        return True


DEVICE = Cuda()
