"""A paper's figure beside ours: one panel per part, published points open, our means filled with their intervals."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.folder import ResultsFolder
from bench.paper.reproduction import half_width
from bench.paper.rows import PaperTable, Row
from bench.report import gallery
from bench.report.canvas import STYLE, marks, rendered
from bench.summary import mean

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_PANEL_IN = (4.6, 2.6)


def write(folder: ResultsFolder, found: PaperTable) -> dict[str, str]:
    """Write `plots/<part>.svg` and `.png` of every part with a horizontal axis; SVG texts by part."""
    return gallery.hang(folder, draw(found))


def draw(found: PaperTable, kinds: Sequence[str] = ("svg", "png")) -> dict[tuple[str, str], bytes]:
    """All of these, by part and format."""
    images: dict[tuple[str, str], bytes] = {}
    for name, rows in _figures(found).items():
        with matplotlib.rc_context(STYLE):
            figure = _drawn(rows, found.table.axis, found.table.metric)
            images |= {(name, kind): rendered(figure, kind) for kind in kinds}
    return images


def _figures(found: PaperTable) -> dict[str, list[Row]]:
    """The leading rows of each part that have results, by part; none for a table without an axis."""
    parts: dict[str, list[Row]] = {}
    for row in found.shown() if found.table.axis else ():
        if row.part and row.leads and row.sample.values:
            parts.setdefault(row.part.name, []).append(row)
    return parts


def _drawn(rows: Sequence[Row], axis: str, metric: str) -> Figure:
    figure = Figure(figsize=_PANEL_IN, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=axis, ylabel=metric)
    for index, label in enumerate(dict.fromkeys(row.label for row in rows)):
        chosen = sorted((row for row in rows if row.label == label), key=lambda row: float(row.column))
        _curve(axes, chosen, label, _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)])
    axes.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _curve(axes: Axes, rows: Sequence[Row], label: str, colour: str, marker: str) -> None:
    at = [float(row.column) for row in rows]
    values = [list(row.sample.values.values()) for row in rows]
    halves = [half_width(found, row.rule.confidence) for found, row in zip(values, rows, strict=True)]
    errors = [half if math.isfinite(half) else 0.0 for half in halves]
    means = [mean(found) for found in values]
    axes.errorbar(at, means, errors, label=label, color=colour, marker=marker, capsize=2)
    where = [f"{label}, {axes.get_xlabel()} {row.column}:" for row in rows]
    ours = [f"{place} {value:.4g} ± {error:.2g}" for place, value, error in zip(where, means, errors, strict=True)]
    marks(axes, zip(at, means, ours, strict=True), color=colour, marker=marker)
    if printed := [
        (x, row.published.quantity.value, f"{place} {row.published.quantity} in the paper")
        for x, place, row in zip(at, where, rows, strict=True)
        if row.published
    ]:
        places, heights, _ = zip(*printed, strict=True)
        open_marks: dict[str, Any] = {"color": colour, "marker": marker, "fillstyle": "none"}
        axes.plot(places, heights, linestyle=":", label=f"{label}, paper", **open_marks)
        marks(axes, printed, **open_marks)
