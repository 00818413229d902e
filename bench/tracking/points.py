"""The metrics of a job's MLflow run: numbers, and series with one value per epoch or timing sample.

Accuracies and other shares are in percent, times in ms, memory in MiB. What is not finite is left out: MLflow stores
infinity as 1.8e308, which flattens every chart; `record.json` beside it has all values.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, assert_never

from bench.outcomes import Attended, Checked, Fitted, LookedUp, NotDone, Outcome, Samples, Timed, Trial, Tuned

_DIGITS = 4


class Point(NamedTuple):
    """One value of a metric."""

    name: str
    value: float
    step: int
    at_ms: int  # since the epoch


def of_numbers(numbers: Mapping[str, float], at_ms: int) -> list[Point]:
    """One point per number."""
    return [Point(safe(name), float(value), 0, at_ms) for name, value in numbers.items() if math.isfinite(value)]


def of_summary(numbers: Mapping[str, float], at_ms: int) -> list[Point]:
    """One point per number that people compare in a list, where MLflow shows all the digits that it is given.

    Four significant digits, and none before the decimal point is lost: 81.43 for 81.42999999999999.
    """
    return of_numbers({name: _short(value) for name, value in numbers.items()}, at_ms)


def _short(value: float) -> float:
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, max(0, _DIGITS - 1 - math.floor(math.log10(abs(value)))))


def of_outcome(outcome: Outcome, start_ms: int, end_ms: int) -> list[Point]:
    """Numbers at the job's end; series evenly over its time, which is all that a record knows of it."""
    points = of_numbers(_numbers(outcome), end_ms)
    for name, values in _series(outcome).items():
        points += _spread(safe(name), values, start_ms, end_ms)
    return points


def of_trial(trial: Trial, at_ms: int) -> list[Point]:
    """A trial's mean over the seeds that it was judged on."""
    accuracies = trial.values.values()
    mean = {"accuracy_validation_pct": 100 * sum(accuracies) / len(accuracies)} if accuracies else {}
    return of_numbers(mean | {"epochs": trial.epochs, "seeds": len(accuracies)}, at_ms)


def safe(name: str) -> str:
    """A metric's or parameter's name with what MLflow refuses replaced by an underscore."""
    return re.sub(r"[^\w\-./ :]", "_", name)[:250]


def _numbers(outcome: Outcome) -> dict[str, float]:
    match outcome:
        case NotDone():
            return {}
        case Checked():
            return {
                "checks": len(outcome.checks),
                "checks_failed": sum(not check.passed for check in outcome.checks),
                "largest_share_of_tolerance": max((check.share for check in outcome.checks), default=math.nan),
            }
        case Timed():
            return {"prepare_ms": outcome.prepare_s * 1e3, **_track_numbers(outcome)}
        case Fitted():
            reached = {"test": outcome.test, "validation": outcome.validation}
            return {
                (f"error_{of}" if outcome.is_error else f"accuracy_{of}_pct"): value * (1 if outcome.is_error else 100)
                for of, value in reached.items()
            } | {
                "best_epoch": outcome.best_epoch,
                "epochs": outcome.epochs,
                "parameters": outcome.parameters,
            }
        case Tuned():
            return {
                "accuracy_validation_pct": outcome.validation * 100,
                "best_trial": outcome.best_trial,
                "trials": len(outcome.trials),
                "trials_complete": sum(trial.state == "complete" for trial in outcome.trials),
            }
        case LookedUp():
            return {
                "accuracy_test_pct": outcome.test * 100,
                "accuracy_train_pct": outcome.train * 100,
                "best_step": outcome.best_step,
                "steps": outcome.steps,
                "parameters": outcome.parameters,
            }
        case Attended():
            return _numbers(outcome.fitted) | {
                f"layer{head.layer}/head{head.head}/{name}": value
                for head in outcome.attention.heads
                for name, value in (("kendall_tau", head.tau), ("entropy_share_of_uniform", head.entropy))
            }
    assert_never(outcome)


def _track_numbers(outcome: Timed) -> dict[str, float]:
    numbers = {}
    for track, timing in outcome.tracks.items():
        numbers[f"{track}/first_step_ms"] = timing.first_step_s * 1e3
        if timing.peak_bytes is not None:
            numbers[f"{track}/peak_memory_mib"] = timing.peak_bytes / 2**20
    return numbers


def _series(outcome: Outcome) -> dict[str, list[float]]:
    if isinstance(outcome, Attended):
        return _series(outcome.fitted)
    if isinstance(outcome, Fitted | LookedUp):
        return dict(_curve(name, values, _is_share(name, outcome)) for name, values in outcome.curves.items())
    if isinstance(outcome, Timed):
        return {
            name: values
            for track, timing in outcome.tracks.items()
            for phase, samples in (("train", timing.train), ("eval", timing.evaluate))
            for name, values in _samples(f"{track}/{phase}", samples)
        }
    return {}


def _is_share(name: str, outcome: Fitted | LookedUp) -> bool:
    """Whether a curve is of what is reported in percent: of a fit all but its losses, whatever its score is called."""
    if isinstance(outcome, LookedUp):
        return "accuracy" in name
    return "loss" not in name and not outcome.is_error


def _curve(name: str, values: Sequence[float], is_share: bool) -> tuple[str, list[float]]:
    return (f"curve/{name}_pct", [value * 100 for value in values]) if is_share else (f"curve/{name}", list(values))


def _samples(prefix: str, samples: Samples) -> Iterator[tuple[str, list[float]]]:
    yield f"{prefix}_step_ms", [seconds * 1e3 for seconds in samples.seconds]
    yield f"{prefix}_warmup_ms", [seconds * 1e3 for seconds in samples.warmup]


def _spread(name: str, values: Sequence[float], start_ms: int, end_ms: int) -> Iterator[Point]:
    """Steps count from 1, as epochs do."""
    for step, value in enumerate(values, 1):
        if math.isfinite(value):
            yield Point(name, value, step, start_ms + (end_ms - start_ms) * step // len(values))
