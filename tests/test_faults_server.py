"""A real MLflow server that is down, or dies: the run goes on, and `bench mlflow sync` fills the server afterwards."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_tools import BENCH, ROOT, bench, ids, succeeds, tiny
from server_tools import Server, agrees, job_runs

pytestmark = pytest.mark.faults
BEHIND = "`bench mlflow sync` fills it from the records"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    yield server
    server.kill()


def test_a_run_whose_server_is_down_is_recorded_and_says_how_to_fill_it(server, tmp_path):
    results = tmp_path / "results"
    said = succeeds("run", tiny(tmp_path, ("trials = 3", "trials = 0")), "--mlflow", server.uri, "--results", results)
    assert f"MLflow at {server.uri}: Connection refused" in said
    assert BEHIND in said
    assert len(ids(results / "tiny")) == 5
    down = bench("mlflow", "sync", "--mlflow", server.uri, "--results", results)
    assert (down.returncode, down.stderr) == (1, "")
    assert down.stdout == f"tiny: MLflow at {server.uri}: Connection refused\n"


@pytest.mark.slow
def test_a_server_that_dies_mid_run_is_filled_when_it_is_back_and_only_once(server, tmp_path):
    results = tmp_path / "results"
    server.start()
    experiment = tiny(tmp_path, ("seeds = [0, 1, 2]", "seeds = [0, 1, 2, 3, 4, 5]"))
    command = [*BENCH, "run", str(experiment), "--mlflow", server.uri, "--results", str(results)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        while not job_runs(server.uri, "tiny"):
            assert run.poll() is None, "it was over before its first job was in MLflow"
            time.sleep(0.2)
        server.kill()
        said, errors = run.communicate()
    assert (run.returncode, BEHIND in said, "Traceback" in errors) == (0, True, False), errors
    assert len(ids(results / "tiny")) == 9
    server.start()
    sync = ("mlflow", "sync", "--mlflow", server.uri, "--results", results)
    assert succeeds(*sync) == "tiny: in MLflow\n"
    agrees(server.uri, results / "tiny")
    before = job_runs(server.uri, "tiny")
    assert succeeds(*sync) == "tiny: in MLflow\n"
    assert job_runs(server.uri, "tiny") == before
