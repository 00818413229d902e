"""The device protocol and the back ends on an accelerator; run by `make test-gpu`, deselected otherwise."""

import pytest
import torch

from bench.plugins import BACKENDS, DEVICES, OPERATORS
from bench.speed.timing import measure
from implementations.conformance import CHECKS
from implementations.contract import LayerConfig

pytestmark = pytest.mark.gpu

ACCELERATORS = ("cuda", "mps")
LAYER = LayerConfig(in_channels=8, out_channels=4, heads=2)


@pytest.fixture(params=ACCELERATORS)
def device(request):
    plugin = DEVICES.get(request.param)
    if reason := plugin.unavailable():
        pytest.skip(reason)
    return plugin


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("operator", ["gat", "gatv2", "gatv2_labml"])
@pytest.mark.parametrize("backend", ["dense", "scatter", "pyg", "dgl"])
def test_every_back_end_conforms_on_the_accelerator(backend, operator, check, device):
    where = device.enter(device.slots()[0], threads=1)
    if reason := BACKENDS.get(backend).unsupported(OPERATORS.get(operator), LAYER, where):
        pytest.skip(reason)
    check(BACKENDS.get(backend), OPERATORS.get(operator), where)


def test_the_stopwatch_sees_the_device_work_and_not_only_its_launch(device):
    where = device.enter(device.slots()[0], threads=1)
    small, large = (torch.randn(size, size, device=where) for size in (64, 4096))
    seconds = [
        measure(lambda x=x: x @ x, device, samples=5, min_sample_s=0.01, max_phase_s=5).seconds for x in (small, large)
    ]
    assert min(seconds[1]) > 2 * max(seconds[0])


def test_the_peak_counts_what_was_allocated_since_the_reset(device):
    where = device.enter(device.slots()[0], threads=1)
    device.reset_peak_memory()
    block = torch.ones(64, 2**20, device=where)
    device.synchronize()
    peak_bytes = device.peak_memory_bytes()
    if peak_bytes is None:
        pytest.skip(f"{device.name} keeps no peak")
    assert peak_bytes >= block.numel() * 4


def test_a_device_describes_itself(device):
    device.enter(device.slots()[0], threads=1)
    assert device.describe()["device"] == device.model(device.slots()[0]) != ""
    assert device.free_memory_bytes() > 0
