"""Jobs on many machines: handed to a Dask cluster, whose workers run them as `bench.workers.dask_worker` says.

Dask decides which worker runs a job, and gives it to another one when a worker dies. Here is what it is told: what a
job needs, and no more jobs at once than there is room for, so that only those that were at work count as disturbed when
a worker dies. Which workers may be used at all is for `bench.workers.roster` to say.
"""

import contextlib
import queue
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from bench import saved_model
from bench.basis import Machine, build, code_behind
from bench.folder import write_atomically
from bench.outcomes import NotDone
from bench.plugins import DATASETS
from bench.work import Job, SpeedJob
from bench.workers import connection, dask_worker
from bench.workers.connection import Connection, Event, Flight
from bench.workers.crew import TICK_S, Finished
from bench.workers.dask_worker import Introduction
from bench.workers.roster import Roster
from bench.workers.worker import Done
from bench.workers.workforce import Terms

STRANDINGS = 3
WAITING = "cluster"  # the place of what is said while no worker can be had


class Cluster:
    """See `bench.workers.workforce.Workforce`.

    Args:
        address: of the Dask scheduler, `tcp://host:port`.
        terms: limits of every job.
        datasets: what the jobs read.
        most: jobs at once per kind of device; as many as the workers have slots if None.
        say: gets a sentence for each thing a person should know of a worker.
    """

    def __init__(
        self,
        address: str,
        terms: Terms,
        datasets: Sequence[str] = (),
        most: int | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.at_work: dict[str, str] = {}
        self._terms, self._most = terms, most
        self._datasets = [name for name in dict.fromkeys(datasets) if not DATASETS.problem(name)]
        self._run = uuid.uuid4().hex[:8]  # what an earlier run left with the scheduler is not ours
        self._topic = f"gat-bench-{self._run}"
        self._places: dict[str, str] = {}  # by key: where it was last heard of
        self._stranded: Counter[str] = Counter()  # by job: how often it was called back
        self._left_out: dict[str, None] = {}  # why jobs were not done, in order
        self._say = say
        self._dask = Connection(address)
        self._roster = Roster(address, terms.storage_url, self._dask.workers, self._introductions, self._forget, say)

    def reach(self) -> None:
        """See `Workforce`."""
        self._dask.client()

    def machine(self, device: str) -> Machine:
        """One of those that offer the device, kept for all of a run; waits for the first."""
        return self._roster.machine(device)

    def offers(self, device: str) -> bool:
        """Whether any worker has, or had, a device; waits for one as long as somebody may come."""
        if found := self._roster.offers(device):
            return found
        self._left_out[f"no worker at {self._dask.address} has {device}"] = None
        return False

    def size(self, device: str) -> int:
        """How many jobs of a device run at once, as far as is known by now."""
        return min(sum(worker.slots[device] for worker in self._roster.able(device)), self._most or 2**31)

    def alone(self, jobs: Sequence[Job], title: Callable[[Job], str]) -> Iterator[Finished | None]:
        """One after the other, on the machine of `machine`; its slots are all held meanwhile."""
        for job in jobs:
            yield from self.together([job], title)

    def together(self, jobs: Sequence[Job], title: Callable[[Job], str]) -> Iterator[Finished | None]:
        """Side by side, as many as there are slots."""
        del title  # the worker's side has it, too
        waiting, finished = list(jobs), queue.SimpleQueue[Flight]()
        flying: dict[str, tuple[Job, Flight]] = {}
        try:
            while waiting or flying:
                self._roster.look()
                yield from self._once_more(self._call_back(flying), waiting)
                yield from self._leave_out(waiting)
                self._hand_out(waiting, flying, finished)
                try:
                    flight = finished.get(timeout=TICK_S)
                except queue.Empty:
                    yield None
                    continue
                if flight.key not in flying:  # called back
                    continue
                job, _ = flying.pop(flight.key)
                self.at_work.pop(self._places.pop(flight.key, ""), None)
                if done := self._done(job, flight):
                    yield job, done
                else:
                    self._dask.give_up([flight])
                    yield from self._once_more([job], waiting)
        finally:
            if flying:
                self.at_work.clear()
                self._dask.give_up([flight for _, flight in flying.values()])

    def close(self) -> None:
        """Say what no worker could do; end the workers' child processes, and the connection."""
        for reason in self._left_out:
            self._say(f"{reason}. What needs it was left out; the same command does it once a worker has it.")
        self._dask.close(self._roster.addresses())

    def _leave_out(self, waiting: list[Job]) -> Iterator[Finished]:
        """Those that wait for what no worker has had, once no other worker seems to come."""
        for job in list(waiting):
            if reason := self._roster.lacked(job):
                waiting.remove(job)
                self._left_out[reason] = None
                yield job, _not_done("unsupported", reason)

    def _hand_out(
        self, waiting: list[Job], flying: dict[str, tuple[Job, Flight]], finished: "queue.SimpleQueue[Flight]"
    ) -> None:
        """As many of those that wait as there is room for, in their order."""
        at_once = Counter(job.device for job, _ in flying.values())
        for job in list(waiting):
            if at_once[job.device] < min(self._roster.room(job), self._most or 2**31):
                at_once[job.device] += 1
                waiting.remove(job)
                flight = self._submit(job)
                flying[flight.key] = job, flight
                flight.add_done_callback(finished.put)
        if waiting and not flying:
            self.at_work[WAITING] = self._roster.awaited(waiting[0])
        else:
            self.at_work.pop(WAITING, None)

    def _submit(self, job: Job) -> Flight:
        needs = {dask_worker.device_resource(job.device, build()): 1.0}
        if job.dataset in self._datasets:
            needs[dask_worker.data_resource(job.dataset, build())] = 1.0
        if isinstance(job, SpeedJob):
            needs[dask_worker.timing_resource(self.machine(job.device).host)] = 1.0
        return self._dask.client().submit(
            dask_worker.work,
            job.model_dump(mode="json"),
            code_behind(job),
            self._terms,
            self._topic,
            key=f"{job.phase}-{job.id}-{self._run}-{self._stranded[job.id]}",
            resources=needs,
            pure=False,
        )

    def _once_more(self, lost: Sequence[Job], waiting: list[Job]) -> Iterator[Finished]:
        """Have jobs wait anew that were lost with their workers; one that was lost too often comes out as an error."""
        for job in lost:
            self._stranded[job.id] += 1
            if self._stranded[job.id] > STRANDINGS:
                yield job, _not_done("error", f"every Dask worker there was died at it, {STRANDINGS + 1} times")
            else:
                waiting.insert(0, job)

    def _done(self, job: Job, flight: Flight) -> Done | None:
        """A job's answer, or None where its worker died before it was fetched; its network is laid where it is kept.

        That its worker died at it again and again is an outcome, that the scheduler is gone is not.

        Raises:
            UserError: the scheduler is gone, or the code was changed.
        """
        if answer := connection.fetched(flight):
            done, network = answer
            if network:
                with contextlib.suppress(OSError):  # as of a full disk: the result is worth more than the network
                    write_atomically(saved_model.path(Path(self._terms.models), job.id), network)
            return Done.model_validate(done)
        if flight.status != "error":
            self._dask.client()
            return None
        return _not_done("error", connection.fault(flight))

    def _call_back(self, flying: dict[str, tuple[Job, Flight]]) -> list[Job]:
        """Jobs that wait in vain: their worker died while no other was fit, and Dask sees no fitness gained later."""
        if not self._roster.news.is_set():
            return []
        self._roster.news.clear()
        placed = {key for keys in self._dask.client().processing().values() for key in keys}
        stranded = [key for key, (_, flight) in flying.items() if flight.status == "pending" and key not in placed]
        jobs = []
        for key in stranded:
            job, flight = flying.pop(key)
            self._dask.give_up([flight])
            jobs.append(job)
        return jobs

    def _introductions(self, addresses: Sequence[str]) -> Mapping[str, Introduction | Exception] | None:
        return self._dask.introductions(addresses, self._datasets, self._topic, self._heard)

    def _heard(self, event: Event) -> None:
        """What a job is at."""
        told = event[1]
        self._places[told["key"]] = told["where"]
        self.at_work[told["where"]] = told["text"]

    def _forget(self, host: str) -> None:
        """What a host was at; what its other workers are at they soon say again."""
        for where in list(self.at_work):
            if where.partition(" ")[0] == host:
                self.at_work.pop(where, None)


def _not_done(status: Literal["error", "unsupported"], reason: str) -> Done:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Done(outcome=NotDone(status=status, reason=reason), environment={}, started_utc=now, seconds=0.0)
