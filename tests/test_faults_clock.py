"""A clock that is set back again and again moves neither order nor durations, and hides nothing."""

import re
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from fault_tools import bench, tiny
from server_tools import agrees

from bench import records
from bench.tracking import mlflow_store

pytestmark = pytest.mark.faults


@pytest.fixture
def backwards(tmp_path: Path) -> str:
    """A library that, preloaded, sets the clock back."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    library = tmp_path / "backwards_clock.so"
    source = Path(__file__).with_name("backwards_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return str(library)


@pytest.mark.slow
def test_a_run_whose_clock_goes_back_is_as_any_other(backwards, tmp_path):
    experiment, results = tiny(tmp_path), tmp_path / "results"
    run = ("run", experiment, "--results", results)
    done = bench(*run, LD_PRELOAD=backwards)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    found = records.read(results / "tiny")
    assert [record.job.phase for record in found] == ["parity", "speed", "tune", "fit", "fit", "fit"]
    started = [datetime.fromisoformat(record.started_utc) for record in found]
    assert started != sorted(started), "the clock never went back, so this shows nothing"
    assert all(0 < record.seconds < 1800 for record in found)
    assert not re.search(r"-\d+(\.\d+)? (s|min|h)\b", done.stderr + done.stdout)
    agrees(mlflow_store.default_uri(results), results / "tiny")
    again = bench(*run, LD_PRELOAD=backwards)
    assert again.returncode == 0, again.stderr
    assert records.read(results / "tiny") == found
    assert bench("report", "tiny", "--results", results).returncode == 0
    assert bench("mlflow", "sync", "--results", results).returncode == 0
    agrees(mlflow_store.default_uri(results), results / "tiny")
