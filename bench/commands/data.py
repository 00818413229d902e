"""`bench data`: what data is here; fetch it, verify it."""

import argparse
import os
import sys
from pathlib import Path

from tabulate import tabulate

from bench.cli import DONE, say
from bench.data import DataRow, data_rows
from bench.errors import UserError
from bench.plugins import DATASETS


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench data`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets (default: all)")
    parser.add_argument("--fetch", action="store_true", help="bring and verify what is absent")
    parser.add_argument("--verify", action="store_true", help="load each and compare it with what is said of it")


def execute(arguments: argparse.Namespace) -> int:
    """One line per data set.

    Raises:
        UserError: there is no data set of a name; or what could not be brought or verified, a line each, after
            everything else was.
    """
    datasets = [DATASETS.get(name) for name in dict.fromkeys(arguments.names or DATASETS.names())]
    rows = data_rows(datasets, fetch=arguments.fetch, verify=arguments.verify, report=_tell)
    say(tabulate([_line(row) for row in rows], _HEADERS, tablefmt="simple", intfmt=","))
    for row in rows:
        if row.note and not row.problem:
            say(f"\n{row.note}")
    if problems := [row.problem for row in rows if row.problem]:
        raise UserError("\n".join(problems))
    return DONE


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


_HEADERS = ["name", "data set", "nodes", "edges", "features", "classes", "splits", "state", "where"]


def _line(row: DataRow) -> list[object]:
    return [
        row.name, row.title, row.nodes, row.edges or "", row.features, row.classes, ", ".join(row.splits), row.state,
        _short(row.place),
    ]  # fmt: skip


def _short(place: str) -> str:
    home = str(Path.home())
    return place.replace(home, "~", 1) if place.startswith(home + os.sep) else place
