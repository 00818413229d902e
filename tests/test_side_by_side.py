"""How many jobs are at work at once, and where: as many as asked, each on a core of its own, and timing alone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_tools import FOREIGN, ROOT, TINY, succeeds
from span_tools import most_at_once, timings_are_alone

from bench import records


@pytest.fixture(autouse=True)
def all_cores() -> Iterator[None]:
    """A job that a test before ran in this process may have left it on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one core")
    yield
    os.sched_setaffinity(0, before)


def run(folder: Path, jobs: int) -> tuple[list[records.Record], list[str]]:
    """Records of a run whose first jobs wait until as many are at work; the cores of its processes, first to last."""
    experiment, places = folder / "e.toml", folder / "places"
    places.mkdir()
    text = (
        TINY.replace('"scatter"', '"meeting"')
        .replace('["gat"]', '["gat", "gatv2"]')
        .replace("trials = 3", "trials = 0")
    )
    experiment.write_text(text)
    told = {
        "MEETING": str(places),
        "COMPANY": str(jobs),
        "BENCH_LOCKS": str(folder / "locks"),
        "PYTHONPATH": f"{FOREIGN}{os.pathsep}{ROOT}",
    }
    succeeds("run", experiment, "--mlflow", "off", "--results", folder, "--jobs", jobs, **told)
    files = sorted(places.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return records.read(folder / "e"), [path.read_text() for path in files]


def test_two_jobs_at_once_are_two_each_on_a_core_of_its_own_and_timing_is_alone(tmp_path):
    found, cores = run(tmp_path, jobs=2)
    assert most_at_once(found) == 2
    assert len(set(cores[:2])) == 2  # of the two that met
    assert {len(core.split()) for core in cores} == {1}
    assert timings_are_alone(found)


def test_one_job_at_once_is_one(tmp_path):
    found, cores = run(tmp_path, jobs=1)
    assert most_at_once(found) == 1
    assert cores == [cores[0]] * len(cores)
    assert timings_are_alone(found)
