"""What a Dask worker does for a runner: it says what it is, and runs a job in a child process of its own.

Never imports MLflow. A job's death is an outcome and leaves the Dask worker alive; the Dask worker's death ends the
child, whose standard input ends with it.
"""

import asyncio
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import saved_model
from bench.basis import Code, Machine, build, this_machine
from bench.plugins import DATASETS, DEVICES
from bench.progress import title
from bench.task import DataUnavailable
from bench.work import Job, SpeedJob, digest
from bench.workers import slots
from bench.workers.crew import Crew
from bench.workers.worker import JOB, Done
from bench.workers.workforce import Terms

if TYPE_CHECKING:
    from distributed import Worker

PLENTY = 1e9  # of a data set, any number of jobs can read


@dataclass(frozen=True)
class Introduction:
    """What a Dask worker says of itself."""

    host: str
    machines: Mapping[str, Machine]  # by device
    build: Mapping[str, str]
    slots: Mapping[str, int]  # by device: so many jobs at once
    lacking: Mapping[str, str]  # data set -> why it is not here


def device_resource(device: str, build_: Mapping[str, str]) -> str:
    """The Dask resource of which a job takes one: slots of a device, under one version of the code."""
    return f"{device} {digest(dict(build_))[:8]}"


def data_resource(dataset: str, build_: Mapping[str, str]) -> str:
    """The Dask resource that says that a data set is here."""
    return f"data {dataset} {digest(dict(build_))[:8]}"


def timing_resource(host: str) -> str:
    """The Dask resource of which there is one on each worker of a machine, for jobs that must run on that machine."""
    return f"timing {host}"


async def introduce(datasets: Sequence[str], *, dask_worker: "Worker") -> Introduction:
    """Offer this worker's devices and data sets as Dask resources; absent data is brought if it can be."""
    found = await asyncio.to_thread(_introduction, tuple(datasets), dask_worker.state.nthreads)
    await dask_worker.set_resources(
        **{device_resource(device, found.build): float(number) for device, number in found.slots.items()},
        **{data_resource(name, found.build): PLENTY for name in datasets if name not in found.lacking},
        **{timing_resource(found.host): 1.0},
    )
    return found


def work(job: Mapping[str, Any], code: Sequence[Code], terms: Terms, topic: str) -> tuple[dict[str, Any], bytes]:
    """Run one job on a slot that nobody else uses; `bench.workers.worker.Done` as JSON, and a fit's network or nothing.

    Raises:
        Unwanted: the runner has gone or given the job up.
        CodeChanged: the code on this machine is not the runner's by now.
    """
    asked = JOB.validate_python(job)
    desk = _Desk(topic)
    free = slots.of_device(asked.device)
    if isinstance(asked, SpeedJob):
        with slots.all_of(slots.of_machine(), desk.wanted):
            return _run(asked, code, free[0], terms, desk)
    with slots.one_of(free, desk.wanted) as slot:
        return _run(asked, code, slot, terms, desk)


def rest() -> None:
    """End the child processes that wait for another job; the next job starts a new one."""
    for crew in _crews.values():
        crew.close()


_crews: dict[str, Crew] = {}  # by slot: starting a child process costs seconds


def _run(job: Job, code: Sequence[Code], slot: str, terms: Terms, desk: "_Desk") -> tuple[dict[str, Any], bytes]:
    with tempfile.TemporaryDirectory() as models:
        done = _at_work(job, code, slot, replace(terms, models=models if terms.models else ""), desk)
        path = saved_model.path(Path(models), job.id)
        network = path.read_bytes() if path.exists() else b""
    return done.model_dump(mode="json"), network


def _at_work(job: Job, code: Sequence[Code], slot: str, terms: Terms, desk: "_Desk") -> Done:
    crew = _crews.setdefault(slot, Crew(slots=lambda device: (slot,), limit_s=terms.limit_s))
    if crew.memory_bytes != terms.memory_bytes:
        crew.close()  # what rests there was limited for another run, and nothing lifts a process's limit of memory
    crew.limit_s, crew.storage_url, crew.memory_bytes = terms.limit_s, terms.storage_url, terms.memory_bytes
    crew.models, crew.code = terms.models, lambda job: code
    run = crew.alone if isinstance(job, SpeedJob) else crew.together
    done: Done | None = None
    for item in run([job], title):
        if item is not None:
            done = item[1]
        elif not desk.wanted():
            raise slots.Unwanted  # leaving the loop kills the child
        desk.tell(slot, crew.at_work.get(slot, ""))
    assert done is not None
    return done


class _Desk:
    """The line to the runner."""

    def __init__(self, topic: str) -> None:
        from distributed import get_worker

        self._worker, self._topic, self._told = get_worker(), topic, ""
        self._key = self._worker.get_current_task()

    def wanted(self) -> bool:
        """Whether the scheduler still waits for this job: it forgets those of a runner that has gone."""
        task = self._worker.state.tasks.get(self._key)
        return task is not None and task.state == "executing"

    def tell(self, slot: str, text: str) -> None:
        """What the job is at."""
        if text and text != self._told:
            self._told = text
            where = f"{platform.node()} {slot}"
            self._worker.log_event(self._topic, {"key": self._key, "where": where, "text": text})


def _introduction(datasets: Sequence[str], nthreads: int) -> Introduction:
    lacking = {name: reason for name in datasets if (reason := _lacking(name))}
    offered = {device: min(nthreads, number) for device in DEVICES.names() if (number := len(slots.of_device(device)))}
    machines = {device: this_machine(device) for device in offered}
    return Introduction(platform.node(), machines, build(), offered, lacking)


def _lacking(dataset: str) -> str:
    """Why a data set is not here, or nothing; it is brought if it can be."""
    try:
        DATASETS.get(dataset).fetch(lambda text: None)
    except DataUnavailable as reason:
        return str(reason)
    return ""
