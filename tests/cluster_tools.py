"""A real Dask scheduler and real workers, on loopback, and jobs for them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from fault_tools import ROOT
from grid_tools import changed

from bench import plan
from bench.progress import title
from bench.workers.workforce import Terms

TERMS = Terms(limit_s=120)

FORWARD = """
import asyncio, sys
door, behind = map(int, sys.argv[1:])

async def pump(reader, writer):
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()

async def join(reader, writer):
    other_reader, other_writer = await asyncio.open_connection("127.0.0.1", behind)
    await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer))

async def serve():
    async with await asyncio.start_server(join, "127.0.0.1", door) as server:
        await server.serve_forever()

asyncio.run(serve())
"""


class Dask:
    """One scheduler, any number of workers, each in a session of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        self.address = _address(file)

    def add_worker(
        self, nanny: bool = False, code: Path = ROOT, threads: int = 1, options: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        own = ["--nthreads", str(threads), "--nanny" if nanny else "--no-nanny"]
        own += ["--local-directory", str(self._folder)]
        self.workers.append(self._start("worker", self.address, *own, *options, code=code))
        return self.workers[-1]

    def kill_worker(self, number: int) -> None:
        """With signal 9: the worker process itself, of whose nanny the next one comes."""
        worker = psutil.Process(self.workers[number].pid)
        _kill(next((child for child in worker.children() if "--multiprocessing-fork" in child.cmdline()), worker))

    def at_work(self) -> dict[int, str]:
        """Key of the job in hand, by the process of each worker that has one."""
        from distributed import Client  # of an extra, without which the tests that are here are skipped

        with Client(self.address, set_as_default=False) as client:
            processes = client.run(os.getpid, on_error="ignore")
            jobs = client.processing()
        return {processes[worker]: keys[0] for worker, keys in jobs.items() if keys and worker in processes}

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
                _kill(child)
            process.kill()
            process.wait()

    def _start(self, what: str, *options: str, code: Path = ROOT) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options, "--no-dashboard"]
        path = os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (self._folder / f"{what}-{len(self.workers)}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self._folder,  # `-m` looks in the working folder first, and there must be no other code there
                env=os.environ | {"PYTHONPATH": path},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@contextmanager
def dask(folder: Path, workers: int = 0) -> Iterator[Dask]:
    started = Dask(folder)
    try:
        for _ in range(workers):
            started.add_worker()
        yield started
    finally:
        started.close()


@contextmanager
def forwarding(door: int, behind: int) -> Iterator[None]:
    """Whoever comes to one port is connected with another one, as long as the block lasts."""
    process = subprocess.Popen([sys.executable, "-c", FORWARD, str(door), str(behind)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _address(file: Path, within_s: float = 60.0) -> str:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            return json.loads(file.read_text())["address"]
        except (OSError, ValueError):
            time.sleep(0.1)
    raise AssertionError(f"{file} was not written")


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)


def fits(small, seeds: int):
    experiment = changed(small, backends=["scatter"], seeds=list(range(seeds)))
    return plan.fit_jobs(experiment, plan.cells(experiment), {})


def finished(workforce, jobs, each=lambda: None):
    """Id -> outcome of everything that comes out, which must be each job once."""
    found = []
    for item in workforce.together(jobs, title):
        each()
        if item is not None:
            found.append(item)
    assert sorted(job.id for job, _ in found) == sorted(job.id for job in jobs)
    return {job.id: done.outcome for job, done in found}
