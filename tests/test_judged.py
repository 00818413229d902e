"""What may be judged: no survivors of failed seeds, no rounds of different days, no early look without a mark."""

import re
from typing import Any

import pytest
import record_builders as build

from bench.config import Architecture, Budget, Experiment, Timing
from bench.history import History
from bench.records import Record, read
from bench.report import headlines, throughput
from bench.report.results import Results
from bench.report.sittings import Beginning, Begun, side_by_side

ACCURACIES = [0.80, 0.81, 0.82, 0.805, 0.815, 0.81, 0.80, 0.82, 0.81, 0.805]


def asked(**changes: Any) -> Experiment:
    basics = {"backends": ("scatter", "pyg"), "operators": ("gat",), "timing": Timing(rounds=4)}
    return build.experiment(**(basics | changes))


def results(records: list[Record], **changes: Any) -> Results:
    experiment = asked(**changes)
    checks = [build.parity(build.key(backend)) for backend in experiment.backends]
    return Results.of(experiment, [*checks, *records])


def trained(pyg: list[Record]) -> Results:
    return results([*build.fits(build.key("scatter"), ACCURACIES), *pyg])


def timed(backend: str, seconds: list[float], begun: list[str]) -> list[Record]:
    found = [build.speed(build.key(backend), number, {"as_shipped": value}) for number, value in enumerate(seconds)]
    return [record.model_copy(update={"started_utc": at}) for record, at in zip(found, begun, strict=True)]


def minutes(*numbers: int, day: int = 1) -> list[str]:
    return [f"2026-01-{day:02d}T12:{number:02d}:00+00:00" for number in numbers]


def stream(*numbers: int) -> Begun:
    """A round at each minute, all in one sitting."""
    return {number: Beginning(at, "") for number, at in enumerate(minutes(*numbers))}


@pytest.mark.parametrize("status", ["diverged", "timeout", "out_of_memory", "error"])
def test_a_back_end_is_not_judged_by_the_seeds_on_which_it_did_not_fail(status):
    failed = [build.not_done(build.fit_job(build.key("pyg"), seed), status, "why") for seed in range(4, 10)]
    found = trained([*build.fits(build.key("pyg"), ACCURACIES[:4]), *failed])
    row = found.rows[1]
    assert row.accuracy_verdict.word == "undecided"
    assert row.accuracy_verdict.short() == "not judged"
    assert row.accuracy_verdict.sentence() == (
        "pyg and scatter are not judged in accuracy on gat · cora · cpu: pyg failed on 6 of 10 seeds."
    )
    assert any(warning.startswith("failed on 6 of 10 seeds") for warning in row.warnings)
    assert headlines.headlines(found) == [
        "Not judged in accuracy on gat · cora · cpu, since pyg failed on 6 of 10 seeds: scatter and pyg."
    ]


def test_without_a_failure_the_same_seeds_are_judged_and_marked_as_an_early_look():
    found = trained(build.fits(build.key("pyg"), ACCURACIES[:4]))
    assert found.rows[1].accuracy_verdict.short() == "equivalent, +0.00 points, interim: 4 of 10 seeds"
    assert headlines.headlines(found) == [
        "scatter and pyg are equivalent in accuracy on gat · cora · cpu (interim: 4 of 10 seeds)."
    ]


def test_all_planned_seeds_leave_no_mark():
    found = trained(build.fits(build.key("pyg"), ACCURACIES))
    assert found.rows[1].accuracy_verdict.short() == "equivalent, +0.00 points"


def test_an_undecided_pair_needs_no_mark_since_it_asks_for_more_anyway():
    found = trained(build.fits(build.key("pyg"), [0.70, 0.90, 0.83, 0.77]))
    assert found.rows[1].accuracy_verdict.interim == ""


def test_rounds_that_took_turns_are_side_by_side():
    assert side_by_side(stream(0, 4, 8), stream(2, 6, 10)) == {0, 1, 2}


def test_a_stream_that_was_timed_later_shares_no_round():
    assert side_by_side(stream(0, 1, 2), stream(10, 11, 12)) == set()


def test_a_round_that_was_tried_again_later_is_left_out_and_the_others_stay():
    assert side_by_side(stream(0, 4, 8), stream(2, 30, 10)) == {0, 2}


STEPS = [0.010, 0.011, 0.012, 0.010]


def test_times_of_two_sittings_are_not_compared_however_alike_their_rounds_are_numbered():
    found = results(
        [*timed("scatter", STEPS, minutes(0, 1, 2, 3)), *timed("pyg", [2 * s for s in STEPS], minutes(20, 21, 22, 23))],
        statistics={"rivals": ("scatter",)},
    )
    verdict = found.rows[1].speeds[0].verdict
    assert (verdict.word, verdict.short()) == ("undecided", "not judged")
    assert any("not timed side by side with scatter" in warning for warning in found.rows[1].warnings)
    assert any("was not timed side by side with" in sentence for sentence in headlines.headlines(found))
    assert throughput.against_rivals(found, found.cells[1], "as_shipped", 1, "train") is None


def test_a_round_that_was_interrupted_and_went_on_a_day_later_is_left_out():
    found = results(
        [
            *timed("scatter", STEPS, minutes(0, 4, 8, 12)),
            *timed("pyg", [2 * s for s in STEPS], [*minutes(2, 6, 10), *minutes(0, day=2)]),
        ],
        statistics={"rivals": ("scatter",)},
    )
    assert found.rows[1].speeds[0].verdict.short() == "slower, 2.00 ×, interim: 3 of 4 rounds"
    assert throughput.against_rivals(found, found.cells[1], "as_shipped", 1, "train").rounds == 3


def test_a_single_round_that_another_back_end_got_weeks_later_is_not_held_against_it():
    found = results(
        [*timed("scatter", STEPS[:1], minutes(0)), *timed("pyg", STEPS[:1], minutes(0, day=20))],
        timing=Timing(rounds=1),
        statistics={"rivals": ("scatter",)},
    )
    assert found.rows[1].speeds[0].verdict.short() == "not judged"
    assert any("not timed side by side with scatter" in warning for warning in found.rows[1].warnings)
    assert throughput.against_rivals(found, found.cells[1], "as_shipped", 1, "train") is None


def hourly(minute: int) -> list[str]:
    return [f"2026-01-01T{hour}:{minute:02d}:00+00:00" for hour in (12, 13, 14)]


@pytest.mark.parametrize(("long_s", "word"), [(25 * 60, "slower"), (60, "undecided")], ids=["at work", "at rest"])
def test_a_round_of_jobs_that_take_long_is_one_sitting_whatever_it_was_that_was_timed(long_s, word):
    wider = build.speed_job(build.key("pyg"), 0).model_copy(update={"architecture": Architecture(hidden=99)})
    killed = build.not_done(wider, "timeout", "killed after its limit of 1500 s")
    between = [killed.model_copy(update={"started_utc": at, "seconds": long_s}) for at in hourly(1)]
    double = timed("pyg", [2 * s for s in STEPS[:3]], hourly(27))
    found = results([*timed("scatter", STEPS[:3], hourly(0)), *between, *double])
    assert found.rows[1].speeds[0].verdict.word == word


def test_a_time_that_is_made_again_is_written_though_it_fails_as_before(tmp_path):
    """How long it took tells that nobody paused between the rounds before and after it."""
    failed = build.not_done(build.speed_job(build.key("pyg"), 0), "timeout", "killed after its limit of 900 s")
    assert not History(tmp_path, [failed]).add(failed)
    assert History(tmp_path, [failed], retime=True).add(failed)
    assert read(tmp_path) == [failed]


def test_rounds_that_took_turns_are_compared():
    found = results(
        [*timed("scatter", STEPS, minutes(0, 4, 8, 12)), *timed("pyg", [2 * s for s in STEPS], minutes(2, 6, 10, 14))],
    )
    assert found.rows[1].speeds[0].verdict.short() == "slower, 2.00 ×"


def test_fewer_rounds_than_planned_are_an_early_look_unless_a_budget_of_time_decided():
    records = [
        *timed("scatter", STEPS[:3], minutes(0, 4, 8)),
        *timed("pyg", [2 * s for s in STEPS[:3]], minutes(2, 6, 10)),
    ]
    assert results(records).rows[1].speeds[0].verdict.short() == "slower, 2.00 ×, interim: 3 of 4 rounds"
    by_budget = results(records, budget=Budget(timing_s=60))
    assert by_budget.rows[1].speeds[0].verdict.short() == "slower, 2.00 ×"


def test_between_equals_the_ratio_to_the_better_of_two_rivals_is_one():
    turns = [minutes(0, 10, 20, 30), minutes(1, 11, 21, 31), minutes(2, 12, 22, 32)]
    found = results(
        [
            *timed("scatter", [0.010, 0.020, 0.010, 0.020], turns[0]),
            *timed("pyg", [0.020, 0.010, 0.020, 0.010], turns[1]),
            *timed("dgl", [0.0002**0.5] * 4, turns[2]),
        ],
        backends=("scatter", "pyg", "dgl"),
        statistics={"rivals": ("scatter", "pyg")},
    )
    assert throughput.against_rivals(found, found.cells[2], "as_shipped", 1, "train").ratio == pytest.approx(1.0)


def of_steps(found: Results) -> list[str]:
    return [sentence for sentence in headlines.headlines(found) if sentence.startswith("Training step on")]


def without_intervals(sentence: str) -> str:
    return re.sub(r"\s× \[[^]]+\]", " ×", sentence)


def test_the_fastest_is_whom_the_verdicts_call_so_and_not_who_has_the_least_median():
    machine = [0.001] * 4 + [0.010] + [0.020] * 4
    turns = [minutes(*range(start, 54 + start, 6)) for start in (0, 1, 2)]
    found = results(
        [
            *timed("scatter", machine, turns[0]),
            *timed("pyg", [0.99 * s if s == 0.010 else 1.3 * s for s in machine], turns[1]),
            *timed("dgl", [3 * s for s in machine], turns[2]),
        ],
        backends=("scatter", "pyg", "dgl"),
        timing=Timing(rounds=9),
    )
    (sentence,) = of_steps(found)
    assert without_intervals(sentence).endswith(": scatter is 1.26 × faster than pyg and 3.00 × faster than dgl.")


def test_where_each_is_slower_than_one_of_the_others_all_are_named():
    """Each pair was timed side by side on one day, while the third was away."""
    fast, slow = [0.010] * 3, [0.020] * 3
    first, second = (0, 4, 8), (2, 6, 10)
    days = {
        "scatter": [*minutes(*first, day=1), *minutes(*first, day=15), *minutes(*second, day=3)],
        "pyg": [*minutes(*second, day=1), *minutes(*first, day=2), *minutes(*first, day=16)],
        "dgl": [*minutes(*first, day=14), *minutes(*second, day=2), *minutes(*first, day=3)],
    }
    steps = {"scatter": fast + fast + slow, "pyg": slow + fast + fast, "dgl": fast + slow + fast}
    found = results(
        [record for name, begun in days.items() for record in timed(name, steps[name], begun)],
        backends=tuple(days),
        timing=Timing(rounds=9),
    )
    (sentence,) = of_steps(found)
    said = r": (\w+) is 2\.00 × faster than \w+; \1 is 2\.00 × slower than \w+\.$"
    assert re.search(said, without_intervals(sentence))
    assert all(name in sentence for name in days)


def test_who_shares_a_measurement_with_another_track_is_named_on_both():
    turns = [minutes(0, 10, 20, 30), minutes(1, 11, 21, 31), minutes(2, 12, 22, 32)]
    alike = [*timed("scatter", STEPS, turns[0]), *timed("dgl", [4 * s for s in STEPS], turns[2])]
    once = {"same_as": {"same_input": "as_shipped"}}
    apart = [
        build.speed(build.key("pyg"), number, {"as_shipped": 8 * seconds, "same_input": 2 * seconds})
        for number, seconds in enumerate(STEPS)
    ]
    found = results(
        [
            *[record.model_copy(update={"outcome": record.outcome.model_copy(update=once)}) for record in alike],
            *[record.model_copy(update={"started_utc": at}) for record, at in zip(apart, turns[1], strict=True)],
        ],
        backends=("scatter", "pyg", "dgl"),
    )
    assert [without_intervals(sentence) for sentence in of_steps(found)] == [
        f"Training step on gat · cora · cpu ({track}, 1 thread): scatter is {times} × faster than pyg and 4.00 × "
        "faster than dgl."
        for track, times in (("as shipped", "8.00"), ("same input", "2.00"))
    ]
