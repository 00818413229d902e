"""`kill -9` of the whole process group at random moments loses nothing and doubles nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import experiment_file, records
from bench.outcomes import Checked, Fitted, Timed, Tuned

TINY = """
title = "tiny"
backends = ["scatter"]
operators = ["gat"]
datasets = ["blocks"]
devices = ["cpu"]
seeds = [0, 1, 2]
[training]
max_epochs = 30
[tuning]
trials = 3
seeds = [100, 101]
space = { "training.lr" = { low = 1e-3, high = 1e-1, log = true } }
[timing]
rounds = 1
samples = 2
min_sample_s = 0.01
max_phase_s = 0.5
"""


def start(experiment: str, results: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "bench", "run", experiment, "--results", str(results)]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def run_to_the_end(experiment: str, results: Path) -> float:
    begun = time.monotonic()
    process = start(experiment, results)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return time.monotonic() - begun


def substance(results: Path) -> dict[str, object]:
    """What a record says that must not depend on when, where and how often a run was disturbed."""
    found = records.read(results)
    assert len({record.id for record in found}) == len(found), "a job is recorded twice"
    return {record.id: decided(record) for record in found}


def decided(record: records.Record) -> object:
    outcome = record.outcome
    match outcome:
        case Fitted():
            return (outcome.seed, outcome.test, outcome.validation, outcome.epochs)
        case Tuned():
            return (outcome.best, [trial.model_dump() for trial in outcome.trials])
        case Checked():
            return outcome.passed
        case Timed():
            return sorted(outcome.tracks)
        case _:
            return outcome.status


def disturb(experiment: str, results: Path, kills: int, whole_s: float) -> int:
    """Kill at random moments; returns how many kills hit a run that was not over yet."""
    moments = random.Random(kills)
    hits = 0
    for _ in range(kills):
        process = start(experiment, results)
        try:
            process.communicate(timeout=moments.uniform(0.5, max(2.0, whole_s / 3)))
        except subprocess.TimeoutExpired:
            hits += 1
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return hits


def mlflow_states(results: Path) -> list[str]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{results / 'mlflow.db'}")
    ids = [found.experiment_id for found in client.search_experiments()]
    return [run.info.status for run in client.search_runs(ids, max_results=1000)]


def check(experiment: str, name: str, tmp_path: Path, kills: int) -> None:
    calm, wild = tmp_path / "calm", tmp_path / "wild"
    whole_s = run_to_the_end(experiment, calm)
    assert disturb(experiment, wild, kills, whole_s) >= kills // 2
    run_to_the_end(experiment, wild)
    assert substance(wild / name) == substance(calm / name)
    states = mlflow_states(wild)
    assert states
    assert set(states) <= {"FINISHED"}
    assert len(states) == len(mlflow_states(calm))


def test_three_kills_of_a_tiny_experiment_lose_and_double_nothing(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    check(str(path), "tiny", tmp_path, kills=3)


@pytest.mark.slow
def test_twenty_kills_of_the_smoke_experiment_lose_and_double_nothing(tmp_path):
    assert "smoke" in experiment_file.names()
    check("smoke", "smoke", tmp_path, kills=20)
