"""Rows, and what they are compared with, from records as a run leaves them."""

import csv
import io
import math
import re
from functools import cache

import pytest
import record_builders as build

from bench.config import Experiment, NeighbourBatches, Timing, Training
from bench.outcomes import Samples
from bench.records import Record
from bench.report import brief, grids, table, wording
from bench.report.columns import csv_text
from bench.report.results import Results
from bench.report.rows import Row, headline, rows
from bench.report.wording import Footnotes

ASKED = build.experiment()
WHOLE = build.tuned_experiment()
RUN = build.whole_run()


def row(records: list[Record], backend: str = "pyg", operator: str = "gat", asked: Experiment = ASKED) -> Row:
    return next(found for found in rows(asked, records) if found.key == build.key(backend, operator))


@cache
def whole() -> Results:
    return Results.of(WHOLE, RUN)


def whole_row(backend: str = "pyg", operator: str = "gat") -> Row:
    return next(found for found in whole().rows if found.key == build.key(backend, operator))


def test_there_is_a_row_for_every_cell_even_without_a_record() -> None:
    found = rows(ASKED, [])
    assert len(found) == 8
    assert {made.status for made in found} == {"not_run"}
    assert found[0].metrics() == {}


def test_a_row_gives_accuracy_in_percent_with_its_spread_and_number() -> None:
    metrics = row(build.fits(build.key(), [0.80, 0.82, 0.84])).metrics()
    assert metrics["accuracy_test_pct_mean"] == pytest.approx(82)
    assert metrics["accuracy_test_pct_std"] == pytest.approx(2)
    assert metrics["accuracy_test_pct_low"] < 82 < metrics["accuracy_test_pct_high"]
    assert metrics["accuracy_seeds"] == 3


def test_a_row_gives_times_in_milliseconds_and_rates_per_median_step() -> None:
    metrics = row([build.speed(build.key(), number, {"as_shipped": 0.1}) for number in range(5)]).metrics()
    assert metrics["as_shipped/train_step_ms_median"] == pytest.approx(100)
    assert metrics["as_shipped/eval_step_ms_median"] == pytest.approx(25)
    assert metrics["as_shipped/edges_per_s"] == pytest.approx(build.EDGES / 0.1)
    assert metrics["as_shipped/peak_memory_mib"] == 80
    assert not any(name.startswith("same_input") for name in metrics)


def test_metrics_are_finite_numbers_under_names_that_a_tracking_server_takes() -> None:
    for made in whole().rows:
        for name, value in made.metrics().items():
            assert re.fullmatch(r"[\w./ -]+", name)
            assert math.isfinite(value)


def test_a_second_thread_count_has_numbers_of_its_own() -> None:
    asked = build.experiment(timing=Timing(rounds=1, threads=(1, 2)))
    records = [build.speed(build.key(), 0, {"as_shipped": 0.1 / threads}, threads=threads) for threads in (1, 2)]
    metrics = row(records, asked=asked).metrics()
    assert metrics["as_shipped/train_step_ms_median"] == pytest.approx(100)
    assert metrics["as_shipped/threads_2/train_step_ms_median"] == pytest.approx(50)


def test_the_time_of_converting_the_graph_is_that_of_its_line_s_thread_count() -> None:
    asked = build.experiment(backends=("pyg",), operators=("gat",), seeds=(), timing=Timing(rounds=1, threads=(1, 2)))
    timed = [build.speed(build.key(), 0, {"as_shipped": 0.1}, threads=threads) for threads in (1, 2)]
    records = [
        made.model_copy(update={"outcome": made.outcome.model_copy(update={"prepare_s": seconds})})
        for made, seconds in zip(timed, (0.008, 0.002), strict=True)
    ]
    found = Results.of(asked, records)
    speeds = grids.speed(found, Footnotes())
    assert [line[speeds.headers.index("prepare, ms")] for line in speeds.lines] == ["8.00", "2.00"]
    assert [line["prepare_ms"] for line in csv.DictReader(io.StringIO(csv_text(found)))] == ["8.0", "2.0"]
    metrics = found.rows[0].metrics()
    assert (metrics["prepare_ms"], metrics["prepare_ms/threads_2"]) == (8, 2)


def test_a_back_end_that_failed_parity_is_not_ranked_whatever_was_measured() -> None:
    cell = build.key("dgl")
    made = row([build.parity(cell, passed=False), *build.fits(cell, [0.8] * 10)], "dgl")
    assert made.parity.status == "failed"
    assert made.accuracy is None
    assert made.metrics() == {}
    assert made.accuracy_state.sentence().startswith("not run: parity, attention on hub in float64: off by 3.0e-01")


def test_what_the_budget_does_not_allow_says_so_and_keeps_its_timing() -> None:
    made = whole_row("dense")
    assert made.accuracy_state.sentence() == ("not run: budget, would take 2 h 13 min for 10 seeds, allowed 10 min")
    assert made.parity.status == "passed"
    assert made.metrics()["as_shipped/train_step_ms_median"] > 1000
    assert made.status == "partial"


def test_a_track_that_a_back_end_cannot_take_is_a_reason_and_leaves_the_cell_done() -> None:
    cell = build.key("dense")
    speeds = [
        build.speed(cell, number, {"as_shipped": 7.0}, without={"same_input": "takes no sparse features"})
        for number in range(5)
    ]
    made = row([*build.fits(cell, [0.8] * 10), *speeds], "dense")
    assert made.speeds[1].state.sentence() == "unsupported: takes no sparse features"
    assert made.status == "done"


def test_diverged_seeds_are_counted_and_left_out_of_the_mean() -> None:
    made = whole_row("dgl")
    assert made.failures["diverged"] == 1
    assert made.accuracy is not None
    assert made.accuracy.seeds == 9
    assert made.accuracy_state.sentence() == (
        "partial: 9 of 10 seeds; 1 failed: diverged (the loss was nan in epoch 17)"
    )
    assert "1 job failed: diverged" in made.warnings


def test_a_crash_that_was_tried_again_counts_as_retried_and_its_result_counts_once() -> None:
    cell = build.key()
    crashed = build.not_done(build.fit_job(cell, 0), "error", "killed by signal 9")
    made = row([crashed, *build.fits(cell, [0.8, 0.8, 0.8])])
    assert made.retried == 1
    assert made.accuracy is not None
    assert made.accuracy.seeds == 3
    assert "1 failed attempt was tried again" in made.warnings


def test_a_skip_that_every_run_decides_anew_is_no_retry() -> None:
    skip = build.not_done(build.fit_job(build.key(), 0), "budget", "would take long")
    assert row([skip, skip, skip]).retried == 0


def test_seeds_of_an_older_configuration_are_not_pooled_with_the_newer() -> None:
    cell = build.key()
    older = [build.fit(cell, seed, 0.5, basis="older") for seed in range(10)]
    newer = [build.fit(cell, seed, 0.8) for seed in range(4)]
    made = row([*older, *newer])
    assert made.accuracy is not None
    assert (made.accuracy.seeds, made.accuracy.mean) == (4, pytest.approx(0.8))


def test_settings_that_the_file_returns_to_count_again_though_others_were_run_since() -> None:
    cell = build.key()
    other = Training(lr=0.1)
    since = [build.fit(cell, seed, 0.5, training=other) for seed in range(10)]
    records = [*build.fits(cell, [0.8] * 10), *since]
    now, then = row(records), row(records, asked=build.experiment(training=other))
    assert now.metrics()["accuracy_test_pct_mean"] == pytest.approx(80)
    assert then.metrics()["accuracy_test_pct_mean"] == pytest.approx(50)


def test_fits_with_settings_that_the_study_did_not_choose_are_left_out() -> None:
    stale = build.fits(build.key(), [0.5] * 10, tuned={"training.lr": 0.05})
    made = row([*stale, build.study(), build.fit(build.key(), 0, 0.8, tuned=build.TUNED)], asked=WHOLE)
    assert made.accuracy is not None
    assert (made.accuracy.seeds, made.accuracy.mean) == (1, pytest.approx(0.8))


def test_rounds_beyond_those_asked_for_leave_a_cell_done() -> None:
    speeds = [build.speed(build.key(), number, {"as_shipped": 0.1, "same_input": 0.1}) for number in range(9)]
    assert [speed.state.status for speed in row(speeds).speeds] == ["done", "done"]


def test_rounds_on_other_parts_of_the_graph_or_of_another_step_do_not_count() -> None:
    timed = [build.speed(build.key(), number, {"as_shipped": 0.1, "same_input": 0.1}) for number in range(5)]
    drawn = NeighbourBatches(targets=64, fanout=(5, 5))
    for training in (Training(batches=drawn), Training(clip_norm=1.0), Training(lr=0.1)):
        found = row(timed, asked=build.experiment(training=training))
        assert [speed.state.status for speed in found.speeds] == ["not_run", "not_run"]
    stops_later = row(timed, asked=build.experiment(training=Training(max_epochs=7)))
    assert [speed.state.status for speed in stops_later.speeds] == ["done", "done"]


def test_how_to_read_says_what_an_interval_over_few_rounds_covers() -> None:
    few = build.experiment(timing=Timing(rounds=5))
    timed = [build.speed(build.key(), number, {"as_shipped": 0.1, "same_input": 0.1}) for number in range(3)]
    said = wording.how_to_read(Results.of(few, [build.parity(build.key()), *timed]))
    assert "their range, which covers it with less: of 3 rounds 75 %)" in said
    many = [build.speed(build.key(), number, {"as_shipped": 0.1, "same_input": 0.1}) for number in range(7)]
    assert "too few" not in wording.how_to_read(Results.of(few, [build.parity(build.key()), *many]))


def test_a_cell_that_waits_for_its_study_says_so() -> None:
    waiting = row([build.parity(build.key())], asked=WHOLE)
    assert waiting.accuracy_state.sentence() == "not run: nothing was tuned for it yet"


def test_seeds_that_the_experiment_no_longer_asks_for_are_left_out() -> None:
    made = row(build.fits(build.key(), [0.8, 0.8, 0.8, 0.1]), asked=build.experiment(seeds=(0, 1, 2)))
    assert made.accuracy is not None
    assert made.accuracy.mean == pytest.approx(0.8)


def test_a_cell_of_which_fewer_seeds_are_asked_is_done_with_those() -> None:
    asked = build.experiment(seeds=tuple(range(10)), fewer_seeds={"pyg": 3}, timing=Timing(rounds=0))
    made = row(build.fits(build.key(), [0.8, 0.8, 0.8, 0.1]), asked=asked)
    assert made.accuracy is not None
    assert (made.accuracy.seeds, made.accuracy_state.sentence()) == (3, "done")


def test_the_baseline_is_the_first_listed_back_end_with_results_and_has_no_verdict() -> None:
    assert whole_row("scatter").accuracy_verdict is None
    found = whole_row("pyg").accuracy_verdict
    assert found is not None
    assert found.pair.second == "scatter"  # dense was not trained
    assert whole_row("pyg").tags()["verdict_accuracy"] == "equivalent"
    assert whole_row("pyg").tags()["verdict_time/as_shipped"] == "faster"


def test_samples_that_scatter_are_called_unsteady() -> None:
    def warnings(jitter: float) -> tuple[str, ...]:
        speeds = [build.speed(build.key(), number, {"as_shipped": 0.1}, jitter=jitter) for number in range(5)]
        return row(speeds).warnings

    assert any("unsteady" in warning for warning in warnings(0.2))
    assert not any("unsteady" in warning for warning in warnings(0.01))


def test_a_warm_up_that_ended_for_its_time_and_not_for_being_steady_is_told() -> None:
    samples = Samples(steps=1, seconds=(0.4, 0.4), warmup=(0.9, 0.5))
    cold = [
        build.with_training_samples(build.speed(build.key(), number, {"as_shipped": 0.4}), samples)
        for number in range(3)
    ]
    warm = [build.speed(build.key("scatter"), number, {"as_shipped": 0.4}) for number in range(3)]
    found = {row.key.backend: row.warnings for row in rows(build.experiment(operators=("gat",)), [*cold, *warm])}
    assert any("not shown to be warm in 1 of 2 timings" in warning for warning in found["pyg"])
    assert not any("warm" in warning for warning in found["scatter"])


def test_trainings_that_the_limit_of_epochs_ended_are_counted() -> None:
    asked = build.experiment(operators=("gat",), training=Training(max_epochs=205, patience_epochs=50))
    fits = build.fits(build.key(), [0.8] * 10, training=asked.training)  # they took 200 epochs and more
    found = next(row for row in rows(asked, fits) if row.key == build.key())
    assert "5 of 10 trainings ended at the limit of 205 epochs, not by patience" in found.warnings


def test_where_patience_could_never_end_a_training_the_limit_is_no_news() -> None:
    asked = build.experiment(operators=("gat",), training=Training(max_epochs=200, patience_epochs=200))
    fits = build.fits(build.key(), [0.8], training=asked.training)
    found = next(row for row in rows(asked, fits) if row.key == build.key())
    assert found.accuracy is not None
    assert not any("limit" in warning for warning in found.warnings)


def test_a_self_test_that_fails_warns_on_every_row_beside_it() -> None:
    speeds = [
        build.speed(build.key("pyg"), number, {"as_shipped": 0.1 * (1 + replica) + 0.001 * number}, replica=replica)
        for number in range(5)
        for replica in (0, 1)
    ]
    speeds += [build.speed(build.key("dgl"), number, {"as_shipped": 0.1}) for number in range(5)]
    assert any("self-test" in warning for warning in row(speeds, "dgl").warnings)
    assert "cannot be trusted" in table.terminal(ASKED, speeds)


def test_one_stream_measured_twice_speaks_for_the_machine() -> None:
    tests = whole().comparisons.self_tests
    assert {test.verdict.pair.where for test in tests} == {"gat · cora · cpu"}
    assert all(test.passed for test in tests)
    assert not any("self-test" in warning for made in whole().rows for warning in made.warnings)


def test_a_self_test_that_was_asked_for_but_not_run_is_missed() -> None:
    speeds = [build.speed(build.key(), number, {"as_shipped": 0.1}) for number in range(5)]
    assert "cannot be trusted" in table.terminal(ASKED, speeds)


def test_the_study_behind_the_settings_is_told() -> None:
    made = row([build.study(), build.fit(build.key(), 0, 0.8, tuned=build.TUNED)], asked=WHOLE)
    assert made.tuned == build.TUNED
    assert made.tuning == "trial 1 of 3 (2 complete, 1 pruned), validation 82.00 %"


def test_operators_are_compared_within_a_back_end() -> None:
    pairs = [(verdict.pair.first, verdict.pair.second, verdict.pair.where) for verdict in whole().comparisons.operators]
    assert pairs == [("gatv2", "gat", "scatter · cora · cpu"), ("gatv2", "gat", "pyg · cora · cpu")]


def test_the_headline_of_a_cell_names_its_numbers() -> None:
    assert re.fullmatch(
        r"accuracy [\d.]+ ± [\d.]+ %, training step [\d.]+ ms as shipped, training step [\d.]+ ms same input",
        headline(whole_row()),
    )


def test_in_brief_a_line_for_each_cell_has_its_accuracy_and_its_steps_and_the_verdicts_stand_above() -> None:
    found = whole()
    (overview,) = brief.grids(found, Footnotes())
    assert len(overview.lines) == len(found.rows)
    line = dict(
        zip(overview.headers, next(line for line in overview.lines if line[:2] == ("gat", "pyg")), strict=False)
    )
    assert "±" in line["test accuracy, %"]
    assert line["as shipped: training step, ms"]
    text = brief.markdown(found, "default")
    assert text.startswith(f"- {brief.said(found)[0]}\n")
    assert "tuned settings" not in text
    assert "Made by `bench run default`." in text


def test_what_was_not_timed_is_not_said_to_be() -> None:
    untimed = build.experiment(backends=("pyg", "dgl"), operators=("gat",), seeds=(0, 1), timing=Timing(rounds=0))
    records = [build.parity(build.key()), *build.fits(build.key(), (0.81, 0.82))]
    text = brief.markdown(Results.of(untimed, records), "default")
    assert text.startswith("Accuracy against the baseline · ")
    assert not {"timed", "speed", "step"} & set(text.split())
    assert "timed with 1 thread" in brief.markdown(whole(), "default")
