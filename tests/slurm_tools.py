"""A real Slurm of one node on loopback: a controller and a node's daemon, with all that they keep in one folder."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

DAEMONS = ("slurmctld", "slurmd")
# The node says that it has what the document's jobs ask for: `config_overrides` lets it, and nothing holds a job to it.
CONFIGURATION = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=65536 Gres=gpu:1 State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """A queue named gpu. `environment` is what its commands, and what calls them, need."""

    def __init__(self, folder: Path) -> None:
        if absent := [name for name in (*DAEMONS, "sbatch") if not shutil.which(name)]:
            pytest.skip(f"Slurm is not installed: there is no {', '.join(absent)}")
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        settings = {"host": socket.gethostname().partition(".")[0], "user": getpass.getuser()}
        configuration = folder / "slurm.conf"
        configuration.write_text(CONFIGURATION.format(folder=folder, ports=_free_ports(2), **settings))
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        self.environment = os.environ | {"SLURM_CONF": str(configuration)}
        self._daemons = [self._start(name, folder) for name in DAEMONS]

    def running(self) -> list[str]:
        """Numbers of the jobs that run now."""
        return self._ask("squeue", "--noheader", "--states", "RUNNING", "--format", "%i").split()

    def cancel(self, job: str) -> None:
        self._ask("scancel", job)

    def close(self) -> None:
        """The jobs first, whose processes only the node's daemon knows."""
        with suppress(subprocess.SubprocessError):
            self._ask("scancel", "--user", getpass.getuser())
            deadline = time.monotonic() + 20
            while self._ask("squeue", "--noheader") and time.monotonic() < deadline:
                time.sleep(0.2)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait(20)

    def _start(self, name: str, folder: Path) -> subprocess.Popen[bytes]:
        with (folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen([name, "-D"], env=self.environment, stdout=log, stderr=log, start_new_session=True)

    def _ask(self, *command: str) -> str:
        asked = {"env": self.environment, "capture_output": True, "text": True, "timeout": 30}
        return subprocess.run(command, **asked, check=True).stdout


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    started = Slurm(folder)
    try:
        yield started
    finally:
        started.close()


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
