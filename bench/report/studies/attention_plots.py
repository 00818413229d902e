"""Static against dynamic attention, drawn: what trained models attend to, as figure 1 of Brody, Alon and Yahav 2022.

`attention` shows the coefficients of queries over keys as heat maps and, below, how each query ranks the keys: in
static attention the lines of the keys never cross. `attention-statistics` shows tau and entropy of every head.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from bench.outcomes import HeatMap
from bench.report.canvas import INK, ON_PAPER, STYLE, marks, rendered
from bench.report.studies.attention import LOOKUP, AttentionRow

_COLOURS = {"gat": "#D55E00", "gatv2": "#0072B2"}
_OTHER_COLOUR = "#009E73"
_NAMES = {"gat": "GAT", "gatv2": "GATv2"}
_HEAT = LinearSegmentedColormap.from_list("heat", ["#ffffff", "#c6dbef", "#4292c6", "#08306b"])
_KEYS = matplotlib.colormaps["viridis"]
_FAVOURITE = "#E69F00"
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
    figure = Figure(figsize=(4.7 * len(rows), 8.3), layout="constrained")
    grid = figure.subplots(2, len(rows), squeeze=False, gridspec_kw={"height_ratios": [4.4, 2.4]})
    for position, row in enumerate(rows):
        shown = row.attentions[0].maps[0]
        above, below = grid[0][position], grid[1][position]
        _headline(above, row)
        _heat_map(above, shown)
        _rankings(below, shown)
        if position == 0:
            above.set_ylabel("queries: what each one attends to")
            below.set_ylabel("rank of each key")
    figure.legend(handles=_marks(), loc="outside lower center", ncols=2)
    return figure


def _headline(axes: Axes, row: AttentionRow) -> None:
    kind = "static" if row.is_static() else "dynamic"
    said = "All queries rank the keys alike" if row.is_static() else "Each query ranks the keys its own way"
    axes.set_title(f"{row.model}: {kind}", loc="left", fontsize=15, fontweight="bold", color=_colour(row), pad=58)
    axes.annotate(
        f"{said} (Kendall’s τ = {row.tau():.2f}):\n{100 * row.accuracies[0]:.0f} % of the queries find their value.",
        (0, 1),
        xytext=(0, 24),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=10.5,
        linespacing=1.35,
    )


def _heat_map(axes: Axes, shown: HeatMap) -> None:
    axes.imshow(shown.coefficients, cmap=_HEAT, vmin=0, vmax=1, aspect="equal")
    for query, line in enumerate(shown.coefficients):
        for key, value in enumerate(line):
            if value >= 0.005:
                ink = "white" if value > 0.5 else "#555555"
                text = f"{value:.2f}".lstrip("0") if value < 0.995 else "1"
                axes.text(key, query, text, ha="center", va="center", fontsize=8, color=ink, gid=ON_PAPER)
        axes.plot([line.index(max(line)) - 0.34], [query - 0.33], **_favourite(4.5))
        axes.add_patch(
            Rectangle((query - 0.47, query - 0.47), 0.94, 0.94, fill=False, edgecolor=INK, linewidth=1.4, gid=ON_PAPER)
        )
    axes.set_xticks(range(len(shown.sources)), shown.sources)
    axes.set_yticks(range(len(shown.targets)), shown.targets)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_color("#999999")


def _rankings(axes: Axes, shown: HeatMap) -> None:
    """One line per key through its ranks, query by query, the most attended on top."""
    ranks = [_ranks(line) for line in shown.coefficients]
    size = len(ranks)
    for key, name in enumerate(shown.sources):
        line = [ranks[query][key] for query in range(size)]
        axes.plot(range(size), line, color=_KEYS(0.92 * key / max(1, size - 1)), linewidth=2, alpha=0.8, zorder=2)
        axes.annotate(name, (size - 1, line[-1]), xytext=(9, 0), textcoords="offset points", va="center", fontsize=9)
    own = [ranks[query][query] for query in range(size)]
    square: dict[str, Any] = {
        "marker": "s",
        "markersize": 10,
        "markerfacecolor": "white",
        "markeredgecolor": INK,
        "linestyle": "none",
    }
    axes.plot(range(size), own, zorder=3, clip_on=False, **square)
    axes.plot(range(size), [1] * size, zorder=4, clip_on=False, **_favourite(4.5))
    axes.set_xticks(range(size), shown.targets)
    axes.set_yticks([1, size], ["first", "last"])
    axes.set_ylim(size + 0.6, 0.4)
    axes.set_xlim(-0.4, size - 0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _ranks(line: Sequence[float]) -> list[int]:
    """1 for the largest."""
    order = sorted(range(len(line)), key=lambda key: -line[key])
    return [order.index(key) + 1 for key in range(len(line))]


def _favourite(size: float) -> dict[str, Any]:
    return {
        "marker": "o",
        "markersize": size,
        "color": _FAVOURITE,
        "markeredgecolor": INK,
        "markeredgewidth": 0.5,
        "linestyle": "none",
    }


def _marks() -> list[Line2D]:
    square: dict[str, Any] = {"marker": "s", "markersize": 10, "markerfacecolor": "white", "markeredgecolor": INK}
    return [
        Line2D([], [], linestyle="none", label="the query’s own key: the answer", **square),
        Line2D([], [], label="the key that it attends to most", **_favourite(6)),
    ]


def _statistics(rows: Sequence[AttentionRow]) -> Figure:
    labels = _labels(rows)
    figure = Figure(figsize=(9.6, 1.3 + 0.42 * len(labels)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for position, (label, row, layer) in enumerate(labels):
        colour = _colour(row)
        heads = [head for attention in row.attentions for head in attention.heads if head.layer == layer]
        for axes, what, values in (
            (left, "Kendall’s τ", [head.tau for head in heads]),
            (right, "entropy, share of uniform,", [head.entropy for head in heads]),
        ):
            said = [f"{label}, head {head.head}: {what} {value:.3f}" for head, value in zip(heads, values, strict=True)]
            marks(axes, zip(values, [position] * len(values), said, strict=True), **_dot(colour))
            axes.annotate(
                _span(values), (min(values), position), xytext=(-9, 0), textcoords="offset points",
                ha="right", va="center", fontsize=9,
            )  # fmt: skip
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
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="none", label=_NAMES[operator])
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
            found.append((f"{_NAMES.get(row.model, row.model)}\n{where}", row, layer))
    return found


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"


def _dot(colour: str) -> dict[str, Any]:
    return {"color": colour, "marker": "o", "markersize": 7, "alpha": 0.75, "clip_on": False}


def _colour(row: AttentionRow) -> str:
    return _COLOURS.get(row.key.operator.split(" ")[0], _OTHER_COLOUR)
