"""`bench completion`: what a shell needs to complete commands, options and names."""

import argparse
from collections.abc import Iterable

import shtab

from bench import cli, experiment_file
from bench.cli import DONE, say
from bench.paper import table_file
from bench.plugins import BACKENDS, DATASETS

_WORDS = """
_bench_{kind}() {{
  compgen -W "{words}" -- "$1"
  compgen -f -X '!*.toml' -- "$1"
}}
"""
_WORDS_ZSH = """
_bench_{kind}() {{
  compadd {words}
  _files -g '*.toml'
}}
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench completion`."""
    parser.add_argument("shell", choices=["bash", "zsh"], help='bash: eval "$(bench completion bash)" in ~/.bashrc')


def execute(arguments: argparse.Namespace) -> int:
    """Print the script; the names in it are those of now, so that a shell need not start Python at each key."""
    whole, parts = cli.parsers(list(cli.COMMANDS))
    for command, argument, kind, names in (
        ("run", "experiment", "experiments", experiment_file.names()),
        ("report", "experiment", "experiments", experiment_file.names()),
        ("tables", "table", "tables", table_file.names()),
        ("data", "names", "datasets", DATASETS.names()),
        ("parity", "--backends", "backends", BACKENDS.names()),
    ):
        _action(parts[command], argument).complete = _names(kind, names)  # type: ignore[attr-defined]
    for part in parts.values():
        for action in part._actions:
            if action.type is not None and "FOLDER" in (action.metavar or ""):
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    say(shtab.complete(whole, arguments.shell))
    return DONE


def _action(parser: argparse.ArgumentParser, argument: str) -> argparse.Action:
    return next(found for found in parser._actions if argument in (found.dest, *found.option_strings))


def _names(kind: str, names: Iterable[str]) -> dict[str, object]:
    """A function of the shell that offers these words, and TOML files."""
    words = " ".join(names)
    preamble = {"bash": _WORDS.format(kind=kind, words=words), "zsh": _WORDS_ZSH.format(kind=kind, words=words)}
    return {"bash": f"_bench_{kind}", "zsh": f"_bench_{kind}", "preamble": preamble}
