"""`bench overhead`: what the runner costs over the same loop written by hand, measured in pairs."""

import argparse
import math
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bench.basis import basis, code_behind
from bench.cli import DONE, positive, say
from bench.config import Architecture, Protocol, Training
from bench.errors import UserError
from bench.outcomes import Fitted
from bench.plugins import DATASETS, DEVICES
from bench.rig import Place
from bench.summary import log_ratio_of_medians
from bench.task import row_normalised
from bench.work import FitJob
from bench.workers.pool import Worker, environment

DATASET = "cora_linqs"
PLAIN_LOOP = Path(__file__).parent.parent / "speed" / "plain_loop.py"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench overhead`."""
    parser.add_argument("--pairs", type=positive, default=10, help="pairs of fits (default: 10)")
    parser.add_argument("--epochs", type=positive, default=60, help="epochs of each fit (default: 60)")


def execute(arguments: argparse.Namespace) -> int:
    """Alternate the two in random order on one core, and print the ratio with its interval."""
    ours_s, plain_s = measure(arguments.pairs, arguments.epochs)
    ratio = log_ratio_of_medians(ours_s, plain_s)
    if ratio is not None:
        interval = ratio.interval(0.95).exp()
        say(
            f"runner / plain script: {math.exp(ratio.difference):.4f}, "
            f"95 % interval {interval.low:.4f} to {interval.high:.4f}, {len(ours_s)} pairs of {arguments.epochs} epochs"
        )
    return DONE


def measure(pairs: int, epochs: int) -> tuple[dict[int, float], dict[int, float]]:
    """Seconds of a fit through the runner and by the plain script, pair by pair."""
    slot = DEVICES.get("cpu").slots()[0]
    ours_s: dict[int, float] = {}
    plain_s: dict[int, float] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        _plain(epochs, Path(folder), slot) as plain,
        _ours(epochs, slot) as ours,
    ):
        plain()
        ours()
        for pair in range(pairs):
            both = [(plain, plain_s), (ours, ours_s)]
            random.Random(pair).shuffle(both)
            for fit, seconds in both:
                seconds[pair] = fit()
            say(f"pair {pair + 1}: runner {ours_s[pair]:.3f} s, plain script {plain_s[pair]:.3f} s")
    return ours_s, plain_s


Fit = Callable[[], float]
"""Trains once and gives the seconds it took."""


@contextmanager
def _ours(epochs: int, slot: str) -> Iterator[Fit]:
    """A fit as the runner has it done: a job sent to a worker, its record's seconds."""
    worker = Worker()
    job = FitJob(
        backend="pyg",
        operator="gat",
        dataset=DATASET,
        device="cpu",
        protocol=Protocol(features="dense"),
        architecture=Architecture(),
        basis=basis("pyg", "gat", DATASET, "cpu"),
        training=Training(max_epochs=epochs, stop_on="never"),
        seed=0,
    )

    def fit() -> float:
        done = worker.run(job, code_behind(job), Place(slot), 3600, lambda text: None)
        if not isinstance(done.outcome, Fitted):
            raise UserError(f"the fit through the runner failed: {done.outcome}")
        return done.seconds

    try:
        yield fit
    finally:
        worker.close()


@contextmanager
def _plain(epochs: int, folder: Path, slot: str) -> Iterator[Fit]:
    """The plain script in a process of its own, on the same core."""
    _save(folder / "data.pt")
    command = [sys.executable, str(PLAIN_LOOP), str(epochs), str(folder / "data.pt"), slot.split(":")[1]]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(threads=1)
    ) as script:
        assert script.stdin is not None
        assert script.stdout is not None
        stdin, stdout = script.stdin, script.stdout

        def fit() -> float:
            stdin.write("go\n")
            stdin.flush()
            return float(stdout.readline())

        yield fit


def _save(path: Path) -> None:
    """The same arrays that the runner's fit sees."""
    dataset = DATASETS.get(DATASET)
    data = dataset.load()
    nodes = dataset.nodes(data, dataset.info.splits[0], seed=0)
    content = {
        "x": row_normalised(data.x).to_dense(),
        "y": data.y,
        "edge_index": data.graph.with_self_loops().edge_index,
        **vars(nodes),
    }
    torch.save(content, path)
