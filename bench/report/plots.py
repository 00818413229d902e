"""Plots of the results, as PNG and SVG, the same bytes for the same records.

Which plots there are, and those of one cell a mark; `bench.report.curves` has the roofline and the scaling sweep.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.config import thread_name
from bench.folder import ResultsFolder
from bench.report import curves, gallery, wording
from bench.report.aspects import Accuracy
from bench.report.canvas import (
    FILLS,
    INK,
    STYLE,
    group_of,
    legend,
    log_scale,
    look,
    marks,
    panel_title,
    rendered,
    stacked,
)
from bench.report.results import Results
from bench.report.rows import MIB, Row, Speed
from bench.report.wording import TRACKS

TITLES = {
    "accuracy": "Test accuracy",
    "step-time": "Training step",
    "memory": "Peak memory",
    "trade-off": "Accuracy against throughput",
    "roofline": "Training step under the machine's ceilings",
    "scaling": "Training step as the problem grows",
}


class Whose(NamedTuple):
    """What a value belongs to."""

    backend: str
    group: str
    name: str  # in full, for who asks the mark


@dataclass(frozen=True)
class Point:
    """One mark: a value with its interval, and what is written beside it."""

    whose: Whose
    value: float
    low: float
    high: float
    text: str
    unit: str

    def said(self) -> str:
        """`pyg · gat · cora · cpu: 81.4 % [80.9, 81.9]`."""
        edges = f" [{wording.significant(self.low)}, {wording.significant(self.high)}]" * (self.low < self.high)
        return f"{self.whose.name}: {self.text} {self.unit}{edges}"


def write(folder: ResultsFolder, results: Results) -> dict[str, str]:
    """Write `plots/`, without plots that have no data, and return the SVG texts by name."""
    return gallery.hang(folder, draw(results), TITLES)


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
            Whose(row.key.backend, group_of(results, row.key), f"{row.key}, test accuracy"),
            100 * found.mean,
            100 * (found.interval.low if found.interval else found.mean),
            100 * (found.interval.high if found.interval else found.mean),
            f"{100 * found.mean:.1f}",
            "%",
        )
        for row in results.rows
        if (found := row.accuracy)
    ]
    if not points:
        return None
    figure, (axes,) = stacked([_height_in(points)])
    _dots(axes, points, results)
    axes.set_xlabel("test accuracy, %: mean and its interval")
    legend(figure, results, [point.whose.backend for point in points])
    return figure


def _by_track(results: Results, label: str, point: Callable[[Whose, Speed], Point | None]) -> Figure | None:
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
    legend(figure, results, [point.whose.backend for points in tracks.values() for point in points])
    return figure


def _points(results: Results, track: str, point: Callable[[Whose, Speed], Point | None]) -> list[Point]:
    several = len(results.experiment.timing.threads) > 1
    found = [
        point(
            Whose(
                row.key.backend,
                group_of(results, row.key) + f"\n{speed.threads} threads" * several,
                f"{row.key}, {TRACKS[track]}, {thread_name(speed.threads)}",
            ),
            speed,
        )
        for row in results.rows
        for speed in row.speeds
        if speed.track == track
    ]
    return [made for made in found if made]


def _step(whose: Whose, speed: Speed) -> Point | None:
    if speed.timing is None:
        return None
    found = speed.timing.train
    low, high = (found.interval.low, found.interval.high) if found.interval else (found.value, found.value)
    text = wording.significant(1000 * found.value)
    return Point(whose, 1000 * found.value, 1000 * low, 1000 * high, text, "ms a training step")


def _memory(whose: Whose, speed: Speed) -> Point | None:
    if speed.timing is None or not speed.timing.peak_bytes:
        return None
    size = speed.timing.peak_bytes / MIB
    return Point(whose, size, size, size, wording.significant(size), "MiB at most")


def _trade_off(results: Results) -> Figure | None:
    """One panel for each track and data set, since marks of two data sets would look alike."""
    panels = {
        (track, dataset): found
        for track in results.experiment.timing.tracks
        for dataset in results.experiment.datasets
        if (found := _traded(results, track, dataset))
    }
    if not panels:
        return None
    figure, axes_of = stacked([3.0] * len(panels))
    groups = list(dict.fromkeys(group_of(results, row.key, of_one_dataset=True) for row in results.rows))
    fill_of = {group: FILLS[number % len(FILLS)] for number, group in enumerate(groups)}
    for axes, ((track, dataset), found) in zip(axes_of, panels.items(), strict=True):
        for row, accuracy, edges_per_s in found:
            colour, marker = look(row.key.backend, results)
            fill = fill_of[group_of(results, row.key, of_one_dataset=True)]
            edges = (accuracy.interval.low, accuracy.interval.high) if accuracy.interval else (accuracy.mean,) * 2
            axes.vlines(edges_per_s, 100 * edges[0], 100 * edges[1], colors=colour, linewidth=1.5)
            said = f"{row.key}: {100 * accuracy.mean:.1f} %, {wording.significant(edges_per_s)} edges per second"
            at = (edges_per_s, 100 * accuracy.mean, said)
            marks(axes, [at], color=colour, marker=marker, fillstyle=fill, markersize=8)
        log_scale(axes, [edges_per_s for _, _, edges_per_s in found])
        axes.grid(visible=True, axis="y")
        axes.set_title(panel_title(results, track, dataset), loc="left")
        axes.set_xlabel("edges per second of training")
        axes.set_ylabel("test accuracy, %")
    fills = [
        Line2D([], [], color=INK, marker="o", linestyle="none", fillstyle=fill, label=group)
        for group, fill in fill_of.items()
    ]
    legend(figure, results, [row.key.backend for found in panels.values() for row, _, _ in found], fills)
    return figure


def _traded(results: Results, track: str, dataset: str) -> list[tuple[Row, Accuracy, float]]:
    """What has both an accuracy and a rate at the first thread count, in edges per second."""
    return [
        (row, row.accuracy, speed.timing.edges_per_s)
        for row in results.rows
        for speed in row.speeds
        if row.accuracy and speed.timing and speed.timing.edges_per_s
        if (row.key.dataset, speed.track, speed.threads) == (dataset, track, row.speeds[0].threads)
    ]


def _height_in(points: Sequence[Point]) -> float:
    return 0.8 + 0.27 * len(points) + 0.15 * len({point.whose.group for point in points})


def _dots(axes: Axes, points: Sequence[Point], results: Results) -> None:
    """One line per mark, from top to bottom, groups apart; the value stands behind its mark."""
    positions, ticks = _positions(points)
    for position, point in zip(positions, points, strict=True):
        colour, marker = look(point.whose.backend, results)
        axes.hlines(position, point.low, point.high, colors=colour, linewidth=2)
        marks(axes, [(point.value, position, point.said())], color=colour, marker=marker, markersize=7)
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
        of_group.setdefault(point.whose.group, [])
        position = index + 0.6 * (len(of_group) - 1)
        positions.append(position)
        of_group[point.whose.group].append(position)
    return positions, [(group, sum(places) / len(places)) for group, places in of_group.items()]
