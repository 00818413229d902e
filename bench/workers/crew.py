"""Workers side by side: jobs in, finished jobs out as they come."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.basis import Code, Machine, code_behind, this_machine
from bench.rig import Place
from bench.work import Job, SpeedJob
from bench.workers.pool import Worker
from bench.workers.slots import POLL_S, Claim, of_machine
from bench.workers.worker import Done

TICK_S = 0.25
WAITS = "waits: another run is at work on this machine"
AHEAD = 4  # processes at most that are started before their jobs: each holds libraries and data
Finished = tuple[Job, Done]
Results = queue.SimpleQueue[Finished | Exception]


@dataclass
class Crew:
    """Where jobs may run and under which limits. `at_work` says what each slot is doing now.

    On a machine that is shared with other runs a job waits until its slot is free, and one that runs alone until all
    are; no limit of time counts that.
    """

    slots: Callable[[str], Sequence[str]]  # device name -> its slots
    limit_s: float
    storage_url: str = ""
    memory_bytes: int | None = None
    models: str = ""  # folder for the networks that fits train
    is_shared: bool = False  # else whoever has the crew holds the slots
    code: Callable[[Job], Sequence[Code]] = code_behind  # that a job was planned with
    at_work: dict[str, str] = field(default_factory=dict)
    _resting: dict[str, Worker] = field(default_factory=dict, init=False)  # by slot: starting one costs seconds
    _machine: Claim = field(default_factory=lambda: Claim(()), init=False)

    def reach(self) -> None:
        """Nothing to do: it is here."""

    def machine(self, device: str) -> Machine:
        """This one, for every device."""
        return this_machine(device)

    def offers(self, device: str) -> bool:
        """Any: jobs of one that is absent say so."""
        del device
        return True

    def size(self, device: str) -> int:
        """How many jobs of a device run at once."""
        return len(self.slots(device))

    def alone(self, jobs: Sequence[Job], title: Callable[[Job], str]) -> Iterator[Finished | None]:
        """One after the other, each in a fresh process, on the first slot of its device.

        The processes of a few jobs are started together, before the first of them runs: each imports and loads what its
        job needs, and then waits. So starting takes less time, and while one job runs the others' processes are idle.
        Under a limit of memory, which counts what a job loads, nothing is loaded ahead.
        """
        self._end_resting()
        few = min([AHEAD, *(len(self.slots(device)) for device in {job.device for job in jobs})])
        for first in range(0, len(jobs), few):
            with Claim(of_machine() if self.is_shared else ()) as self._machine:
                yield from self._held(self._machine, self.slots(jobs[first].device)[0])
                yield from self._in_processes_of_their_own(jobs[first : first + few], title)

    def _held(self, claim: Claim, slot: str) -> Iterator[None]:
        """Until it is."""
        while not claim.is_held():
            self.at_work[slot] = WAITS
            yield None
            time.sleep(POLL_S)
        self.at_work.pop(slot, None)

    def _in_processes_of_their_own(self, jobs: Sequence[Job], title: Callable[[Job], str]) -> Iterator[Finished | None]:
        workers = [Worker(_threads(job)) for job in jobs]
        try:
            if self.memory_bytes is None:
                yield from self._started(jobs, workers)
            for job, worker in zip(jobs, workers, strict=True):
                self.rest(self.slots(job.device)[0], worker)
                yield from self._side_by_side([job], title, most=1)
                self._end_resting()
        finally:
            for worker in workers:
                worker.close()

    def _started(self, jobs: Sequence[Job], workers: Sequence[Worker]) -> Iterator[None]:
        """Until all are ready."""
        slot, end_s = self.slots(jobs[0].device)[0], time.monotonic() + self.limit_s
        self.at_work[slot] = "starting processes"
        for job, worker in zip(jobs, workers, strict=True):
            worker.start(job)
        for worker in workers:
            while not worker.is_ready(TICK_S) and time.monotonic() < end_s:
                yield None
        self.at_work.pop(slot, None)

    def together(
        self, jobs: Sequence[Job], title: Callable[[Job], str], most: int | None = None
    ) -> Iterator[Finished | None]:
        """One per slot at a time, each slot's process kept from job to job and from call to call.

        Yields None while nothing finishes. Leaving the loop early, by an exception or Ctrl-C, kills what is at work.
        """
        return self._side_by_side(jobs, title, most, claims=self.is_shared)

    def _side_by_side(
        self, jobs: Sequence[Job], title: Callable[[Job], str], most: int | None, *, claims: bool = False
    ) -> Iterator[Finished | None]:
        finished: Results = queue.SimpleQueue()
        hands = [
            _Hand(self, slot, waiting, finished, title, claims)
            for device, waiting in _by_device(jobs).items()
            for slot in self.slots(device)[:most]
        ]
        try:
            for hand in hands:
                hand.start()
            yield from _take(finished, len(jobs))
            for hand in hands:
                hand.join()
        finally:
            for hand in hands:
                hand.stop()

    def close(self) -> None:
        """End the processes that rest; the next job starts a new one. The machine is given back."""
        self._end_resting()
        self._machine.release()

    def _end_resting(self) -> None:
        while self._resting:
            self._resting.popitem()[1].close()

    def take(self, slot: str) -> Worker | None:
        """The process that rests on a slot."""
        return self._resting.pop(slot, None)

    def rest(self, slot: str, worker: Worker) -> None:
        """Keep a slot's process for the next jobs."""
        self._resting[slot] = worker


class _Hand(threading.Thread):
    """One slot: takes jobs that wait for its device until there are none."""

    def __init__(
        self,
        crew: Crew,
        slot: str,
        waiting: "queue.SimpleQueue[Job]",
        finished: Results,
        title: Callable[[Job], str],
        claims: bool,
    ) -> None:
        super().__init__(daemon=True)
        self._crew, self._slot, self._title, self._claims = crew, slot, title, claims
        self._waiting, self._finished = waiting, finished
        self._stopped = threading.Event()
        self._worker: Worker | None = None

    def run(self) -> None:
        """See the class."""
        try:
            while not self._stopped.is_set() and not self._waiting.empty():
                with Claim([self._slot] if self._claims else ()) as claim:
                    if self._has(claim):
                        self._one(self._waiting.get_nowait())
        except queue.Empty:
            pass
        except Exception as problem:  # noqa: BLE001 - no process could be started, say; the runner's thread raises it
            self._finished.put(problem)
        finally:
            self._crew.at_work.pop(self._slot, None)
            if self._worker is not None:
                self._crew.rest(self._slot, self._worker)
                self._worker = None

    def stop(self) -> None:
        """Kill the job at hand, if any, and wait for the thread; what was killed does not rest."""
        self._stopped.set()
        at_hand = self._worker  # the thread may lay it down at any moment
        if at_hand is not None:
            at_hand.kill()
        self.join()
        if at_hand is not None and (killed := self._crew.take(self._slot)) is not None:
            killed.close()  # for good: a crew may outlive its run, and every later job on the slot would die of it

    def _has(self, claim: Claim) -> bool:
        """Whether the slot is held before there is nothing left to do on it."""
        while not claim.is_held():
            self._show(WAITS)
            if self._stopped.wait(POLL_S) or self._waiting.empty():
                return False
        return True

    def _one(self, job: Job) -> None:
        if self._worker is None:
            self._worker = self._crew.take(self._slot) or Worker(_threads(job))
            if self._stopped.is_set():  # too late for `stop` to have seen the worker
                return
        name = self._title(job)
        self._show(name)
        place = Place(self._slot, self._crew.storage_url, self._crew.memory_bytes, self._crew.models)
        code, limit_s = self._crew.code(job), self._crew.limit_s
        done = self._worker.run(job, code, place, limit_s, lambda text: self._show(f"{name}  {text}"))
        self._finished.put((job, done))

    def _show(self, text: str) -> None:
        self._crew.at_work[self._slot] = text


def _threads(job: Job) -> int:
    return job.threads if isinstance(job, SpeedJob) else 1


def _by_device(jobs: Sequence[Job]) -> Mapping[str, "queue.SimpleQueue[Job]"]:
    waiting: dict[str, queue.SimpleQueue[Job]] = {}
    for job in jobs:
        waiting.setdefault(job.device, queue.SimpleQueue()).put(job)
    return waiting


def _take(finished: Results, expected: int) -> Iterator[Finished | None]:
    taken = 0
    while taken < expected:
        try:
            item = finished.get(timeout=TICK_S)
        except queue.Empty:
            yield None
        else:
            if isinstance(item, Exception):
                raise item
            taken += 1
            yield item
