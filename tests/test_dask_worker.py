"""A Dask worker's jobs, in child processes that outlive a run; a stub plays the line to the runner."""

from collections.abc import Iterator

import psutil
import pytest
from grid_tools import changed

from bench import plan
from bench.basis import code_behind
from bench.outcomes import Fitted
from bench.plugins import DEVICES
from bench.workers import dask_worker
from bench.workers.workforce import Terms

SLOT = DEVICES.get("cpu").slots()[0]
LIMITED, UNLIMITED = Terms(limit_s=120, memory_bytes=2**29), Terms(limit_s=120)


class Desk:
    """A runner who waits, whatever it is told."""

    def wanted(self) -> bool:
        return True

    def tell(self, slot: str, text: str) -> None:
        pass


@pytest.fixture
def children() -> Iterator[set[int]]:
    """Processes that are not of this test."""
    yield set(resting())
    dask_worker.rest()


def resting() -> list[int]:
    found = psutil.Process().children()
    return [child.pid for child in found if "bench.workers.worker" in child.cmdline()]


@pytest.mark.faults
@pytest.mark.usefixtures("foreign")
def test_a_run_without_a_limit_of_memory_is_not_held_to_an_earlier_runs(small, children):
    hoarding = changed(small, backends=["hoarding"], seeds=[0])
    (job,) = plan.fit_jobs(hoarding, plan.cells(hoarding), {})
    limited = dask_worker._at_work(job, code_behind(job), SLOT, LIMITED, Desk()).outcome
    assert limited.status == "out_of_memory"
    assert isinstance(dask_worker._at_work(job, code_behind(job), SLOT, UNLIMITED, Desk()).outcome, Fitted)
    (child,) = set(resting()) - children
    dask_worker._at_work(job, code_behind(job), SLOT, UNLIMITED, Desk())
    assert set(resting()) - children == {child}, "under the same terms its process serves the next job"
