"""Every comparison that an experiment's results allow, judged together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from bench.config import Experiment
from bench.judging import Pair
from bench.report.cells import Cell, step_medians
from bench.report.sittings import APART, only, side_by_side
from bench.summary import Series
from bench.verdicts import (
    AccuracyVerdict,
    Phase,
    SelfTest,
    TimedPhase,
    TimeVerdict,
    accuracy_verdicts,
    self_tests,
    time_verdicts,
)
from bench.work import CellKey

PHASES: tuple[Phase, ...] = ("train", "evaluate")


@dataclass(frozen=True)
class Comparisons:
    """In each pair the one listed later in the file is `first`, since the baseline is listed early."""

    accuracy: tuple[AccuracyVerdict, ...]  # back ends, within an operator, data set and device
    time: tuple[TimeVerdict, ...]
    operators: tuple[AccuracyVerdict, ...]  # operators, within a back end, data set and device
    self_tests: tuple[SelfTest, ...]

    def accuracy_of(self, key: CellKey, baseline: str) -> AccuracyVerdict | None:
        """The verdict on a cell's accuracy against a back end's."""
        for verdict in self.accuracy:
            if _is_about(verdict.pair, key, baseline):
                return verdict
        return None

    def time_of(self, key: CellKey, baseline: str, phase: TimedPhase) -> TimeVerdict | None:
        """The verdict on a cell's time against a back end's."""
        for verdict in self.time:
            if verdict.timed == phase and _is_about(verdict.pair, key, baseline):
                return verdict
        return None

    def apart_from(self, key: CellKey) -> list[str]:
        """Back ends listed earlier whose rounds are none of a cell's."""
        barred = [verdict.pair for verdict in self.time if verdict.pair.barred]
        here = [pair for pair in barred if (pair.first, pair.where) == (key.backend, where_of(key))]
        return list(dict.fromkeys(pair.second for pair in here))

    def failed_self_tests(self, key: CellKey) -> list[SelfTest]:
        """Self-tests on a cell's device that were not shown to be equal; they speak of the machine, not of a cell."""
        return [
            test for test in self.self_tests if not test.passed and test.verdict.pair.where.endswith(f" · {key.device}")
        ]


def compare(experiment: Experiment, cells: Sequence[Cell]) -> Comparisons:
    """Judge all pairs. Holm's families: accuracy of back ends, their times, accuracy of operators."""
    statistics = experiment.statistics
    margin_points, level = statistics.accuracy_margin_points, statistics.confidence
    return Comparisons(
        accuracy=tuple(accuracy_verdicts(list(_backend_pairs(experiment, cells)), margin_points, level)),
        time=tuple(time_verdicts(list(_time_pairs(experiment, cells)), statistics.time_margin, level)),
        operators=tuple(accuracy_verdicts(list(_operator_pairs(experiment, cells)), margin_points, level)),
        self_tests=tuple(self_tests(list(_repeats(experiment, cells)), statistics.time_margin, level)),
    )


def where_of(key: CellKey) -> str:
    """All of a cell but its back end."""
    return " · ".join(key[1:])


def timed_phases(experiment: Experiment) -> list[TimedPhase]:
    """Everything that is timed of each cell."""
    timing = experiment.timing
    return [
        TimedPhase(track, threads, phase) for track in timing.tracks for threads in timing.threads for phase in PHASES
    ]


def _is_about(pair: Pair, key: CellKey, baseline: str) -> bool:
    return (pair.first, pair.second, pair.where) == (key.backend, baseline, where_of(key))


def _backend_pairs(experiment: Experiment, cells: Sequence[Cell]) -> Iterator[Pair]:
    for earlier, later in combinations([cell for cell in cells if cell.fits], 2):
        if earlier.key[1:] == later.key[1:]:
            names = later.key.backend, earlier.key.backend
            yield _accuracies(experiment, names, where_of(later.key), later, earlier)


def _operator_pairs(experiment: Experiment, cells: Sequence[Cell]) -> Iterator[Pair]:
    for earlier, later in combinations([cell for cell in cells if cell.fits], 2):
        key = later.key
        if earlier.key == key._replace(operator=earlier.key.operator):
            where = f"{key.backend} · {key.dataset} · {key.device}"
            yield _accuracies(experiment, (key.operator, earlier.key.operator), where, later, earlier)


def _accuracies(experiment: Experiment, names: tuple[str, str], where: str, first: Cell, second: Cell) -> Pair:
    planned = min(len(experiment.seeds_of(cell.key)) for cell in (first, second))
    return Pair(*names, where, first.accuracies, second.accuracies, planned, failures(names, (first, second)))


def failures(names: tuple[str, str], cells: tuple[Cell, Cell]) -> str:
    """Why the accuracies of two cells must not be judged: those of the seeds that are left are the lucky ones'."""
    return " and ".join(filter(None, map(_failed, names, cells)))


def _failed(name: str, cell: Cell) -> str:
    failed = cell.failed()
    return f"{name} {failed}" if failed else ""


def _time_pairs(experiment: Experiment, cells: Sequence[Cell]) -> Iterator[tuple[Pair, TimedPhase]]:
    for earlier, later in combinations([cell for cell in cells if cell.rounds], 2):
        if earlier.key[1:] == later.key[1:]:
            for timed in timed_phases(experiment):
                if _is_repetition(earlier, timed) and _is_repetition(later, timed):
                    continue
                values = _medians(later, timed), _medians(earlier, timed)
                if all(values):
                    begun = [cell.begun[timed.threads, 0] for cell in (later, earlier)]
                    names = later.key.backend, earlier.key.backend
                    yield _times(experiment, names, later.key, values, side_by_side(*begun), timed), timed


def _is_repetition(cell: Cell, timed: TimedPhase) -> bool:
    """Whether the track has no measurement of its own: a comparison of two such was made on the other track."""
    return all(timed.track in found.same_as for found in cell.rounds.get(timed.threads, {}).values())


def _repeats(experiment: Experiment, cells: Sequence[Cell]) -> Iterator[tuple[Pair, TimedPhase]]:
    """The stream that was measured twice; if none was, the first that should have been, without a second half."""
    timed = [cell for cell in cells if cell.key.backend == experiment.timing.self_test and cell.rounds]
    for cell in [cell for cell in timed if cell.repeated] or timed[:1]:
        for threads in cell.repeated or list(cell.rounds)[:1]:
            for phase in (phase for phase in timed_phases(experiment) if phase.threads == threads):
                if values := _medians(cell, phase):
                    again = step_medians(cell.repeated.get(threads, {}), phase.track, phase.phase)
                    together = side_by_side(cell.begun[threads, 0], cell.begun.get((threads, 1), {}))
                    names = cell.key.backend, f"{cell.key.backend} again"
                    yield _times(experiment, names, cell.key, (values, again), together, phase), phase


def _times(
    experiment: Experiment,
    names: tuple[str, str],
    key: CellKey,
    values: tuple[Series, Series],
    together: set[int],
    timed: TimedPhase,
) -> Pair:
    """Rounds that were timed side by side; how many there may be, a budget of time says and no verdict."""
    planned = 0 if experiment.budget.timing_s else experiment.timing.rounds_of(key, timed.threads)
    first, second = (only(together, series) for series in values)
    if all(values) and not (first and second):
        return Pair(*names, where_of(key), *values, planned, APART)
    return Pair(*names, where_of(key), first, second, planned)


def _medians(cell: Cell, timed: TimedPhase) -> dict[int, float]:
    return step_medians(cell.rounds.get(timed.threads, {}), timed.track, timed.phase)
