"""Timing is calibrated, warmed up and bounded; nothing is thrown away."""

import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat

import pytest

from bench.speed.timing import FEWEST_SAMPLES, MOST_WARMUPS, measure
from bench.workers.pool import environment


class CountingDevice:
    """A device whose clock is moved by the calls themselves."""

    def __init__(self, durations: Iterator[float]) -> None:
        self.now_s = 0.0
        self.calls = 0
        self.durations = durations

    def call(self) -> None:
        self.calls += 1
        self.now_s += next(self.durations)

    def synchronize(self) -> None:
        return None

    def stopwatch(self) -> Callable[[], float]:
        start_s = self.now_s
        return lambda: self.now_s - start_s


def timed(durations, samples=10, min_sample_s=0.1, max_phase_s=60.0, period=1):
    device = CountingDevice(iter(durations))
    measured = measure(
        device.call, device, samples=samples, min_sample_s=min_sample_s, max_phase_s=max_phase_s, period=period
    )
    return device, measured


def test_a_short_step_is_repeated_until_a_sample_is_long_enough():
    _, measured = timed(repeat(0.001))
    assert measured.steps == 100
    assert len(measured.seconds) == 10
    assert all(abs(second - 0.001) < 1e-9 for second in measured.seconds)


def test_of_calls_that_belong_together_every_sample_has_all():
    unlike = cycle([0.01, 0.02, 0.06])
    device, measured = timed(unlike, min_sample_s=0.1, period=3)
    assert measured.steps == 3
    assert device.calls % 3 == 0
    assert all(second == pytest.approx(0.03) for second in (*measured.warmup, *measured.seconds))


def test_a_slow_first_call_counts_as_warmup_and_does_not_spoil_the_calibration():
    _, measured = timed(chain([5.0], repeat(0.01)))
    assert measured.warmup[0] == 5.0
    assert measured.steps == 10
    assert max(measured.seconds) < 0.011


def test_warming_up_goes_on_while_steps_still_get_faster():
    falling = [0.1 * 0.8**call for call in range(40)]
    _, measured = timed(falling, min_sample_s=0.0001, samples=2)
    assert len(measured.warmup) == 1 + MOST_WARMUPS


def test_a_steady_step_is_warm_soon():
    _, measured = timed(repeat(0.2))
    assert len(measured.warmup) < MOST_WARMUPS


def test_a_step_too_slow_for_its_phase_is_still_sampled_twice():
    device, measured = timed(repeat(100.0), max_phase_s=5.0)
    assert len(measured.seconds) == FEWEST_SAMPLES
    assert device.calls == len(measured.warmup) + FEWEST_SAMPLES


def test_a_second_call_as_slow_as_the_first_is_a_sample_already():
    device, measured = timed([30.0, 20.0, 25.0], max_phase_s=10.0)
    assert (measured.warmup, measured.seconds) == ((30.0,), (20.0, 25.0))
    assert device.calls == 3


def test_compiling_for_longer_than_a_phase_leaves_its_warmup_and_its_samples_as_they_are():
    _, compiled = timed(chain([50.0], repeat(0.01)), max_phase_s=10.0)
    _, ready = timed(repeat(0.01), max_phase_s=10.0)
    assert compiled.warmup[0] == 50.0
    assert compiled.warmup[1:] == pytest.approx(ready.warmup)
    assert compiled.seconds == pytest.approx(ready.seconds)
    assert (compiled.steps, len(compiled.seconds)) == (10, 10)


def test_a_second_call_that_is_too_short_for_a_sample_is_none():
    _, measured = timed(chain([3.2], repeat(1.7)), min_sample_s=3.0, max_phase_s=6.0)
    assert measured.steps == 2
    assert measured.warmup == pytest.approx((3.2, 1.7, 1.7))


def test_every_call_is_accounted_for():
    device, measured = timed(repeat(0.2), samples=4)
    assert device.calls == len(measured.warmup) + measured.steps * len(measured.seconds)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other rules")
def test_a_measured_process_keeps_the_memory_that_it_frees():
    # Left to itself, glibc hands the top of its heap back at every free, and takes it again in the next step.
    script = (
        "import ctypes, resource\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.malloc.restype = ctypes.c_void_p\n"
        "def faults_after(steps):\n"
        "    for _ in range(steps):\n"
        "        blocks = [ctypes.c_void_p(libc.malloc(2**23)) for _ in range(20)]\n"
        "        for block in blocks: libc.memset(block, 1, 2**23)\n"
        "        for block in blocks: libc.free(block)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "warm = faults_after(5)\n"
        "print((faults_after(10) - warm) * resource.getpagesize())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(threads=1), capture_output=True, text=True, check=True
    )
    touched_bytes = 10 * 20 * 2**23
    assert int(done.stdout) < touched_bytes / 10
