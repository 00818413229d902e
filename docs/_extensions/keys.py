"""`{keys} bench.config:Training`: the keys of one table of a TOML file, read from the class that checks the file.

A key's explanation is the comment at its line, or the lines of comments right above it.
"""

import ast
import importlib
import inspect
import re
import textwrap
from dataclasses import dataclass
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

HEADERS = ("key", "takes", "default", "what it is")


@dataclass(frozen=True)
class Key:
    """One key, as the source has it."""

    name: str
    takes: str
    default: str
    comment: str


class Keys(Directive):
    """The docstring of a class and a table of its fields."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A paragraph for each one of the docstring, then the table."""
        module, name = self.arguments[0].split(":")
        schema = getattr(importlib.import_module(module), name)
        said = [nodes.paragraph("", "", *_prose(part)) for part in inspect.cleandoc(schema.__doc__ or "").split("\n\n")]
        return [*said, _table(keys(schema))]


def keys(schema: type) -> list[Key]:
    """The keys that a class adds itself, in the order of its source."""
    source = textwrap.dedent(inspect.getsource(schema))
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    lines = source.splitlines()
    return [
        Key(
            statement.target.id,
            _readable(ast.unparse(statement.annotation)),
            "required" if statement.value is None else _default(ast.unparse(statement.value)),
            _comment(lines, statement),
        )
        for statement in tree.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    ]


def _readable(annotation: str) -> str:
    """ "Literal['loss', 'never']" -> "'loss' or 'never'"."""
    shown = re.sub(r"Annotated\[(.+?), Field\((.*?)\)\]", r"\1, \2", annotation)
    shown = re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace(", ", " or "), shown)
    return shown.replace(" | None", "").replace(" | ", " or ")


def _default(value: str) -> str:
    return {"None": "absent", "()": "none", "{}": "none", "''": "none"}.get(value, value.removesuffix("()"))


def _comment(lines: list[str], statement: ast.AnnAssign) -> str:
    assert statement.end_lineno is not None
    _, _, trailing = lines[statement.end_lineno - 1].partition("  # ")
    above: list[str] = []
    for line in reversed(lines[: statement.lineno - 1]):
        if not line.strip().startswith("#"):
            break
        above.insert(0, line.strip().removeprefix("#").strip())
    return trailing or " ".join(above)


def _prose(text: str) -> list[nodes.Node]:
    """Text with what stands in backticks as code."""
    parts = re.split(r"`([^`]+)`", " ".join(text.split()))
    return [nodes.literal(text=part) if index % 2 else nodes.Text(part) for index, part in enumerate(parts)]


def _table(found: list[Key]) -> nodes.table:
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in (15, 25, 15, 45)), cols=len(HEADERS))
    group += nodes.thead("", _row([[nodes.Text(header)] for header in HEADERS]))
    group += nodes.tbody("", *(_row(_cells(key)) for key in found))
    return nodes.table("", group)


def _cells(key: Key) -> list[list[nodes.Node]]:
    code = [[nodes.literal(text=text)] for text in (key.name, key.takes, key.default)]
    return [*code, _prose(key.comment)]


def _row(cells: list[list[nodes.Node]]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("keys", Keys)
    return {"parallel_read_safe": True}
