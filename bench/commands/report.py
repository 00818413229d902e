"""`bench report`: every view of an experiment but MLflow, again, from its records."""

import argparse

from bench.cli import DONE, add_results, say
from bench.folder import ResultsFolder
from bench.views import write_views


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench report`."""
    parser.add_argument("experiment", nargs="?", default="default", help="name of an experiment that was run")
    add_results(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Rewrite tables, plots and report.html."""
    folder = ResultsFolder(arguments.results.absolute() / arguments.experiment)
    write_views(folder)
    say(f"written: {arguments.results / arguments.experiment}/report.html, table.md, table.csv, plots/")
    return DONE
