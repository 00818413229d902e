"""`bench compare`: what got faster, slower, better or worse from one results folder to another."""

import argparse
from pathlib import Path

from tabulate import tabulate

from bench.cli import DONE, add_json, say, say_json
from bench.errors import UserError
from bench.folder import ResultsFolder


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench compare`."""
    parser.add_argument("before", type=Path, metavar="BEFORE", help="an experiment's results folder")
    parser.add_argument("after", type=Path, metavar="AFTER", help="another, of the same cells")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print verdicts on the second folder against the first."""
    from bench.report import difference  # SciPy, which a mistake need not wait for
    from bench.report.results import Results

    for path in (arguments.before, arguments.after):
        if not path.is_dir():
            raise UserError(f"{path}: there is no such folder; name two experiments' folders, as in results/default")
    before, after = ResultsFolder(arguments.before.absolute()), ResultsFolder(arguments.after.absolute())
    results = [Results.of(folder.experiment(), folder.records()) for folder in (before, after)]
    found = difference.difference(*results)
    if not (found.accuracy or found.time or found.lost):
        raise UserError(f"{arguments.before} and {arguments.after} have results of no cell in common")
    if arguments.json:
        say_json(difference.plain(found))
        return DONE
    if not found.is_asked_alike:
        say("The two were asked with different settings: a difference may be theirs.\n")
    for grid in difference.grids(found):
        say(f"{grid.caption}\n{tabulate(grid.lines, grid.headers, tablefmt='simple', disable_numparse=True)}\n")
    for words, keys in (("before", found.only_first), ("after", found.only_second)):
        if keys:
            say(f"Only {words}: {', '.join(map(str, keys))}.")
    for lost in found.lost:
        say(f"Only before, of {lost.cell}: {lost.what()}.")
    say("\n".join(difference.changes(found)) or "Nothing was shown to have changed.")
    return DONE
