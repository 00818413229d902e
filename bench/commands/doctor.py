"""`bench doctor`: what is installed, what is missing, and what follows from it."""

import argparse
import os
import shutil
import sys
from pathlib import Path

import torch
from tabulate import tabulate

from bench import environment
from bench.cli import DONE, FAILED, add_json, add_results, say, say_json
from bench.commands.list import ANY_LAYER
from bench.plugins import BACKENDS, DEVICES, OPERATORS

PACKAGES = ("torch", "torch-geometric", "dgl", "optuna", "mlflow", "numpy", "scipy", "matplotlib")
NEEDED_DISK_GIB = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench doctor`."""
    add_results(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print findings; exit 1 if something keeps every back end from running."""
    facts = environment.describe(PACKAGES)
    problems = [*_machine(arguments.results), *_backends(), *_devices()]
    able = _able()
    if arguments.json:
        say_json({"environment": facts, "problems": problems, "able": able})
        return DONE if able else FAILED
    say(tabulate([[name.removeprefix("version/"), value] for name, value in facts.items()], tablefmt="plain"))
    say("\n" + "\n".join(problems or ["nothing is missing"]))
    return DONE if able else FAILED


def _machine(results: Path) -> list[str]:
    found = []
    if sys.version_info[:2] != (3, 11):
        found.append(f"Python {sys.version_info.major}.{sys.version_info.minor}: tested with 3.11 only")
    free_gib = shutil.disk_usage(_existing(results.absolute())).free / 2**30
    if free_gib < NEEDED_DISK_GIB:
        found.append(f"{results}: {free_gib:.1f} GiB free; a run may need {NEEDED_DISK_GIB:.0f} GiB")
    if not os.access(_existing(results.absolute()), os.W_OK):
        found.append(f"{results}: not writable; choose another folder with --results")
    return found


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _backends() -> list[str]:
    return [f"back end {name}: {reason}" for name in BACKENDS.names() if (reason := _reason(name))]


def _devices() -> list[str]:
    return [f"device {name}: {reason}" for name in DEVICES.names() if (reason := DEVICES.get(name).unavailable())]


def _able() -> list[str]:
    return [name for name in BACKENDS.names() if _reason(name) is None]


def _reason(name: str) -> str | None:
    """Why a back end cannot run any operator here, or None."""
    backend = BACKENDS.get(name)
    reasons = [
        backend.unsupported(OPERATORS.get(operator), ANY_LAYER, torch.device("cpu")) for operator in OPERATORS.names()
    ]
    return None if None in reasons else reasons[0]
