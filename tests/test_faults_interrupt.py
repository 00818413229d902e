"""Ctrl-C once ends cleanly and says how to go on; twice ends now."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fault_tools import BENCH, ROOT, ids, succeeds, tiny
from server_tools import agrees, cell_runs

from bench import records
from bench.tracking import mlflow_store

pytestmark = pytest.mark.faults
GO_ON = "what was finished is recorded, and the same command goes on from there"


def start(experiment: Path, results: Path, *more: str) -> subprocess.Popen:
    command = [*BENCH, "run", str(experiment), "--results", str(results), *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_recorded(run: subprocess.Popen, results: Path) -> list[psutil.Process]:
    """Wait for the first record; the run's children then."""
    while not (results / "tiny" / records.NAME).exists():
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.05)
    return psutil.Process(run.pid).children(recursive=True)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes calls and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.slow  # its first half is in test_cli.py
def test_ctrl_c_once_ends_cleanly_and_the_next_run_goes_on(tmp_path):
    experiment, results = tiny(tmp_path), tmp_path / "results"
    run = start(experiment, results)
    children = until_recorded(run, results)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate()
    assert run.returncode == 130
    assert errors.splitlines()[-1] == f"bench: interrupted; {GO_ON}"
    assert "Traceback" not in errors
    assert not any(child.is_running() for child in children)
    finished = ids(results / "tiny")
    uri = mlflow_store.default_uri(results)
    assert {status for _, status in cell_runs(uri, "tiny")} <= {"KILLED"}
    succeeds("run", experiment, "--results", results)
    everything = ids(results / "tiny")
    assert everything[: len(finished)] == finished
    assert len(set(everything)) == len(everything) == 6
    agrees(uri, results / "tiny")


def test_ctrl_c_twice_ends_now_whatever_is_waited_for(tmp_path, silent_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3600")
    results = tmp_path / "results"
    run = start(tiny(tmp_path), results, "--mlflow", silent_server)
    children = until_recorded(run, results)
    run.send_signal(signal.SIGINT)
    for line in run.stderr:
        if "once more ends at once" in line:
            break
    assert run.poll() is None, "it does not wait for MLflow, so the second Ctrl-C shows nothing"
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert GO_ON in errors
    assert "Traceback" not in errors
    psutil.wait_procs(children, timeout=60)
    assert not any(child.is_running() for child in children)
