"""What a document tells its reader to type, and how a test does it."""

import re
import shlex
import subprocess
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)

QUICK = {"smoke", "question.toml"}
"""Experiments that take a minute, which `whole` runs to the end; of others it is asked what would be run."""


ELSEWHERE = {
    "source .venv/bin/activate",  # of what `make setup` makes
    "python -m pytest -m gpu",
    'eval "$(bench completion bash)"',  # tests/test_completion.py
    # PostgreSQL's own, where it is the system's; tests/test_cluster_demo.py makes such databases.
    "createuser --pwprompt bench",
    "createdb --owner bench optuna",
    "createdb --owner bench mlflow",
}
"""Commands that are not run as they stand."""


def blocks(page: Path, kind: str) -> list[str]:
    """Fenced blocks of a kind, in order; `kind` is all that stands after the fence."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Every line of every block of kind `sh`."""
    lines = [line for block in blocks(page, "sh") for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    return [command for line in lines if (command := re.sub(r"\s+# .*", "", line))]


def files(page: Path) -> dict[str, str]:
    """The files that a reader is told to save: the TOML blocks that have a name."""
    named = re.findall(r"^```toml (\w+)\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {f"{name}.toml": text for name, text in named}


def follow(
    command: str, bench: Callable[[list[str]], int], conformance: Callable[[list[str]], int], *, whole: bool = False
) -> list[int]:
    """Do what the line says and return the exit codes.

    Shortened where it would take minutes (`--dry-run`) or serve until somebody stops it (`--help`); make is asked what
    it would run, and that is run. Of servers of other packages the words are read as they read them, and that is all:
    tests/test_cluster.py and tests/test_cluster_demo.py start them.
    """
    words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word) or command.startswith("make")]
    words[0] = words[0].removeprefix(".venv/bin/")
    if words[0] == "make":
        return [code for line in _recipe(words[1:]) for code in follow(line, bench, conformance, whole=whole)]
    if words[0] == "bench":
        return [bench(_shortened(words[1:], QUICK if whole else set()))]
    if words[:3] == ["python", "-m", "implementations.conformance"]:
        return [conformance(words[3:])]
    if command in ELSEWHERE:
        return []
    server = _servers().get(tuple(words[:2]))
    assert server, f"no test follows `{command}`"
    return [_understood(server, words[2:])]


def _shortened(words: list[str], runnable: set[str]) -> list[str]:
    name = next((word for word in words[1:] if not word.startswith("-")), "default")
    if words[0] in ("ui", "studies", "cluster-demo"):
        return [words[0], "--help"]
    if (words[0] == "run" and name not in runnable) or (words[0] == "tables" and name != "gatv2-tables13-17"):
        return words if {"--dry-run", "--list"} & set(words) else [*words, "--dry-run"]
    return words


def _servers() -> dict[tuple[str, ...], click.Command]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their own imports
        from distributed.cli import dask_scheduler, dask_worker
        from mlflow import cli

    return {
        ("dask", "scheduler"): dask_scheduler.main,
        ("dask", "worker"): dask_worker.main,
        ("mlflow", "server"): cli.server,
    }


def _understood(server: click.Command, words: Sequence[str]) -> int:
    try:
        server.make_context(str(server.name), list(words))
    except click.ClickException as problem:
        return problem.exit_code
    return 0


def _recipe(words: list[str]) -> list[str]:
    """The commands of a make target, as one would type them; those that set up are left out."""
    # -o setup: it is up to date, so that only the target's own recipe is printed.
    shown = subprocess.run(
        ["make", "-n", "-C", str(ROOT), "-o", "setup", *words], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.strip().replace(".venv/bin/python -m bench", "bench") for line in shown.splitlines()]
    lines = [line.replace(".venv/bin/python", "python") for line in lines]
    return [line for line in lines if line.startswith(("bench", "python -m implementations", "python -m pytest"))]
