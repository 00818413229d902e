"""Plots of the results, as PNG and SVG, the same bytes for the same records.

Colours are those of Okabe and Ito, which people with any common colour vision tell apart; every back end has a
marker of its own as well, for print. matplotlib is imported nowhere else, and drawn on without its global state.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.folder import ResultsFolder, write_atomically
from bench.report import wording
from bench.report.results import Results
from bench.report.rows import MIB, Row, Speed
from bench.report.wording import TRACKS

INK, GRID, PAPER = "#222222", "#cccccc", "#ffffff"
"""Exactly these, so that a page can turn them over for a dark screen."""

TITLES = {
    "accuracy": "Test accuracy",
    "step-time": "Training step",
    "memory": "Peak memory",
    "trade-off": "Accuracy against throughput",
}

# Fixed, so that a back end looks the same in every experiment; whoever is not named here takes what is left.
_LOOKS = {
    "dense": ("#0072B2", "o"),
    "scatter": ("#E69F00", "s"),
    "pyg": ("#009E73", "^"),
    "dgl": ("#D55E00", "D"),
    "fused": ("#CC79A7", "v"),
}
_OTHER_LOOKS = (("#56B4E9", "P"), ("#7F7F7F", "X"), ("#000000", "*"), ("#8C6D1F", "h"))
_FILLS = ("full", "none", "left", "top")  # by operator

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
_WIDTH_IN = 4.6  # narrow, so that its text is still read on a phone
_PNG_DPI = 150


@dataclass(frozen=True)
class Point:
    """One mark: a value with its interval, and what is written beside it."""

    backend: str
    group: str
    value: float
    low: float
    high: float
    text: str


def write(folder: ResultsFolder, results: Results) -> dict[str, str]:
    """Write `plots/`, without plots that have no data, and return the SVG texts by name."""
    place = folder.path / "plots"
    place.mkdir(parents=True, exist_ok=True)
    drawn = draw(results)
    for name in TITLES:
        for kind in ("svg", "png"):
            if (name, kind) in drawn:
                write_atomically(place / f"{name}.{kind}", drawn[name, kind])
            else:
                (place / f"{name}.{kind}").unlink(missing_ok=True)
    return {name: drawn[name, "svg"].decode() for name in TITLES if (name, "svg") in drawn}


def draw(results: Results) -> dict[tuple[str, str], bytes]:
    """All plots that have data, by name and format."""
    with matplotlib.rc_context(STYLE):
        figures = {
            "accuracy": _accuracy(results),
            "step-time": _by_track(results, "training step, ms", _step),
            "memory": _by_track(results, "peak memory of a training step, MiB", _memory),
            "trade-off": _trade_off(results),
        }
        return {
            (name, kind): rendered(figure, kind)
            for name, figure in figures.items()
            if figure
            for kind in ("svg", "png")
        }


def _accuracy(results: Results) -> Figure | None:
    points = [
        Point(
            row.key.backend,
            _group(results, row),
            100 * found.mean,
            100 * (found.interval.low if found.interval else found.mean),
            100 * (found.interval.high if found.interval else found.mean),
            f"{100 * found.mean:.1f}",
        )
        for row in results.rows
        if (found := row.accuracy)
    ]
    if not points:
        return None
    figure, (axes,) = _panels([_height_in(points)])
    _dots(axes, points, results)
    axes.set_xlabel("test accuracy, %: mean and its interval")
    _legend(figure, results, [point.backend for point in points])
    return figure


def _by_track(results: Results, label: str, point: Callable[[str, str, Speed], Point | None]) -> Figure | None:
    tracks = {track: _points(results, track, point) for track in results.experiment.timing.tracks}
    tracks = {track: points for track, points in tracks.items() if points}
    if not tracks:
        return None
    figure, panels = _panels([_height_in(points) for points in tracks.values()])
    for axes, (track, points) in zip(panels, tracks.items(), strict=True):
        _dots(axes, points, results)
        _log_scale(axes, [edge for point in points for edge in (point.low, point.high)])
        axes.set_title(TRACKS[track], loc="left")
        axes.set_xlabel(label)
    _legend(figure, results, [point.backend for points in tracks.values() for point in points])
    return figure


def _points(results: Results, track: str, point: Callable[[str, str, Speed], Point | None]) -> list[Point]:
    several = len(results.experiment.timing.threads) > 1
    found = [
        point(row.key.backend, _group(results, row) + f"\n{speed.threads} threads" * several, speed)
        for row in results.rows
        for speed in row.speeds
        if speed.track == track
    ]
    return [made for made in found if made]


def _step(backend: str, group: str, speed: Speed) -> Point | None:
    if speed.timing is None:
        return None
    found = speed.timing.train
    low, high = (found.interval.low, found.interval.high) if found.interval else (found.value, found.value)
    text = wording.significant(1000 * found.value)
    return Point(backend, group, 1000 * found.value, 1000 * low, 1000 * high, text)


def _memory(backend: str, group: str, speed: Speed) -> Point | None:
    if speed.timing is None or not speed.timing.peak_bytes:
        return None
    size = speed.timing.peak_bytes / MIB
    return Point(backend, group, size, size, size, wording.significant(size))


def _trade_off(results: Results) -> Figure | None:
    tracks = {
        track: [
            (row, row.accuracy, speed.timing)
            for row in results.rows
            for speed in row.speeds
            if row.accuracy and speed.timing and (speed.track, speed.threads) == (track, row.speeds[0].threads)
        ]
        for track in results.experiment.timing.tracks
    }
    tracks = {track: found for track, found in tracks.items() if found}
    if not tracks:
        return None
    figure, panels = _panels([3.0] * len(tracks))
    groups = list(dict.fromkeys(_group(results, row) for row in results.rows))
    for axes, (track, found) in zip(panels, tracks.items(), strict=True):
        for row, accuracy, timing in found:
            colour, marker = look(row.key.backend, results)
            fill = _FILLS[groups.index(_group(results, row)) % len(_FILLS)]
            edges = (accuracy.interval.low, accuracy.interval.high) if accuracy.interval else (accuracy.mean,) * 2
            axes.vlines(timing.edges_per_s, 100 * edges[0], 100 * edges[1], colors=colour, linewidth=1.5)
            axes.plot(
                [timing.edges_per_s],
                [100 * accuracy.mean],
                color=colour,
                marker=marker,
                fillstyle=fill,
                markersize=8,
                linestyle="none",
            )
        _log_scale(axes, [timing.edges_per_s for _, _, timing in found])
        axes.grid(visible=True, axis="y")
        axes.set_title(TRACKS[track], loc="left")
        axes.set_xlabel("edges per second of training")
        axes.set_ylabel("test accuracy, %")
    fills = [
        Line2D([], [], color=INK, marker="o", linestyle="none", fillstyle=_FILLS[number % len(_FILLS)], label=group)
        for number, group in enumerate(groups)
    ]
    _legend(figure, results, [row.key.backend for found in tracks.values() for row, _, _ in found], fills)
    return figure


def look(backend: str, results: Results) -> tuple[str, str]:
    """Colour and marker of a back end."""
    others = [name for name in results.experiment.backends if name not in _LOOKS]
    return _LOOKS.get(backend) or _OTHER_LOOKS[others.index(backend) % len(_OTHER_LOOKS)]


def _group(results: Results, row: Row) -> str:
    """What a mark is about beside the back end, without what is the same everywhere."""
    experiment = results.experiment
    named = [row.key.operator]
    named += [row.key.dataset] * (len(experiment.datasets) > 1)
    named += [row.key.device] * (len(experiment.devices) > 1)
    return " · ".join(named)


def _panels(heights_in: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """One panel below the other, with room for a legend above."""
    figure = Figure(figsize=(_WIDTH_IN, 0.6 + sum(heights_in)), layout="constrained")
    grid = figure.subplots(len(heights_in), 1, squeeze=False, gridspec_kw={"height_ratios": heights_in})
    panels: list[Axes] = [axes for (axes,) in grid]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        axes.grid(visible=True, axis="x")
    return figure, panels


def _height_in(points: Sequence[Point]) -> float:
    return 0.8 + 0.27 * len(points) + 0.15 * len({point.group for point in points})


def _dots(axes: Axes, points: Sequence[Point], results: Results) -> None:
    """One line per mark, from top to bottom, groups apart; the value stands behind its mark."""
    positions, ticks = _positions(points)
    for position, point in zip(positions, points, strict=True):
        colour, marker = look(point.backend, results)
        axes.hlines(position, point.low, point.high, colors=colour, linewidth=2)
        axes.plot([point.value], [position], color=colour, marker=marker, markersize=7, linestyle="none")
        axes.annotate(
            point.text, (point.high, position), xytext=(8, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_yticks([position for _, position in ticks], [group for group, _ in ticks])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(positions) + 0.8, -0.8)
    axes.margins(x=0.15)


def _positions(points: Sequence[Point]) -> tuple[list[float], list[tuple[str, float]]]:
    positions: list[float] = []
    of_group: dict[str, list[float]] = {}
    for index, point in enumerate(points):
        of_group.setdefault(point.group, [])
        position = index + 0.6 * (len(of_group) - 1)
        positions.append(position)
        of_group[point.group].append(position)
    return positions, [(group, sum(places) / len(places)) for group, places in of_group.items()]


def _log_scale(axes: Axes, values: Sequence[float]) -> None:
    """A log axis with plain numbers, more of them where it spans little."""
    low, high = min(values) / 1.5, max(values) * 1.9
    steps = (1,) if high / low > 50 else (1, 2, 5) if high / low > 8 else (1, 1.5, 2, 3, 4, 5, 7)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _legend(figure: Figure, results: Results, backends: Sequence[str], more: Sequence[Line2D] = ()) -> None:
    marks = []
    for backend in results.experiment.backends:
        if backend in backends:
            colour, marker = look(backend, results)
            marks.append(Line2D([], [], color=colour, marker=marker, linestyle="none", label=backend))
    handles = [*marks, *more]
    columns = len(handles) if len(handles) <= 4 else (len(handles) + 1) // 2
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def rendered(figure: Figure, kind: str) -> bytes:
    """A figure's file, "svg" or "png"; the same figure gives the same bytes."""
    target = io.BytesIO()
    # Neither a date nor a version: the same records give the same bytes.
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    figure.savefig(target, format=kind, dpi=_PNG_DPI, metadata=metadata)
    figure.set_layout_engine("none")  # laid out once, for both formats
    return target.getvalue()
