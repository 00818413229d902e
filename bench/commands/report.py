"""`bench report`: every view of an experiment but MLflow, again, from its records."""

import argparse
from pathlib import Path

from bench import table_file
from bench.cli import DONE, add_results, say
from bench.config import Experiment
from bench.errors import UserError
from bench.folder import ResultsFolder, write_atomically
from bench.views import write_views

END = "<!-- end of table -->"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench report`."""
    parser.add_argument(
        "experiment", nargs="?", default="default", help="name of an experiment or of a paper's table that was run"
    )
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="put the tables into a Markdown file instead, between `<!-- table: NAME -->` and `<!-- end of table -->`",
    )
    add_results(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Rewrite tables, plots and report.html and print the table, or fill a document's place for it."""
    folder = ResultsFolder(arguments.results.absolute() / arguments.experiment)
    if arguments.into is not None:
        insert(arguments.into, folder.name, excerpt(folder))
        return DONE
    say(_rewritten(folder))
    say(f"written: {arguments.results / arguments.experiment}/")
    return DONE


def excerpt(folder: ResultsFolder) -> str:
    """What a document shows of an experiment or a paper's table."""
    from bench.paper_rows import PaperTable
    from bench.report import paper, table
    from bench.report.results import Results

    if asked := table_file.kept(folder):
        return paper.excerpt(PaperTable.of(folder.name, asked, folder.records())) + "\n"
    return table.excerpt(Results.of(folder.experiment(), folder.records()), folder.name)


def _rewritten(folder: ResultsFolder) -> str:
    from bench.paper_rows import PaperTable
    from bench.report import paper, study, table

    if kept := table_file.kept(folder):
        found = PaperTable.of(folder.name, kept, folder.records())
        paper.write(folder, found)
        return paper.terminal(found)
    write_views(folder)
    asked = folder.asked()
    if isinstance(asked, Experiment):
        return table.terminal(asked, folder.records())
    return study.terminal(asked, folder.records())


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
