"""`bench list`: what there is to choose from, and what is missing for each."""

import argparse

from tabulate import tabulate

from bench import environment, experiment_file
from bench.cli import DONE, add_json, say, say_json
from bench.plugins import BACKENDS, DATASETS, DEVICES, KINDS, OPERATORS


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench list`."""
    parser.add_argument("kind", nargs="?", choices=["experiments", *KINDS], help="only this kind")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print one table per kind."""
    shown = {
        "experiments": _experiments,
        "backends": _backends,
        "operators": _operators,
        "datasets": _datasets,
        "devices": _devices,
    }
    chosen = {kind: rows() for kind, rows in shown.items() if arguments.kind in (None, kind)}
    if arguments.json:
        say_json({kind: {row[0].strip(): row[1:] for row in rows} for kind, rows in chosen.items()})
        return DONE
    for kind, rows in chosen.items():
        say(f"{kind}\n{tabulate(rows, tablefmt='plain')}\n")
    return DONE


def _experiments() -> list[list[str]]:
    return [
        [f"  {name}", experiment_file.read_any(experiment_file.find(name)).title] for name in experiment_file.names()
    ]


def _backends() -> list[list[str]]:
    """What is installed for each; whether it also loads and what it can run takes seconds: `bench doctor` asks."""
    return [[f"  {name}", _installed(BACKENDS.get(name).packages)] for name in BACKENDS.names()]


def _installed(packages: tuple[str, ...]) -> str:
    found = environment.versions(packages)
    return ", ".join(
        f"{name} {version}" if version != "absent" else f"{name} is not installed" for name, version in found.items()
    )


def _operators() -> list[list[str]]:
    return [[f"  {name}", (OPERATORS.get(name).__doc__ or "").split("\n")[0]] for name in OPERATORS.names()]


def _datasets() -> list[list[str]]:
    infos = [DATASETS.get(name).info for name in DATASETS.names()]
    return [[f"  {info.name}", info.title, f"splits: {', '.join(info.splits)}"] for info in infos]


def _devices() -> list[list[str]]:
    return [
        [f"  {name}", DEVICES.get(name).unavailable() or ", ".join(DEVICES.get(name).slots())]
        for name in DEVICES.names()
    ]
