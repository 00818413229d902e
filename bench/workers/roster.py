"""Who of a cluster's workers may share a run's jobs, what there is room for, and on which machine times are made."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.basis import Machine
from bench.durations import roughly
from bench.work import Job, SpeedJob
from bench.workers.crew import TICK_S
from bench.workers.dask_worker import Introduction
from bench.workers.fitness import unfit

PATIENCE_S = 10
LOOK_EVERY_S = 2.0
ABSENT_S = 60.0  # so long after the last newcomer, what none of the workers had is not waited for any more


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
    _came: list[Introduction] = field(default_factory=list)  # whoever could be used so far, also those that left
    _met: set[str] = field(default_factory=set)
    _expected: set[str] = field(default_factory=set)  # who was asked for the first time, and has not answered yet
    _unreached: set[str] = field(default_factory=set)  # who was asked in vain
    _newest_at_s: float = field(default_factory=time.monotonic)  # when somebody came
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
            self._wait(device, lambda: bool(self.able(device)))
            self._timing[device] = min(worker.machines[device] for worker in self.able(device))
        return self._timing[device]

    def offers(self, device: str) -> bool:
        """Whether any worker has, or had, a device; waits for one as long as somebody may come."""
        self._wait(device, lambda: bool(self._had(device)) or self._is_complete())
        return bool(self._had(device))

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
        if self._came and (reason := self._lack(job)):
            return f"{reason}; the run goes on without, if none comes within {roughly(ABSENT_S)}"
        return f"waiting for a worker at {self.address} that has {job.device} and {job.dataset}"

    def lacked(self, job: Job) -> str:
        """Why a job is not waited for, or nothing: none of the workers that came had what it needs, and no other comes.

        What a worker had that has left since is waited for: there may soon be another like it.
        """
        return self._lack(job) if self._is_complete() else ""

    def look(self) -> None:
        """Meet workers that are new and forget those that are gone, every few seconds."""
        if time.monotonic() < self._look_at_s:
            return
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        here = self.present()
        for address in self._met.union(list(self._fit)) - here:
            self._met.discard(address)
            self._expected.discard(address)
            if gone := self._fit.pop(address, None):
                self.left(gone.host)
                self.news.set()  # a job that no other worker may do is called back, and what it waits for can be said
        if new := here - self._met:
            self._met |= new
            if first := new - self._unreached:
                self._expected |= first
                self._newest_at_s = time.monotonic()
            threading.Thread(target=self._meet, args=(sorted(new),), daemon=True).start()

    def _wait(self, device: str, is_over: Callable[[], bool]) -> None:
        """For a worker that offers a device; says so where that takes its time."""
        say_at_s = time.monotonic() + PATIENCE_S
        while not is_over():
            if time.monotonic() > say_at_s:
                self.say(f"waiting for a worker at {self.address} that has {device}, to time there")
                say_at_s = math.inf
            self.look()
            time.sleep(TICK_S)

    def _had(self, device: str) -> list[Introduction]:
        """Workers, also those that left, that offered a device."""
        return [worker for worker in list(self._came) if device in worker.slots]

    def _is_complete(self) -> bool:
        """Whether some workers came, and no other seems to come."""
        waited_s = time.monotonic() - self._newest_at_s
        return bool(self._came) and not self._expected and waited_s >= ABSENT_S

    def _lack(self, job: Job) -> str:
        """Why none of the workers that came could do a job, or nothing."""
        able, where = self._had(job.device), f"at {self.address}"
        if not able:
            return f"no worker {where} has {job.device}"
        if isinstance(job, SpeedJob):
            chosen = self.machine(job.device)
            able = [worker for worker in able if worker.machines[job.device] == chosen]
            where = f"on {chosen.host}, where this run's times are made,"
        reasons = [worker.lacking.get(job.dataset, "") for worker in able]
        return f"no worker {where} has {job.dataset}: {reasons[0]}" if reasons and all(reasons) else ""

    def _meet(self, addresses: list[str]) -> None:
        """Have workers introduce themselves; those that would not do as this machine does are told of and not used.

        One that cannot be reached is asked again: it may be slow, or new, rather than gone.
        """
        found = self.introductions(addresses)
        if found is None:
            self._met.difference_update(addresses)
            self._expected.difference_update(addresses)
            return
        for address, introduction in found.items():
            if isinstance(introduction, OSError):
                self._met.discard(address)
                self._unreached.add(address)
            elif reason := unfit(introduction, self.storage_url):
                self.say(f"worker {address} is not used: {reason}")
            else:
                assert isinstance(introduction, Introduction)
                self._welcome(address, introduction)
        self._expected.difference_update(addresses)

    def _welcome(self, address: str, worker: Introduction) -> None:
        self._fit[address] = worker
        self._came.append(worker)
        self._newest_at_s = time.monotonic()
        self.news.set()
        for dataset, reason in worker.lacking.items():
            self.say(f"worker {address} on {worker.host} lacks {dataset}: {reason}")
