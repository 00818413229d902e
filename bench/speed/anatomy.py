"""Where a training step's time goes, part by part, under the names that its back end or torch gives the parts."""

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from implementations.contract import Trainer

SHORT = 1e-3
"""Parts of less than this share of all are told as one; of torch's operations those are most."""


def of_step(trainer: Trainer, steps: int, device: torch.device) -> dict[str, float]:
    """Mean seconds of each part over so many further steps, the longest first.

    Of a trainer that does not say, the operations of torch that its steps call, each without those that it calls in
    turn; on an accelerator, their time there.
    """
    said = trainer.parts(steps)
    found = _profiled(trainer, steps, device) if said is None else dict(said)
    shortest_s = SHORT * sum(found.values())
    kept = {name: seconds for name, seconds in found.items() if seconds >= shortest_s}
    if short_s := sum(seconds for seconds in found.values() if seconds < shortest_s):
        kept["short ones"] = short_s
    return dict(sorted(kept.items(), key=lambda part: -part[1]))


def _profiled(trainer: Trainer, steps: int, device: torch.device) -> dict[str, float]:
    activities = [ProfilerActivity.CPU]
    if on_cuda := device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            trainer.step()
    if on_cuda:  # an operation's time there holds that of its kernels, which are listed besides
        times_us = {
            event.key.removeprefix("aten::"): event.self_device_time_total
            for event in profiler.key_averages()
            if event.device_type == DeviceType.CPU and not event.is_user_annotation
        }
    else:
        times_us = {event.key.removeprefix("aten::"): event.self_cpu_time_total for event in profiler.key_averages()}
    return {name: 1e-6 * time_us / steps for name, time_us in times_us.items() if time_us}
