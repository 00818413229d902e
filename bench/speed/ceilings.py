"""What a machine can do at most, measured where and when the back ends are: the two ceilings of a roofline.

    GEMM   C = A B in float32, 2 n^3 floating point operations
    copy   y = x over a buffer larger than the caches, each byte read once and written once

A ceiling is the best of several attempts: whatever disturbs one makes it slower, never faster.
"""

from collections.abc import Callable

import torch

from bench.device import Device
from bench.outcomes import Ceilings

SIZE = 768
COPIED_BYTES = 64 * 2**20
ATTEMPTS = 4


def measure(device: Device, torch_device: torch.device) -> Ceilings:
    """Both ceilings with the threads that the device has now; a quarter of a second on one core."""
    a, b = (torch.rand(SIZE, SIZE, device=torch_device) for _ in range(2))
    product = torch.empty_like(a)
    source = torch.zeros(COPIED_BYTES // 4, device=torch_device)
    target = torch.empty_like(source)
    gemm_s = min(_seconds(device, lambda: torch.mm(a, b, out=product)) for _ in range(ATTEMPTS))
    copy_s = min(_seconds(device, lambda: target.copy_(source)) for _ in range(2 * ATTEMPTS))
    return Ceilings(
        gemm_flops_per_s=2 * SIZE**3 / gemm_s,
        copy_bytes_per_s=2 * COPIED_BYTES / copy_s,
        free_bytes=device.free_memory_bytes(),
    )


def _seconds(device: Device, call: Callable[[], object]) -> float:
    device.synchronize()
    stop = device.stopwatch()
    call()
    return stop()
