"""`bench doctor`: what is installed, what is missing, and what follows from it."""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tabulate import tabulate

from bench import environment, lacking
from bench.cli import DONE, FAILED, add_json, add_results, say, say_json
from bench.lacking import Answer
from bench.plugins import BACKENDS, DEVICES, OPERATORS
from implementations.contract import LayerConfig

ANY_LAYER = LayerConfig(in_channels=8, out_channels=4, heads=2)

PACKAGES = ("torch", "torch-geometric", "dgl", "optuna", "mlflow", "numpy", "scipy", "matplotlib")
NEEDED_DISK_GIB = 1.0
CPU = "cpu"  # the device that every machine has


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench doctor`."""
    add_results(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print findings; exit 1 if something keeps every back end from running."""
    facts = environment.describe(PACKAGES)
    answers = {name: _answers(name) for name in BACKENDS.names()}
    problems = [*_machine(arguments.results), *lacking.devices(DEVICES.names())]
    able = [name for name, answer in answers.items() if answer[CPU].operators]
    if arguments.json:
        plain = {
            name: {device: found._asdict() for device, found in answer.items()} for name, answer in answers.items()
        }
        say_json({"environment": facts, "problems": problems, "able": able, "backends": plain})
        return DONE if able else FAILED
    say(tabulate([[name.removeprefix("version/"), value] for name, value in facts.items()], tablefmt="plain"))
    say("\nWhat each back end can run on which device, if it is there, and why not the rest:")
    say(tabulate([row for name in answers for row in _rows(name, answers[name])], tablefmt="plain"))
    say("\n" + "\n".join(problems or ["nothing is missing"]))
    return DONE if able else FAILED


def _answers(name: str) -> dict[str, Answer]:
    return {device: lacking.asked(name, OPERATORS.names(), [ANY_LAYER], device) for device in DEVICES.names()}


def _rows(name: str, answer: dict[str, Answer]) -> Iterator[list[str]]:
    """A line for the CPU and the devices with the same answer, and one for each where it is another."""
    alike = [device for device, found in answer.items() if found == answer[CPU]]
    yield from _lines(name, ", ".join(alike), answer[CPU].operators, answer[CPU].reasons)
    for device, found in answer.items():
        if device not in alike:
            news = [reason for reason in found.reasons if reason not in answer[CPU].reasons]
            yield from _lines(name, device, found.operators, news)


def _lines(name: str, devices: str, operators: list[str], reasons: list[str]) -> Iterator[list[str]]:
    said = filter(None, [", ".join(operators), *reasons])
    for number, text in enumerate(said):
        yield [name, devices, text] if number == 0 else ["", "", text]


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
