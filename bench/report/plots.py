"""Plots of the results, as PNG and SVG, the same bytes for the same records.

Which plots there are, and those of one cell a mark; `bench.report.curves` has those with two measured axes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.config import thread_name
from bench.folder import ResultsFolder
from bench.report import curves, front, gallery, wording
from bench.report.canvas import (
    STYLE,
    group_of,
    legend,
    log_scale,
    look,
    marks,
    rendered,
    stacked,
)
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
EXPLAINED = {"trade-off": front.MEANING}
"""What a plot's caption must say beside its title."""


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
            "trade-off": curves.trade_off(results),
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
