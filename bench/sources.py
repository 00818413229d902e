"""Which files of ours a module's outcome can hang on: its own, and those that it imports, directly or not.

Read from the text of the files, so that nothing is imported to find out. What is imported by name at run time, as
plug-ins are, is not seen: it is named as a file to start from.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from bench.environment import ROOT

COMPILED = {".cpp", ".h"}
"""What a package has beside its Python files counts with it."""


def reached(start: Iterable[Path], within: tuple[str, ...]) -> frozenset[Path]:
    """The files to start from, and all that they lead to in the folders `within` (`bench/datasets`)."""
    folders = tuple(ROOT / name for name in within)
    found: set[Path] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [other for other in _imported(path) if any(map(other.is_relative_to, folders))]
    return frozenset(found)


def file_of(module: str) -> Path | None:
    """Where a module of ours lies; None of another's."""
    base = ROOT.joinpath(*module.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@cache
def _imported(path: Path) -> tuple[Path, ...]:
    """What a file imports of ours, with what the packages on the way run and hold."""
    if path.suffix != ".py":
        return ()
    names = dict.fromkeys(_names(ast.parse(path.read_text(encoding="utf-8"))))
    packages = {parent for name in names for parent in _parents(name)}
    files = [file for name in (*names, *packages) if (file := file_of(name))]
    beside = [other for other in path.parent.iterdir() if other.suffix in COMPILED]
    return (*files, *beside)


def _names(tree: ast.AST) -> Iterator[str]:
    """Modules that are imported, and what of a module is, which may be a module, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _parents(module: str) -> Iterator[str]:
    while "." in module:
        module = module.rpartition(".")[0]
        yield module
