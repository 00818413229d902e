"""Who of a cluster's workers may share a run's jobs, what there is room for, and on which machine times are made."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.basis import Machine
from bench.work import Job, SpeedJob
from bench.workers.crew import TICK_S
from bench.workers.dask_worker import Introduction
from bench.workers.fitness import unfit

PATIENCE_S = 10
LOOK_EVERY_S = 2.0


@dataclass
class Roster:
    """The workers of a scheduler, as far as they are known by now; `look` asks anew every few seconds."""

    address: str  # of the scheduler, as people know it
    storage_url: str
    present: Callable[[], set[str]]  # addresses of the workers there are now
    introductions: Callable[[Sequence[str]], Mapping[str, Introduction | Exception] | None]  # None: ask again
    left: Callable[[str], None]  # gets the host of a worker that was used and is gone
    say: Callable[[str], None]  # gets a sentence for each thing a person should know of a worker
    news: threading.Event = field(default_factory=threading.Event)  # a worker was found fit, or left
    _fit: dict[str, Introduction] = field(default_factory=dict)  # by address, those that may be used
    _met: set[str] = field(default_factory=set)
    _timing: dict[str, Machine] = field(default_factory=dict)
    _look_at_s: float = 0.0

    def addresses(self) -> list[str]:
        """Of the workers that may be used."""
        return list(self._fit)

    def able(self, device: str) -> list[Introduction]:
        """Workers that offer a device."""
        known = list(self._fit.values())  # at once: `_meet` adds to them meanwhile
        return [worker for worker in known if device in worker.slots]

    def machine(self, device: str) -> Machine:
        """One of those that offer the device, kept for all of a run; waits for the first."""
        if device not in self._timing:
            self._timing[device] = min(self._offering(device))
        return self._timing[device]

    def room(self, job: Job) -> int:
        """Slots on which a job may run."""
        return sum(
            worker.slots[job.device]
            for worker in self.able(job.device)
            if job.dataset not in worker.lacking
            and not (isinstance(job, SpeedJob) and worker.machines[job.device] != self.machine(job.device))
        )

    def awaited(self, job: Job) -> str:
        """What a job for which there is no room waits for."""
        if isinstance(job, SpeedJob):
            chosen = self.machine(job.device)
            if chosen not in (worker.machines[job.device] for worker in self.able(job.device)):
                return (
                    f"waiting for {chosen.host}, where this run's times are made; start a worker there, "
                    "or end this run and start it again to time everything anew elsewhere"
                )
        return f"waiting for a worker at {self.address} that has {job.device} and {job.dataset}"

    def look(self) -> None:
        """Meet workers that are new and forget those that are gone, every few seconds."""
        if time.monotonic() < self._look_at_s:
            return
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        here = self.present()
        for address in self._met.union(list(self._fit)) - here:
            self._met.discard(address)
            if gone := self._fit.pop(address, None):
                self.left(gone.host)
                self.news.set()  # a job that no other worker may do is called back, and what it waits for can be said
        if new := here - self._met:
            self._met |= new
            threading.Thread(target=self._meet, args=(sorted(new),), daemon=True).start()

    def _offering(self, device: str) -> list[Machine]:
        """Those that offer a device; waits for the first, and says so where that takes its time."""
        say_at_s = time.monotonic() + PATIENCE_S
        while not (found := [worker.machines[device] for worker in self.able(device)]):
            if time.monotonic() > say_at_s:
                self.say(f"waiting for a worker at {self.address} that has {device}, to time there")
                say_at_s = math.inf
            self.look()
            time.sleep(TICK_S)
        return found

    def _meet(self, addresses: list[str]) -> None:
        """Have workers introduce themselves; those that would not do as this machine does are told of and not used.

        One that cannot be reached is asked again: it may be slow, or new, rather than gone.
        """
        found = self.introductions(addresses)
        if found is None:
            self._met.difference_update(addresses)
            return
        for address, introduction in found.items():
            if isinstance(introduction, OSError):
                self._met.discard(address)
            elif reason := unfit(introduction, self.storage_url):
                self.say(f"worker {address} is not used: {reason}")
            else:
                assert isinstance(introduction, Introduction)
                self._welcome(address, introduction)

    def _welcome(self, address: str, worker: Introduction) -> None:
        self._fit[address] = worker
        self.news.set()
        for dataset, reason in worker.lacking.items():
            self.say(f"worker {address} on {worker.host} lacks {dataset}: {reason}")
