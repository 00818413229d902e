"""Somebody edits the code while a run is at work: what is on record was made by the code that its id stands for."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from fault_tools import BENCH, ROOT, is_a_users_error, tiny

from bench import records
from bench.outcomes import Checked, Fitted, Timed


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of the code, to be edited."""
    for package in ("bench", "implementations"):
        shutil.copytree(ROOT / package, tmp_path / "checkout" / package)
    return tmp_path / "checkout"


def started(checkout: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [*BENCH, "run", *map(str, arguments), "--mlflow", "off"]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    return subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_a_run_ends_when_its_code_is_changed_and_the_same_command_goes_on_with_the_new(checkout, tmp_path):
    experiment = tiny(tmp_path, ("trials = 3", "trials = 0"), ("seeds = [0, 1, 2]", "seeds = [0]"))
    asked = (experiment, "--results", tmp_path / "results")
    folder = tmp_path / "results" / "tiny"
    run = started(checkout, *asked)
    while not records.read(folder):  # the check of parity; timing, next, has processes of its own
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)
    with (checkout / "bench" / "rounds.py").open("a") as code:
        code.write("# edited\n")
    done = ended(run)
    assert is_a_users_error(done)
    assert "the code was changed while the run went on" in done.stderr
    (before,) = records.read(folder)
    done = ended(started(checkout, *asked))
    assert done.returncode == 0, done.stderr
    after = records.read(folder)[1:]
    assert [type(record.outcome) for record in after] == [Checked, Timed, Fitted]
    assert before.id not in {record.id for record in after}
