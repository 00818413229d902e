"""The command line: which command, and how its end becomes an exit code (`EXIT_CODES`)."""

import argparse
import errno
import importlib
import io
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from bench.errors import UserError, told, unknown
from bench.tracking import mlflow_store

COMMANDS = {
    "run": "run an experiment, or finish one that was interrupted",
    "list": "experiments, back ends, operators, data sets and devices, and what is missing for each",
    "parity": "hold back ends to the float64 reference, and show how their semantics differ",
    "data": "what data is here; fetch it, verify it",
    "tables": "the papers' tables and figures, re-run, with verdicts",
    "report": "print and rewrite an experiment's tables, plots and page from its records",
    "compare": "what got faster, slower, better or worse from one results folder or commit to another",
    "mlflow": "fill the MLflow store from the records",
    "ui": "serve the MLflow UI over what has been run",
    "studies": "serve Optuna's dashboard over the studies of what has been run",
    "overhead": "what the runner costs over the same loop written by hand",
    "cluster-demo": "a whole cluster on loopback, and the smoke experiment through it",
    "doctor": "what is installed, what each back end can run, what is missing",
    "completion": "print the completion of commands and names for a shell",
}
DONE, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
EXIT_CODES = {
    DONE: "done",
    FAILED: "something was done and failed: a job, a check",
    USER_ERROR: "your mistake, or a file or folder that the system refuses; one line says which, and what to do",
    INTERRUPTED: "interrupted by Ctrl-C; what was finished is recorded",
}
NO_THREAD = "can't start new thread"  # a RuntimeError of Python's that only its text tells from others
MOST_DIGITS = 9  # a number with more is a slip of the finger


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. `arguments` default to the process's own."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a title may have signs that the terminal has not
    try:
        return _run(sys.argv[1:] if arguments is None else list(arguments))
    except UserError as problem:
        return refused(problem)
    except KeyboardInterrupt:
        sys.stderr.write(
            "\nbench: interrupted; what was finished is recorded, and the same command goes on from there\n"
        )
        return INTERRUPTED
    except OSError as problem:
        if problem.filename is None and problem.errno not in _CURES:
            raise
        return refused(problem)
    except RuntimeError as problem:
        if str(problem) != NO_THREAD:
            raise
        return refused(OSError(errno.EAGAIN, NO_THREAD))


def refused(problem: UserError | OSError) -> int:
    """Tell a person in a line what is wrong and what to do; the exit code that goes with it."""
    cure = f"; {_cure(problem)}" if isinstance(problem, OSError) else ""
    sys.stderr.write(f"bench: {told(problem)}{cure}\n")
    return USER_ERROR


_ROOM = "make room; what was finished is recorded, and the same command goes on from there"
_FILES = "allow more open files (`ulimit -n`); the same command goes on from there"
_CURES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _ROOM),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _FILES),
    errno.EAGAIN: "allow more processes (`ulimit -u`); the same command goes on from there",
    errno.ENOMEM: "end what else fills the memory, or set fewer --jobs; the same command goes on from there",
}


def _cure(problem: OSError) -> str:
    """What to do about what the system refuses."""
    return _CURES.get(problem.errno or 0, "let --results name a folder that can be written, or mend this one")


def _run(arguments: list[str]) -> int:
    command = arguments[0] if arguments else ""
    if not command:
        raise UserError(f"name a command: {', '.join(COMMANDS)}; `bench --help` tells what each does")
    if command not in (*COMMANDS, "-h", "--help"):
        raise UserError(f"{unknown('command', command, COMMANDS)}; `bench --help` tells what each does")
    whole, parts = parsers(arguments[:1])
    parsed, rest = whole.parse_known_args(arguments)
    if rest:
        parts[command].error(f"unrecognized arguments: {' '.join(rest)}")
    code: int = parsed.execute(parsed)
    return code


def parsers(configured: Sequence[str]) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The whole command line, and each command's part of it.

    Only the modules of `configured` are imported, so `--help` and mistakes answer at once; other commands lack their
    arguments.
    """
    codes = f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}."
    whole: argparse.ArgumentParser = _Parser(
        prog="bench",
        description="Compare implementations of GAT and GATv2: parity, accuracy, speed, memory.",
        epilog=f"`bench COMMAND --help` tells more. {codes}",
    )
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    parts = {}
    for name, summary in COMMANDS.items():
        part = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".", epilog=codes)
        if name in configured:
            command = importlib.import_module(f"bench.commands.{name.replace('-', '_')}")
            command.configure(part)
            part.set_defaults(execute=command.execute)
        parts[name] = part
    return whole, parts


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other mistake is told."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; `{self.prog} --help` tells how it is written")


def add_results(parser: argparse.ArgumentParser) -> None:
    """The option that says where results lie."""
    parser.add_argument(
        "--results",
        type=Path,
        default=Path(os.environ.get("BENCH_RESULTS", "results")),
        metavar="FOLDER",
        help="where results lie (default: results, or BENCH_RESULTS)",
    )


def positive(text: str) -> int:
    """An argument that counts something."""
    if not text.isdecimal() or not 1 <= len(text) <= MOST_DIGITS or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def above_zero(text: str) -> float:
    """An argument that measures something."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def port(text: str) -> int:
    """An argument that numbers a port."""
    if not text.isdecimal() or not 0 < int(text[:MOST_DIGITS]) < 2**16:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 65535, not {text!r}")
    return int(text)


def add_mlflow(parser: argparse.ArgumentParser, *, off: bool = False) -> None:
    """The option that names an MLflow store; with `off`, a run may do without."""
    without = "; `off` for none" if off else ""
    parser.add_argument(
        "--mlflow",
        type=_mlflow_uri,
        default=os.environ.get("MLFLOW_TRACKING_URI") or None,
        metavar="URI",
        help=f"MLflow store or server (default: MLFLOW_TRACKING_URI, or mlflow.db in the results folder){without}",
    )


def _mlflow_uri(text: str) -> str:
    if reason := mlflow_store.problem(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} names no MLflow store ({reason}); write sqlite:////path/to/mlflow.db, http://host:5000, "
            "postgresql://host/name, or off"
        )
    return text


def storage_url(text: str) -> str:
    """An argument that names a database in which studies can be kept and held; it need not answer."""
    from sqlalchemy.engine import make_url  # comes with Optuna, which takes this
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    from bench.tuning import study_store

    try:
        make_url(text).get_dialect()
        reason: object = study_store.problem(text)
    except (ArgumentError, NoSuchModuleError, ValueError, ImportError) as problem:
        reason = problem
    if reason:
        raise argparse.ArgumentTypeError(
            f"{text!r} names no Optuna storage ({reason}); write sqlite:////path/to/optuna.db or "
            "postgresql://user@host/name"
        )
    return text


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option for programs."""
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output, and nothing else")


def say_json(result: object) -> None:
    """One JSON text, on standard output."""
    has_all_signs = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    say(json.dumps(result, indent=1, ensure_ascii=not has_all_signs))


def say(text: str) -> None:
    """One piece of output, on standard output; to nobody once its reader went away, as `head` does."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as problem:
        # Nowhere from now on: Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(problem, BrokenPipeError):
            problem.filename = "standard output"
            raise
