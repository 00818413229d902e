"""`bench tables`: an experiment's tables again, from its records."""

import argparse
from pathlib import Path

from bench.cli import DONE, add_results, say
from bench.config import Experiment
from bench.errors import UserError
from bench.folder import ResultsFolder, write_atomically

END = "<!-- end of table -->"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench tables`."""
    parser.add_argument("experiment", nargs="?", default="default", help="name of an experiment that was run")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="put the tables into a Markdown file instead, between `<!-- table: NAME -->` and `<!-- end of table -->`",
    )
    add_results(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Rewrite table.md and table.csv and print the table, or fill a document's place for it."""
    from bench.report import study, table
    from bench.report.results import Results

    folder = ResultsFolder(arguments.results.absolute() / arguments.experiment)
    experiment, records = folder.asked(), folder.records()
    if not isinstance(experiment, Experiment):
        study.write(folder, experiment, records)
        say(study.terminal(experiment, records))
        return DONE
    if arguments.into is not None:
        insert(arguments.into, folder.name, table.excerpt(Results.of(experiment, records), folder.name))
        return DONE
    table.write(folder, experiment, records)
    say(table.terminal(experiment, records))
    return DONE


def insert(path: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of one table.

    Raises:
        UserError: the file or a marker is not there.
    """
    begin = f"<!-- table: {name} -->"
    try:
        document = path.read_text()
    except OSError as problem:
        raise UserError(f"{path}: cannot be read: {problem.strerror}") from None
    before, found, rest = document.partition(begin)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise UserError(f"{path}: has no place for this table; put `{begin}` and `{END}` where it should stand")
    write_atomically(path, f"{before}{begin}\n\n{text}\n{END}{after}")
