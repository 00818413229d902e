"""`bench tables`: the papers' tables and figures, re-run, with verdicts."""

import argparse
import os
import sys
from collections.abc import Sequence

from tabulate import tabulate

from bench import lacking
from bench.cli import DONE, FAILED, above_zero, add_mlflow, add_results, positive, say, say_json
from bench.durations import roughly
from bench.errors import UserError
from bench.folder import ResultsFolder
from bench.kind import Means
from bench.options import Options, add_options
from bench.paper import table_file
from bench.paper.reproduce import Ask, Reproduction
from bench.paper.reproduction import Word
from bench.paper.rows import PaperTable, Row
from bench.paper.table import Part, TableFile
from bench.progress import Display, PlainDisplay, display
from bench.tracking import mlflow_store
from bench.tracking.mlflow_store import TrackingUnavailable
from bench.views import renew_index, sync_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench tables`."""
    parser.add_argument("table", nargs="*", help="names (see --list) or paths to .toml files; all if none is given")
    parser.add_argument("--list", action="store_true", help="print the tables and figures there are, and stop")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ROW",
        help="the row of this id; or rows whose id begins with this part of one, as `cora/gat`, or matches `*/fused`; "
        "may be given again",
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--seeds", type=positive, metavar="N", help="so many seeds for every row, whatever its verdict")
    amount.add_argument("--full", action="store_true", help="as many seeds as the paper has runs; takes hours")
    parser.add_argument("--minutes", type=above_zero, metavar="M", help="time budget per table instead of the file's")
    parser.add_argument("--dry-run", action="store_true", help="print the rows that would be run, and stop")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print what table.json holds instead of the table, once it has been run; of several, under `tables`",
    )
    add_options(parser)
    add_mlflow(parser, off=True)
    add_results(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Run what is missing of each table, write its views, print it."""
    if arguments.json and (arguments.list or arguments.dry_run):
        raise UserError("--json: prints a table that is run; leave out --list and --dry-run")
    if arguments.list:
        if arguments.table:
            raise UserError(f"--list: lists all tables; leave out {' '.join(arguments.table)}")
        say(_listing())
        return DONE
    if arguments.mlflow != "off":
        mlflow_store.require_settings()
    if arguments.only and len(arguments.table) != 1:
        raise UserError("--only: name the one table whose rows are meant")
    paths = [table_file.find(name) for name in arguments.table or table_file.names()]
    tables = {path.stem: table_file.read(path) for path in paths}  # whatever is wrong is said before anything runs
    if arguments.dry_run:
        for name, table in tables.items():
            _dry_run(name, table, arguments)
        return DONE
    done = [_run(name, table, arguments) for name, table in tables.items()]
    renew_index(arguments.results.absolute())
    states = [state for state, _ in done]
    if arguments.json:
        _say_json(states)
    elif len(states) > 1:
        say(_summary(states))
    return FAILED if any(errors for _, errors in done) else DONE


def _run(name: str, table: TableFile, arguments: argparse.Namespace) -> tuple[PaperTable, int]:
    from bench.report.paper import views

    folder = _folder(name, arguments)
    with folder.exclusive():
        table_file.keep(folder, table)
        with display() as shown:
            run = Reproduction(name, table, _means(folder, shown, arguments), _ask(arguments))
            shown.say(f"{table.title}: {sum(1 for _ in run.planned())} rows to compare")
            errors = run.run()
        views.write(folder, run.state, run.remarks())
    if not arguments.json:
        lines = {row.line for row, _ in run.planned()}
        say(views.terminal(run.state.only(lines) if arguments.only else run.state, run.remarks()))
        say(f"The same is in {os.path.relpath(folder.path)}/: report.html, table.md, table.csv, table.tex, table.json.")
    if arguments.mlflow != "off" and run.state.compared():
        _track(arguments.mlflow, folder, run.state)
    return run.state, errors


def _say_json(states: Sequence[PaperTable]) -> None:
    """What `table.json` holds of the one table, or of each: one text, however many tables were asked for."""
    from bench.report.paper import values

    tables = [values.plain(state) for state in states]
    say_json(tables[0] if len(tables) == 1 else {"tables": tables})


def _folder(name: str, arguments: argparse.Namespace) -> ResultsFolder:
    return ResultsFolder(arguments.results.absolute() / name)


def _track(uri: str | None, folder: ResultsFolder, found: PaperTable) -> None:
    """MLflow is a view: whatever happens to it, the table stands."""
    try:
        notices = sync_table(uri, folder, found)
    except TrackingUnavailable as problem:
        notices = [f"MLflow is behind. {problem}. `bench mlflow sync {folder.name}` fills it from the records."]
    for notice in notices:
        sys.stderr.write(f"{notice}\n")


def _summary(states: Sequence[PaperTable]) -> str:
    """How often each verdict was passed, by table."""
    words: tuple[Word, ...] = ("reproduced", "not reproduced", "undecided", "protocol differs", "not run")
    lines = []
    for state in states:
        passed = [row.verdict.word for row in state.shown()] + [row.ours.verdict.word for row in state.orderings]
        lines.append([state.name, *(passed.count(word) or "" for word in words)])
    return tabulate(lines, ["table", *words], tablefmt="simple")


def _dry_run(name: str, table: TableFile, arguments: argparse.Namespace) -> None:
    run = Reproduction(name, table, _means(_folder(name, arguments), PlainDisplay(), arguments), _ask(arguments))
    say(f"{name}: {table.title}")
    planned = list(run.foreseen())
    for row, seeds, short in planned:
        recorded = f" ({row.tried} recorded)" if row.tried else ""
        say(f"  {row.require_line().id}: {_seeds(run, row, seeds, short)}{recorded}")
    begun = [row for row, seeds, short in planned if seeds and not short]
    if absent := lacking.absent(name for row in begun for name in _datasets_of(row)):
        say(f"  fetched first, if it can be: {', '.join(absent)} (`bench data {' '.join(absent)} --fetch`)")
    if run.ask.fixed:
        say("  however long it takes: so many seeds were asked for")
    else:
        say(f"  in {roughly(60 * (arguments.minutes or table.budget_min))} at most, the most uncertain rows longest")


def _seeds(run: Reproduction, row: Row, first: int, short: str) -> str:
    """What is planned for a row: "3 seeds, then up to 40"; or why nothing is."""
    if not first:
        return "none unless named (--only) or asked for (--seeds)"
    if short:
        return f"no new ones: {short}; name the row (--only) or ask for it (--seeds)"
    most = run.most(row, first)
    return f"{first} seeds, then up to {most}" if most > first else f"{first} seeds"


def _means(folder: ResultsFolder, shown: Display, arguments: argparse.Namespace) -> Means:
    return Means(folder, shown, Options.chosen(arguments, folder))


def _ask(arguments: argparse.Namespace) -> Ask:
    return Ask(seeds=arguments.seeds, full=arguments.full, only=tuple(arguments.only), minutes=arguments.minutes)


def _listing() -> str:
    rows = []
    for name in table_file.names():
        table = table_file.of(name)
        rows.append([name, table.title, f"{len(table.registry(name))} values", _runs(table)])
    return tabulate(rows, ["name", "title", "published", "runs"], tablefmt="plain")


def _runs(table: TableFile) -> str:
    """What is done for a table, or why nothing is."""
    if table.part:
        return _experiments(table)
    if table.significance:
        return f"{len(table.significance)} tests worked out at once, from the printed figures"
    return f"not run: {table.not_run}"


def _experiments(table: TableFile) -> str:
    """How many there are, and the command that brings what they lack."""
    count = f"{len(table.part)} experiment{'' if len(table.part) == 1 else 's'}"
    absent = _lacking(table)
    return f"{count}; `bench data {' '.join(absent)} --fetch` brings their data" if absent else count


def _lacking(table: TableFile) -> list[str]:
    """Data sets of a table whose files are not here."""
    return lacking.absent(name for part in table.part for name in _datasets(part))


def _datasets_of(row: Row) -> list[str]:
    """What a row is run on: its column where columns are data sets, else all of its part's."""
    column, named = row.require_line().column, _datasets(row.require_part())
    return [column] if column in named else named


def _datasets(part: Part) -> list[str]:
    """What is loaded for a part; counting parameters needs no files."""
    return [] if part.kind == "parameters" else list(part.experiment.get("datasets", ()))
