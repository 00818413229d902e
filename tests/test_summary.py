"""The numbers against hand examples, SciPy's own tests, and the degenerate cases."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench import experiment_file
from bench.summary import (
    Contrast,
    contrast,
    coverage,
    holm,
    interval_of_mean,
    log_ratio_of_medians,
    median_over_rounds,
    quartile_spread,
    signed_rank_p,
    std,
)

FIRST = [81.2, 82.0, 80.7, 81.9, 82.4, 81.1]
SECOND = [80.1, 81.7, 80.9, 80.8, 81.5, 80.6]


def test_the_standard_deviation_is_the_samples_and_absent_for_one_value() -> None:
    assert std([1.0, 2.0, 3.0, 4.0]) == pytest.approx(math.sqrt(5 / 3))
    assert std([0.8]) is None


def test_the_interval_of_the_mean_of_equal_values_has_no_width() -> None:
    interval = interval_of_mean([0.1 + 0.2, 0.3, 0.3])
    assert interval is not None
    assert interval.high - interval.low < 1e-12


def test_one_value_and_two_have_no_interval_of_the_mean() -> None:
    assert interval_of_mean([0.8]) is None
    assert interval_of_mean([0.8, 0.9]) is None


@pytest.mark.parametrize("n", [3, 10, 40])
def test_the_interval_of_the_mean_is_students(n: int) -> None:
    values = [random.Random(seed).gauss(0.8, 0.01) for seed in range(n)]
    interval = interval_of_mean(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("n", [3, 8, 10, 25])
def test_the_interval_of_the_mean_covers_the_true_mean_as_often_as_it_says(n: int) -> None:
    draw, draws = random.Random(n), 2000
    found = [interval_of_mean([draw.gauss(0.0, 1.0) for _ in range(n)]) for _ in range(draws)]
    covered = sum(interval.low <= 0.0 <= interval.high for interval in found if interval)
    assert covered / draws == pytest.approx(0.95, abs=0.015)  # three standard errors of so many draws


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=3, max_size=12))
def test_an_interval_of_the_mean_is_finite_and_holds_the_mean_of_any_accuracies(correct: list[int]) -> None:
    values = [count / 1000 for count in correct]
    interval = interval_of_mean(values)
    assert interval is not None
    assert math.isfinite(interval.high - interval.low)
    assert interval.low - 1e-9 <= sum(values) / len(values) <= interval.high + 1e-9


def test_the_interval_of_a_median_over_five_rounds_is_their_range_and_says_what_it_covers() -> None:
    found = median_over_rounds([5.0, 1.0, 3.0, 2.0, 4.0], confidence=0.95)
    assert found.value == 3.0
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (1.0, 5.0)
    assert found.interval.confidence == pytest.approx(1 - 2 / 2**5)


def test_the_interval_of_a_median_over_many_rounds_leaves_outliers_out_and_still_covers() -> None:
    found = median_over_rounds([*range(1, 15), 1e6], confidence=0.95)
    assert found.interval is not None
    assert found.interval.high < 1e6
    assert found.interval.confidence >= 0.95
    # The textbook's: with 15 values the 4th and the 12th.
    assert (found.interval.low, found.interval.high) == (4, 12)


def test_the_median_of_one_round_has_no_interval() -> None:
    assert median_over_rounds([0.2]).interval is None


def test_coverage_is_what_simulation_finds() -> None:
    draw = random.Random(1)
    inside = sum(
        min(rounds) <= 0 <= max(rounds) for rounds in ([draw.gauss(0, 1) for _ in range(5)] for _ in range(4000))
    )
    assert inside / 4000 == pytest.approx(coverage(5), abs=0.015)


def test_the_quartile_spread_is_relative_to_the_median() -> None:
    assert quartile_spread([0.9, 0.95, 1.0, 1.05, 1.1]) == pytest.approx(0.1)


def test_a_paired_contrast_agrees_with_scipys_paired_t_test() -> None:
    found = Contrast.of_pairs(FIRST, SECOND)
    expected = stats.ttest_rel(FIRST, SECOND)
    interval, scipys = found.interval(0.95), expected.confidence_interval(0.95)
    assert found.p() == pytest.approx(expected.pvalue)
    assert (interval.low, interval.high) == pytest.approx((scipys.low, scipys.high))


def test_the_paired_effect_size_is_the_mean_difference_over_its_deviation() -> None:
    assert Contrast.of_pairs([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]).effect == pytest.approx(2.0)


def test_welchs_contrast_agrees_with_scipy() -> None:
    found = Contrast.welch(FIRST, SECOND[:4])
    expected = stats.ttest_ind(FIRST, SECOND[:4], equal_var=False)
    interval, scipys = found.interval(0.95), expected.confidence_interval(0.95)
    assert found.p() == pytest.approx(expected.pvalue)
    assert (interval.low, interval.high) == pytest.approx((scipys.low, scipys.high))


def test_tost_is_the_larger_of_scipys_two_one_sided_tests() -> None:
    differences = [a - b for a, b in zip(FIRST, SECOND, strict=True)]
    above = stats.ttest_1samp(differences, -1.0, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 1.0, alternative="less").pvalue
    assert Contrast.of_pairs(FIRST, SECOND).p_equivalence(1.0) == pytest.approx(max(above, below))


def test_a_difference_without_spread_is_certain_and_none_is_no_evidence() -> None:
    apart, same = Contrast.of_pairs([2.0] * 4, [1.0] * 4), Contrast.of_pairs([1.0] * 4, [1.0] * 4)
    assert (apart.p(), apart.p_equivalence(0.5), apart.effect) == (0.0, 1.0, math.inf)
    assert (same.p(), same.p_equivalence(0.5), same.effect) == (1.0, 0.0, 0.0)
    assert Contrast.welch([1.0] * 3, [1.0] * 4).p() == 1.0


def test_shared_seeds_are_paired_and_others_left_out() -> None:
    found = contrast({0: 3.0, 1: 4.0, 2: 5.0, 9: 100.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert found is not None
    assert (found.paired, found.n, found.difference) == (True, 3, 2.0)


def test_without_shared_seeds_the_contrast_is_welchs() -> None:
    found = contrast({0: 3.0, 1: 4.0, 2: 5.0}, {3: 1.0, 4: 2.0, 5: 3.0})
    assert found is not None
    assert (found.paired, found.difference) == (False, 2.0)


def test_two_pairs_are_too_few_for_a_contrast() -> None:
    assert contrast({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.1}) is None


def test_what_slows_both_streams_of_a_round_cancels_in_the_ratio() -> None:
    slow = [1.0, 1.7, 0.9, 2.5, 1.2]
    first = {number: 2.0 * factor for number, factor in enumerate(slow)}
    second = dict(enumerate(slow))
    found = log_ratio_of_medians(first, second)
    assert found is not None
    interval = found.interval(0.95).exp()
    assert (interval.low, interval.high) == pytest.approx((2.0, 2.0))


def test_the_ratio_turned_over_is_the_ratio_the_other_way_round() -> None:
    first, second = dict(enumerate(FIRST)), dict(enumerate(SECOND))
    there, back = log_ratio_of_medians(first, second), log_ratio_of_medians(second, first)
    assert there is not None
    assert back is not None
    assert there.interval(0.9).exp().low == pytest.approx(1 / back.interval(0.9).exp().high)


def test_holm_gives_the_hand_example() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling: 0.02, 0.03, 0.06, 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_exceeds_one_and_leaves_a_single_test_alone() -> None:
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_the_signed_rank_test_of_five_seeds_cannot_reach_five_percent() -> None:
    assert signed_rank_p(dict(enumerate([2.0] * 5)), dict(enumerate([1.0, 1.1, 1.2, 1.3, 1.4]))) == pytest.approx(
        2 / 2**5
    )
    assert signed_rank_p({0: 1.0}, {0: 1.0}) == 1.0
    assert signed_rank_p({0: 1.0}, {1: 1.0}) is None


def test_with_ties_and_pairs_that_are_equal_the_signed_rank_test_is_scipys() -> None:
    draw = random.Random(5)
    for pairs in (1, 2, 5, 9, 14, 20):
        first, second = ({key: draw.randrange(4) / 2 for key in range(pairs)} for _ in range(2))
        first[0] = second[0] + 1.0
        differences = [first[key] - second[key] for key in first]
        assert signed_rank_p(first, second) == pytest.approx(stats.wilcoxon(differences).pvalue)


def test_the_seeds_of_equivalence_are_enough_for_its_margin_where_a_pair_differs_by_a_point() -> None:
    asked = experiment_file.read(experiment_file.find("equivalence"))
    margin, draw = asked.statistics.accuracy_margin_points, random.Random(7)

    def chance(seeds: int) -> float:
        pairs = ([draw.gauss(0.0, 1.0) for _ in range(seeds)] for _ in range(400))
        return sum(Contrast.of_pairs(pair, [0.0] * seeds).p_equivalence(margin) < 0.05 for pair in pairs) / 400

    assert chance(len(asked.seeds_of(["citeseer"]))) > 0.9
    assert chance(len(asked.seeds_of(["pubmed"]))) > 0.75
    assert chance(20) < 0.5


def test_as_many_further_pairs_as_stated_decide_about_as_often_as_promised() -> None:
    draw = random.Random(2)
    start = Contrast(difference=0.5, se=1.0 / math.sqrt(5), df=4, n=5, paired=True, effect=0.5)
    further = start.further(margin=0.1, level=0.05, level_equivalence=0.05)
    assert further is not None
    n = start.n + further
    decided = sum(Contrast.of_pairs([draw.gauss(0.5, 1.0) for _ in range(n)], [0.0] * n).p() < 0.05 for _ in range(400))
    assert decided / 400 == pytest.approx(0.8, abs=0.06)


def test_equivalence_is_promised_about_as_often_as_it_comes() -> None:
    draw = random.Random(3)
    start = Contrast(difference=0.0, se=1.0 / math.sqrt(5), df=4, n=5, paired=True, effect=0.0)
    further = start.further(margin=0.5, level=0.05, level_equivalence=0.05)
    assert further is not None
    n = start.n + further
    decided = sum(
        Contrast.of_pairs([draw.gauss(0.0, 1.0) for _ in range(n)], [0.0] * n).p_equivalence(0.5) < 0.05
        for _ in range(400)
    )
    assert decided / 400 == pytest.approx(0.8, abs=0.08)


def test_a_hopeless_comparison_needs_more_than_can_be_said() -> None:
    noisy = Contrast(difference=0.001, se=1.0, df=9, n=10, paired=True, effect=0.0003)
    assert noisy.further(margin=0.01, level=0.05, level_equivalence=0.05) is None
