"""The tables that only some experiments ask for: throughput against rivals, the parts of a step, growth."""

from bench.report import parts, scaling_grid, throughput_grid
from bench.report.grids import Grid
from bench.report.results import Results
from bench.report.wording import Footnotes

_VIEWS = (throughput_grid, parts, scaling_grid)


def grids(results: Results, notes: Footnotes) -> list[Grid]:
    """Those that this experiment asks for."""
    return [view.grid(results, notes) for view in _VIEWS if view.is_asked(results)]


def remarks(results: Results) -> list[str]:
    """What a reader must know of them."""
    return [line for view in _VIEWS if view.is_asked(results) for line in view.remarks(results)]
