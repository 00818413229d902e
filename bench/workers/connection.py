"""The line to a Dask scheduler: found and opened, asked who is there, and what is said when it is gone."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

from distributed import Client, Future, KilledWorker, Security
from distributed.client import ClosedClientError
from distributed.comm import connect, parse_address, parse_host_port

from bench.errors import UserError
from bench.workers import dask_worker
from bench.workers.crew import TICK_S
from bench.workers.dask_worker import Introduction
from bench.workers.pool import CodeChanged

CONNECT_S = 10
REFUSED_S = 3  # time for a scheduler that is just starting, where its machine says at once that there is none
FETCH_S = 30  # a result is some kilobytes, and a fit's network besides

Flight: TypeAlias = Future  # a job that was handed over
Event = tuple[float, Mapping[str, Any]]


class Connection:
    """To the scheduler at an address, `tcp://host:port`; made when it is first needed."""

    def __init__(self, address: str) -> None:
        self.address = address

    def client(self) -> Client:
        """The client, where there still is a scheduler.

        Raises:
            UserError: no scheduler answers, or it is gone; a client that has given it up says so to nobody who does
                not ask.
        """
        if self._client.status in ("closing", "closed"):
            raise self._gone()
        return self._client

    def workers(self) -> set[str]:
        """Addresses of all workers that the scheduler has now.

        Asked of the scheduler itself: what the client remembers is older once that does not answer, and without workers
        each time that the client refreshes it.

        Raises:
            UserError: it is gone.
        """
        client = self.client()
        try:
            return set(client.sync(client.scheduler.identity, n_workers=-1)["workers"])
        except OSError:
            raise self._gone() from None

    def introductions(
        self, addresses: Sequence[str], datasets: Sequence[str], topic: str, heard: Callable[[Event], None]
    ) -> Mapping[str, Introduction | Exception] | None:
        """What workers say of themselves, by address; None where they or the connection went away meanwhile."""
        try:
            self._client.subscribe_topic(topic, heard)  # anew, for a scheduler that is
            found: Mapping[str, Introduction | Exception] = self._client.run(
                dask_worker.introduce, datasets, workers=addresses, on_error="return"
            )
        except (OSError, ValueError, ClosedClientError):
            return None
        return found

    def give_up(self, flights: Sequence[Flight]) -> None:
        """The workers see it within a moment, and kill what they were at."""
        with contextlib.suppress(OSError, TimeoutError, ClosedClientError):
            self._client.cancel(flights, force=True)

    def close(self, workers: Sequence[str]) -> None:
        """End the workers' child processes, and the connection."""
        if "_client" in self.__dict__:
            if self._client.status == "running":
                with contextlib.suppress(OSError, TimeoutError):
                    self._client.run(dask_worker.rest, workers=workers, on_error="ignore")
            self._client.close(timeout=CONNECT_S)

    @cached_property
    def _client(self) -> Client:
        for name in list(logging.root.manager.loggerDict):  # Dask gives some of its loggers levels of their own
            if name.partition(".")[0] in ("distributed", "asyncio"):  # the latter shows what Dask has left of its tasks
                logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters of it is said in our words
        try:
            asyncio.run(_reach(self.address))
            client = Client(self.address, timeout=CONNECT_S, set_as_default=False, name="gat-bench")
        except (OSError, ValueError, MemoryError) as problem:  # the last: another's answer, taken for a length
            raise UserError(
                f"--cluster {self.address}: no Dask scheduler answers there ({_short(problem)}); "
                "start one with `dask scheduler`, or mend the address, as in tcp://127.0.0.1:8786"
            ) from None
        except (TypeError, RuntimeError) as problem:  # nothing to speak TLS with, or an address that is not TLS's
            raise UserError(
                f"--cluster {self.address}: Dask cannot speak with it ({problem}); mend the address, or "
                "distributed.comm in Dask's configuration, where TLS has its certificates"
            ) from None
        return client

    def _gone(self) -> UserError:
        return UserError(
            f"the Dask scheduler at {self.address} went away; what was finished is recorded, "
            "and the same command goes on from there"
        )


def fetched(flight: Flight) -> tuple[dict[str, Any], bytes] | None:
    """What a finished job says, which its worker keeps until it is asked for; None where that cannot be had."""
    if flight.status == "finished":
        with contextlib.suppress(Exception):  # whatever it is, the status says what became of the job
            found: tuple[dict[str, Any], bytes] = flight.result(timeout=FETCH_S)
            return found
    return None


def fault(flight: Flight) -> str:
    """Why a job that ended in an error did.

    Raises:
        CodeChanged: that was not the job's.
    """
    problem = flight.exception()
    if isinstance(problem, CodeChanged):
        raise problem
    if isinstance(problem, KilledWorker):
        return f"{problem.allowed_failures + 1} Dask workers died at it, the last on {problem.last_worker.host}"
    return f"the Dask worker could not run it: {problem!r}"


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


def _short(problem: Exception) -> str:
    return (problem.strerror if isinstance(problem, OSError) else "") or type(problem).__name__
