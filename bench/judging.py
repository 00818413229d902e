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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.summary import FEWEST, Contrast, Interval, Series, holm_beyond_one

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

    def is_early(self, pair: Pair) -> bool:
        """Whether something was decided before all that was planned is in.

        Who looks early, and goes on only where nothing was shown, is wrong more often than the level says.
        """
        return self.position != "undecided" and self.n < pair.planned


def judge(
    pairs: Sequence[Pair], test: Callable[[Series, Series], Contrast | None], margin: float, confidence: float
) -> list[Finding]:
    """What a test says of each pair, on the test's scale; Holm's adjustment is over exactly these.

    Args:
        pairs: what is compared; those that are barred are passed over.
        test: the contrast of a pair's two series.
        margin: how far from zero a contrast may be and still be nothing that matters.
        confidence: one minus the level of each claim.
    """
    contrasts = [None if pair.barred else test(pair.first_values, pair.second_values) for pair in pairs]
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
