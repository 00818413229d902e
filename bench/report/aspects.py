"""What one cell shows in each respect: how far it got and, where it got anywhere, its numbers.

Accuracies are fractions, times seconds.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.config import Experiment
from bench.outcomes import NotDone, TrackTiming, Tuned
from bench.report.cells import Cell, step_medians, step_samples, step_warmups
from bench.report.own_words import other_work
from bench.speed.timing import is_steady
from bench.summary import (
    Interval,
    Median,
    interval_of_mean,
    mean,
    median,
    median_over_rounds,
    quartile_spread,
    std,
)
from bench.verdicts import TimedPhase

UNSTEADY = 0.05
"""Quartiles of step times further apart than this share of the median earn a warning."""

_WORDS = {
    "budget": "not run: budget",
    "parity": "not run: parity",
    "not_run": "not run",
    "out_of_memory": "failed: out of memory",
    "timeout": "failed: time-out",
    "diverged": "failed: diverged",
    "error": "failed: error",
}


@dataclass(frozen=True)
class State:
    """How far a cell got in one respect: done, partial, not_run, passed, failed, or a `NotDone` status."""

    status: str
    reason: str = ""

    @property
    def words(self) -> str:
        """The status for people: "not run: budget"."""
        return _WORDS.get(self.status, self.status)

    def sentence(self) -> str:
        """Status and reason: "not run: budget, would take 3 h"."""
        joint = ", " if ":" in self.words else ": "
        return f"{self.words}{joint}{self.reason}" if self.reason else self.words


@dataclass(frozen=True)
class Accuracy:
    """Test accuracy over seeds. Fractions."""

    mean: float
    std: float | None
    interval: Interval | None  # of the mean
    seeds: int
    validation_mean: float
    epochs_mean: float
    parameters: int


@dataclass(frozen=True)
class Timing:
    """One track at one thread count. On a whole graph an epoch is one training step; rates are per its median."""

    train: Median  # s per training step
    evaluate: Median  # s per forward in evaluation mode
    first_step_s: float  # median over rounds
    epochs_per_s: float
    edges_per_s: float | None  # with self-loops; None where a step does not touch all of them
    nodes_per_s: float | None
    peak_bytes: float | None  # median over rounds


def parity_state(cell: Cell) -> State:
    """Whether the back end computes what the reference says."""
    if cell.parity is None:
        return State("not_run")
    if isinstance(cell.parity, NotDone):
        return State(cell.parity.status, cell.parity.reason)
    if cell.parity.passed:
        return State("passed", f"{len(cell.parity.checks)} checks")
    return State("failed", cell.parity.failure())


def accuracy_state(experiment: Experiment, cell: Cell) -> State:
    """Whether all seeds were trained; of an experiment without any, whether parity was shown."""
    if not experiment.seeds:
        return State("done") if parity_state(cell).status == "passed" else parity_state(cell)
    failures = [cell.fit_failures[seed] for seed in sorted(cell.fit_failures)]
    if experiment.tuning.trials and not cell.fits and not failures and not cell.withheld():
        return State("not_run", tuning(cell) or "nothing was tuned for it yet")
    return _state(cell, len(cell.fits), len(experiment.seeds_of(cell.key)), "seed", failures)


def speed_state(experiment: Experiment, cell: Cell, track: str, threads: int) -> State:
    """Whether all rounds of a track were timed."""
    rounds = cell.rounds.get(threads, {})
    without = next((timed.without[track] for timed in rounds.values() if track in timed.without), None)
    if without:
        return State("unsupported", without)
    timed = sum(round_.track(track) is not None for round_ in rounds.values())
    asked, failures = experiment.timing.rounds_of(cell.key, threads), cell.speed_failures.get(threads, ())
    if 0 < timed < asked and not failures and experiment.budget.timing_s and not cell.withheld():
        return State("done", f"{timed} of at most {asked} rounds; the file allows {experiment.budget.timing_s:.0f} s")
    return _state(cell, timed, asked, "round", failures)


def accuracy(experiment: Experiment, cell: Cell) -> Accuracy | None:
    """Test accuracy over the seeds that were trained."""
    if not cell.fits:
        return None
    fits = [cell.fits[seed] for seed in sorted(cell.fits)]
    tests = [fit.test for fit in fits]
    return Accuracy(
        mean=mean(tests),
        std=std(tests),
        interval=interval_of_mean(tests, experiment.statistics.confidence),
        seeds=len(fits),
        validation_mean=mean([fit.validation for fit in fits]),
        epochs_mean=mean([fit.epochs for fit in fits]),
        parameters=fits[0].parameters,
    )


def timing(experiment: Experiment, cell: Cell, track: str, threads: int) -> Timing | None:
    """Step times over the rounds that were timed."""
    rounds = {number: timed for number, timed in cell.rounds.get(threads, {}).items() if timed.track(track)}
    if not rounds:
        return None
    confidence = experiment.statistics.confidence
    train = median_over_rounds(list(step_medians(rounds, track, "train").values()), confidence)
    evaluate = median_over_rounds(list(step_medians(rounds, track, "evaluate").values()), confidence)
    tracks: list[TrackTiming] = [found for timed in rounds.values() if (found := timed.track(track))]
    peaks = [float(timed.peak_bytes) for timed in tracks if timed.peak_bytes is not None]
    size, partly = next(iter(rounds.values())), bool(other_work(cell.key.backend))
    return Timing(
        train=train,
        evaluate=evaluate,
        first_step_s=median([timed.first_step_s for timed in tracks]),
        epochs_per_s=1 / (size.steps_per_epoch * train.value),
        edges_per_s=None if partly else size.edges / train.value,
        nodes_per_s=None if partly else size.nodes / train.value,
        peak_bytes=median(peaks) if peaks else None,
    )


def prepare_s(cell: Cell) -> dict[int, float]:
    """Median time of converting the graph over the rounds of each thread count that was timed."""
    return {threads: median([timed.prepare_s for timed in rounds.values()]) for threads, rounds in cell.rounds.items()}


def tuning(cell: Cell) -> str:
    """What the study behind the settings did, as a sentence, or nothing without one."""
    found = cell.study.outcome if cell.study else None
    if isinstance(found, NotDone):
        return f"tuning: {State(found.status, found.reason).sentence()}"
    if not isinstance(found, Tuned):
        return ""
    states = Counter(trial.state for trial in found.trials)
    return (
        f"trial {found.best_trial} of {len(found.trials)} "
        f"({states['complete']} complete, {states['pruned']} pruned), "
        f"validation {100 * found.validation:.2f} %"
    )


def warnings(cell: Cell, phases: Sequence[TimedPhase]) -> Iterator[str]:
    """What a reader should know before believing the numbers."""
    results = cell.fits or cell.rounds
    if results and cell.parity is None:
        yield "parity was not checked"
    for status, times in sorted(cell.failures.items()):
        if results and status not in ("parity", "unsupported", "budget"):
            yield f"{times} {'job' if times == 1 else 'jobs'} {_WORDS[status]}"
    if cell.retried:
        yield f"{cell.retried} failed {'attempt was' if cell.retried == 1 else 'attempts were'} tried again"
    spreads = dict(_spreads(cell, phases))
    if unsteady := {phase: spread for phase, spread in spreads.items() if spread > UNSTEADY}:
        worst = max(unsteady, key=lambda phase: unsteady[phase])
        yield (
            f"unsteady in {len(unsteady)} of {len(spreads)} timings: quartiles of the samples up to "
            f"{unsteady[worst]:.0%} of the median apart ({worst})"
        )
    if cold := [phase for phase in spreads if _is_cold(cell, phase)]:
        yield (
            f"not shown to be warm in {len(cold)} of {len(spreads)} timings: in most rounds the time for warming up "
            f"was over before its steps were steady ({cold[0]})"
        )


def cut_short(experiment: Experiment, cell: Cell) -> Iterator[str]:
    """How many trainings the limit of epochs ended, where patience was meant to."""
    training = experiment.training
    cut = sum(fit.epochs >= training.max_epochs for fit in cell.fits.values())
    if cut and training.patience_epochs < training.max_epochs:
        yield f"{cut} of {len(cell.fits)} trainings ended at the limit of {training.max_epochs} epochs, not by patience"


def _state(cell: Cell, done: int, asked: int, unit: str, failures: Sequence[NotDone]) -> State:
    if withheld := cell.withheld():
        return State(withheld.status, withheld.reason)
    if done >= asked:  # more than asked, where an earlier run was asked for more
        return State("done")
    if not done:
        return State(failures[0].status, failures[0].reason) if failures else State("not_run")
    missing = [f"{number} {_WORDS.get(status, status)}" for status, number in _by_status(failures).items()]
    if rest := asked - done - len(failures):
        missing.append(f"{rest} not run")
    why = f" ({failures[0].reason})" if failures else ""
    return State("partial", f"{done} of {asked} {unit}s; {', '.join(missing)}{why}")


def _by_status(failures: Sequence[NotDone]) -> dict[str, int]:
    return dict(sorted(Counter(failure.status for failure in failures).items()))


def _is_cold(cell: Cell, phase: TimedPhase) -> bool:
    """Whether warm-up ended for another reason than that it was steady, in more than half of the rounds."""
    found = step_warmups(cell.rounds.get(phase.threads, {}), phase.track, phase.phase)
    return 2 * sum(not is_steady(taken) for taken in found) > len(found)


def _spreads(cell: Cell, phases: Sequence[TimedPhase]) -> Iterator[tuple[TimedPhase, float]]:
    for phase in phases:
        samples = step_samples(cell.rounds.get(phase.threads, {}), phase.track, phase.phase)
        if samples:
            yield phase, quartile_spread([seconds for number in samples for seconds in samples[number]])
