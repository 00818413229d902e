"""Devices say what they are, or why they are absent."""

import os

import pytest
import torch

from bench.plugins import DEVICES


def test_the_cpu_offers_a_slot_per_core_it_may_use(cpu):
    assert cpu.slots() == tuple(f"cpu:{core}" for core in sorted(os.sched_getaffinity(0)))


def test_a_slot_pins_the_process_and_fixes_its_threads(cpu):
    slot = cpu.slots()[-1]
    cpu.enter(slot, threads=1)
    assert os.sched_getaffinity(0) == {int(slot.split(":")[1])}
    assert torch.get_num_threads() == 1


def test_the_cpus_peak_memory_counts_what_was_touched_and_freed_since_the_reset(cpu):
    cpu.reset_peak_memory()
    block = torch.ones(32 * 2**20)  # 128 MiB
    del block
    assert 120 * 2**20 < cpu.peak_memory_bytes() < 200 * 2**20
    cpu.reset_peak_memory()
    assert cpu.peak_memory_bytes() < 60 * 2**20


def test_the_cpu_says_what_it_is(cpu):
    assert cpu.describe()["device"] == cpu.model(cpu.slots()[0]) != ""
    assert cpu.free_memory_bytes() > 0


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_an_absent_accelerator_says_why(name):
    reason = DEVICES.get(name).unavailable()
    if reason is None:
        pytest.skip(f"there is a {name} device here")
    assert "torch" in reason
