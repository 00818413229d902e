"""`bench studies`: optuna-dashboard over the studies of a results folder."""

import argparse

from bench.cli import DONE, add_results
from bench.tuning.pages import serve


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench studies`."""
    parser.add_argument("--port", type=int, default=8080, help="on 127.0.0.1 (default: 8080)")
    add_results(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Serve until interrupted."""
    serve(arguments.results.absolute(), arguments.port)
    return DONE
