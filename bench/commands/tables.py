"""`bench tables`: an experiment's tables again, from its records."""

import argparse

from bench.cli import DONE, add_results, say
from bench.folder import ResultsFolder


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench tables`."""
    parser.add_argument("experiment", nargs="?", default="default", help="name of an experiment that was run")
    add_results(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Rewrite table.md and table.csv, print the table."""
    from bench.report import table

    folder = ResultsFolder(arguments.results.absolute() / arguments.experiment)
    experiment, records = folder.experiment(), folder.records()
    table.write(folder, experiment, records)
    say(table.terminal(experiment, records))
    return DONE
