"""What all plots share: colours, panels, axes, legends, and how a figure becomes bytes.

Colours are those of Okabe and Ito, which people with any common colour vision tell apart; every back end has a
marker of its own as well, for print. Drawn on without matplotlib's global state.
"""

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.config import thread_name
from bench.report.results import Results
from bench.report.wording import TRACKS
from bench.work import CellKey

INK, GRID, PAPER = "#222222", "#cccccc", "#ffffff"
"""Exactly these, so that a page can turn them over for a dark screen."""

# Fixed, so that a back end looks the same in every experiment; whoever is not named here takes what is left.
_LOOKS = {
    "dense": ("#0072B2", "o"),
    "scatter": ("#E69F00", "s"),
    "pyg": ("#009E73", "^"),
    "dgl": ("#D55E00", "D"),
    "fused": ("#CC79A7", "v"),
}
_OTHER_LOOKS = (
    ("#56B4E9", "P"),
    ("#7F7F7F", "X"),
    ("#000000", "*"),
    ("#8C6D1F", "h"),
    ("#5D3A9B", "p"),
    ("#B2182B", "<"),
)
FILLS = ("full", "none", "left", "top")  # by operator

STYLE = {
    "svg.hashsalt": "gat-bench",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 11,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "legend.frameon": False,
}
ON_PAPER = "on paper"
"""The gid of what lies on a picture, which stays light on a dark screen: so does its ink stay as it is."""
_SAID = "mark: "
_SAYING = re.compile(rb'<g id="mark: ([^"]*)">')
WIDTH_IN = 4.6  # narrow, so that its text is still read on a phone
_LEGEND_CHARACTERS = 48  # in a line of such a width
_OF_A_MARK = 4  # as wide as so many characters, with its distance from the text
_PNG_DPI = 150


def look(backend: str, results: Results) -> tuple[str, str]:
    """Colour and marker of a back end."""
    others = [name for name in results.experiment.backends if name not in _LOOKS]
    return _LOOKS.get(backend) or _OTHER_LOOKS[others.index(backend) % len(_OTHER_LOOKS)]


def group_of(results: Results, key: CellKey, *, of_one_dataset: bool = False) -> str:
    """What a mark is about beside the back end, without what is the same everywhere, or in a panel of one data set."""
    experiment = results.experiment
    named = [key.operator]
    named += [key.dataset] * (len(experiment.datasets) > 1 and not of_one_dataset)
    named += [key.device] * (len(experiment.devices) > 1)
    return " · ".join(named)


def panel_title(results: Results, track: str, dataset: str) -> str:
    """What every mark of a panel has in common: track and thread count, and of several data sets its own."""
    of_several = f" · {dataset}" * (len(results.experiment.datasets) > 1)
    return f"{TRACKS[track]}, {thread_name(results.experiment.timing.threads[0])}{of_several}"


def stacked(heights_in: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """One panel below the other, with room for a legend above."""
    figure = Figure(figsize=(WIDTH_IN, 0.6 + sum(heights_in)), layout="constrained")
    grid = figure.subplots(len(heights_in), 1, squeeze=False, gridspec_kw={"height_ratios": heights_in})
    panels: list[Axes] = [axes for (axes,) in grid]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        axes.grid(visible=True, axis="x")
    return figure, panels


def plain(value: float) -> str:
    """A tick's number without an exponent: "0.015", "1.5" and "5,000,000"."""
    return f"{value:,.0f}" if value >= 1e5 else f"{value:,.6g}"


def log_scale(axes: Axes, values: Sequence[float], which: Literal["x", "y"] = "x") -> None:
    """A log axis with plain numbers, more of them where it spans little."""
    low, high = min(values) / 1.5, max(values) * 1.9
    steps = (1,) if high / low > 50 else (1, 2, 5) if high / low > 8 else (1, 1.5, 2, 3, 4, 5, 7)
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_locator(NullLocator())


def marks(axes: Axes, points: Iterable[tuple[float, float, str]], **how: Any) -> None:
    """A mark at each (x, y), which says its text: the title of its group in the SVG, shown by browsers on hover."""
    for x, y, text in points:
        (mark,) = axes.plot([x], [y], linestyle="none", **how)
        mark.set_gid(_SAID + " ".join(text.split()))


def legend(figure: Figure, results: Results, backends: Sequence[str], more: Sequence[Line2D] = ()) -> None:
    """Above the panels: the back ends that are shown, in the file's order, and what else needs a name."""
    marks = []
    for backend in results.experiment.backends:
        if backend in backends:
            colour, marker = look(backend, results)
            marks.append(Line2D([], [], color=colour, marker=marker, linestyle="none", label=backend))
    handles = [*marks, *more]
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), _LEGEND_CHARACTERS // (longest + _OF_A_MARK)))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def rendered(figure: Figure, kind: str) -> bytes:
    """The figure's file, "svg" or "png"."""
    target = io.BytesIO()
    # Neither a date nor a version: the same records give the same bytes.
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    figure.savefig(target, format=kind, dpi=_PNG_DPI, metadata=metadata)
    figure.set_layout_engine("none")  # laid out once, for both formats
    image = target.getvalue()
    return _classed(image) if kind == "svg" else image


def _classed(svg: bytes) -> bytes:
    """Groups that a page treats alike have a class, since an id is given once."""
    svg = svg.replace(b'<g id="%s">' % ON_PAPER.encode(), b'<g class="on-paper">')
    return _SAYING.sub(rb'<g class="mark">\n<title>\1</title>', svg)
