"""The MLflow UI over what has been run: a server on 127.0.0.1, and links that open the runs to be compared."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from bench import sqlite_file
from bench.cli import say
from bench.errors import UserError
from bench.folder import SNAPSHOT
from bench.tracking import mlflow_store, pages

HOST = "127.0.0.1"

_START_S = 90.0  # importing MLflow takes 12 s of one core, more on a busy machine
_STOP_S = 10.0
_ANSWER_S = 30.0
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGINT too: a shell may start us with it ignored
_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes and half a gigabyte for what is not used here
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "PYTHONSAFEPATH": "1",  # the server's folder holds results, not modules
}


def serve(results: Path, port: int, uri: str | None) -> None:
    """Run the UI until Ctrl-C; for a server that runs already, only say where to look.

    Args:
        results: The folder that holds the experiments' folders.
        port: On 127.0.0.1.
        uri: Any MLflow tracking URI; the store in `results` when None.

    Raises:
        UserError: there is nothing to show, the port is taken, or the server does not start.
    """
    if uri and uri.startswith(("http://", "https://")):
        say_links(uri.rstrip("/"), sqlite_file.shown(uri).rstrip("/"))
        return
    _check_store(results, uri)
    check_port(port, "make ui")
    say(f"Starting MLflow on port {port}; this takes some seconds ...")
    with interruptible(), suppress(KeyboardInterrupt), mlflow_server(results, uri, port) as server:
        address = f"http://{HOST}:{port}"
        say_links(address, address)
        say("Ctrl-C stops it.")
        server.wait()
        raise UserError("the MLflow server ended by itself; `bench ui` starts it again")


def _check_store(results: Path, uri: str | None) -> None:
    path = sqlite_file.path_of(uri or mlflow_store.default_uri(results))
    if path is None:
        return
    if not path.exists():
        if any(results.glob(f"*/{SNAPSHOT}")):
            raise UserError(f"{path}: there is no MLflow store here; `bench mlflow sync` makes it from the records")
        raise UserError(f"{results}: nothing has been run here yet; `make bench` does, then `make ui` shows it")
    try:
        found = mlflow_store.damage(path)
    except mlflow_store.TrackingUnavailable as problem:
        raise UserError(f"{problem}; mend it, or let --mlflow name another store") from None
    if found:
        raise UserError(
            f"{path} is damaged ({found}); `bench mlflow sync` sets it aside and makes a new one from the records"
        )


def check_port(port: int, command: str) -> None:
    """Raise a UserError that names a free port unless this one can be served on; `command` is what takes PORT."""
    if not 0 < port < 2**16:
        raise UserError(f"port {port} does not exist; ports are numbered from 1 to 65535")
    if not _is_free(port):
        other = next((candidate for candidate in range(port + 1, 2**16) if _is_free(candidate)), 5000)
        raise UserError(
            f"port {port} on {HOST} is taken, perhaps by another `{command}`; stop that, or choose another port: "
            f"`{command} PORT={other}`"
        )


def _is_free(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((HOST, port))
        except OSError:
            return False
    return True


@contextmanager
def interruptible() -> Iterator[None]:
    """Signals that would end us end the block as Ctrl-C does, so that the server never stays behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def mlflow_server(results: Path, uri: str | None, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers, in a session of its own, so that Ctrl-C reaches only us and we end all of it."""
    results = results.resolve()
    with tempfile.TemporaryFile() as log:
        # Of the command line everybody on the machine can read a password.
        store = {"MLFLOW_BACKEND_STORE_URI": uri or mlflow_store.default_uri(results)}
        command = [sys.executable, "-m", "mlflow", "server"]
        command += ["--artifacts-destination", (results / mlflow_store.ARTIFACTS).as_uri()]
        command += ["--host", HOST, "--port", str(port), "--workers", "1"]
        server = subprocess.Popen(
            command,
            cwd=results,
            env={**os.environ, **_ENVIRONMENT, **store},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for(server, port, log)
            yield server
        finally:
            _stop(server)


def _wait_for(server: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError(f"the MLflow server did not start: {_last_line(log)}")
        with suppress(OSError, http.client.HTTPException):
            urlopen(f"http://{HOST}:{port}/health", timeout=_ANSWER_S).close()
            return
        time.sleep(0.2)
    raise UserError(f"the MLflow server did not answer within {_START_S:.0f} s: {_last_line(log)}")


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and every process that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(_STOP_S)


def say_links(address: str, shown: str) -> None:
    """Where to look: a line for each experiment at `address`, which people see as `shown`."""
    experiments = {found["name"]: found for found in _experiments(address, shown)}
    cells = sorted(name for name in experiments if pages.jobs_name(name) in experiments)
    if not cells:
        raise UserError(f"{shown}: nothing has been run into this MLflow yet; `make bench` does")
    say(f"MLflow is at {shown}/")
    for name in cells:
        for words, link in _links(name, experiments[name], experiments[pages.jobs_name(name)]):
            say(f"  {words}: {shown}/{link}")


def _links(name: str, cells: dict[str, Any], jobs: dict[str, Any]) -> Iterator[tuple[str, str]]:
    cells_id, jobs_id = cells["experiment_id"], jobs["experiment_id"]
    yield name, pages.link(cells_id, pages.CELLS)
    yield "  as charts", pages.charts_link(cells_id, pages.CELLS)
    yield "  its jobs", pages.link(jobs_id, pages.JOBS)
    if pages.has_view({tag["key"]: tag["value"] for tag in jobs.get("tags", [])}, pages.TRIALS):
        yield "  its tuning, as charts", pages.charts_link(jobs_id, pages.TRIALS)


def _experiments(address: str, shown: str) -> list[dict[str, Any]]:
    question = {"max_results": 1000, "filter": f"tags.{pages.KIND_TAG} LIKE '%'"}
    request = Request(
        f"{address}/api/2.0/mlflow/experiments/search",
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urlopen(request, timeout=_ANSWER_S) as answer:
            found: list[dict[str, Any]] = json.load(answer).get("experiments", [])
    except (URLError, TimeoutError, ValueError) as problem:
        reason = getattr(problem, "reason", problem)
        raise UserError(
            f"no MLflow server answers at {shown}: {reason}; start it, or let --mlflow name another"
        ) from None
    return found
