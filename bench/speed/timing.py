"""Timing that a sceptic can re-judge: calibrated, warmed up until steady or until its time is up, every sample kept.

A sample is the mean of `steps` consecutive calls between two synchronisations. How rounds become a verdict is
`bench.summary`'s matter; nothing is averaged or thrown away here.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.device import Device

STEADY_WITHIN = 0.03  # two successive warm-up windows whose medians are closer than this
WINDOW = 3
MOST_WARMUPS = 12
FEWEST_SAMPLES = 2
DONE_ONCE = 0.5  # a second call that takes less than this share of the first shows that most of that is done once


@dataclass(frozen=True)
class Measured:
    """Seconds per call, of samples and of warm-ups, in the order they were taken."""

    steps: int
    seconds: tuple[float, ...]
    warmup: tuple[float, ...]


def measure(
    call: Callable[[], object],
    device: Device,
    *,
    samples: int,
    min_sample_s: float,
    max_phase_s: float,
    period: int = 1,
) -> Measured:
    """Time `call` on `device`.

    Args:
        call: one step; its result is dropped.
        device: supplies the stopwatch.
        period: so many calls belong together, as a pass over as many different inputs: no sample ends between them.
        samples: how many to take; fewer, but at least two, where they would exceed `max_phase_s`.
        min_sample_s: a sample makes as many calls as it takes to last this long.
        max_phase_s: bound on warm-up plus samples, up to the last sample's own length; what is done once, as compiling,
            does not count where it alone would leave no time to warm up.
    """
    once: tuple[float, ...] = ()
    first_s = _sample(call, device, period)
    if first_s * period >= max_phase_s / 2:
        again_s = _sample(call, device, period)
        if again_s >= DONE_ONCE * first_s and _steps(min_sample_s, again_s, period) == period:
            others = [_sample(call, device, period) for _ in range(min(samples, FEWEST_SAMPLES) - 1)]
            return Measured(period, (again_s, *others), (first_s,))  # slow as they are, no call is one too many
        once, first_s = (first_s,), again_s
    steps = _steps(min_sample_s, first_s, period)
    more = _warm_up(call, device, steps, max_phase_s / 2 - first_s * period)
    left_s = max_phase_s - first_s * period - sum(more) * steps
    # Even a short first call includes what is done once, so calibrate again by the last.
    warm_s = (more or [first_s])[-1]
    steps = _steps(min_sample_s, warm_s, period)
    count = min(samples, max(FEWEST_SAMPLES, int(left_s / (warm_s * steps))))
    return Measured(steps, tuple(_sample(call, device, steps) for _ in range(count)), (*once, first_s, *more))


def _steps(min_sample_s: float, step_s: float, period: int) -> int:
    return period * max(1, round(min_sample_s / (step_s * period)))


def _warm_up(call: Callable[[], object], device: Device, steps: int, limit_s: float) -> list[float]:
    """Samples until two successive windows agree, the limit is reached, or enough is enough."""
    taken: list[float] = []
    while len(taken) < MOST_WARMUPS and sum(taken) * steps < limit_s and not is_steady(taken):
        taken.append(_sample(call, device, steps))
    return taken


def is_steady(taken: Sequence[float]) -> bool:
    """Whether warm-up may end with these samples: the last two windows of three agree within 3 %."""
    if len(taken) < 2 * WINDOW:
        return False
    before, after = statistics.median(taken[-2 * WINDOW : -WINDOW]), statistics.median(taken[-WINDOW:])
    return abs(after - before) <= STEADY_WITHIN * before


def _sample(call: Callable[[], object], device: Device, steps: int) -> float:
    device.synchronize()
    stop = device.stopwatch()
    for _ in range(steps):
        call()
    return stop() / steps
