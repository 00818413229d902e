"""The document's way to run on Slurm, followed to the letter on a real one."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docs_tools import DOCS, blocks
from fault_tools import BENCH, ROOT, tiny
from slurm_tools import Slurm, slurm

from bench import records
from bench.outcomes import NotDone

pytestmark = [pytest.mark.slow, pytest.mark.faults]
pytest.importorskip("dask_jobqueue", reason="the extra `cluster` is not installed")


@contextmanager
def followed(folder: Path, queue: Slurm) -> Iterator[str]:
    """The document's Python, in a terminal of its own until its reader presses Enter; the address that it prints."""
    (script,) = blocks(DOCS / "how-to" / "cluster.md", "python")
    environment = queue.environment | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=folder,  # where the queue leaves its jobs' output
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate("\n", timeout=60)
    assert process.returncode == 0


def until(condition, within_s: float = 180.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_an_experiment_runs_on_workers_of_the_queue_and_one_that_is_cancelled_is_replaced(tmp_path):
    experiment, results = tiny(tmp_path), tmp_path / "results"
    record_file = results / "tiny" / "records.jsonl"
    with slurm(tmp_path / "slurm") as queue, followed(tmp_path, queue) as address:
        command = [*BENCH, "run", str(experiment), "--results", str(results), "--cluster", address]
        run = subprocess.Popen(command, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE, text=True)
        until(lambda: record_file.exists() and record_file.read_text().count("\n") >= 2)
        (first,) = queue.running()  # the others wait: each is exclusive, and there is one node
        queue.cancel(first)
        _, errors = run.communicate(timeout=300)
        assert run.returncode == 0, errors
        assert queue.running() != [first]
    final = [record for record in records.read(results / "tiny") if record.final]
    assert not any(isinstance(record.outcome, NotDone) for record in final)
    assert len(final) == len({record.id for record in final}) == 6  # parity, one round, a study, three fits
