"""Figure 3 of Brody, Alon and Yahav 2022: accuracy against the number of keys, ours and published."""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.canvas import INK, STYLE, marks, rendered
from bench.report.studies.lookup import SUBSETS, LookupRow, Subset
from bench.study_config import LookupStudy

_LOOKS = (("#0072B2", "o"), ("#E69F00", "s"), ("#D55E00", "^"), ("#009E73", "D"), ("#CC79A7", "v"))


def draw(study: LookupStudy, rows: Sequence[LookupRow]) -> dict[tuple[str, str], bytes]:
    """The figure by name and format; nothing if nothing was run."""
    protocols = [p.name for p in study.protocols if any(row.fits for row in rows if row.protocol == p.name)]
    if not protocols:
        return {}
    with matplotlib.rc_context(STYLE):
        figure = _figure(study, rows, protocols)
        return {("accuracy-by-keys", kind): rendered(figure, kind) for kind in ("svg", "png")}


def _figure(study: LookupStudy, rows: Sequence[LookupRow], protocols: Sequence[str]) -> Figure:
    figure = Figure(figsize=(9.6, 0.9 + 3.1 * len(protocols)), layout="constrained")
    panels = figure.subplots(len(protocols), 2, sharex=True, sharey=True, squeeze=False)
    for line, protocol in zip(panels, protocols, strict=True):
        for axes, subset in zip(line, SUBSETS, strict=True):
            for model, (colour, marker) in zip(study.models, _LOOKS, strict=False):
                own = [row for row in rows if row.protocol == protocol and row.model == model.name]
                _curve(axes, own, subset, colour, marker)
            _dress(axes, study, f"{subset}, protocol “{protocol}”")
        line[0].set_ylabel("node accuracy, %")
    for axes in panels[-1]:
        axes.set_xlabel("k, number of keys")
    figure.legend(handles=_legend(study), loc="outside upper center", ncols=3)
    return figure


def _curve(axes: Axes, rows: Sequence[LookupRow], subset: Subset, colour: str, marker: str) -> None:
    published = [(row.size, 100 * row.published[subset]) for row in rows if subset in row.published]
    ours = [(row.size, 100 * value) for row in rows if (value := row.mean(subset)) is not None]
    if published:
        axes.plot(*zip(*published, strict=True), color=colour, linestyle=(0, (1, 2)), linewidth=1.1, zorder=2)
        hollow = {"markersize": 5, "markerfacecolor": "white", "markeredgewidth": 1}
        marks(axes, _said(rows, published, f"{subset} accuracy, published"), color=colour, marker=marker, **hollow)
    if ours:
        axes.plot(*zip(*ours, strict=True), color=colour, linewidth=2, zorder=3)
        filled = {"markersize": 5.5, "zorder": 3}
        marks(axes, _said(rows, ours, f"{subset} accuracy"), color=colour, marker=marker, **filled)


def _said(rows: Sequence[LookupRow], points: Sequence[tuple[int, float]], what: str) -> list[tuple[float, float, str]]:
    name = rows[0].model
    return [(size, value, f"{name}, k = {size}: {value:.1f} % {what}") for size, value in points]


def _dress(axes: Axes, study: LookupStudy, title: str) -> None:
    sizes = sorted(study.sizes)
    chance = [100 / size for size in sizes]
    axes.fill_between(sizes, chance, color="#eeeeee", zorder=0, linewidth=0)
    axes.annotate("guessing", (sizes[0], 2), xytext=(3, 0), textcoords="offset points", fontsize=9, color="#666666")
    axes.set_title(title, loc="left")
    axes.set_ylim(0, 104)
    axes.set_xticks(sizes if len(sizes) <= 9 else sizes[::2])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y")
    axes.set_axisbelow(True)


def _legend(study: LookupStudy) -> list[Line2D]:
    models = [
        Line2D([], [], color=colour, marker=marker, linewidth=2, label=model.name)
        for model, (colour, marker) in zip(study.models, _LOOKS, strict=False)
    ]
    hollow: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "linestyle": (0, (1, 2)), "linewidth": 1.1}
    return [
        *models,
        Line2D([], [], color=INK, linewidth=2, marker="o", label="ours"),
        Line2D([], [], color=INK, label="published (one run, read off the figure)", **hollow),
    ]
