"""PostgreSQL, MLflow's server, a Dask scheduler and workers, started and taken down by one command."""

import os
import signal
import subprocess
import time

import psutil
import pytest
from fault_tools import BENCH, ROOT, bench

from bench import postgres, records
from bench.errors import UserError
from bench.outcomes import Tuned

pytestmark = pytest.mark.slow
pytest.importorskip("distributed", reason="the extra `cluster` is not installed")


@pytest.fixture(autouse=True)
def _has_postgres():
    try:
        with postgres.running([]):
            pass
    except UserError as problem:
        if "there is no PostgreSQL here" not in str(problem):
            raise
        pytest.skip(str(problem))


def test_the_smoke_experiment_runs_through_the_demo_and_nothing_stays_behind(tmp_path):
    done = bench("cluster-demo", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "MLflow is behind" not in done.stdout
    (folder,) = tmp_path.glob("cluster-demo/*/smoke")
    found = records.read(folder)
    assert any(isinstance(record.outcome, Tuned) for record in found)
    assert not (folder / "optuna.db").exists()
    assert of_this_run(tmp_path) == []


def test_ctrl_c_takes_the_demo_down(tmp_path):
    demo = subprocess.Popen([*BENCH, "cluster-demo", "--results", str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 180
    while not list(tmp_path.glob("cluster-demo/*/worker-1.log")) and time.monotonic() < deadline:
        time.sleep(0.2)
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert of_this_run(tmp_path) == []


def of_this_run(folder: os.PathLike[str]) -> list[list[str]]:
    return [
        found for process in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(found := process.cmdline())
    ]
