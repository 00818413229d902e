"""Workers, runners and schedulers of a real Dask that are killed, or out of reach for a while."""

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Collection
from pathlib import Path

import pytest
from agreement_tools import studies_agree, substance
from cluster_tools import TERMS, Dask, dask, finished, fits, forwarding
from fault_tools import BENCH, ROOT, succeeds, tiny
from server_tools import agrees

from bench.errors import UserError
from bench.outcomes import Fitted
from bench.postgres import free_port
from bench.progress import title
from bench.tracking import mlflow_store
from bench.workers.engage import engage

Client = pytest.importorskip("distributed", reason="the extra `cluster` is not installed").Client
pytestmark = [pytest.mark.slow, pytest.mark.faults]

MORE_SEEDS = ("seeds = [0, 1, 2]", "seeds = [0, 1, 2, 3, 4, 5]")
PHASES = ("parity", "speed", "tune", "fit")


def at_work(
    cluster: Dask, run: subprocess.Popen[str], phase: str, but_of: Collection[str] = (), within_s: float = 180.0
) -> tuple[int, str]:
    """The process of a worker that has a job of this phase in hand, and whose run's job it is; none of `but_of`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for worker, key in cluster.at_work().items():
            of_phase, _, runner, _ = key.split("-")
            if of_phase == phase and runner not in but_of:
                assert run.poll() is None
                return worker, runner
        assert run.poll() is None, f"the run ended, and nobody saw its {phase}"
        time.sleep(0.05)
    raise AssertionError(f"no worker came to a job of {phase}")


def start(experiment: Path, results: Path, cluster: Dask, uri: str = "off") -> subprocess.Popen[str]:
    command = [*BENCH, "run", str(experiment), "--mlflow", uri, "--results", str(results)]
    return subprocess.Popen(
        [*command, "--cluster", cluster.address], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def test_workers_killed_at_a_job_of_each_phase_lose_no_job_and_double_none(tmp_path):
    experiment = tiny(tmp_path, MORE_SEEDS)
    succeeds("run", experiment, "--mlflow", "off", "--results", tmp_path / "calm")
    with dask(tmp_path / "dask") as cluster:
        cluster.add_worker(nanny=True)
        cluster.add_worker(nanny=True)
        run = start(experiment, tmp_path / "wild", cluster)
        for phase in PHASES:
            worker, _ = at_work(cluster, run, phase)
            os.kill(worker, signal.SIGKILL)
        _, errors = run.communicate()
    assert run.returncode == 0, errors
    assert substance(tmp_path / "wild" / "tiny") == substance(tmp_path / "calm" / "tiny")
    studies_agree(tmp_path / "wild" / "tiny")


def test_a_runner_killed_at_a_job_of_each_phase_goes_on_where_it_was_and_all_that_it_left_agrees(tmp_path):
    experiment, wild = tiny(tmp_path, MORE_SEEDS), tmp_path / "wild"
    succeeds("run", experiment, "--mlflow", "off", "--results", tmp_path / "calm")
    uri, killed = mlflow_store.default_uri(wild), set[str]()
    with dask(tmp_path / "dask", workers=2) as cluster:
        for phase in PHASES:
            run = start(experiment, wild, cluster, uri)
            killed.add(at_work(cluster, run, phase, but_of=killed)[1])
            run.send_signal(signal.SIGKILL)
            run.communicate()
        run = start(experiment, wild, cluster, uri)
        _, errors = run.communicate()
    assert run.returncode == 0, errors
    assert substance(wild / "tiny") == substance(tmp_path / "calm" / "tiny")
    studies_agree(wild / "tiny")
    agrees(uri, wild / "tiny")


def test_the_job_of_a_worker_killed_while_at_it_is_done_by_another(small, tmp_path):
    jobs = fits(small, 6)
    with (
        dask(tmp_path / "dask", workers=2) as cluster,
        contextlib.closing(engage(TERMS, ["blocks"], cluster.address)) as force,
    ):
        killed = []

        def kill_who_works():
            if not killed and len(force.at_work) == 2:
                cluster.kill_worker(0)
                killed.append(0)

        outcomes = finished(force, jobs, kill_who_works)
    assert killed
    assert all(isinstance(outcome, Fitted) for outcome in outcomes.values())


def test_when_the_scheduler_goes_the_run_says_so_in_one_line(tmp_path):
    with dask(tmp_path / "dask", workers=1) as cluster:
        run = start(tiny(tmp_path), tmp_path / "results", cluster)
        deadline = time.monotonic() + 180
        while not (tmp_path / "results" / "tiny" / "records.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        cluster.scheduler.kill()
        _, errors = run.communicate(timeout=120)
    assert run.returncode == 2
    assert errors.splitlines()[-1].startswith(f"bench: the Dask scheduler at {cluster.address} went away")
    assert "Traceback" not in errors


def test_when_the_scheduler_goes_while_no_job_is_at_work_the_run_says_so_and_ends_quietly(small, tmp_path):
    with dask(tmp_path / "dask") as cluster:
        force = engage(TERMS, ["blocks"], cluster.address)
        waiting = force.together(fits(small, 1), title)
        assert next(waiting) is None
        cluster.scheduler.kill()
        with pytest.raises(UserError, match=f"the Dask scheduler at {cluster.address} went away"):
            deque(waiting, maxlen=0)
        force.close()


def test_a_worker_that_cannot_be_reached_at_first_is_asked_again(small, tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    door, behind = free_port(), free_port()
    way = ("--listen-address", f"tcp://127.0.0.1:{behind}", "--contact-address", f"tcp://127.0.0.1:{door}")
    with dask(tmp_path / "dask") as cluster, contextlib.ExitStack() as opened:
        cluster.add_worker(options=way)
        with Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(1)
        with contextlib.closing(engage(TERMS, ["blocks"], cluster.address)) as force:
            waiting = itertools.count()

            def open_after_a_while():
                if (tick := next(waiting)) == 30:
                    opened.enter_context(forwarding(door, behind))
                assert force.size("cpu") or tick < 300

            outcomes = finished(force, fits(small, 1), open_after_a_while)
    assert all(isinstance(outcome, Fitted) for outcome in outcomes.values())
