"""What is said of two back ends, from how far apart they are and how well that is known."""

import random

import pytest

from bench.judging import Pair
from bench.verdicts import AccuracyVerdict, TimedPhase, TimeVerdict, accuracy_verdicts, self_tests, time_verdicts

WHERE = "gat · cora · cpu"
STEP = TimedPhase("as_shipped", 1)


def accuracies(mean: float, spread: float, seeds: int = 10, seed: int = 0) -> dict[int, float]:
    draw = random.Random(seed)
    return {number: draw.gauss(mean, spread) for number in range(seeds)}


def shifted(values: dict[int, float], by: float, spread: float, seed: int = 1) -> dict[int, float]:
    draw = random.Random(seed)
    return {key: value + draw.gauss(by, spread) for key, value in values.items()}


def judged(first: dict[int, float], second: dict[int, float], margin_points: float = 1.0) -> AccuracyVerdict:
    return accuracy_verdicts([Pair("pyg", "dgl", WHERE, first, second)], margin_points, 0.95)[0]


def timed(first: dict[int, float], second: dict[int, float], margin: float = 0.05) -> TimeVerdict:
    return time_verdicts([(Pair("pyg", "dgl", WHERE, first, second), STEP)], margin, 0.95)[0]


BASE = accuracies(0.815, 0.01)
ROUNDS = {0: 0.100, 1: 0.130, 2: 0.095, 3: 0.110, 4: 0.102}


def test_small_differences_on_many_seeds_are_equivalent() -> None:
    assert judged(shifted(BASE, 0.001, 0.002), BASE).word == "equivalent"


def test_a_difference_beyond_the_margin_is_better_one_way_and_worse_the_other() -> None:
    higher = shifted(BASE, 0.02, 0.003)
    assert judged(higher, BASE).word == "better"
    assert judged(BASE, higher).word == "worse"


def test_a_real_difference_within_the_margin_is_still_equivalent() -> None:
    verdict = judged(shifted(BASE, 0.004, 0.001), BASE)
    assert verdict.finding.p_adjusted < 0.001
    assert verdict.word == "equivalent"


def test_noisy_differences_are_undecided_and_say_how_many_seeds_are_needed() -> None:
    verdict = judged(shifted(BASE, 0.008, 0.02), BASE)
    assert verdict.word == "undecided"
    assert verdict.finding.further is not None
    assert verdict.finding.further > 0
    assert f"needs {verdict.finding.further} more seeds" in verdict.sentence()


def test_with_the_needed_seeds_a_comparison_is_usually_decided() -> None:
    asked = judged(shifted(BASE, 0.008, 0.02), BASE)
    assert asked.finding.contrast is not None
    assert asked.finding.further is not None
    seeds = 10 + asked.finding.further
    spread = asked.finding.contrast.se * 10**0.5
    more = [
        judged(
            dict(
                enumerate(
                    shifted(dict.fromkeys(range(seeds), 0.8), asked.finding.contrast.difference, spread, seed).values()
                )
            ),
            dict.fromkeys(range(seeds), 0.8),
        )
        for seed in range(40)
    ]
    assert sum(verdict.word != "undecided" for verdict in more) >= 24


def test_a_hopeless_comparison_says_more_than_a_thousand() -> None:
    far_apart = {seed: 0.5 + 0.3 * (-1) ** seed for seed in range(12)}
    verdict = judged(far_apart, dict.fromkeys(range(12), 0.5), margin_points=0.1)
    assert "needs more than 1000 more seeds" in verdict.sentence()


def test_the_pairing_sees_what_the_spread_over_seeds_would_hide() -> None:
    wide = accuracies(0.8, 0.05)
    assert judged(shifted(wide, 0.015, 0.002), wide).word == "better"


def test_equal_accuracies_on_every_seed_are_equivalent() -> None:
    verdict = judged(BASE, dict(BASE))
    assert verdict.word == "equivalent"
    assert verdict.points == 0


def test_one_shared_seed_is_too_few_and_says_so() -> None:
    verdict = judged({0: 0.8}, {0: 0.9})
    assert verdict.word == "undecided"
    assert verdict.points is None
    assert "only 1 seed so far; undecided, needs 2 more seeds" in verdict.sentence()


def test_holm_holds_a_small_p_back_when_many_pairs_are_judged_together() -> None:
    likely = {seed: value + 0.012 + 0.014 * (-1) ** seed for seed, value in BASE.items()}  # p about 0.03
    pair = Pair("pyg", "dgl", WHERE, likely, BASE)
    noise = [Pair("pyg", "dgl", WHERE, shifted(BASE, 0, 0.03, seed), BASE) for seed in range(20, 60)]
    alone = accuracy_verdicts([pair], 0.5, 0.95)[0]
    among_many = accuracy_verdicts([pair, *noise], 0.5, 0.95)[0]
    assert alone.word == "better"
    assert among_many.word == "undecided"
    assert among_many.finding.family == 41


def test_a_pair_judged_among_many_needs_more_seeds_than_alone() -> None:
    doubtful = {seed: value + 0.012 + 0.025 * (-1) ** seed for seed, value in BASE.items()}
    pair = Pair("pyg", "dgl", WHERE, doubtful, BASE)
    noise = [Pair("pyg", "dgl", WHERE, shifted(BASE, 0, 0.03, seed), BASE) for seed in range(20, 60)]
    alone = accuracy_verdicts([pair], 0.5, 0.95)[0].finding.further
    among_many = accuracy_verdicts([pair, *noise], 0.5, 0.95)[0].finding.further
    assert alone is not None
    assert among_many is not None
    assert 0 < alone < among_many


def test_what_is_needed_grows_with_the_family_where_the_adjusted_p_is_cut_at_one_too() -> None:
    doubtful = {seed: value + 0.012 + 0.035 * (-1) ** seed for seed, value in BASE.items()}
    pair = Pair("pyg", "dgl", WHERE, doubtful, BASE)
    noise = [Pair("pyg", "dgl", WHERE, shifted(BASE, 0, 0.03, seed), BASE) for seed in range(20, 220)]
    findings = [accuracy_verdicts([pair, *noise[:others]], 0.5, 0.95)[0].finding for others in (20, 200)]
    assert [finding.p_adjusted for finding in findings] == [1.0, 1.0]
    fewer, more = (finding.further for finding in findings)
    assert fewer is not None
    assert more is not None
    assert fewer < more


def test_under_no_difference_a_family_rarely_claims_one() -> None:
    false_claims = 0
    for family in range(40):
        pairs = [Pair("a", "b", WHERE, shifted(BASE, 0, 0.02, 100 * family + member), BASE) for member in range(6)]
        false_claims += any(verdict.word in ("better", "worse") for verdict in accuracy_verdicts(pairs, 0.1, 0.95))
    assert false_claims <= 6  # 2 of 40 expected at 5 %


def test_a_tenth_of_the_time_is_faster_with_its_ratio_and_interval() -> None:
    verdict = timed(shifted({key: value / 10 for key, value in ROUNDS.items()}, 0, 0.0001), ROUNDS)
    assert verdict.word == "faster"
    assert verdict.ratio == pytest.approx(0.1, rel=0.02)
    assert verdict.ratio_interval is not None
    assert verdict.ratio_interval.low < 0.1 < verdict.ratio_interval.high


def test_slower_is_faster_turned_over() -> None:
    other = {key: value * (1.2 + 0.01 * key) for key, value in ROUNDS.items()}
    assert timed(other, ROUNDS).word == "slower"
    assert timed(ROUNDS, other).word == "faster"


def test_times_within_the_margin_in_every_round_are_equal() -> None:
    verdict = timed({key: value * (1 + 0.005 * (key - 2)) for key, value in ROUNDS.items()}, ROUNDS)
    assert verdict.word == "equal"
    assert "within the margin of 5" in verdict.sentence()


def test_times_that_scatter_are_undecided_and_name_the_rounds_needed() -> None:
    verdict = timed({0: 0.10, 1: 0.11, 2: 0.12, 3: 0.09, 4: 0.11}, ROUNDS)
    assert verdict.word == "undecided"
    assert "more round" in verdict.sentence()


def test_the_sentence_names_who_where_what_and_how_sure() -> None:
    sentence = timed({key: value / 2 * (1 + 0.002 * key) for key, value in ROUNDS.items()}, ROUNDS).sentence()
    assert sentence.startswith("pyg is faster than dgl on gat · cora · cpu (a training step, as shipped, 1 thread)")
    assert "5 paired rounds" in sentence
    assert "p < 0.001" in sentence


def test_a_self_test_that_comes_out_equal_is_passed() -> None:
    again = {key: value * (1 + 0.004 * (-1) ** key) for key, value in ROUNDS.items()}
    (test,) = self_tests([(Pair("pyg", "pyg again", WHERE, ROUNDS, again), STEP)], 0.05, 0.95)
    assert test.passed
    assert "cannot be trusted" not in test.sentence()


@pytest.mark.parametrize(
    ("again", "says"),
    [
        ({key: value * (1.3 + 0.01 * key) for key, value in ROUNDS.items()}, "came out faster"),
        ({0: 0.15, 1: 0.10, 2: 0.13, 3: 0.09, 4: 0.11}, "was not shown to be equal"),
        ({}, "was not shown to be equal"),
    ],
)
def test_a_self_test_that_does_not_come_out_equal_warns_of_the_machine(again: dict[int, float], says: str) -> None:
    (test,) = self_tests([(Pair("pyg", "pyg again", WHERE, ROUNDS, again), STEP)], 0.05, 0.95)
    assert not test.passed
    assert says in test.sentence()
    assert "cannot be trusted to 5" in test.sentence()
