"""`bench cluster-demo`: a whole cluster on loopback, the smoke experiment through it, and everything down again."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from bench import postgres, ui
from bench.cli import add_results, positive, say
from bench.errors import UserError

HOST = postgres.HOST
STOP_S = 10.0
EXPERIMENT = "smoke"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench cluster-demo`."""
    parser.add_argument(
        "--workers", type=positive, default=2, metavar="N", help="Dask workers of one slot each (default: 2)"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything up until Ctrl-C, to look around")
    add_results(parser)


def execute(arguments: argparse.Namespace) -> int:
    """PostgreSQL, the MLflow server, a Dask scheduler and its workers; then `bench run` as on a real cluster."""
    results = arguments.results.absolute() / "cluster-demo" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    results.mkdir(parents=True)
    with ui.interruptible(), ExitStack() as up:
        say("Starting PostgreSQL: one database for Optuna's studies, one for MLflow ...")
        database = up.enter_context(postgres.running(["optuna", "mlflow"]))
        # What we start below may use the databases, and keeps what it spills in the demo's own folder.
        os.environ.update(database.environment | {"DASK_TEMPORARY_DIRECTORY": str(results / "dask")})
        say("Starting the MLflow server on it; this takes some seconds ...")
        port = postgres.free_port()
        up.enter_context(ui.mlflow_server(results, database.url("mlflow"), port))
        say(f"Starting a Dask scheduler and {arguments.workers} workers ...")
        listening = postgres.free_port()
        scheduler = f"tcp://{HOST}:{listening}"
        process = up.enter_context(_dask(results, "scheduler", "--host", HOST, "--port", str(listening)))
        _wait_for(process, listening)
        for number in range(arguments.workers):
            up.enter_context(_dask(results, "worker", scheduler, "--nthreads", "1", "--name", f"worker-{number}"))
        options = ["--cluster", scheduler, "--storage", database.url("optuna"), "--mlflow", f"http://{HOST}:{port}"]
        code = _run(["run", EXPERIMENT, *options, "--results", str(results)])
        say(f"Records and tables are in {os.path.relpath(results / EXPERIMENT)}/, and what was said, in *.log.")
        if arguments.keep:
            ui.say_links(f"http://{HOST}:{port}", f"http://{HOST}:{port}")
            say("Ctrl-C takes everything down.")
            signal.pause()
    say("Everything is down again; docs/how-to/cluster.md says how to do the same on real machines.")
    return code


def _run(arguments: Sequence[str]) -> int:
    """The very command that a person would give."""
    say(f"$ bench {' '.join(arguments)}")
    with _ended([sys.executable, "-m", "bench", *arguments]) as process:
        return process.wait()


@contextmanager
def _dask(folder: Path, what: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler or a worker, as `dask scheduler` and `dask worker` start it.

    Raises:
        UserError: it ended at once.
    """
    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options, "--no-dashboard"]
    log = folder / f"{options[-1] if what == 'worker' else what}.log"
    with log.open("wb") as said, _ended(command, said.fileno()) as process:
        time.sleep(1)
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise UserError(f"the Dask {what} did not start: {lines[-1]}")
        yield process


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Until somebody listens, or the process that should has ended."""
    while process.poll() is None:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.1)


@contextmanager
def _ended(command: Sequence[str], output: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, so that Ctrl-C reaches only us, and we end it with all that it started."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                break
            process.send_signal(number)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                continue
