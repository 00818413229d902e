"""Verdicts between two things measured alike: is one better, are they equivalent, or is it too early to say.

One rule for accuracy (difference, by seed) and for time (log of the ratio of medians, by round):

1. `equivalent` (`equal` for time) if two one-sided t-tests put the difference within the margin (TOST);
2. else `better`/`worse` (`faster`/`slower`) if a two-sided t-test finds a difference after Holm's
   adjustment over all comparisons judged together;
3. else `undecided`, with the number of further seeds or rounds that would decide with a chance of 80 %.

Not judged at all is a pair of which one side failed on some seeds (those that are left are the lucky ones), or whose
rounds were not timed side by side. A word that falls before all planned seeds or rounds are in is marked `interim`.

Equivalence comes first: a difference may be real and still too small to matter, and then the margin speaks.
Holm guards the claims of a difference, since a grid of many pairs is searched for winners; a claim of
equivalence is made against its own margin and holds at the level of its pair.

The primary test is the paired t-test. Wilcoxon's signed rank test is kept beside it but cannot be primary:
with five seeds its smallest p is 0.06, with ten 0.002, so that after Holm it could never speak. An accuracy
is itself a mean over hundreds of test nodes, hence differences are close to normal.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.summary import (
    FEWEST,
    MOST_FURTHER,
    Contrast,
    Interval,
    Series,
    contrast,
    holm_beyond_one,
    log_ratio_of_medians,
    signed_rank_p,
)

AccuracyWord = Literal["equivalent", "better", "worse", "undecided"]
TimeWord = Literal["equal", "faster", "slower", "undecided"]
Phase = Literal["train", "evaluate"]
Position = Literal["within", "above", "below", "undecided"]


@dataclass(frozen=True)
class Pair:
    """Two series to compare: accuracies (fractions) by seed, or median step times (s) by round."""

    first: str
    second: str
    where: str  # "gat · cora · cpu"
    first_values: Series
    second_values: Series
    planned: int = 0  # seeds or rounds after which the verdict was meant to fall; 0: however many there are
    barred: str = ""  # why what there is must not be judged: "fused failed on 6 of 10 seeds"


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
class Finding:
    """What the tests say of a pair, on the scale of the test."""

    position: Position  # of the first relative to the second
    n: int  # pairs, or values of the smaller side
    confidence: float
    contrast: Contrast | None  # None: too few values to test
    p_adjusted: float  # of "no difference", after Holm
    p_equivalence: float
    family: int  # comparisons judged together
    further: int | None  # more pairs that would decide; 0 if decided, None for more than `MOST_FURTHER`

    def interval(self) -> Interval | None:
        """Interval of the difference that belongs to the position: TOST's is the one at twice the level."""
        level = 1 - self.confidence
        confidence = 1 - 2 * level if self.position == "within" else self.confidence
        return self.contrast.interval(confidence) if self.contrast else None


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

    def sentence(self) -> str:
        """The verdict in plain words."""
        relation = {
            "equivalent": "and {} are equivalent in accuracy",
            "better": "is more accurate than {}",
            "worse": "is less accurate than {}",
            "undecided": "and {} are not yet told apart in accuracy",
        }[self.word].format(self.pair.second)
        return f"{self.pair.first} {relation} on {self.pair.where}: {self.figures()}."

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
        }[self.word].format(self.pair.second)
        return f"{self.pair.first} {relation} on {self.pair.where} ({self.timed}): {self.figures()}."

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
    contrasts = [None if pair.barred else contrast(pair.first_values, pair.second_values) for pair in pairs]
    findings = _judge(pairs, contrasts, margin_points / 100, confidence)
    return [AccuracyVerdict(pair, finding, margin_points) for pair, finding in zip(pairs, findings, strict=True)]


def time_verdicts(pairs: Sequence[tuple[Pair, TimedPhase]], margin: float, confidence: float) -> list[TimeVerdict]:
    """Judge pairs of step times together, on the log scale, where 1/1.05 is as far from 1 as 1.05 is."""
    contrasts = [
        None if pair.barred else log_ratio_of_medians(pair.first_values, pair.second_values) for pair, _ in pairs
    ]
    findings = _judge([pair for pair, _ in pairs], contrasts, math.log1p(margin), confidence)
    return [TimeVerdict(pair, finding, timed, margin) for (pair, timed), finding in zip(pairs, findings, strict=True)]


def self_tests(pairs: Sequence[tuple[Pair, TimedPhase]], margin: float, confidence: float) -> list[SelfTest]:
    """Judge A/A pairs, each for itself: distrust of a timing is not a claim to be guarded by Holm."""
    return [SelfTest(time_verdicts([pair], margin, confidence)[0]) for pair in pairs]


def _judge(
    pairs: Sequence[Pair], contrasts: Sequence[Contrast | None], margin: float, confidence: float
) -> list[Finding]:
    tested = [found for found in contrasts if found]
    beyond_one = iter(holm_beyond_one([found.p() for found in tested]))
    return [
        _finding(found, next(beyond_one), len(tested), margin, confidence) if found else _untested(pair, confidence)
        for pair, found in zip(pairs, contrasts, strict=True)
    ]


def _finding(found: Contrast, p_beyond_one: float, family: int, margin: float, confidence: float) -> Finding:
    level, p_adjusted = 1 - confidence, min(1.0, p_beyond_one)
    p_equivalence = found.p_equivalence(margin)
    further: int | None = 0
    if p_equivalence < level:
        position: Position = "within"
    elif p_adjusted < level:
        position = "above" if found.difference > 0 else "below"
    else:
        position = "undecided"
        # Holm asked so many times more of this pair than a test on its own would have.
        further = found.further(margin, level * found.p() / p_beyond_one, level)
    return Finding(position, found.n, confidence, found, p_adjusted, p_equivalence, family, further)


def _untested(pair: Pair, confidence: float) -> Finding:
    shared = pair.first_values.keys() & pair.second_values.keys()
    n = len(shared) or min(len(pair.first_values), len(pair.second_values))
    further = None if pair.barred else max(1, FEWEST - n)
    return Finding("undecided", n, confidence, None, 1.0, 1.0, 0, further)


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
        return f"not judged, since {pair.barred}"
    return f"only {_count(finding.n, replicate)} so far; {_undecided(finding, replicate)}"


def _interim(pair: Pair, finding: Finding, replicate: str) -> str:
    # Who looks early, and goes on only where nothing was shown, is wrong more often than the level says.
    is_early = finding.position != "undecided" and finding.n < pair.planned
    return f"interim: {finding.n} of {_count(pair.planned, replicate)}" if is_early else ""


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
