"""Does a published number come out again? One rule, stated here and under every table.

The published mean v of n runs has standard deviation s. If ours are runs of the same experiment, the mean of m of them
falls with 95 % probability into the prediction interval

    v ± (t(0.975; n-1) s sqrt(1/n + 1/m) + e),      e: rounding of the printed value, or the error of reading a picture

and the 95 % interval of our own mean is  mean ± h,  h = t(0.975; m-1) s_ours / sqrt(m).

1. `undecided` until h is at most the limit: `width` published standard deviations (one by default). Seeds are added for
   this reason only. It looks at the spread of our runs, never at the distance of their mean from v: for normal data the
   two are independent, so however often it is looked at, the verdict by an interval from the published s has the error
   rate of a single look.
2. Then `reproduced` if our mean lies inside the prediction interval, else `not reproduced`.

Where the paper gives no standard deviation, or not of how many runs, ours takes its place in the interval, which says
so, and df is m-1. As seeds end where our spread happens to look small, this interval and h, too, cover slightly less
than they say.

Where the paper gives no standard deviation, the verdict is one of equivalence: `reproduced` if the 90 % interval of our
mean (two one-sided tests at 5 %) lies within v ± (margin + e), `not reproduced` if the 95 % interval lies wholly
outside, `undecided` else; the limit for h is then half the margin. Within the limit no seeds are added: how many more
an `undecided` asks for follows from the distance from v, and is a figure to plan the next experiment by. Who adds them
for it takes a second look, and a further one has no longer the error rate of the first.

An ordering (GATv2 above GAT) is judged at the paper's own number of runs and not before: `reproduced` if the one-sided
test for the paper's direction has p < 0.05, paired where both have the same seeds, else Welch's. Where the paper claims
it of other data only, the number of runs is the table file's, and p is Holm's over all that is held against the claim.

A count, which has no spread, is `reproduced` if it is equal.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field
from scipy import stats

from bench.config import Frozen, Number, Positive, Whole
from bench.paper.published import Published, Quantity
from bench.summary import Contrast, Interval, contrast, holm, mean, std

Word = Literal["reproduced", "not reproduced", "undecided", "protocol differs", "not run", ""]
"""The empty word: nothing verified was published, so nothing is judged."""

MOST_FURTHER = 1000


class Rule(Frozen):
    """What a table file may set of the rule above."""

    confidence: Annotated[Number, Field(gt=0.5, lt=1)] = 0.95
    width: Positive = 1.0  # limit of our interval's half-width, in published standard deviations
    margin: Positive | None = None  # of equivalence where no standard deviation was published; in the metric's unit
    least: Annotated[Whole, Field(ge=2)] = 5  # seeds before a spread is believed
    exact: bool = False  # a count: equal or not


@dataclass(frozen=True)
class Prediction:
    """Where the mean of so many new runs should fall."""

    interval: Interval
    whose_std: Literal["published", "ours", "none"]


@dataclass(frozen=True)
class Verdict:
    """A word, and what stands in its brackets."""

    word: Word
    detail: str = ""
    further: int | None = None  # seeds that are missing; None: none, or more than `MOST_FURTHER`
    prediction: Prediction | None = None

    def __str__(self) -> str:
        return f"{self.word} ({self.detail})" if self.detail else self.word


def judge(published: Published, values: Sequence[float], rule: Rule) -> Verdict:
    """The verdict on our values, in the published unit; see the head of the file."""
    if rule.exact:
        return _equal(published, values)
    if len(values) < 2:
        return _undecided(rule.least - len(values), prediction(published, values, rule))
    predicted = prediction(published, values, rule)
    if further := further_seeds(published, values, rule):
        return _undecided(further, predicted)
    if published.quantity.std is None:
        return _equivalence(published, values, rule, predicted)
    inside = predicted is not None and predicted.interval.low <= mean(values) <= predicted.interval.high
    return Verdict("reproduced" if inside else "not reproduced", prediction=predicted)


def prediction(published: Published, values: Sequence[float], rule: Rule) -> Prediction | None:
    """The prediction interval for the mean of as many runs as there are values; None if nobody's spread is known."""
    quantity, m = published.quantity, len(values)
    if not m:
        return None
    if rule.exact:
        return Prediction(Interval(quantity.value, quantity.value, 1.0), "none")
    n = published.runs or 1
    if quantity.std is not None and n > 1:
        spread, df = quantity.std, n - 1
    elif m > 1:
        spread, df = std(values) or 0.0, m - 1
    else:
        return None
    half = _t(rule.confidence, df) * spread * math.sqrt(1 / n + 1 / m) + published.uncertainty
    whose: Literal["published", "ours"] = "published" if quantity.std is not None and n > 1 else "ours"
    return Prediction(Interval(quantity.value - half, quantity.value + half, rule.confidence), whose)


def half_width(values: Sequence[float], confidence: float) -> float:
    """Half the width of the t-interval of the mean; infinite for fewer than two values."""
    spread = std(values)
    return math.inf if spread is None else _t(confidence, len(values) - 1) * spread / math.sqrt(len(values))


def limit(published: Published, rule: Rule) -> float | None:
    """How narrow our interval must be for a verdict; None where the file declares no margin."""
    if published.quantity.std is not None:
        return rule.width * published.quantity.std
    return None if rule.margin is None else rule.margin / 2


def further_seeds(published: Published, values: Sequence[float], rule: Rule) -> int:
    """Seeds still missing for an interval within the limit, at the present spread; 0 if it is there.

    More than `MOST_FURTHER` are reported as that many.
    """
    m = len(values)
    if rule.exact:
        return 0
    if m < rule.least:
        return rule.least - m
    allowed = limit(published, rule)
    if allowed is None or half_width(values, rule.confidence) <= allowed:
        return 0
    spread = std(values) or 0.0
    for further in range(1, MOST_FURTHER):
        if _t(rule.confidence, m + further - 1) * spread / math.sqrt(m + further) <= allowed:
            return further
    return MOST_FURTHER


def uncertainty(published: Published, values: Sequence[float], rule: Rule) -> float:
    """How far our interval is from narrow enough: half-width over its limit; the rows above 1 need seeds."""
    allowed = limit(published, rule)
    if len(values) < rule.least:
        return math.inf
    return 0.0 if not allowed else half_width(values, rule.confidence) / allowed


@dataclass(frozen=True)
class Ordering:
    """Better minus worse, in the direction in which the paper has them."""

    contrast: Contrast | None
    p_one_sided: float
    p_two_sided: float
    verdict: Verdict
    p_holm: float | None = None  # the one-sided one, where many orderings are held against one claim

    @property
    def is_judged(self) -> bool:
        """Whether it has its runs, and the paper's protocol."""
        return self.verdict.word in ("reproduced", "not reproduced")


def order(
    better: Mapping[int, float], worse: Mapping[int, float], runs: int, higher_is_better: bool, level: float = 0.05
) -> Ordering:
    """The paper says that `better` beats `worse` over so many runs; values by seed, in the published unit."""
    found = contrast(better, worse) if higher_is_better else contrast(worse, better)
    if found is None:
        return Ordering(None, 1.0, 1.0, _undecided(runs - min(len(better), len(worse)), None))
    two_sided = found.p()
    one_sided = two_sided / 2 if found.difference > 0 else 1 - two_sided / 2
    if found.n < runs:
        return Ordering(found, one_sided, two_sided, _undecided(runs - found.n, None))
    return Ordering(found, one_sided, two_sided, _direction(one_sided, 1 - one_sided, level))


def hold_to_claim(found: Sequence[Ordering], level: float = 0.05) -> list[Ordering]:
    """Orderings that are held against one claim: among many, one that agrees (or turns round) by chance is no news."""
    judged = [one for one in found if one.is_judged]
    ahead = holm([one.p_one_sided for one in judged])
    behind = holm([1 - one.p_one_sided for one in judged])
    again = iter(
        replace(one, verdict=_direction(*p, level), p_holm=p[0])
        for one, p in zip(judged, zip(ahead, behind, strict=True), strict=True)
    )
    return [next(again) if one.is_judged else one for one in found]


def _direction(ahead: float, behind: float, level: float) -> Verdict:
    """The verdict on two one-sided p: in the direction of the paper, and against it."""
    if ahead < level:
        return Verdict("reproduced")
    return Verdict("not reproduced", "the other way round" if behind < level else "no difference shown")


@dataclass(frozen=True)
class Significance:
    """A two-sample comparison worked out from printed means and standard deviations."""

    p_one_sided: float  # Student's t with pooled variance: what the GATv2 paper prints
    p_two_sided: float  # Welch's
    cohen_d: float


def recompute(worse: Quantity, better: Quantity, runs: int, higher_is_better: bool) -> Significance:
    """The paper's own test, again, from what it prints; both sides over `runs` runs."""
    sign = 1 if higher_is_better else -1
    spreads = worse.std or 0.0, better.std or 0.0
    sides = (sign * better.value, spreads[1], runs, sign * worse.value, spreads[0], runs)
    student = stats.ttest_ind_from_stats(*sides, equal_var=True, alternative="greater")
    welch = stats.ttest_ind_from_stats(*sides, equal_var=False)
    pooled = math.sqrt((spreads[0] ** 2 + spreads[1] ** 2) / 2)
    return Significance(float(student.pvalue), float(welch.pvalue), sign * (better.value - worse.value) / pooled)


def _equal(published: Published, values: Sequence[float]) -> Verdict:
    if not values:
        return Verdict("not run")
    target = published.quantity.value
    wrong = [value for value in values if abs(value - target) > published.uncertainty]
    predicted = prediction(published, values, Rule(exact=True))
    return Verdict("not reproduced" if wrong else "reproduced", prediction=predicted)


def _equivalence(published: Published, values: Sequence[float], rule: Rule, predicted: Prediction | None) -> Verdict:
    if rule.margin is None:
        return Verdict("undecided", "the paper gives no standard deviation and the file no margin", None, predicted)
    allowed = rule.margin + published.uncertainty
    distance = abs(mean(values) - published.quantity.value)
    narrow = half_width(values, 2 * rule.confidence - 1)  # two one-sided tests
    if distance + narrow <= allowed:
        return Verdict("reproduced", f"within {allowed:g}", prediction=predicted)
    if distance - half_width(values, rule.confidence) > allowed:
        return Verdict("not reproduced", prediction=predicted)
    return _undecided(_until_clear(abs(allowed - distance), values, rule), predicted)


def _until_clear(distance: float, values: Sequence[float], rule: Rule) -> int:
    """Further seeds until our interval no longer reaches over the edge of the margin."""
    spread, m = std(values) or 0.0, len(values)
    for further in range(1, MOST_FURTHER):
        if _t(rule.confidence, m + further - 1) * spread / math.sqrt(m + further) <= distance:
            return further
    return MOST_FURTHER


def _undecided(further: int, predicted: Prediction | None) -> Verdict:
    further = max(1, further)
    many = f"more than {MOST_FURTHER - 1}" if further >= MOST_FURTHER else str(further)
    detail = f"{many} more seed{'' if further == 1 else 's'}"
    return Verdict("undecided", detail, further, predicted)


def _t(confidence: float, df: int) -> float:
    return float(stats.t.ppf((1 + confidence) / 2, df))
