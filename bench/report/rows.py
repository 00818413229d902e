"""One row per cell: everything that a table, a plot or a tracking server says about it.

Accuracies are fractions and times seconds here; `metrics`, like every view, gives percent and milliseconds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.config import Experiment, Setting
from bench.records import Record
from bench.report import aspects
from bench.report.aspects import Accuracy, State, Timing
from bench.report.cells import Cell, gather, step_medians
from bench.report.comparisons import Comparisons, compare, timed_phases
from bench.report.sittings import CURE
from bench.summary import Interval
from bench.verdicts import AccuracyVerdict, Phase, TimedPhase, TimeVerdict
from bench.work import CellKey

MIB = 2**20


@dataclass(frozen=True)
class Speed:
    """What there is of one track at one thread count."""

    track: str
    threads: int
    state: State
    timing: Timing | None
    verdict: TimeVerdict | None  # of the training step, against the baseline
    evaluate_verdict: TimeVerdict | None


@dataclass(frozen=True)
class Row:
    """One cell."""

    key: CellKey
    status: str  # done, partial, not_run, or the one `NotDone` status of a cell without any result
    parity: State
    accuracy_state: State
    accuracy: Accuracy | None
    accuracy_verdict: AccuracyVerdict | None  # against the baseline
    speeds: tuple[Speed, ...]
    prepare_s: Mapping[int, float]  # by thread count
    tuned: Mapping[str, Setting]
    tuning: str
    failures: Mapping[str, int]  # jobs by `NotDone` status
    retried: int
    warnings: tuple[str, ...]

    def metrics(self) -> dict[str, float]:
        """Headline numbers in percent, ms and MiB; a key is absent where there is no number."""
        numbers = dict(accuracy_metrics(self.accuracy)) if self.accuracy else {}
        numbers |= {self._named("prepare_ms", threads): 1000 * seconds for threads, seconds in self.prepare_s.items()}
        for speed in self.speeds:
            if speed.timing:
                prefix = self.prefix(speed)
                numbers |= {f"{prefix}/{name}": value for name, value in timing_metrics(speed.timing)}
        return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}

    def tags(self) -> dict[str, str]:
        """Status and verdicts in words; a key is absent where there is nothing to say."""
        verdicts = [self.accuracy_verdict, *(speed.verdict for speed in self.speeds)]
        tags = {
            "cell": str(self.key),
            "status": self.status,
            "parity": self.parity.sentence(),
            "accuracy": self.accuracy_state.sentence(),
            "speed": "; ".join(dict.fromkeys(speed.state.sentence() for speed in self.speeds)),
            "verdict": " ".join(verdict.sentence() for verdict in verdicts if verdict),
            "verdict_accuracy": self.accuracy_verdict.word if self.accuracy_verdict else "",
            "tuning": self.tuning,
            "warnings": "; ".join(self.warnings),
        }
        tags |= {f"verdict_time/{self.prefix(speed)}": speed.verdict.word for speed in self.speeds if speed.verdict}
        return {name: text for name, text in tags.items() if text}

    def prefix(self, speed: Speed) -> str:
        """What a speed's numbers are called by: its track, and its thread count where that is not the first."""
        return self._named(speed.track, speed.threads)

    def _named(self, name: str, threads: int) -> str:
        return name if threads == self.speeds[0].threads else f"{name}/threads_{threads}"


def rows(experiment: Experiment, records: Sequence[Record]) -> list[Row]:
    """A row for each cell of the grid, in the order data set, operator, device, back end.

    Args:
        experiment: what was asked; a cell without records appears as not run.
        records: all of a results folder, oldest first, superseded ones included: retries are counted.
    """
    cells = gather(experiment, records)
    return rows_of(experiment, cells, compare(experiment, cells))


def rows_of(experiment: Experiment, cells: Sequence[Cell], comparisons: Comparisons) -> list[Row]:
    """See `rows`; from what it gathers and compares first."""
    return [
        _row(experiment, cell, [other for other in cells if other.key[1:] == cell.key[1:]], comparisons)
        for cell in cells
    ]


def headline(row: Row) -> str:
    """The latest numbers of a cell on one line."""
    parts = [row.accuracy_state.words]
    if row.accuracy:
        spread = "" if row.accuracy.std is None else f" ± {100 * row.accuracy.std:.1f}"
        parts = [f"accuracy {100 * row.accuracy.mean:.1f}{spread} %"]
    for speed in row.speeds:
        if speed.timing:
            track = speed.track.replace("_", " ")
            parts.append(f"training step {1000 * speed.timing.train.value:.3g} ms {track}")
    return ", ".join(parts)


def _row(experiment: Experiment, cell: Cell, group: Sequence[Cell], comparisons: Comparisons) -> Row:
    parity, accuracy_state = aspects.parity_state(cell), aspects.accuracy_state(experiment, cell)
    timing = experiment.timing
    speeds = tuple(
        _speed(experiment, cell, group, comparisons, track, threads)
        for threads in (timing.threads if timing.rounds else ())
        for track in timing.tracks
    )
    # The first listed back end that has results is what the others are held against.
    baseline = next((other.key.backend for other in group if other.fits), "")
    return Row(
        key=cell.key,
        status=_status(cell, [accuracy_state, *(speed.state for speed in speeds)]),
        parity=parity,
        accuracy_state=accuracy_state,
        accuracy=aspects.accuracy(experiment, cell),
        accuracy_verdict=comparisons.accuracy_of(cell.key, baseline),
        speeds=speeds,
        prepare_s=aspects.prepare_s(cell),
        tuned=cell.tuned,
        tuning=aspects.tuning(cell),
        failures=cell.failures,
        retried=cell.retried,
        warnings=tuple(_warnings(experiment, cell, comparisons)),
    )


def _speed(
    experiment: Experiment,
    cell: Cell,
    group: Sequence[Cell],
    comparisons: Comparisons,
    track: str,
    threads: int,
) -> Speed:
    baseline = next(
        (other.key.backend for other in group if step_medians(other.rounds.get(threads, {}), track, "train")),
        "",
    )
    same = next((timed.same_as[track] for timed in cell.rounds.get(threads, {}).values() if track in timed.same_as), "")

    def verdict(phase: Phase) -> TimeVerdict | None:
        """Of the track itself, or where it has no measurement of its own, of the one that it shares."""
        found = [comparisons.time_of(cell.key, baseline, TimedPhase(name, threads, phase)) for name in (track, same)]
        return found[0] or found[1]

    return Speed(
        track=track,
        threads=threads,
        state=aspects.speed_state(experiment, cell, track, threads),
        timing=aspects.timing(experiment, cell, track, threads),
        verdict=verdict("train"),
        evaluate_verdict=verdict("evaluate"),
    )


def _status(cell: Cell, states: Sequence[State]) -> str:
    statuses = {state.status for state in states}
    if len(statuses) == 1:
        return statuses.pop()
    if not statuses & {"done", "partial"}:
        return states[0].status if cell.records else "not_run"
    # A track that a back end cannot take leaves nothing to be done.
    return "done" if statuses == {"done", "unsupported"} else "partial"


def _warnings(experiment: Experiment, cell: Cell, comparisons: Comparisons) -> Iterator[str]:
    yield from aspects.warnings(cell, timed_phases(experiment))
    yield from aspects.cut_short(experiment, cell)
    if cell.fits and (failed := cell.failed()):
        yield f"{failed}: its accuracy is that of the others, and not judged"
    if apart := comparisons.apart_from(cell.key):
        yield f"not timed side by side with {', '.join(apart)}, so their times are not compared: {CURE}"
    if cell.rounds and comparisons.failed_self_tests(cell.key):
        yield "the self-test on this device did not come out equal: times are not to be trusted to the margin"


def accuracy_metrics(accuracy: Accuracy) -> Iterator[tuple[str, float]]:
    """Name and number, percent."""
    yield "accuracy_test_pct_mean", 100 * accuracy.mean
    if accuracy.std is not None:
        yield "accuracy_test_pct_std", 100 * accuracy.std
    if accuracy.interval:
        yield "accuracy_test_pct_low", 100 * accuracy.interval.low
        yield "accuracy_test_pct_high", 100 * accuracy.interval.high
    yield "accuracy_validation_pct_mean", 100 * accuracy.validation_mean
    yield "accuracy_seeds", accuracy.seeds
    yield "epochs_mean", accuracy.epochs_mean
    yield "parameters", accuracy.parameters


def timing_metrics(timing: Timing) -> Iterator[tuple[str, float]]:
    """Name without track and number, ms, MiB and rates."""
    for name, found in (("train_step_ms", timing.train), ("eval_step_ms", timing.evaluate)):
        yield f"{name}_median", 1000 * found.value
        yield from _interval_metrics(name, found.interval)
    if timing.train.interval:
        yield "interval_coverage", timing.train.interval.confidence
    yield "first_step_ms", 1000 * timing.first_step_s
    yield "epochs_per_s", timing.epochs_per_s
    if timing.edges_per_s is not None and timing.nodes_per_s is not None:
        yield "edges_per_s", timing.edges_per_s
        yield "nodes_per_s", timing.nodes_per_s
    if timing.peak_bytes is not None:
        yield "peak_memory_mib", timing.peak_bytes / MIB
    yield "rounds", timing.train.rounds


def _interval_metrics(name: str, interval: Interval | None) -> Iterator[tuple[str, float]]:
    if interval:
        yield f"{name}_low", 1000 * interval.low
        yield f"{name}_high", 1000 * interval.high
