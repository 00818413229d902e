"""`bench ui`: the MLflow UI over what has been run."""

import argparse

from bench.cli import DONE, add_results
from bench.ui import serve


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench ui`."""
    parser.add_argument("--port", type=int, default=5000, help="on 127.0.0.1 (default: 5000)")
    parser.add_argument("--mlflow", metavar="URI", help="MLflow store (default: mlflow.db in the results folder)")
    add_results(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Serve until interrupted."""
    serve(arguments.results.absolute(), arguments.port, arguments.mlflow)
    return DONE
