"""`bench mlflow sync`: the MLflow store from the records, as often as you like."""

import argparse

from bench.cli import DONE, FAILED, add_mlflow, add_results, refused, say
from bench.errors import UserError
from bench.folder import SNAPSHOT, ResultsFolder
from bench.paper import table_file
from bench.paper.rows import PaperTable
from bench.tracking import mlflow_store
from bench.tracking.mlflow_store import TrackingUnavailable
from bench.views import sync, sync_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench mlflow`."""
    parser.add_argument("action", choices=["sync"], help="add what the records have and the store has not")
    parser.add_argument("experiment", nargs="*", help="names of experiments that were run (default: all)")
    add_mlflow(parser)
    add_results(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Fill the store; twice gives no duplicates. A folder that cannot be read is named, and the others are synced."""
    mlflow_store.require_settings()
    results = arguments.results.absolute()
    names = arguments.experiment or sorted(
        path.parent.name for snapshot in (SNAPSHOT, table_file.SNAPSHOT) for path in results.glob(f"*/{snapshot}")
    )
    if not names:
        raise UserError(f"{arguments.results}: nothing was run here yet; `bench run` does")
    code = DONE
    for name in names:
        try:
            notices = _sync(arguments.mlflow, ResultsFolder(results / name))
        except TrackingUnavailable as problem:
            say(f"{name}: {problem}")
            return FAILED
        except (UserError, OSError) as problem:
            code = refused(problem)
        else:
            say("\n".join([f"{name}: in MLflow", *notices]))
    return code


def _sync(uri: str | None, folder: ResultsFolder) -> list[str]:
    """An experiment, or a paper's table; returns what the user should see."""
    if table := table_file.kept(folder):
        return sync_table(uri, folder, PaperTable.of(folder.name, table, folder.records()))
    return sync(uri, folder)
