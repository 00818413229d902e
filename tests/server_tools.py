"""A real MLflow server on loopback that can be killed and started again, and what a store says of an experiment."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import psutil
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from bench import best_models, records, sqlite_file
from bench.outcomes import Tuned
from bench.tracking.pages import jobs_name

START_S = 180.0
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def listened_at(process: int) -> set[str]:
    """The addresses at which it and its children take connections."""
    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    open_ = [each for member in family for each in member.net_connections("inet")]
    return {each.laddr.ip for each in open_ if each.status == psutil.CONN_LISTEN}


class Server:
    """One address and one store for all its lives."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            self._port = held.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--backend-store-uri", sqlite_file.url(self._folder / "server.db"), "--workers", "1"]
        command += ["--artifacts-destination", (self._folder / "artifacts").as_uri()]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=os.environ | QUIET, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                urlopen(f"{self.uri}/health", timeout=5).close()
                return
            time.sleep(0.2)
        raise AssertionError((self._folder / "server.log").read_text())

    def forget(self, name: str) -> None:
        """Put an experiment and its jobs away under other names, so that one of the same name begins anew."""
        client = MlflowClient(self.uri)
        for found in (client.get_experiment_by_name(each) for each in (name, jobs_name(name))):
            client.rename_experiment(found.experiment_id, f"{found.name} {found.experiment_id}")

    def kill(self) -> None:
        """As the power cut would: the whole of it, at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def job_runs(uri: str, name: str) -> list[tuple[str, str, str]]:
    """Job, status and run of whatever the store has of an experiment's jobs, in order."""
    found = _runs(uri, jobs_name(name), "tags.level = 'job'")
    return sorted((run.data.tags["job"], run.info.status, run.info.run_id) for run in found)


def cell_runs(uri: str, name: str) -> list[tuple[str, str]]:
    """Cell and status of the experiment's cells, in order."""
    return sorted((run.data.tags["cell"], run.info.status) for run in _runs(uri, name, "tags.level = 'cell'"))


def trial_runs(uri: str, name: str) -> list[tuple[str, str, str]]:
    """Job, number and status of whatever the store has of the trials of an experiment's studies, in order."""
    jobs = {run_id: job for job, _, run_id in job_runs(uri, name)}
    found = _runs(uri, jobs_name(name), "tags.level = 'trial'")
    return sorted(
        (jobs.get(run.data.tags["mlflow.parentRunId"], "none"), run.data.params["trial"], run.info.status)
        for run in found
    )


def logged_networks(uri: str, name: str) -> list[tuple[str, str, bool]]:
    """Cell, job and whether it is whole of each network that the store has of an experiment, in order."""
    client = MlflowClient(uri)
    found = client.search_logged_models([client.get_experiment_by_name(name).experiment_id], max_results=1000)
    return sorted((model.tags["cell"], model.tags["job"], model.status == LoggedModelStatus.READY) for model in found)


def agrees(uri: str, folder: Path) -> None:
    """Each job of a results folder has one finished run in MLflow and no other; so has each trial and each cell.

    Each cell's best network is logged, and no other.
    """
    everything = records.read(folder)
    found = records.latest(everything)
    expected = sorted((id_, "FINISHED") for id_ in found)
    assert [(job, status) for job, status, _ in job_runs(uri, folder.name)] == expected
    studies = {id_: record.outcome for id_, record in found.items() if isinstance(record.outcome, Tuned)}
    trials = [(id_, str(trial.number), "FINISHED") for id_, tuned in studies.items() for trial in tuned.trials]
    assert trial_runs(uri, folder.name) == sorted(trials)
    cells = {str(record.key) for record in found.values()}
    assert cell_runs(uri, folder.name) == sorted((cell, "FINISHED") for cell in cells)
    best = best_models.paths(folder, everything)
    assert logged_networks(uri, folder.name) == sorted((str(key), path.stem, True) for key, path in best.items())


def _runs(uri: str, name: str, search: str) -> list:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    return list(client.search_runs([experiment.experiment_id], search, max_results=1000)) if experiment else []
