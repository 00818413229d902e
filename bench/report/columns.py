"""`table.csv`: every number of every cell at full precision, one line per cell and thread count.

Numbers are called as in the tracking server; those of a track carry its name: `as_shipped/train_step_ms_median`.
"""

import csv
import io

from bench.report.results import Results
from bench.report.rows import Row, Speed, accuracy_metrics, timing_metrics
from bench.verdicts import AccuracyVerdict, TimeVerdict

Value = str | int | float | None

CELL_COLUMNS = {
    "backend": "implementation",
    "operator": "attention layer",
    "dataset": "data set",
    "device": "device",
    "threads": "CPU threads of the timings on this line",
    "status": "done, partial, not_run, or why there is no result at all",
    "parity": "whether the back end computes what the float64 reference says",
    "parity_reason": "number of checks, or the first that failed",
    "accuracy_status": "done, partial, not_run, or why there is no accuracy",
    "accuracy_reason": "the same as a sentence",
    "accuracy_test_pct_mean": "mean test accuracy over seeds, percent",
    "accuracy_test_pct_std": "its standard deviation over seeds (n - 1)",
    "accuracy_test_pct_low": "lower end of the interval of the mean, Student's t",
    "accuracy_test_pct_high": "upper end",
    "accuracy_seeds": "seeds trained to the end",
    "accuracy_validation_pct_mean": "mean validation accuracy, percent",
    "epochs_mean": "mean number of epochs until training stopped",
    "parameters": "trainable parameters of the network",
    "accuracy_baseline": "back end that the accuracy is held against",
    "accuracy_verdict": "equivalent, better, worse or undecided against it",
    "accuracy_difference_points": "mean difference from it on the same seeds, percentage points",
    "accuracy_difference_points_low": "lower end of the t-interval of the difference",
    "accuracy_difference_points_high": "upper end",
    "accuracy_effect_dz": "paired effect size: mean difference over its standard deviation",
    "accuracy_p": "p of the paired t-test",
    "accuracy_p_holm": "the same after Holm over all back ends compared",
    "accuracy_p_signed_rank": "p of Wilcoxon's signed rank test, a check",
    "accuracy_p_equivalence": "p of the two one-sided tests against the margin",
    "accuracy_seeds_needed": "further seeds that would decide; empty beyond 1000",
    "prepare_ms": "median time of converting the graph",
    "failed_jobs": "jobs without a result: how many of which status",
    "retried": "failed attempts that were tried again",
    "tuned": "settings that the study chose",
    "warnings": "what to know before believing the numbers",
}

TRACK_COLUMNS = {
    "status": "done, partial, not_run, or why there is no timing",
    "reason": "the same as a sentence",
    "train_step_ms_median": "median over rounds of the median training step: forward, loss, backward, Adam",
    "train_step_ms_low": "lower end of its interval over rounds",
    "train_step_ms_high": "upper end",
    "eval_step_ms_median": "the same for a forward in evaluation mode",
    "eval_step_ms_low": "lower end of its interval",
    "eval_step_ms_high": "upper end",
    "interval_coverage": "how surely either interval holds the true median: few rounds allow less than was asked",
    "first_step_ms": "median of the very first training step",
    "epochs_per_s": "training epochs (one step each, on a whole graph) per second, at the median step",
    "edges_per_s": "edges, self-loops included, per second of training",
    "nodes_per_s": "nodes per second of training",
    "peak_memory_mib": "median over rounds of the peak beyond what was resident before the model was built",
    "rounds": "rounds timed",
    "baseline": "back end that the training step is held against",
    "verdict": "equal, faster, slower or undecided against it",
    "time_ratio": "training step over the baseline's, geometric mean over rounds",
    "time_ratio_low": "lower end of its t-interval over rounds",
    "time_ratio_high": "upper end",
    "p_holm": "p of no difference, after Holm over all times compared",
    "p_equivalence": "p of the two one-sided tests against the margin",
    "rounds_needed": "further rounds that would decide; empty beyond 1000",
}


def meanings(tracks: tuple[str, ...]) -> dict[str, str]:
    """Every column and what it holds, in order."""
    of_tracks = {f"{track}/{name}": text for track in tracks for name, text in TRACK_COLUMNS.items()}
    return CELL_COLUMNS | of_tracks


def csv_text(results: Results) -> str:
    """The file's content; an empty field is a number that there is not."""
    text = io.StringIO()
    timing = results.experiment.timing
    writer = csv.DictWriter(text, list(meanings(timing.tracks)), lineterminator="\n")
    writer.writeheader()
    for row in results.rows:
        for threads in timing.threads:
            writer.writerow(_line(row, threads))
    return text.getvalue()


def _line(row: Row, threads: int) -> dict[str, Value]:
    line: dict[str, Value] = {
        **row.key._asdict(),
        "threads": threads,
        "status": row.status,
        "parity": row.parity.status,
        "parity_reason": row.parity.reason,
        "accuracy_status": row.accuracy_state.status,
        "accuracy_reason": row.accuracy_state.reason,
        "prepare_ms": 1000 * row.prepare_s[threads] if threads in row.prepare_s else None,
        "failed_jobs": ", ".join(f"{number} {status}" for status, number in sorted(row.failures.items())),
        "retried": row.retried,
        "tuned": ", ".join(f"{name} = {value}" for name, value in row.tuned.items()),
        "warnings": "; ".join(row.warnings),
    }
    if row.accuracy:
        line |= accuracy_metrics(row.accuracy)
    if row.accuracy_verdict:
        line |= _accuracy_verdict(row.accuracy_verdict)
    for speed in row.speeds:
        if speed.threads == threads:
            line |= {f"{speed.track}/{name}": value for name, value in _speed(speed).items()}
    return line


def _speed(speed: Speed) -> dict[str, Value]:
    line: dict[str, Value] = {"status": speed.state.status, "reason": speed.state.reason}
    if speed.timing:
        line |= timing_metrics(speed.timing)
    if speed.verdict:
        line |= _time_verdict(speed.verdict)
    return line


def _accuracy_verdict(verdict: AccuracyVerdict) -> dict[str, Value]:
    finding = verdict.finding
    line: dict[str, Value] = {
        "accuracy_baseline": verdict.pair.second,
        "accuracy_verdict": verdict.word,
        "accuracy_seeds_needed": finding.further,
    }
    if finding.contrast is None:
        return line
    interval = finding.contrast.interval(finding.confidence)
    return line | {
        "accuracy_difference_points": verdict.points,
        "accuracy_difference_points_low": 100 * interval.low,
        "accuracy_difference_points_high": 100 * interval.high,
        "accuracy_effect_dz": finding.contrast.effect,
        "accuracy_p": finding.contrast.p(),
        "accuracy_p_holm": finding.p_adjusted,
        "accuracy_p_signed_rank": verdict.signed_rank_p,
        "accuracy_p_equivalence": finding.p_equivalence,
    }


def _time_verdict(verdict: TimeVerdict) -> dict[str, Value]:
    finding = verdict.finding
    line: dict[str, Value] = {
        "baseline": verdict.pair.second,
        "verdict": verdict.word,
        "rounds_needed": finding.further,
    }
    if finding.contrast is None:
        return line
    interval = finding.contrast.interval(finding.confidence).exp()
    return line | {
        "time_ratio": verdict.ratio,
        "time_ratio_low": interval.low,
        "time_ratio_high": interval.high,
        "p_holm": finding.p_adjusted,
        "p_equivalence": finding.p_equivalence,
    }
