"""`kill -9` of runners, workers and the MLflow server at random moments loses nothing and doubles nothing."""

import itertools
import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from agreement_tools import networks_are_recorded, studies_agree, substance
from fault_tools import BENCH, ROOT, succeeds, tiny
from server_tools import Server, agrees

from bench.tracking import mlflow_store

KILLS = int(os.environ.get("KILLS", "10"))


def start(experiment: Path, results: Path, uri: str) -> subprocess.Popen:
    command = [*BENCH, "run", str(experiment), "--results", str(results), "--mlflow", uri]
    log = (results.parent / "errors.log").open("ab")
    with log:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)


@dataclass
class Storm:
    """What befalls runs: at most so many kills, at random moments, of the runner, a worker or the server.

    The first is of the server, where there is one: of a few drawn ones none might be.
    """

    dice: random.Random
    most: int
    between_s: float  # at the longest
    server: Server | None = None
    hits: Counter[str] = field(default_factory=Counter)

    def is_over(self) -> bool:
        return self.hits.total() >= self.most

    def rages(self, experiment: Path, results: Path) -> None:
        """One experiment to its end, however often it has to be started."""
        uri = self.server.uri if self.server else mlflow_store.default_uri(results)
        while True:
            process = start(experiment, results, uri)
            while not self.is_over() and process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(self.dice.uniform(0, self.between_s))
                if process.poll() is None:
                    self.hits[self._strike(process)] += 1
            if process.wait() == 0:
                return
            log = (results.parent / "errors.log").read_text()
            assert self.hits, log
            assert process.returncode in (1, -signal.SIGKILL), log  # 1: one job was hit three times in a row
            assert "Traceback" not in log, log

    def _strike(self, process: subprocess.Popen) -> str:
        workers = [
            child.pid for child in psutil.Process(process.pid).children() if "bench.workers.worker" in command_of(child)
        ]
        targets = ["runner", *(["worker", "worker"] if workers else []), *(["server"] if self.server else [])]
        target = "server" if self.server and not self.hits["server"] else self.dice.choice(targets)
        with suppress(ProcessLookupError):
            if target == "runner":
                process.kill()
            elif target == "worker":
                os.kill(self.dice.choice(workers), signal.SIGKILL)
            else:
                self.server.kill()
                self.server.start()
        return target


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def check(experiment: Path, tmp_path: Path, kills: int, seed: int, server: Server | None = None) -> Counter[str]:
    """Experiment after experiment until so many kills have hit; each ends as if nothing had befallen it."""
    dice = random.Random(seed)
    begun = time.monotonic()
    Storm(dice, 0, 0).rages(experiment, tmp_path / "calm")
    whole_s = time.monotonic() - begun
    expected = substance(tmp_path / "calm" / experiment.stem)
    storm = Storm(dice, kills, 0.8 * whole_s, server)  # from the first imports to the last fits
    for number in itertools.count():
        wild = tmp_path / f"wild {number}"
        storm.rages(experiment, wild)
        folder = wild / experiment.stem
        assert substance(folder) == expected
        studies_agree(folder)
        networks_are_recorded(folder)
        if server is None:
            agrees(mlflow_store.default_uri(wild), folder)
        else:
            succeeds("mlflow", "sync", "--mlflow", server.uri, "--results", wild)
            agrees(server.uri, folder)
            server.forget(experiment.stem)
        if storm.is_over():
            break
    return storm.hits


@pytest.mark.faults
def test_three_kills_lose_and_double_nothing(tmp_path):
    assert check(tiny(tmp_path), tmp_path, kills=3, seed=1).total() == 3


@pytest.mark.slow
@pytest.mark.faults
def test_many_kills_of_runners_and_workers_lose_and_double_nothing(tmp_path):
    experiment = tiny(tmp_path, ("seeds = [0, 1, 2]", "seeds = [0, 1, 2, 3, 4, 5]"))
    hits = check(experiment, tmp_path, KILLS - KILLS // 5, seed=2)
    assert set(hits) == {"runner", "worker"}


@pytest.mark.slow
@pytest.mark.faults
def test_kills_of_the_server_among_them_lose_and_double_nothing(tmp_path):
    server = Server(tmp_path / "server")
    server.start()
    try:
        hits = check(tiny(tmp_path), tmp_path, max(2, KILLS // 5), seed=3, server=server)
        assert hits["server"] >= 1
    finally:
        server.kill()
