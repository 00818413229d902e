"""PostgreSQL, MLflow's server, a Dask scheduler and workers, started and taken down by one command."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fault_tools import BENCH, ROOT, bench

from bench import postgres, records
from bench.errors import UserError
from bench.outcomes import Tuned

pytestmark = [pytest.mark.slow, pytest.mark.faults]
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


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary folder that the unprivileged user who runs PostgreSQL for root may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="demo-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def test_the_smoke_experiment_runs_through_the_demo_and_nothing_stays_behind(tmp_path, temporary):
    done = bench("cluster-demo", "--results", tmp_path, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    assert "MLflow is behind" not in done.stdout
    (folder,) = tmp_path.glob("cluster-demo/*/smoke")
    found = records.read(folder)
    assert any(isinstance(record.outcome, Tuned) for record in found)
    assert not (folder / "optuna.db").exists()
    assert of_this_run(tmp_path, temporary) == []
    assert left_in(temporary) == []


def test_ctrl_c_takes_the_demo_down(tmp_path, temporary):
    command = [*BENCH, "cluster-demo", "--results", str(tmp_path)]
    demo = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": str(temporary)})
    deadline = time.monotonic() + 180
    while not list(tmp_path.glob("cluster-demo/*/worker-1.log")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert any("postgres" in words[0] for words in of_this_run(temporary))
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert of_this_run(tmp_path, temporary) == []
    assert left_in(temporary) == []


def left_in(temporary: Path) -> list[str]:
    """Beyond what serves the next run: the locks of this machine's slots, and what torch compiled."""
    kept = ("gat-bench-slots-", "torchinductor_")
    return [path.name for path in temporary.iterdir() if not path.name.startswith(kept)]


def of_this_run(*folders: Path) -> list[list[str]]:
    """Command lines that name one of its folders: the servers' and workers', and PostgreSQL's, whose data lie apart."""
    told = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [words for words in told if any(str(folder) in " ".join(words) for folder in folders)]
