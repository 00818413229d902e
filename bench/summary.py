"""Numbers about numbers: means, intervals and tests, from SciPy, with the degenerate cases settled here.

A paired contrast of two series on the same seeds (or rounds) is one number per pair, d_i = a_i - b_i:

    difference = mean d,  se = std d / sqrt(n),  df = n - 1,  effect d_z = mean d / std d

Without pairs it is Welch's: difference of means, se^2 = var a / n_a + var b / n_b, Satterthwaite's df.
Either way `(difference - true) / se` is taken as t distributed. Standard deviations are the sample's (n - 1).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import stats

Values = Sequence[float]
Series = Mapping[int, float]
"""Values by what pairs them: a seed or a round."""

FEWEST = 3
"""Two pairs agree by chance too often to judge by."""

POWER = 0.8
"""Chance of a verdict that a stated number of further seeds or rounds should give."""

MOST_FURTHER = 1000
"""Beyond this, the number of further seeds or rounds is not worked out."""

_MOST_EXACT = 13  # pairs of which all signs are tried, as by `scipy.stats.wilcoxon`


@dataclass(frozen=True)
class Interval:
    """A confidence interval, ends included; `confidence` is what it covers with, in [0, 1]."""

    low: float
    high: float
    confidence: float

    def exp(self) -> "Interval":
        """The interval of a ratio from that of its logarithm."""
        return Interval(math.exp(self.low), math.exp(self.high), self.confidence)


@dataclass(frozen=True)
class Median:
    """Median over rounds; without an interval if there is only one round."""

    value: float
    interval: Interval | None
    rounds: int


def mean(values: Values) -> float:
    """Arithmetic mean."""
    return float(np.mean(values))


def std(values: Values) -> float | None:
    """Sample standard deviation (n - 1), or None for a single value."""
    return None if len(values) < 2 else float(np.std(values, ddof=1))


def interval_of_mean(values: Values, confidence: float = 0.95) -> Interval | None:
    """Student's t-interval of the mean; None for fewer than three values.

        mean -+ t_{(1 + confidence) / 2; n - 1} std / sqrt(n)

    It is what the verdicts rest on, too. A bootstrap of few values covers less than it says: resampled means never
    leave the range of the values, and spread by sqrt((n - 1) / n) too little.
    """
    if len(values) < FEWEST:
        return None
    centre = mean(values)
    half = math.sqrt(_variance(values) / len(values)) * float(stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    return Interval(centre - half, centre + half, confidence)


def median(values: Values) -> float:
    """Middle value, or the mean of the two middle ones."""
    return float(np.median(values))


def median_over_rounds(round_medians: Values, confidence: float = 0.95) -> Median:
    """Median of the rounds' medians, with a distribution-free interval.

    The samples within one process share its memory layout, its neighbours and the state of the clock: they
    are no independent replicates, rounds are. The interval runs from the k-th smallest to the k-th largest
    round and covers with 1 - 2 P(Binomial(n, 1/2) < k); the narrowest that covers with `confidence` is taken.
    With fewer than 6 rounds (at 0.95) not even the full range does: the interval states its true coverage.
    """
    ordered = sorted(round_medians)
    n = len(ordered)
    if n < 2:
        return Median(ordered[0], None, n)
    narrowest = next((k for k in range(n // 2, 1, -1) if coverage(n, k) >= confidence), 1)
    interval = Interval(ordered[narrowest - 1], ordered[n - narrowest], coverage(n, narrowest))
    return Median(median(ordered), interval, n)


def coverage(rounds: int, k: int = 1) -> float:
    """How likely the median lies between the k-th smallest and the k-th largest of so many rounds."""
    return 1 - 2 * float(stats.binom.cdf(k - 1, rounds, 0.5))


def quartile_spread(values: Values) -> float:
    """Distance of the quartiles over the median: how unsteady positive samples are."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float((high - low) / middle)


@dataclass(frozen=True)
class Contrast:
    """A difference of two series and how well it is known; `n` counts pairs, or the smaller series."""

    difference: float
    se: float
    df: float
    n: int
    paired: bool
    effect: float  # d_z where paired, else Cohen's d; infinite for a difference without spread

    @classmethod
    def of_pairs(cls, first: Values, second: Values) -> Self:
        """First minus second, pair by pair. At least two pairs."""
        differences = [a - b for a, b in zip(first, second, strict=True)]
        n, difference, spread = len(differences), mean(differences), math.sqrt(_variance(differences))
        return cls(difference, spread / math.sqrt(n), n - 1, n, True, _over(difference, spread))

    @classmethod
    def welch(cls, first: Values, second: Values) -> Self:
        """First minus second where nothing pairs them. At least two values each."""
        sizes = len(first), len(second)
        variances = _variance(first), _variance(second)
        parts = variances[0] / sizes[0], variances[1] / sizes[1]  # squared standard errors of the means
        known = parts[0] ** 2 / (sizes[0] - 1) + parts[1] ** 2 / (sizes[1] - 1)
        df = sum(parts) ** 2 / known if known else sum(sizes) - 2
        difference = mean(first) - mean(second)
        effect = _over(difference, math.sqrt(sum(variances) / 2))
        return cls(difference, math.sqrt(sum(parts)), df, min(sizes), False, effect)

    def interval(self, confidence: float) -> Interval:
        """Two-sided t-interval of the difference."""
        half = self.se * float(stats.t.ppf((1 + confidence) / 2, self.df))
        return Interval(self.difference - half, self.difference + half, confidence)

    def p(self) -> float:
        """Two-sided p of "no difference"."""
        return min(1.0, 2 * _upper_tail(abs(self.difference), self.se, self.df))

    def p_equivalence(self, margin: float) -> float:
        """P of "at least `margin` apart": the larger of two one-sided tests (TOST, Schuirmann 1987)."""
        return _upper_tail(margin - abs(self.difference), self.se, self.df)

    def further(self, margin: float, level: float, level_equivalence: float) -> int | None:
        """Further pairs after which either test would decide with `POWER`; None beyond `MOST_FURTHER`.

        Takes the present difference and spread for the true ones, and the normal for the noncentral t.

        Args:
            margin: the equivalence margin, in the unit of the difference.
            level: two-sided level of the test for a difference, after adjustment for multiple tests.
            level_equivalence: level of each of the two one-sided tests.
        """
        n = np.arange(self.n + 1, self.n + 1 + MOST_FURTHER)
        se = self.se * np.sqrt(self.n / n)
        df = self.df * (n - 1) / (self.n - 1)
        differs = stats.norm.cdf(abs(self.difference) / se - stats.t.ppf(1 - level / 2, df))
        beyond = stats.t.ppf(1 - level_equivalence, df)
        inside = [(margin + sign * self.difference) / se for sign in (-1, 1)]
        equivalent = sum(stats.norm.cdf(distance - beyond) for distance in inside) - 1
        enough = np.flatnonzero(np.maximum(differs, equivalent) >= POWER)
        return int(enough[0]) + 1 if len(enough) else None


def contrast(first: Series, second: Series) -> Contrast | None:
    """First minus second: by pairs over the shared keys, Welch's if none is shared; None if too few."""
    shared = sorted(first.keys() & second.keys())
    if len(shared) >= FEWEST:
        return Contrast.of_pairs([first[key] for key in shared], [second[key] for key in shared])
    if not shared and min(len(first), len(second)) >= FEWEST:
        return Contrast.welch(list(first.values()), list(second.values()))
    return None


def log_ratio_of_medians(first: Series, second: Series) -> Contrast | None:
    """Contrast of the logs of two interleaved streams' medians, by round.

    Rounds are the replicates: within one, the two streams meet the same machine in the same minutes, so what
    slows both cancels in the ratio, and what is left between rounds (placement, frequency, neighbours) is
    the noise that a repetition would show. A t-interval over the rounds' log ratios counts that noise; one
    over all samples would not.
    """
    return contrast(_logs(first), _logs(second))


@dataclass(frozen=True)
class Slope:
    """Exponent b of a power law y = a x^b; without an interval if two points fix it."""

    value: float
    interval: Interval | None
    points: int


def power_law(x: Values, y: Values, confidence: float = 0.95) -> Slope | None:
    """Least squares on the logarithms, with the t-interval of the slope; None with fewer than two different x."""
    if len(set(x)) < 2:
        return None
    found = stats.linregress(np.log(x), np.log(y))
    n = len(x)
    if n < FEWEST:
        return Slope(float(found.slope), None, n)
    half = float(found.stderr) * float(stats.t.ppf((1 + confidence) / 2, n - 2))
    return Slope(float(found.slope), Interval(found.slope - half, found.slope + half, confidence), n)


def holm(p_values: Values) -> list[float]:
    """Holm's step-down adjustment (1979), in the given order: the family-wise error stays at the level."""
    return [min(1.0, p) for p in holm_beyond_one(p_values)]


def holm_beyond_one(p_values: Values) -> list[float]:
    """As `holm`, and not cut at 1: over p, it is how many times more of a pair is asked than of one on its own."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = running
    return adjusted


def signed_rank_p(first: Series, second: Series) -> float | None:
    """Two-sided p of Wilcoxon's signed rank test by shared key: 1 if none differs, None without any."""
    differences = np.array([first[key] - second[key] for key in sorted(first.keys() & second.keys())])
    if not differences.any():
        return 1.0 if len(differences) else None
    if len(differences) > _MOST_EXACT:
        return float(stats.wilcoxon(differences).pvalue)
    # `wilcoxon` tries all signs, too, where there are ties, but one choice after the other, which takes half a second.
    told = differences[differences != 0]
    ranks = stats.rankdata(np.abs(told))
    signs = np.array(list(itertools.product((-1, 1), repeat=len(told))))
    return float(np.mean(np.abs(signs @ ranks) >= abs(np.sign(told) @ ranks)))


def _logs(series: Series) -> dict[int, float]:
    return {key: math.log(value) for key, value in series.items()}


def _variance(values: Values) -> float:
    return 0.0 if _all_equal(values) else float(np.var(values, ddof=1))


def _all_equal(values: Values) -> bool:
    # Accuracies are multiples of 1/nodes: what differs by less than this differs by rounding only.
    return max(values) - min(values) <= 1e-12 * max(1.0, abs(max(values)), abs(min(values)))


def _over(difference: float, spread: float) -> float:
    if spread:
        return difference / spread
    return math.copysign(math.inf, difference) if difference else 0.0


def _upper_tail(distance: float, se: float, df: float) -> float:
    """P(T > distance / se), where no spread makes it certain."""
    if se:
        return float(stats.t.sf(distance / se, df))
    return 0.0 if distance > 0 else 0.5 if distance == 0 else 1.0
