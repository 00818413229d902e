"""`bench report`: every view of an experiment but MLflow, again, from its records."""

import argparse
import json
from pathlib import Path

from bench.cli import DONE, add_json, add_results, refused, say, say_json
from bench.config import Experiment
from bench.errors import UserError
from bench.folder import ResultsFolder, write_atomically
from bench.paper import table_file
from bench.views import plain, write_index, write_views

END = "<!-- end of table -->"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench report`."""
    parser.add_argument(
        "experiment",
        nargs="?",
        help="name of an experiment or of a paper's table that was run (default: index.html alone)",
    )
    parser.add_argument("--all", action="store_true", help="every experiment and table, then index.html over all")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="put the tables into a Markdown file instead, between `<!-- table: NAME -->` and `<!-- end of table -->`",
    )
    add_results(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Rewrite tables, plots and report.html and print the table, or fill a document's place for it.

    Raises:
        UserError: `--all` is asked for with a name or a file; or as `ResultsFolder.asked`.
    """
    if arguments.all and (arguments.experiment or arguments.into):
        raise UserError("--all rewrites every experiment and table; leave out the name and --into, or --all")
    if arguments.all or (arguments.experiment is None and arguments.into is None):
        return _overview(arguments)
    folder = ResultsFolder(arguments.results.absolute() / (arguments.experiment or "default"))
    if arguments.into is not None:
        insert(arguments.into, folder.name, excerpt(folder))
        return DONE
    text = _rewritten(folder)
    write_index(folder.path.parent)
    if arguments.json:
        say_json(_plain(folder))
        return DONE
    say(text)
    say(f"written: {arguments.results / arguments.experiment}/ and {arguments.results / 'index.html'}")
    return DONE


def _overview(arguments: argparse.Namespace) -> int:
    """`index.html`, of all or of what lies there already."""
    results = arguments.results.absolute()
    code = _all_rewritten(results) if arguments.all else DONE
    write_index(results)
    if arguments.json:
        say_json({"index": str(results / "index.html")})
    else:
        say(f"written: {arguments.results / 'index.html'}")
    return code


def _all_rewritten(results: Path) -> int:
    """Every folder's views; a folder that cannot be read or written is named, and costs the others nothing."""
    from bench.report import index

    code = DONE
    for folder in index.folders(results):
        try:
            _rewritten(folder)
        except (UserError, OSError) as problem:
            code = refused(problem)
    return code


def _plain(folder: ResultsFolder) -> object:
    """Of a paper's table, what `table.json` holds."""
    return json.loads((folder.path / "table.json").read_text()) if table_file.kept(folder) else plain(folder)


def excerpt(folder: ResultsFolder) -> str:
    """What a document shows of an experiment, in brief, or of a paper's table."""
    from bench.paper.rows import PaperTable
    from bench.report import brief
    from bench.report.paper import views as paper
    from bench.report.results import Results

    if asked := table_file.kept(folder):
        return paper.brief(PaperTable.of(folder.name, asked, folder.records())) + "\n"
    return brief.markdown(Results.of(folder.experiment(), folder.records()), folder.name)


def _rewritten(folder: ResultsFolder) -> str:
    from bench.paper.rows import PaperTable
    from bench.report import table
    from bench.report.paper import views as paper
    from bench.report.studies import views as study

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
        UserError: the file or a marker is not there, or it is no regular file.
    """
    begin = f"<!-- table: {name} -->"
    if path.exists() and not path.is_file():  # a pipe would be waited for, and replaced
        raise UserError(f"{path}: no regular file; name a Markdown file")
    try:
        document = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise UserError(f"{path}: cannot be read: {problem.strerror}; name a Markdown file") from None
    except UnicodeDecodeError as problem:
        raise UserError(f"{path}: not UTF-8 ({problem}); name a Markdown file") from None
    before, found, rest = document.partition(begin)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise UserError(f"{path}: has no place for this table; put `{begin}` and `{END}` where it should stand")
    write_atomically(path, f"{before}{begin}\n\n{text}\n{END}{after}")
