"""`bench ui`: the MLflow UI over what has been run."""

import argparse

from bench.cli import DONE, add_mlflow, add_results, port
from bench.ui import serve


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench ui`."""
    parser.add_argument("--port", type=port, default=5000, help="on 127.0.0.1 (default: 5000)")
    add_mlflow(parser)
    add_results(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Serve until interrupted."""
    serve(arguments.results.absolute(), arguments.port, arguments.mlflow)
    return DONE
