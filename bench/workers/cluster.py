"""Jobs on many machines: handed to a Dask cluster, whose workers run them as `bench.workers.dask_worker` says.

Dask decides which worker runs a job, and gives it to another one when a worker dies. Here is what it is told: which
workers may be used at all, what a job needs, and no more jobs at once than there is room for, so that only those that
were at work count as disturbed when a worker dies.
"""

import asyncio
import contextlib
import logging
import math
import queue
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from distributed import Client, Future, KilledWorker, Security
from distributed.client import ClosedClientError
from distributed.comm import connect, parse_address, parse_host_port

from bench import saved_model
from bench.basis import Machine, build
from bench.errors import UserError
from bench.folder import write_atomically
from bench.outcomes import NotDone
from bench.plugins import DATASETS
from bench.work import Job, SpeedJob
from bench.workers import dask_worker
from bench.workers.crew import TICK_S, Finished
from bench.workers.dask_worker import Introduction
from bench.workers.fitness import unfit
from bench.workers.worker import Done
from bench.workers.workforce import Terms

CONNECT_S = 10
REFUSED_S = 3  # time for a scheduler that is just starting, where its machine says at once that there is none
PATIENCE_S = 10
FETCH_S = 30  # a result is some kilobytes, and a fit's network besides
LOOK_EVERY_S = 2.0
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
        self._address, self._terms, self._most, self._say = address, terms, most, say
        self._datasets = [name for name in dict.fromkeys(datasets) if not DATASETS.problem(name)]
        self._run = uuid.uuid4().hex[:8]  # what an earlier run left with the scheduler is not ours
        self._places: dict[str, str] = {}  # by key: where it was last heard of
        self._timing: dict[str, Machine] = {}
        self._workers: dict[str, Introduction] = {}  # by address, those that may be used
        self._met: set[str] = set()
        self._has_news = threading.Event()  # a worker was found fit, or left
        self._stranded: Counter[str] = Counter()  # by job: how often it was called back
        self._look_at_s = 0.0

    def reach(self) -> None:
        """See `Workforce`."""
        self._connected()

    def machine(self, device: str) -> Machine:
        """One of those that offer the device, kept for all of a run; waits for the first."""
        if device not in self._timing:
            self._timing[device] = min(self._offering(device))
        return self._timing[device]

    def _offering(self, device: str) -> list[Machine]:
        """Those that offer a device; waits for the first, and says so where that takes its time."""
        say_at_s = time.monotonic() + PATIENCE_S
        while not (found := [worker.machines[device] for worker in self._able(device)]):
            if time.monotonic() > say_at_s:
                self._say(f"waiting for a worker at {self._address} that has {device}, to time there")
                say_at_s = math.inf
            self._look()
            time.sleep(TICK_S)
        return found

    def size(self, device: str) -> int:
        """How many jobs of a device run at once, as far as is known by now."""
        return min(sum(worker.slots[device] for worker in self._able(device)), self._most or 2**31)

    def alone(self, jobs: Sequence[Job], title: Callable[[Job], str]) -> Iterator[Finished | None]:
        """One after the other, on the machine of `machine`; its slots are all held meanwhile."""
        for job in jobs:
            yield from self.together([job], title)

    def together(self, jobs: Sequence[Job], title: Callable[[Job], str]) -> Iterator[Finished | None]:
        """Side by side, as many as there are slots."""
        del title  # the worker's side has it, too
        waiting, finished = list(jobs), queue.SimpleQueue[Future]()
        flying: dict[str, tuple[Job, Future]] = {}
        try:
            while waiting or flying:
                self._look()
                yield from self._once_more(self._call_back(flying), waiting)
                self._hand_out(waiting, flying, finished)
                try:
                    future = finished.get(timeout=TICK_S)
                except queue.Empty:
                    yield None
                    continue
                if future.key not in flying:  # called back
                    continue
                job, _ = flying.pop(future.key)
                self.at_work.pop(self._places.pop(future.key, ""), None)
                if done := self._done(job, future):
                    yield job, done
                else:
                    self._give_up([future])
                    yield from self._once_more([job], waiting)
        finally:
            if flying:
                self.at_work.clear()
                self._give_up([future for _, future in flying.values()])

    def close(self) -> None:
        """End the workers' child processes, and the connection."""
        if "_client" in self.__dict__:
            if self._client.status == "running":
                with contextlib.suppress(OSError, TimeoutError):
                    self._client.run(dask_worker.rest, workers=list(self._workers), on_error="ignore")
            self._client.close(timeout=CONNECT_S)

    def _hand_out(
        self, waiting: list[Job], flying: dict[str, tuple[Job, Future]], finished: "queue.SimpleQueue[Future]"
    ) -> None:
        """As many of those that wait as there is room for, in their order."""
        at_once = Counter(job.device for job, _ in flying.values())
        for job in list(waiting):
            if at_once[job.device] < min(self._room(job), self._most or 2**31):
                at_once[job.device] += 1
                waiting.remove(job)
                future = self._submit(job)
                flying[future.key] = job, future
                future.add_done_callback(finished.put)
        if waiting and not flying:
            self.at_work[WAITING] = self._awaited(waiting[0])
        else:
            self.at_work.pop(WAITING, None)

    def _awaited(self, job: Job) -> str:
        """What a job for which there is no room waits for."""
        if isinstance(job, SpeedJob):
            chosen = self.machine(job.device)
            if chosen not in (worker.machines[job.device] for worker in self._able(job.device)):
                return (
                    f"waiting for {chosen.host}, where this run's times are made; start a worker there, "
                    "or end this run and start it again to time everything anew elsewhere"
                )
        return f"waiting for a worker at {self._address} that has {job.device} and {job.dataset}"

    def _room(self, job: Job) -> int:
        return sum(
            worker.slots[job.device]
            for worker in self._able(job.device)
            if job.dataset not in worker.lacking
            and not (isinstance(job, SpeedJob) and worker.machines[job.device] != self.machine(job.device))
        )

    def _able(self, device: str) -> list[Introduction]:
        known = list(self._workers.values())  # at once: `_meet` adds to them meanwhile
        return [worker for worker in known if device in worker.slots]

    def _submit(self, job: Job) -> Future:
        needs = {dask_worker.device_resource(job.device, build()): 1.0}
        if job.dataset in self._datasets:
            needs[dask_worker.data_resource(job.dataset, build())] = 1.0
        if isinstance(job, SpeedJob):
            needs[dask_worker.timing_resource(self.machine(job.device).host)] = 1.0
        return self._connected().submit(
            dask_worker.work,
            job.model_dump(mode="json"),
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
                yield job, _failed(f"every Dask worker there was died at it, {STRANDINGS + 1} times")
            else:
                waiting.insert(0, job)

    def _done(self, job: Job, future: Future) -> Done | None:
        """A job's answer, or None where its worker died before it was fetched; its network is laid where it is kept.

        That its worker died at it again and again is an outcome, that the scheduler is gone is not.

        Raises:
            UserError: the scheduler is gone.
        """
        if answer := _fetched(future):
            done, model = answer
            if model:
                with contextlib.suppress(OSError):  # as of a full disk: the result is worth more than the network
                    write_atomically(saved_model.path(Path(self._terms.models), job.id), model)
            return Done.model_validate(done)
        if future.status != "error":
            self._connected()
            return None
        problem = future.exception()
        reason = (
            f"{problem.allowed_failures + 1} Dask workers died at it, the last on {problem.last_worker.host}"
            if isinstance(problem, KilledWorker)
            else f"the Dask worker could not run it: {problem!r}"
        )
        return _failed(reason)

    def _call_back(self, flying: dict[str, tuple[Job, Future]]) -> list[Job]:
        """Jobs that wait in vain: their worker died while no other was fit, and Dask sees no fitness gained later."""
        if not self._has_news.is_set():
            return []
        self._has_news.clear()
        placed = {key for keys in self._connected().processing().values() for key in keys}
        stranded = [key for key, (_, future) in flying.items() if future.status == "pending" and key not in placed]
        jobs = []
        for key in stranded:
            job, future = flying.pop(key)
            self._give_up([future])
            jobs.append(job)
        return jobs

    def _give_up(self, futures: list[Future]) -> None:
        """The workers see it within a moment, and kill what they were at."""
        with contextlib.suppress(OSError, TimeoutError, ClosedClientError):
            self._client.cancel(futures, force=True)

    @cached_property
    def _client(self) -> Client:
        """The connection, made when it is first needed.

        Raises:
            UserError: no scheduler answers there.
        """
        for name in list(logging.root.manager.loggerDict):  # Dask gives some of its loggers levels of their own
            if name.partition(".")[0] in ("distributed", "asyncio"):  # the latter shows what Dask has left of its tasks
                logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters of it is said in our words
        try:
            asyncio.run(_reach(self._address))
            client = Client(self._address, timeout=CONNECT_S, set_as_default=False, name="gat-bench")
        except (OSError, ValueError, MemoryError) as problem:  # the last: another's answer, taken for a length
            raise UserError(
                f"--cluster {self._address}: no Dask scheduler answers there ({_short(problem)}); "
                "start one with `dask scheduler`, or mend the address, as in tcp://127.0.0.1:8786"
            ) from None
        except (TypeError, RuntimeError) as problem:  # nothing to speak TLS with, or an address that is not TLS's
            raise UserError(
                f"--cluster {self._address}: Dask cannot speak with it ({problem}); mend the address, or "
                "distributed.comm in Dask's configuration, where TLS has its certificates"
            ) from None
        return client

    def _connected(self) -> Client:
        """The connection, where there still is one.

        Raises:
            UserError: the scheduler is gone; a client that has given it up says so to nobody who does not ask.
        """
        if self._client.status in ("closing", "closed"):
            raise self._gone()
        return self._client

    @property
    def _topic(self) -> str:
        return f"gat-bench-{self._run}"

    def _heard(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """What a job is at."""
        told = event[1]
        self._places[told["key"]] = told["where"]
        self.at_work[told["where"]] = told["text"]

    def _look(self) -> None:
        """Meet workers that are new and forget those that are gone, every few seconds."""
        if time.monotonic() < self._look_at_s:
            return
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        here = self._here()
        for address in self._met.union(list(self._workers)) - here:
            self._met.discard(address)
            if left := self._workers.pop(address, None):
                self._forget(left.host)
        if new := here - self._met:
            self._met |= new
            threading.Thread(target=self._meet, args=(sorted(new),), daemon=True).start()

    def _forget(self, host: str) -> None:
        """What a host was at; what its other workers are at they soon say again."""
        for where in list(self.at_work):
            if where.partition(" ")[0] == host:
                self.at_work.pop(where, None)
        self._has_news.set()  # a job that no other worker may do is called back, and what it waits for can be said

    def _here(self) -> set[str]:
        """Addresses of all workers that the scheduler has now.

        Asked of the scheduler itself: what the client remembers is older once that does not answer, and without workers
        each time that the client refreshes it.
        """
        client = self._connected()
        try:
            return set(client.sync(client.scheduler.identity, n_workers=-1)["workers"])
        except OSError:
            raise self._gone() from None

    def _meet(self, addresses: list[str]) -> None:
        """Have workers introduce themselves; those that would not do as this machine does are told of and not used.

        One that cannot be reached is asked again: it may be slow, or new, rather than gone.
        """
        try:
            self._client.subscribe_topic(self._topic, self._heard)  # anew, for a scheduler that is
            found = self._client.run(dask_worker.introduce, self._datasets, workers=addresses, on_error="return")
        except (OSError, ValueError, ClosedClientError):  # they or the connection went away; the next look sees it
            self._met.difference_update(addresses)
            return
        for address, introduction in found.items():
            if isinstance(introduction, OSError):
                self._met.discard(address)
                continue
            if reason := unfit(introduction, self._terms.storage_url):
                self._say(f"worker {address} is not used: {reason}")
                continue
            self._workers[address] = introduction
            self._has_news.set()
            for dataset, reason in introduction.lacking.items():
                self._say(f"worker {address} on {introduction.host} lacks {dataset}: {reason}")

    def _gone(self) -> UserError:
        return UserError(
            f"the Dask scheduler at {self._address} went away; what was finished is recorded, "
            "and the same command goes on from there"
        )


async def _reach(address: str) -> None:
    """Connect once, which raises what is wrong: a client that fails to start leaves a traceback when all ends."""
    await _knock(address)
    async with asyncio.timeout(CONNECT_S):  # Dask's own ends before the other side must have said who it is
        comm = await connect(address, timeout=CONNECT_S, **Security().get_connection_args("client"))
        await comm.close()


async def _knock(address: str) -> None:
    """Return where something listens, or may: whoever does not answer may be slow, and Dask waits for that.

    Raises:
        OSError: nobody knows the host, or it refuses the port.
        ValueError: it is no address.
    """
    scheme, place = parse_address(address)
    if scheme != "tcp":
        return
    host, port = parse_host_port(place)
    give_up_at_s = time.monotonic() + REFUSED_S
    while True:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), REFUSED_S)
            writer.close()
            return
        except (ConnectionRefusedError, socket.gaierror):
            if time.monotonic() > give_up_at_s:
                raise
            await asyncio.sleep(TICK_S)
        except (OSError, TimeoutError):
            return


def _fetched(future: Future) -> tuple[dict[str, Any], bytes] | None:
    """What a finished job says, which its worker keeps until it is asked for; None where that cannot be had."""
    if future.status == "finished":
        with contextlib.suppress(Exception):  # whatever it is, the status says what became of the job
            found: tuple[dict[str, Any], bytes] = future.result(timeout=FETCH_S)
            return found
    return None


def _short(problem: Exception) -> str:
    return (problem.strerror if isinstance(problem, OSError) else "") or type(problem).__name__


def _failed(reason: str) -> Done:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Done(outcome=NotDone(status="error", reason=reason), environment={}, started_utc=now, seconds=0.0)
