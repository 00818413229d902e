"""What changed between two results folders, or two commits: the same cells, judged by the same rules as back ends are.

Accuracies are paired by seed, and not judged where one side failed on some. Rounds of two of them were not run beside
each other, so that their numbers pair nothing: times are compared unpaired (Welch), a difference may be the machine's
on the two days, which is said, and what was timed on two machines is not judged.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from bench.config import thread_name
from bench.judging import Pair
from bench.outcomes import Timed
from bench.report.cells import Cell, step_medians
from bench.report.comparisons import failures, timed_phases
from bench.report.grids import Grid
from bench.report.results import Results
from bench.report.wording import TRACKS, joined
from bench.summary import Series
from bench.verdicts import AccuracyVerdict, TimedPhase, TimeVerdict, accuracy_verdicts, time_verdicts
from bench.work import CellKey, SpeedJob

NAMES = "after", "before"


@dataclass(frozen=True)
class Lost:
    """What the first has of a cell of which the second has other results, but not these."""

    cell: CellKey
    seeds: tuple[int, ...]
    is_any_seed_left: bool
    times: tuple[tuple[str, int], ...]  # track and threads

    def what(self) -> str:
        """ "accuracy of seeds 3 and 4; as shipped with 2 threads"."""
        timed = [f"{TRACKS[track]} with {thread_name(threads)}" for track, threads in self.times]
        return "; ".join([*self._accuracy(), *timed])

    def _accuracy(self) -> Iterator[str]:
        if self.seeds and self.is_any_seed_left:
            yield f"accuracy of seed{'s' * (len(self.seeds) > 1)} {joined([str(seed) for seed in self.seeds])}"
        elif self.seeds:
            yield "accuracy"


@dataclass(frozen=True)
class Difference:
    """Verdicts on the second's cells against the first's, and what only one of them has results of."""

    accuracy: tuple[AccuracyVerdict, ...]
    time: tuple[TimeVerdict, ...]
    only_first: tuple[CellKey, ...]
    only_second: tuple[CellKey, ...]
    lost: tuple[Lost, ...]
    is_asked_alike: bool  # otherwise a difference may be that of the settings
    of_sides: tuple[str, ...] = ()  # what is to be known of the two, in sentences

    @property
    def remarks(self) -> list[str]:
        """What a reader should know before believing the verdicts."""
        return list(self._doubts())

    def _doubts(self) -> Iterator[str]:
        yield from self.of_sides
        if not self.is_asked_alike:
            yield "The two were asked with different settings: a difference may be theirs."
        if any(not verdict.pair.barred for verdict in self.time):
            yield "No times of the two were taken side by side: what the machine did differently counts as difference."

    @property
    def is_of_something(self) -> bool:
        """Whether both have results of any one cell."""
        return bool(self.accuracy or self.time or self.lost)


def difference(first: Results, second: Results, of_sides: tuple[str, ...] = ()) -> Difference:
    """Judge every cell that both have, with the margins and the level of the second.

    Args:
        first: what was before.
        second: what came after.
        of_sides: what is to be known of the two besides, in sentences.
    """
    before, after = _measured(first), _measured(second)
    shared = [key for key in after if key in before]
    statistics = second.experiment.statistics
    accuracies = [
        Pair(
            *NAMES,
            str(key),
            after[key].accuracies,
            before[key].accuracies,
            barred=failures(NAMES, (after[key], before[key])),
        )
        for key in shared
        if after[key].fits and before[key].fits
    ]
    times = [found for key in shared for found in _times(second, before[key], after[key])]
    return Difference(
        tuple(accuracy_verdicts(accuracies, statistics.accuracy_margin_points, statistics.confidence)),
        tuple(time_verdicts(times, statistics.time_margin, statistics.confidence)),
        tuple(key for key in before if key not in after),
        tuple(key for key in after if key not in before),
        tuple(found for key in shared if (found := _lost(first, before[key], after[key]))),
        _asked(first) == _asked(second),
        of_sides,
    )


def changes(found: Difference) -> list[str]:
    """What got faster or slower, better or worse, in sentences; what stayed or is open is in the tables."""
    verdicts: list[AccuracyVerdict | TimeVerdict] = [*found.accuracy, *found.time]
    decided = ("better", "worse", "faster", "slower")
    return [verdict.sentence() for verdict in verdicts if verdict.word in decided]


def grids(found: Difference) -> list[Grid]:
    """Accuracy and times, one line per cell."""
    accuracy = tuple((verdict.pair.where, verdict.short(), verdict.figures()) for verdict in found.accuracy)
    time = tuple(
        (
            verdict.pair.where,
            TRACKS[verdict.timed.track],
            verdict.timed.phase,
            str(verdict.timed.threads),
            verdict.short(),
            verdict.figures(),
        )
        for verdict in found.time
    )
    made = [
        Grid("Accuracy, after against before", ("cell", "verdict", "figures"), accuracy, 1),
        Grid("Time, after against before", ("cell", "track", "of", "threads", "verdict", "figures"), time, 4),
    ]
    return [grid for grid in made if grid.lines]


def plain(found: Difference) -> dict[str, object]:
    """The same for a program: words, numbers and names, nothing formatted."""
    return {
        "remarks": found.remarks,
        "changes": changes(found),
        "accuracy": [
            {
                "cell": verdict.pair.where,
                "verdict": verdict.word,
                "points": verdict.points,
                "not_judged": verdict.pair.barred,
            }
            for verdict in found.accuracy
        ],
        "time": [
            {
                "cell": verdict.pair.where,
                "track": verdict.timed.track,
                "threads": verdict.timed.threads,
                "phase": verdict.timed.phase,
                "verdict": verdict.word,
                "ratio": verdict.ratio,
                "not_judged": verdict.pair.barred,
            }
            for verdict in found.time
        ],
        "only_before": [list(key) for key in found.only_first],
        "only_after": [list(key) for key in found.only_second],
        "lost": [_plain_loss(lost) for lost in found.lost],
        "asked_alike": found.is_asked_alike,
    }


def _plain_loss(lost: Lost) -> dict[str, object]:
    return {
        "cell": str(lost.cell),
        "seeds": list(lost.seeds),
        "any_seed_left": lost.is_any_seed_left,
        "time": [{"track": track, "threads": threads} for track, threads in lost.times],
    }


def _asked(results: Results) -> dict[str, object]:
    return results.experiment.model_dump(exclude={"title", "description"})


def _measured(results: Results) -> dict[CellKey, Cell]:
    return {cell.key: cell for cell in results.cells if cell.fits or cell.rounds}


def _lost(results: Results, before: Cell, after: Cell) -> Lost | None:
    seeds = sorted(before.accuracies.keys() - after.accuracies.keys())
    times = dict.fromkeys(
        (timed.track, timed.threads)
        for timed in timed_phases(results.experiment)
        if _rounds(before, timed) and not _rounds(after, timed)
    )
    return Lost(before.key, tuple(seeds), bool(after.fits), tuple(times)) if seeds or times else None


def _times(results: Results, before: Cell, after: Cell) -> Iterator[tuple[Pair, TimedPhase]]:
    for timed in timed_phases(results.experiment):
        old, new = _rounds(before, timed), _rounds(after, timed)
        if old and new:
            unpaired = {-1 - number: seconds for number, seconds in old.items()}
            yield Pair(*NAMES, str(after.key), new, unpaired, barred=_moved(before, after, timed.threads)), timed


def _moved(before: Cell, after: Cell, threads: int) -> str:
    """That the two were timed on different machines, or nothing."""
    old, new = _machines(before, threads), _machines(after, threads)
    return "" if old == new else f"before was timed on {joined(old)}, after on {joined(new)}"


def _machines(cell: Cell, threads: int) -> list[str]:
    """ "bench-1 (AMD EPYC, 2 cores)"; of one machine all that its records tell."""
    return sorted(
        {
            "{host} ({device}, {cores} cores)".format_map(defaultdict(lambda: "unknown", record.environment))
            for record in cell.records
            if isinstance(record.job, SpeedJob) and isinstance(record.outcome, Timed) and record.job.threads == threads
        }
    )


def _rounds(cell: Cell, timed: TimedPhase) -> Series:
    return step_medians(cell.rounds.get(timed.threads, {}), timed.track, timed.phase)
