"""`{results} default`: the tables of a folder of `results/reference/`, made from its records.

`{verdicts} default`: what those records say in words. No document has a number that somebody typed.
"""

from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from bench.folder import ResultsFolder
from bench.report import grids, headlines
from bench.report.grids import Grid
from bench.report.results import Results as Recorded
from bench.report.wording import Footnotes, provenance

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


class Results(Directive):
    """Accuracy of one experiment, with its notes and where it was measured."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Table, notes, provenance."""
        found, notes = _recorded(self.arguments[0]), Footnotes()
        table = _table(grids.accuracy(found, notes))
        return [table, *_list(notes.lines()), nodes.paragraph(text=provenance(found))]


class Verdicts(Directive):
    """An experiment's verdicts as sentences."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A list of sentences, and where they were measured."""
        found = _recorded(self.arguments[0])
        return [*_list(headlines.headlines(found)), nodes.paragraph(text=provenance(found))]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("results", Results)
    app.add_directive("verdicts", Verdicts)
    return {"parallel_read_safe": True}


def _recorded(name: str) -> Recorded:
    folder = ResultsFolder(REFERENCE / name)
    return Recorded.of(folder.experiment(), folder.records())


def _list(lines: list[str]) -> list[nodes.Node]:
    items = [nodes.list_item("", nodes.paragraph(text=str(line))) for line in lines]
    return [nodes.bullet_list("", *items)] if items else []


def _table(grid: Grid) -> nodes.table:
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in grid.headers), cols=len(grid.headers))
    group += nodes.thead("", _row(grid.headers))
    group += nodes.tbody("", *(_row(line) for line in grid.lines))
    return nodes.table("", nodes.title(text=str(grid.caption)), group)


def _row(cells: Any) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=str(cell))) for cell in cells))
