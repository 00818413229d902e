"""Static against dynamic attention, drawn: what trained models attend to, as figure 1 of Brody, Alon and Yahav 2022.

`attention` shows coefficients of queries over keys as heat maps and, below, each query's ranking of the keys as a line:
lines of static attention never cross. `attention-statistics` shows tau and entropy of every head.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.outcomes import HeatMap
from bench.report.attention import LOOKUP, AttentionRow
from bench.report.canvas import INK, STYLE, rendered

_COLOURS = {"gat": "#D55E00", "gatv2": "#0072B2"}
_OTHER_COLOUR = "#009E73"
_HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff", "#c6dbef", "#4292c6", "#08306b"])
_MOST_MAPS = 3


def draw(rows: Sequence[AttentionRow]) -> dict[tuple[str, str], bytes]:
    """All figures that have data, by name and format."""
    done = [row for row in rows if row.attentions]
    pictured = _pictured(done)
    with matplotlib.rc_context(STYLE):
        figures = {
            **({"attention": _maps(pictured)} if pictured else {}),
            **({"attention-statistics": _statistics(done)} if done else {}),
        }
        return {(name, kind): rendered(figure, kind) for name, figure in figures.items() for kind in ("svg", "png")}


def _pictured(rows: Sequence[AttentionRow]) -> list[AttentionRow]:
    """Models with one head on DictionaryLookup: theirs is the whole story, as of several heads one is not."""
    return [row for row in rows if row.data == LOOKUP and len(row.attentions[0].heads) == 1][:_MOST_MAPS]


def _maps(rows: Sequence[AttentionRow]) -> Figure:
    figure = Figure(figsize=(4.9 * len(rows), 7.6), layout="constrained")
    grid = figure.subplots(2, len(rows), squeeze=False, gridspec_kw={"height_ratios": [4.2, 2.2]})
    for position, row in enumerate(rows):
        shown = row.attentions[0].maps[0]
        _heat_map(grid[0][position], shown, is_first=position == 0)
        grid[0][position].set_title(_headline(row), loc="left", fontsize=12, pad=26)
        _rankings(grid[1][position], shown, _colour(row), is_first=position == 0)
    figure.supxlabel("□ the query's own key: the answer      ● where the query looks most", fontsize=10, color=INK)
    return figure


def _headline(row: AttentionRow) -> str:
    kind = "static" if row.is_static() else "dynamic"
    said = "every query ranks the keys alike" if row.is_static() else "each query ranks the keys its own way"
    return (
        f"{row.model}: {kind}\n{said}, Kendall’s τ = {row.tau():.2f}\n"
        f"finds {100 * row.accuracies[0]:.0f} % of the answers"
    )


def _heat_map(axes: Axes, shown: HeatMap, *, is_first: bool) -> None:
    size = len(shown.targets)
    axes.imshow(shown.coefficients, cmap=_HEAT, vmin=0, vmax=1, aspect="equal")
    for query, line in enumerate(shown.coefficients):
        favourite = max(range(len(line)), key=line.__getitem__)
        for key, value in enumerate(line):
            if value >= 0.005:
                ink = "white" if value > 0.5 else "#444444"
                axes.text(key, query, f"{value:.2f}".lstrip("0") if value < 0.995 else "1", **_number(ink))
        axes.plot([favourite - 0.36], [query - 0.34], marker="o", markersize=4, color="#D55E00")
    for query in range(min(size, len(shown.sources))):
        box = matplotlib.patches.Rectangle((query - 0.46, query - 0.46), 0.92, 0.92, fill=False, edgecolor=INK)
        axes.add_patch(box)
    axes.set_xticks(range(len(shown.sources)), shown.sources)
    axes.set_yticks(range(size), shown.targets if is_first else [""] * size)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_color("#999999")
    if is_first:
        axes.set_ylabel("queries")


def _number(ink: str) -> dict[str, Any]:
    return {"ha": "center", "va": "center", "fontsize": 7.5, "color": ink}


def _rankings(axes: Axes, shown: HeatMap, colour: str, *, is_first: bool) -> None:
    """One line per query through the coefficients of all keys."""
    for line in shown.coefficients:
        axes.plot(range(len(line)), line, color=colour, linewidth=1.4, alpha=0.65)
    axes.set_xticks(range(len(shown.sources)), shown.sources)
    axes.set_xlim(-0.5, len(shown.sources) - 0.5)
    axes.set_ylim(0, 1.04)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y")
    axes.set_xlabel("keys: one line for each query")
    if is_first:
        axes.set_ylabel("attention")
    else:
        axes.set_yticklabels([])


def _statistics(rows: Sequence[AttentionRow]) -> Figure:
    labels = _labels(rows)
    figure = Figure(figsize=(9.6, 1.3 + 0.42 * len(labels)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for position, (_, row, layer) in enumerate(labels):
        colour = _colour(row)
        heads = [head for attention in row.attentions for head in attention.heads if head.layer == layer]
        left.plot([head.tau for head in heads], [position] * len(heads), **_dot(colour))
        right.plot([head.entropy for head in heads], [position] * len(heads), **_dot(colour))
    left.set_yticks(range(len(labels)), [label for label, _, _ in labels])
    left.set_ylim(len(labels) - 0.4, -0.7)
    left.axvline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    left.set_xlabel("Kendall’s τ between targets, one mark per head\n1: all targets rank their sources alike (static)")
    right.set_xlabel("entropy of attention, share of uniform\n0: one source takes all, 1: a plain average")
    right.axvline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    right.set_xlim(-0.05, 1.06)
    low = min(head.tau for row in rows for attention in row.attentions for head in attention.heads)
    left.set_xlim(min(0.0, low) - 0.05, 1.06)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, axis="x")
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
    names = {"gat": "GAT", "gatv2": "GATv2"}
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="none", label=names.get(operator, operator))
        for operator, colour in _COLOURS.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _labels(rows: Sequence[AttentionRow]) -> list[tuple[str, AttentionRow, int]]:
    """One line per model and layer."""
    found = []
    for row in rows:
        layers = sorted({head.layer for head in row.attentions[0].heads})
        for layer in layers:
            where = f"{row.data}, layer {layer}" if len(layers) > 1 else row.data
            found.append((f"{row.model}\n{where}", row, layer))
    return found


def _dot(colour: str) -> dict[str, Any]:
    return {"color": colour, "marker": "o", "markersize": 7, "linestyle": "none", "alpha": 0.75, "clip_on": False}


def _colour(row: AttentionRow) -> str:
    return _COLOURS.get(row.key.operator.split(" ")[0], _OTHER_COLOUR)
