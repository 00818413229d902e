"""Plots of the results, as PNG and SVG, the same bytes for the same records.

Which plots there are, and those of one cell a mark; `bench.report.curves` has the roofline and the scaling sweep.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.folder import ResultsFolder, write_atomically
from bench.report import curves, wording
from bench.report.canvas import FILLS, INK, STYLE, group_of, legend, log_scale, look, rendered, stacked
from bench.report.results import Results
from bench.report.rows import MIB, Speed
from bench.report.wording import TRACKS

TITLES = {
    "accuracy": "Test accuracy",
    "step-time": "Training step",
    "memory": "Peak memory",
    "trade-off": "Accuracy against throughput",
    "roofline": "Training step under the machine's ceilings",
    "scaling": "Training step as the problem grows",
}


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


def draw(results: Results, kinds: Sequence[str] = ("svg", "png")) -> dict[tuple[str, str], bytes]:
    """All plots that have data, by name and format."""
    with matplotlib.rc_context(STYLE):
        figures = {
            "accuracy": _accuracy(results),
            "step-time": _by_track(results, "training step, ms", _step),
            "memory": _by_track(results, "peak memory of a training step, MiB", _memory),
            "trade-off": _trade_off(results),
            "roofline": curves.roofline(results),
            "scaling": curves.scaling(results),
        }
        return {(name, kind): rendered(figure, kind) for name, figure in figures.items() if figure for kind in kinds}


def _accuracy(results: Results) -> Figure | None:
    points = [
        Point(
            row.key.backend,
            group_of(results, row.key),
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
    figure, (axes,) = stacked([_height_in(points)])
    _dots(axes, points, results)
    axes.set_xlabel("test accuracy, %: mean and its interval")
    legend(figure, results, [point.backend for point in points])
    return figure


def _by_track(results: Results, label: str, point: Callable[[str, str, Speed], Point | None]) -> Figure | None:
    tracks = {track: _points(results, track, point) for track in results.experiment.timing.tracks}
    tracks = {track: points for track, points in tracks.items() if points}
    if not tracks:
        return None
    figure, panels = stacked([_height_in(points) for points in tracks.values()])
    for axes, (track, points) in zip(panels, tracks.items(), strict=True):
        _dots(axes, points, results)
        log_scale(axes, [edge for point in points for edge in (point.low, point.high)])
        axes.set_title(TRACKS[track], loc="left")
        axes.set_xlabel(label)
    legend(figure, results, [point.backend for points in tracks.values() for point in points])
    return figure


def _points(results: Results, track: str, point: Callable[[str, str, Speed], Point | None]) -> list[Point]:
    several = len(results.experiment.timing.threads) > 1
    found = [
        point(row.key.backend, group_of(results, row.key) + f"\n{speed.threads} threads" * several, speed)
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
    figure, panels = stacked([3.0] * len(tracks))
    groups = list(dict.fromkeys(group_of(results, row.key) for row in results.rows))
    for axes, (track, found) in zip(panels, tracks.items(), strict=True):
        for row, accuracy, timing in found:
            colour, marker = look(row.key.backend, results)
            fill = FILLS[groups.index(group_of(results, row.key)) % len(FILLS)]
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
        log_scale(axes, [timing.edges_per_s for _, _, timing in found])
        axes.grid(visible=True, axis="y")
        axes.set_title(TRACKS[track], loc="left")
        axes.set_xlabel("edges per second of training")
        axes.set_ylabel("test accuracy, %")
    fills = [
        Line2D([], [], color=INK, marker="o", linestyle="none", fillstyle=FILLS[number % len(FILLS)], label=group)
        for number, group in enumerate(groups)
    ]
    legend(figure, results, [row.key.backend for found in tracks.values() for row, _, _ in found], fills)
    return figure


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
