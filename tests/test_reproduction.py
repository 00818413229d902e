"""The rule by which a published number is reproduced, and the papers' own tests worked out again."""

import numpy as np
import pytest
from scipy import stats

from bench.paper import reproduction, table_file
from bench.paper.published import Published, Quantity
from bench.paper.reproduction import Rule

RULE = Rule()


def published(text: str, runs: int | None = 100, **changes) -> Published:
    content = {
        "table": "t",
        "row": "GAT",
        "column": "cora",
        "quantity": Quantity.parse(text),
        "metric": "test accuracy, %",
        "runs": runs,
        "source": "s",
        "protocol": "p",
        "confidence": "paper",
        "reading_error": 0.0,
        "higher_is_better": True,
    }
    return Published(**(content | changes))


def around(center: float, spread: float, count: int) -> list[float]:
    """Values with exactly this mean and standard deviation."""
    values = np.linspace(-1, 1, count)
    return list(center + spread * values / values.std(ddof=1))


def test_the_prediction_interval_is_that_of_a_mean_of_new_runs():
    found = reproduction.prediction(published("83.0 ± 0.7"), around(83, 0.5, 10), RULE)
    half = stats.t.ppf(0.975, 99) * 0.7 * np.sqrt(1 / 100 + 1 / 10) + 0.05
    assert found.whose_std == "published"
    assert found.interval.low == pytest.approx(83.0 - half)
    assert found.interval.high == pytest.approx(83.0 + half)


def test_new_runs_of_the_same_experiment_fall_into_the_prediction_interval_as_often_as_it_says():
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        theirs, ours = generator.normal(83, 0.7, 20), generator.normal(83, 0.7, 8)
        quantity = Quantity(value=float(theirs.mean()), std=float(theirs.std(ddof=1)), decimals=12)
        interval = reproduction.prediction(published("1", 20, quantity=quantity), list(ours), RULE).interval
        inside += interval.low <= ours.mean() <= interval.high
    assert 0.935 < inside / 2000 < 0.965


def test_without_a_published_deviation_ours_is_taken_and_named():
    assert reproduction.prediction(published("83.0"), around(83, 0.5, 10), RULE).whose_std == "ours"
    assert reproduction.prediction(published("83.0"), [83.0], RULE) is None


def test_an_error_of_reading_a_picture_widens_the_interval():
    sharp, blurred = (
        reproduction.prediction(published("83.0 ± 0.7", reading_error=error), [83.0, 83.1], RULE).interval
        for error in (0.0, 1.0)
    )
    assert sharp.low - blurred.low == pytest.approx(1.0 - 0.05)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (around(83.1, 0.5, 10), "reproduced"),
        (around(81.0, 0.5, 10), "not reproduced"),
        (around(83.1, 3.0, 10), "undecided"),  # inside, but our mean is not known well enough
        (around(60.0, 3.0, 10), "undecided"),  # the distance is not looked at before
        (around(83.0, 0.1, 4), "undecided"),  # too few to believe a spread
        ([83.0], "undecided"),
    ],
)
def test_a_verdict_needs_an_interval_narrow_enough_and_then_looks_at_the_distance(values, word):
    assert reproduction.judge(published("83.0 ± 0.7"), values, RULE).word == word


def test_undecided_says_how_many_seeds_would_narrow_the_interval():
    verdict = reproduction.judge(published("83.0 ± 0.7"), around(83, 2.0, 10), RULE)
    enough = 10 + verdict.further
    assert str(verdict) == f"undecided ({verdict.further} more seeds)"
    assert reproduction.half_width(around(83, 2.0, enough), 0.95) <= 0.7 * 1.02
    assert reproduction.half_width(around(83, 2.0, enough - 3), 0.95) > 0.7


def test_seeds_do_not_depend_on_how_far_our_mean_is_from_the_published_one():
    near, far = (reproduction.further_seeds(published("83.0 ± 0.7"), around(m, 2.0, 6), RULE) for m in (83, 60))
    assert near == far > 0


@pytest.mark.parametrize(
    ("center", "word"), [(83.2, "reproduced"), (90.0, "not reproduced"), (83.95, "undecided"), (84.2, "undecided")]
)
def test_without_a_published_deviation_the_verdict_is_equivalence_within_the_margin(center, word):
    rule = Rule(margin=1.0)
    assert reproduction.judge(published("83.0"), around(center, 0.3, 10), rule).word == word


def test_no_seeds_are_added_for_how_far_an_undecided_mean_is_from_the_edge_of_the_margin():
    values, rule = around(83.95, 0.3, 10), Rule(margin=1.0)
    assert reproduction.judge(published("83.0"), values, rule).further > 0  # a figure to plan by
    assert reproduction.further_seeds(published("83.0"), values, rule) == 0


def errors_of_looking_after_every_seed(runs: int | None) -> float:
    """How often runs of the very same experiment, with seeds added until there is a verdict, are not reproduced."""
    generator = np.random.default_rng(0)
    wrong, tries = 0, 400
    for _ in range(tries):
        theirs = generator.normal(83, 0.7, runs or 1)
        quantity = Quantity(value=float(theirs.mean()), std=float(theirs.std(ddof=1)) if runs else 0.7, decimals=12)
        printed, ours = published("1", runs, quantity=quantity), list(generator.normal(83, 0.7, RULE.least))
        while (verdict := reproduction.judge(printed, ours, RULE)).word == "undecided":
            ours.append(float(generator.normal(83, 0.7)))
        wrong += verdict.word == "not reproduced"
    return wrong / tries


def test_looking_again_costs_nothing_with_the_published_deviation_and_a_little_with_ours():
    assert 0.03 < errors_of_looking_after_every_seed(runs=20) < 0.07
    assert 0.04 < errors_of_looking_after_every_seed(runs=None) < 0.1


def test_without_deviation_and_margin_nothing_can_be_decided():
    verdict = reproduction.judge(published("83.0"), around(83, 0.3, 10), RULE)
    assert verdict.word == "undecided"
    assert "no margin" in verdict.detail


def test_a_count_is_equal_or_not():
    exact = Rule(exact=True)
    assert reproduction.judge(published("2708"), [2708], exact).word == "reproduced"
    assert reproduction.judge(published("2708"), [2707], exact).word == "not reproduced"
    assert reproduction.further_seeds(published("2708"), [2708], exact) == 0


def test_an_ordering_is_judged_at_the_papers_number_of_runs_and_not_before():
    seeds = range(100)
    draw = np.random.default_rng(0)
    worse = {seed: float(draw.normal(78.1, 0.6)) for seed in seeds}
    better = {seed: value + 0.4 + float(draw.normal(0, 0.3)) for seed, value in worse.items()}
    few = reproduction.order({s: better[s] for s in range(10)}, {s: worse[s] for s in range(10)}, 100, True)
    whole = reproduction.order(better, worse, 100, True)
    assert str(few.verdict) == "undecided (90 more seeds)"
    assert few.p_one_sided < 0.05
    assert whole.verdict.word == "reproduced"
    assert whole.contrast.paired
    assert whole.p_two_sided == pytest.approx(2 * whole.p_one_sided)
    reverse = reproduction.order(worse, better, 100, True)
    assert str(reverse.verdict) == "not reproduced (the other way round)"
    assert reproduction.order(worse, better, 100, False).verdict.word == "reproduced"


def test_of_many_orderings_held_against_one_claim_one_that_agrees_by_chance_is_no_news():
    draw = np.random.default_rng(3)
    worse = {seed: float(draw.normal(80, 1)) for seed in range(10)}
    barely = {seed: value + 0.7 + float(draw.normal(0, 1)) for seed, value in worse.items()}
    clearly = {seed: value + 2 + float(draw.normal(0, 0.5)) for seed, value in worse.items()}
    alike = {seed: value + float(draw.normal(0, 1)) for seed, value in worse.items()}
    unripe = reproduction.order({0: 81.0, 1: 82.0}, {0: 80.0, 1: 80.5}, 10, True)
    alone = reproduction.order(barely, worse, 10, True)
    reverse = reproduction.order(worse, clearly, 10, True)
    clear, even = reproduction.order(clearly, worse, 10, True), reproduction.order(alike, worse, 10, True)
    held = reproduction.hold_to_claim([alone, unripe, reverse, clear, *[even] * 6])
    assert alone.verdict.word == "reproduced"
    assert [str(one.verdict) for one in held[:4]] == [
        "not reproduced (no difference shown)",
        "undecided (8 more seeds)",
        "not reproduced (the other way round)",
        "reproduced",
    ]
    assert held[1].p_holm is None
    assert held[0].p_holm == pytest.approx(8 * alone.p_one_sided)  # of nine, one is clearer
    assert reproduction.hold_to_claim([alone])[0].verdict.word == "reproduced"


PRINTED = table_file.of("gatv2-tables13-17").significance
# Worked out independently when the numbers were collected: one-sided Student, two-sided Welch, Cohen's d.
NOTED = {
    "VarMisuse seen": (0.0480, 0.103, 1.19),
    "VarMisuse unseen": (0.0500, 0.112, 1.18),
    "arxiv": (0.0022, 0.0044, 0.77),
    "mag": (0.0018, 0.0044, 0.78),
    "proteins": (0.0349, 0.070, 0.48),
    "collab w/o": (0.0043, 0.0086, 0.70),
    "collab w/": (0.0005, 0.0011, 0.90),
    "citation2": (0.0075, 0.0175, 0.65),
}


@pytest.mark.parametrize("row", PRINTED, ids=lambda row: row.row)
def test_the_papers_p_follows_from_the_means_and_deviations_it_prints(row):
    found = reproduction.recompute(row.gat, row.gatv2, row.runs, row.higher_is_better)
    low, high = row.p_bound
    # Means and deviations are printed with two digits: a p that follows from them is known to some percent.
    assert low * 0.95 <= found.p_one_sided <= high * 1.05
    if row.row in NOTED:
        one_sided, two_sided, effect = NOTED[row.row]
        assert found.p_one_sided == pytest.approx(one_sided, abs=6e-5)
        assert found.p_two_sided == pytest.approx(two_sided, abs=6e-4)
        assert found.cohen_d == pytest.approx(effect, abs=0.006)


def test_the_paper_prints_one_sided_ps_that_two_sided_tests_would_double():
    arxiv = next(row for row in PRINTED if row.row == "arxiv")
    found = reproduction.recompute(arxiv.gat, arxiv.gatv2, arxiv.runs, True)
    assert found.p_two_sided == pytest.approx(2 * found.p_one_sided, rel=0.02)
