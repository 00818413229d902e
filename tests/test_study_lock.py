"""Two runs with one store, a server's or a file, evaluate no trial twice; whoever dies lets go."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_tools import ROOT
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from test_tuning import SEEDS, Hill, search

from bench import postgres
from bench.errors import UserError
from bench.outcomes import Tuned
from bench.tuning import study_store

pytestmark = pytest.mark.faults
HOLDS = """
import sys, time
from bench.tuning.study_store import holding
with holding(sys.argv[1], "it"):
    print("held", flush=True)
    time.sleep(600)
"""


OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' "
    "AND pid != pg_backend_pid()"
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="the extra `cluster` is not installed")
    try:
        with postgres.running(["studies"]) as server, pytest.MonkeyPatch.context() as patch:
            for name, value in server.environment.items():
                patch.setenv(name, value)
            yield server.url("studies")
    except UserError as problem:
        if "there is no PostgreSQL here" not in str(problem):
            raise
        pytest.skip(str(problem))


@pytest.fixture(params=["file", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return study_store.default_url(tmp_path) if request.param == "file" else request.getfixturevalue("server")


class Slow(Hill):
    """Long enough for another to come in between."""

    def __call__(self, settings, seed):
        time.sleep(0.02)
        return super().__call__(settings, seed)


def test_two_runs_at_once_share_a_study_and_evaluate_no_trial_twice(store):
    both, hills, found = threading.Barrier(2), (Slow(), Slow()), dict[int, Tuned]()

    def run(number: int) -> None:
        both.wait()
        found[number] = search(store, hills[number], trials=3)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = hills[0].asked + hills[1].asked
    assert len(asked) == len(set(asked)) <= 3 * len(SEEDS)
    assert found[0] == found[1]
    assert len(found[0].trials) == 3


def test_a_finished_study_leaves_no_connection_to_its_server(server):
    search(server, Hill(), trials=1)
    with create_engine(server, poolclass=NullPool).connect() as own:
        for _ in range(50):  # the server takes a moment to see that one is gone
            if not (left := own.execute(OTHERS).scalar()):
                break
            time.sleep(0.1)
    assert left == 0


def test_whoever_is_killed_lets_go_and_nobody_gets_it_before(store):
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, store], cwd=ROOT, stdout=subprocess.PIPE, env=_ours())
    assert holder.stdout
    assert holder.stdout.readline() == b"held\n"
    order = []

    def wait() -> None:
        with study_store.holding(store, "it"):
            order.append("got it")

    waiting = threading.Thread(target=wait)
    waiting.start()
    with study_store.holding(store, "something else"):
        waiting.join(0.5)
    order.append("killed")
    holder.send_signal(signal.SIGKILL)
    waiting.join(30)
    holder.communicate()
    assert order == ["killed", "got it"]


def _ours() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}
