"""Accuracy against throughput: who has both, and who of them is on the Pareto front."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.report.aspects import Accuracy
from bench.report.results import Results
from bench.work import CellKey

MEANING = (
    "The stepped line is the Pareto front: for whoever is off it, another on the same data set, device, track and "
    "threads is at least as good in both and better in one. It goes by mean accuracy and median step alone: within "
    "their intervals, others may be on it. Who failed on some seeds is left out."
)

Point = tuple[float, float]


@dataclass(frozen=True)
class Trade:
    """What one cell reaches, on one track at one thread count."""

    key: CellKey
    accuracy: Accuracy
    edges_per_s: float  # of training, by the median step
    is_judged: bool  # not where some seeds failed: the mean is that of the others

    @property
    def point(self) -> Point:
        """Rate (1/s) and mean accuracy."""
        return self.edges_per_s, self.accuracy.mean

    @property
    def place(self) -> tuple[str, str]:
        """The data set and device within which trades may be compared."""
        return self.key.dataset, self.key.device


def pareto(points: Iterable[Point]) -> list[Point]:
    """The points that no other dominates, by rising x; where some are the same, they are one of the list.

    A point dominates another if it is at least as large in both numbers and larger in one.
    """
    found: list[Point] = []
    for x, y in sorted(points, reverse=True):
        if not found or y > found[-1][1]:
            found.append((x, y))
    return found[::-1]


def trades(results: Results, track: str, threads: int) -> list[Trade]:
    """All cells that have both an accuracy and a rate of all edges."""
    return [
        Trade(row.key, row.accuracy, speed.timing.edges_per_s, not cell.failed())
        for row, cell in zip(results.rows, results.cells, strict=True)
        for speed in row.speeds
        if (speed.track, speed.threads) == (track, threads)
        if row.accuracy and speed.timing and speed.timing.edges_per_s
    ]


def fronts(found: Sequence[Trade]) -> dict[tuple[str, str], list[Point]]:
    """The front of each data set and device that has anybody to be judged."""
    judged = [trade for trade in found if trade.is_judged]
    places = dict.fromkeys(trade.place for trade in judged)
    return {place: pareto(trade.point for trade in judged if trade.place == place) for place in places}


def words(results: Results, track: str, threads: int) -> dict[CellKey, str]:
    """Whether a cell that has both is on the front: yes, no, or not judged."""
    found = trades(results, track, threads)
    lines = fronts(found)
    return {
        trade.key: ("yes" if trade.point in lines[trade.place] else "no") if trade.is_judged else "not judged"
        for trade in found
    }
