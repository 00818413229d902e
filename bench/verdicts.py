"""The words for what `bench.judging` finds: for a table, as a sentence, with figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.judging import Finding, Pair, Position, judge
from bench.summary import MOST_FURTHER, Interval, contrast, log_ratio_of_medians, signed_rank_p

AccuracyWord = Literal["equivalent", "better", "worse", "undecided"]
TimeWord = Literal["equal", "faster", "slower", "undecided"]
Phase = Literal["train", "evaluate"]


@dataclass(frozen=True)
class TimedPhase:
    """What was timed: a pair of times means nothing without it."""

    track: str
    threads: int
    phase: Phase = "train"

    def __str__(self) -> str:
        step = "a training step" if self.phase == "train" else "an evaluation"
        return f"{step}, {self.track.replace('_', ' ')}, {_count(self.threads, 'thread')}"


@dataclass(frozen=True)
class AccuracyVerdict:
    """Whether the first is as accurate as the second."""

    pair: Pair
    finding: Finding
    margin_points: float

    @property
    def word(self) -> AccuracyWord:
        """The verdict on the first."""
        words: dict[Position, AccuracyWord] = {"within": "equivalent", "above": "better", "below": "worse"}
        return words.get(self.finding.position, "undecided")

    @property
    def points(self) -> float | None:
        """First minus second in percentage points."""
        return 100 * self.finding.contrast.difference if self.finding.contrast else None

    @property
    def signed_rank_p(self) -> float | None:
        """P of Wilcoxon's test, unadjusted: the check beside the primary test."""
        return signed_rank_p(self.pair.first_values, self.pair.second_values)

    @property
    def verdict(self) -> str:
        """The word and, if undecided, what it needs."""
        return _verdict(self.pair, self.finding, self.word, "seed")

    @property
    def interim(self) -> str:
        """That a decision was looked at before all planned seeds were in, or nothing."""
        return _interim(self.pair, self.finding, "seed")

    def short(self) -> str:
        """For a table: "better, +1.20 points"."""
        points = "" if self.points is None else f"{self.points:+.2f} points"
        return ", ".join(filter(None, [self.verdict, points, self.interim]))

    @property
    def relation(self) -> str:
        """The verdict as the beginning of a sentence: "pyg is more accurate than dgl"."""
        relation = {
            "equivalent": "and {} are equivalent in accuracy",
            "better": "is more accurate than {}",
            "worse": "is less accurate than {}",
            "undecided": "and {} are not yet told apart in accuracy",
        }[self.word]
        said = "and {} are not judged in accuracy" if self.pair.barred else relation
        return f"{self.pair.first} {said.format(self.pair.second)}"

    def sentence(self) -> str:
        """The verdict in plain words."""
        return f"{self.relation} on {self.pair.where}: {self.figures()}."

    def figures(self) -> str:
        """What the verdict rests on."""
        interval = self.finding.interval()
        if interval is None:
            return _untold(self.pair, self.finding, "seed")
        low, high = 100 * interval.low, 100 * interval.high
        return (
            f"difference {self.points:+.2f} points ({_percent(interval.confidence)} interval "
            f"{low:+.2f} to {high:+.2f}, {_replicates(self.finding, 'seed')})"
            f"{_grounds(self.finding, _count(self.margin_points, 'percentage point'), 'seed')}"
            f"{_after(self.interim)}"
        )


@dataclass(frozen=True)
class TimeVerdict:
    """Whether the first takes less time than the second."""

    pair: Pair
    finding: Finding
    timed: TimedPhase
    margin: float

    @property
    def word(self) -> TimeWord:
        """The verdict on the first."""
        words: dict[Position, TimeWord] = {"within": "equal", "above": "slower", "below": "faster"}
        return words.get(self.finding.position, "undecided")

    @property
    def is_judged(self) -> bool:
        """Whether there are rounds enough for a test."""
        return self.finding.contrast is not None

    @property
    def ratio(self) -> float | None:
        """Time of the first over that of the second: geometric mean over rounds of the ratio of medians."""
        return math.exp(self.finding.contrast.difference) if self.finding.contrast else None

    @property
    def ratio_interval(self) -> Interval | None:
        """Its interval."""
        interval = self.finding.interval()
        return interval.exp() if interval else None

    @property
    def verdict(self) -> str:
        """The word and, if undecided, what it needs."""
        return _verdict(self.pair, self.finding, self.word, "round")

    @property
    def interim(self) -> str:
        """That a decision was looked at before all planned rounds were in, or nothing."""
        return _interim(self.pair, self.finding, "round")

    def short(self) -> str:
        """For a table: "faster, 2.22 ×", "slower, 1.30 ×", "equal, 0.990 of the time"."""
        return ", ".join(filter(None, [self.verdict, self._times(), self.interim]))

    def _times(self) -> str:
        if self.ratio is None:
            return ""
        if self.word in ("faster", "slower"):
            return f"{_significant(max(self.ratio, 1 / self.ratio))} ×"
        return f"{_significant(self.ratio)} of the time"

    def sentence(self) -> str:
        """The verdict in plain words."""
        relation = {
            "equal": "and {} take equally long",
            "faster": "is faster than {}",
            "slower": "is slower than {}",
            "undecided": "and {} are not yet told apart in speed",
        }[self.word]
        said = "and {} are not judged in speed" if self.pair.barred else relation
        return (
            f"{self.pair.first} {said.format(self.pair.second)} on {self.pair.where} ({self.timed}): {self.figures()}."
        )

    def figures(self) -> str:
        """What the verdict rests on."""
        interval = self.ratio_interval
        if self.ratio is None or interval is None:
            return _untold(self.pair, self.finding, "round")
        return (
            f"ratio of times {_significant(self.ratio)} ({_percent(interval.confidence)} interval "
            f"{_significant(interval.low)} to {_significant(interval.high)}, "
            f"{_replicates(self.finding, 'round')})"
            f"{_grounds(self.finding, _percent(self.margin), 'round')}"
            f"{_after(self.interim)}"
        )


@dataclass(frozen=True)
class SelfTest:
    """One back end measured twice under two names (A/A): a difference found here is noise."""

    verdict: TimeVerdict

    @property
    def passed(self) -> bool:
        """Whether the two came out equal."""
        return self.verdict.word == "equal"

    def sentence(self) -> str:
        """What it says about timings on this machine."""
        name, where = self.verdict.pair.first, f"{self.verdict.pair.where} ({self.verdict.timed})"
        margin = _percent(self.verdict.margin)
        figures = self.verdict.figures()
        if self.passed:
            return f"{name} measured twice came out equal on {where}: {figures}."
        said = "was not shown to be equal" if self.verdict.word == "undecided" else f"came out {self.verdict.word}"
        return (
            f"{name} measured twice {said} on {where}: {figures}. "
            f"Timings on this machine cannot be trusted to {margin} here; "
            "measure again when nothing else runs."
        )


def accuracy_verdicts(pairs: Sequence[Pair], margin_points: float, confidence: float) -> list[AccuracyVerdict]:
    """Judge pairs of accuracies together; Holm's adjustment is over exactly these."""
    findings = judge(pairs, contrast, margin_points / 100, confidence)
    return [AccuracyVerdict(pair, finding, margin_points) for pair, finding in zip(pairs, findings, strict=True)]


def time_verdicts(pairs: Sequence[tuple[Pair, TimedPhase]], margin: float, confidence: float) -> list[TimeVerdict]:
    """Judge pairs of step times together, on the log scale, where 1/1.05 is as far from 1 as 1.05 is."""
    findings = judge([pair for pair, _ in pairs], log_ratio_of_medians, math.log1p(margin), confidence)
    return [TimeVerdict(pair, finding, timed, margin) for (pair, timed), finding in zip(pairs, findings, strict=True)]


def self_tests(pairs: Sequence[tuple[Pair, TimedPhase]], margin: float, confidence: float) -> list[SelfTest]:
    """Judge A/A pairs, each for itself: distrust of a timing is not a claim to be guarded by Holm."""
    return [SelfTest(time_verdicts([pair], margin, confidence)[0]) for pair in pairs]


def _grounds(finding: Finding, margin: str, replicate: str) -> str:
    if finding.position == "within":
        return f", within the margin of {margin}"
    p = f", {_p(finding.p_adjusted)}{' after Holm' if finding.family > 1 else ''}"
    return f"{p}; {_undecided(finding, replicate)}" if finding.position == "undecided" else p


def _undecided(finding: Finding, replicate: str) -> str:
    more = (
        f"more than {MOST_FURTHER} more {replicate}s"
        if finding.further is None
        else _count(finding.further, f"more {replicate}")
    )
    return f"undecided, needs {more}"


def _verdict(pair: Pair, finding: Finding, word: str, replicate: str) -> str:
    if pair.barred:
        return "not judged"
    return _undecided(finding, replicate) if word == "undecided" else word


def _untold(pair: Pair, finding: Finding, replicate: str) -> str:
    if pair.barred:
        return pair.barred
    return f"only {_count(finding.n, replicate)} so far; {_undecided(finding, replicate)}"


def _interim(pair: Pair, finding: Finding, replicate: str) -> str:
    return f"interim: {finding.n} of {_count(pair.planned, replicate)}" if finding.is_early(pair) else ""


def _after(text: str) -> str:
    return f"; {text}" if text else ""


def _replicates(finding: Finding, replicate: str) -> str:
    paired = finding.contrast is not None and finding.contrast.paired
    return _count(finding.n, f"{'paired' if paired else 'unpaired'} {replicate}")


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g}\u00a0%"  # no line break before the sign


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _significant(ratio: float) -> str:
    return f"{ratio:#.3g}".rstrip(".")
