"""`bench compare`: what got faster, slower, better or worse from one results folder or commit to another."""

import argparse
from typing import TYPE_CHECKING

from tabulate import tabulate

from bench import sides
from bench.cli import DONE, add_json, add_results, say, say_json
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.report.difference import Difference


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench compare`."""
    parser.add_argument(
        "before",
        metavar="BEFORE",
        help="an experiment's results folder; FOLDER@COMMIT, what it holds of a commit; or COMMIT, of every experiment "
        f"in --results that has records of both commits. Of a commit, {sides.FEWEST_DIGITS} digits or more",
    )
    parser.add_argument(
        "after",
        metavar="AFTER",
        help="another, of the same cells; COMMIT beside a folder is of that folder. What was not run again at a commit "
        "has no records of it",
    )
    add_results(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print verdicts on the second side against the first, of one experiment or of each that both commits have."""
    before, after = sides.Named.of(arguments.before), sides.Named.of(arguments.after)
    found = _judged(sides.pairs(before, after, arguments.results))
    if not any(one.is_of_something for one in found.values()):
        both = f"{arguments.before} and {arguments.after}"
        raise UserError(f"{both} have results of no cell in common; name two folders or commits that have")
    is_one = bool(before.folder or after.folder)
    if arguments.json:
        say_json(_plain(found, is_one=is_one))
    elif is_one:
        _print(*found.values())
    else:
        for name, one in found.items():
            say(f"{name}\n{'=' * len(name)}\n")
            _print(one)
            say("")
    return DONE


def _judged(pairs: dict[str, sides.Pair]) -> "dict[str, Difference]":
    from bench.report import difference  # SciPy, which a mistake need not wait for
    from bench.report.results import Results

    def judged(pair: sides.Pair) -> difference.Difference:
        first, second = (Results.of(side.experiment, side.records) for side in pair)
        return difference.difference(first, second, sides.remarks(pair))

    return {name: judged(pair) for name, pair in pairs.items()}


def _plain(found: "dict[str, Difference]", *, is_one: bool) -> dict[str, object]:
    from bench.report import difference

    plain = {name: difference.plain(one) for name, one in found.items()}
    return next(iter(plain.values())) if is_one else {"experiments": plain}


def _print(found: "Difference") -> None:
    from bench.report import difference

    for remark in found.remarks:
        say(f"{remark}\n")
    for grid in difference.grids(found):
        say(f"{grid.caption}\n{tabulate(grid.lines, grid.headers, tablefmt='simple', disable_numparse=True)}\n")
    for words, keys in (("before", found.only_first), ("after", found.only_second)):
        if keys:
            say(f"Only {words}: {', '.join(map(str, keys))}.")
    for lost in found.lost:
        say(f"Only before, of {lost.cell}: {lost.what()}.")
    nothing = "Nothing was shown to have changed." if found.is_of_something else "No cell has results of both."
    say("\n".join(difference.changes(found)) or nothing)
