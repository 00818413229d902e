"""Times against the best rival in the same rounds and against the machine's floor, and how a step grows."""

from typing import Any

import pytest
import record_builders as build
from speed_tools import GROWING, TOP, asked, growing, results, timed

from bench.config import Timing
from bench.outcomes import Timed
from bench.plugins import BACKENDS
from bench.report import (
    brief,
    canvas,
    comparisons,
    curves,
    html,
    plots,
    scaling,
    scaling_grid,
    table,
    throughput,
    throughput_grid,
)
from bench.report.results import Results
from bench.report.wording import Footnotes
from bench.work import SpeedJob
from implementations.contract import AMOUNT_OF_WORK, Fact


def cell_of(found: Results, backend: str) -> Any:
    return next(cell for cell in found.cells if cell.key.backend == backend)


RECORDS = [*timed("pyg", [0.10, 0.30, 0.20]), *timed("dgl", [0.20, 0.12, 0.20]), *timed("scatter", [0.01, 0.01, 0.02])]


def test_a_ratio_is_against_the_rival_that_is_better_over_the_rounds():
    found = results(RECORDS)
    against = throughput.against_rivals(found, cell_of(found, "scatter"), "as_shipped", 1, "train")
    assert against.ratio == pytest.approx((20 * 12 * 10) ** (1 / 3))
    assert against.interval.low < against.ratio < against.interval.high
    assert against.rounds == 3


def test_two_rounds_give_a_ratio_without_an_interval():
    found = results([record for record in RECORDS if record.job.round < 2])
    against = throughput.against_rivals(found, cell_of(found, "scatter"), "same_input", 1, "evaluate")
    assert against.ratio == pytest.approx((20 * 12) ** 0.5)
    assert against.interval is None


def test_without_a_timed_rival_there_is_no_ratio():
    found = results(timed("scatter", [0.01, 0.01, 0.02]))
    assert throughput.against_rivals(found, cell_of(found, "scatter"), "as_shipped", 1, "train") is None


def test_a_multiple_of_the_floor_is_the_measured_time_over_it():
    found = results(RECORDS)
    floor = throughput.floor_of(found, cell_of(found, "scatter"), "as_shipped", 1, "train")
    assert floor.measured_s == pytest.approx(0.01)
    assert floor.multiples == pytest.approx((0.01 / floor.high_s, 0.01 / floor.low_s))
    assert 0 < floor.low_s <= floor.high_s


@pytest.mark.parametrize("absent", [{"ceilings": None}, {"stored_features": 0}])
def test_records_that_lack_what_a_floor_needs_have_none(absent):
    found = results(timed("scatter", [0.01, 0.01, 0.02], **absent))
    assert throughput.floor_of(found, cell_of(found, "scatter"), "as_shipped", 1, "train") is None


def test_the_table_says_what_a_back_end_computes_and_where_it_does_another_amount_of_work(monkeypatch):
    fact = Fact("all nodes", "only what the training nodes can see")
    monkeypatch.setitem(BACKENDS.get("scatter").semantics, AMOUNT_OF_WORK, fact)
    own = [record.model_copy(update={"outcome": _with_own_step(record.outcome)}) for record in RECORDS[-3:]]
    notes = Footnotes()
    grid = throughput_grid.grid(results([*RECORDS[:-3], *own]), notes)
    parts = {line[1]: line[grid.headers.index("computes")] for line in grid.lines}
    assert parts == {"pyg": "layers", "dgl": "layers", "scatter [1]": "whole step"}
    assert notes.lines() == ["[1] scatter does a different amount of work: only what the training nodes can see"]


def test_a_step_that_leaves_work_out_has_neither_a_floor_nor_rates_of_all_edges(monkeypatch):
    fact = Fact("all nodes", "only what the training nodes can see")
    monkeypatch.setitem(BACKENDS.get("scatter").semantics, AMOUNT_OF_WORK, fact)
    found = results(RECORDS)
    cell = cell_of(found, "scatter")
    assert throughput.floor_of(found, cell, "as_shipped", 1, "train") is None
    assert throughput.floor_of(found, cell, "as_shipped", 1, "evaluate") is not None
    rates = {row.key.backend: row.speeds[0].timing.edges_per_s for row in found.rows}
    assert rates["scatter"] is None
    assert rates["pyg"] > 0


def _with_own_step(outcome: Timed) -> Timed:
    tracks = {name: track.model_copy(update={"whole_step": True}) for name, track in outcome.tracks.items()}
    return outcome.model_copy(update={"tracks": tracks})


def test_the_first_step_is_the_longest_of_any_round():
    found = results(RECORDS)
    assert throughput.first_step_s(cell_of(found, "pyg"), "as_shipped", 1) == pytest.approx(0.9)


ONE = {"same_as": {"same_input": "as_shipped"}}


def test_a_track_with_the_very_same_input_shows_the_one_measurement_against_the_rivals_of_its_own():
    found = results([*RECORDS[:-3], *timed("scatter", [0.01, 0.01, 0.01], **ONE)])
    of_track = {track: throughput.against_rivals(found, cell_of(found, "scatter"), track, 1, "train").ratio
                for track in ("as_shipped", "same_input")}  # fmt: skip
    assert of_track["as_shipped"] == pytest.approx(2 * of_track["same_input"])


def test_where_no_track_is_its_own_the_table_says_so_and_compares_once():
    records = [record for backend in ("pyg", "dgl", "scatter") for record in timed(backend, [0.1, 0.2, 0.3], **ONE)]
    found = results(records)
    notes = Footnotes()
    grid = throughput_grid.grid(found, notes)
    column = grid.headers.index("same input: training step")
    assert {line[column] for line in grid.lines} == {"as shipped [1]"}
    assert "measured once" in notes.lines()[0]
    assert {verdict.timed.track for verdict in found.comparisons.time} == {"as_shipped"}
    assert comparisons.timed_phases(found.experiment)


def test_an_experiment_on_speed_alone_shows_parity_but_no_accuracy():
    found = results(RECORDS)
    text = table.markdown(found, "throughput")
    assert "Test accuracy ·" not in text
    assert "## Throughput" in text
    assert "GFLOP/s" in text
    assert {row.status for row in found.rows} == {"done"}
    page = html.render("throughput", found, {}, None)
    assert "in the same rounds" in page


def test_in_brief_there_are_ratios_to_the_better_rival_data_sets_side_by_side():
    elsewhere = [record for backend in ("pyg", "scatter") for record in timed(backend, [0.1, 0.2], "pubmed")]
    found = results([*RECORDS, *elsewhere], datasets=("cora", "pubmed"))
    trains, evaluates = brief.grids(found, Footnotes())
    assert "how many times faster than the better of pyg and dgl" in trains.caption
    assert trains.headers[2:] == ("cora, as shipped", "cora, same input", "pubmed, as shipped", "pubmed, same input")
    assert [line[:2] for line in evaluates.lines] == [("gat", "scatter")]
    assert trains.lines[0][2].startswith("× 13.4 [")
    assert trains.lines[0][4:] == ("× 1.00", "× 1.00")


def test_in_brief_a_track_that_is_no_measurement_of_its_own_has_no_column():
    records = [record for backend in ("pyg", "dgl", "scatter") for record in timed(backend, [0.1, 0.2, 0.3], **ONE)]
    trains, _ = brief.grids(results(records), Footnotes())
    assert trains.headers == ("operator", "back end", "cora, as shipped")


def test_a_tick_is_a_plain_number_however_large_or_small():
    assert [canvas.plain(value) for value in (0.015, 1.5, 700, 1e6, 5e6)] == [
        "0.015",
        "1.5",
        "700",
        "1,000,000",
        "5,000,000",
    ]


def test_there_is_a_roofline_where_ceilings_were_measured():
    assert curves.roofline(results(RECORDS)) is not None
    assert curves.roofline(results(timed("pyg", [0.1, 0.1, 0.1], ceilings=None))) is None


def of_two_data_sets() -> Results:
    records = [
        record
        for dataset in ("cora", "pubmed")
        for backend in ("pyg", "dgl")
        for record in (
            *timed(backend, [0.1, 0.2, 0.3], dataset),
            *build.fits(build.key(backend, dataset=dataset), [0.8, 0.81]),
        )
    ]
    return results(records, datasets=("cora", "pubmed"), seeds=(0, 1))


PANELS = [f"{track}, 1 thread · {dataset}" for track in ("as shipped", "same input") for dataset in ("cora", "pubmed")]


def test_in_no_panel_of_the_roofline_two_marks_look_alike():
    figure = curves.roofline(of_two_data_sets())
    assert [axes.get_title(loc="left") for axes in figure.axes] == PANELS
    for axes in figure.axes:
        marks = [line for line in axes.lines if line.get_marker() != "None"]
        assert len({(line.get_color(), line.get_marker(), line.get_fillstyle()) for line in marks}) == len(marks) == 2


def test_the_trade_off_has_a_panel_for_each_data_set_and_says_the_thread_count():
    drawn = plots.draw(of_two_data_sets(), kinds=("svg",))["trade-off", "svg"].decode()
    assert [drawn.count(f">{panel}<") for panel in PANELS] == [1, 1, 1, 1]


def test_slopes_are_the_exponents_of_growth():
    slopes = {series.variable: series.slope(0.95) for series in scaling.series(growing())}
    assert {name: round(slope.value, 6) for name, slope in slopes.items()} == {
        "nodes": 1.5,
        "architecture.heads": 0.5,
    }
    assert slopes["nodes"].points == 3
    assert slopes["nodes"].interval.low == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("architecture.attention_dropout", (0.0, 0.3)),
        ("architecture.share_weights", (True,)),
        ("architecture.residual", (True, "middle")),
        ("architecture.input_dropout", (0.3, 0.6)),  # which has no value of its own
    ],
)
def test_a_setting_without_a_logarithm_has_no_slope_and_hides_no_other(setting, values):
    found = growing(sweep={setting: values, "architecture.heads": (2, 4)})
    assert {series.variable for series in scaling.series(found)} == {"nodes", "architecture.heads"}
    assert curves.scaling(found) is not None


def test_rounds_that_are_no_longer_asked_for_are_shown_nowhere():
    untimed = asked(datasets=tuple(GROWING), backends=("pyg", "dgl"), timing=Timing(rounds=0), seeds=(0,))
    found = Results.of(untimed, growing().records)
    assert plots.draw(found, kinds=("svg",)) == {}
    assert scaling.series(found) == []
    assert {record.job.phase for record in found.counted()} == {"parity"}
    assert "step / floor" not in html.render("throughput", found, {}, None)
    assert "training step" not in brief.markdown(found, "throughput")


def test_variations_of_the_sweep_are_no_rounds_of_the_cell():
    found = growing()
    assert [len(cell.rounds.get(1, {})) for cell in found.cells if cell.key.backend == "pyg"] == [1, 1, 1]


def test_a_slope_is_of_the_newest_code_alone():
    found = growing()
    stale = [
        record.model_copy(update={"job": (job := record.job.model_copy(update={"basis": "older"})), "id": job.id,
                                  "outcome": _of_time(record.outcome, 100.0)})
        for record in found.records if isinstance(record.job, SpeedJob)
    ]  # fmt: skip
    again = Results.of(found.experiment, [*stale, *found.records])
    assert [each.slope(0.95) for each in scaling.series(again)] == [each.slope(0.95) for each in scaling.series(found)]


def _of_time(outcome: Any, seconds: float) -> Timed:
    tracks = {
        name: track.model_copy(update={"train": track.train.model_copy(update={"seconds": (seconds,)})})
        for name, track in outcome.tracks.items()
    }
    return outcome.model_copy(update={"tracks": tracks})


def test_memory_ends_where_the_prediction_passes_what_was_free():
    found = growing()
    nodes, free_bytes = scaling.memory_end(found, "gat", "pyg")
    assert free_bytes == TOP.free_bytes
    assert 10_000 < nodes < 10_000_000


def test_the_table_of_scaling_has_a_line_for_each_back_end():
    found = growing()
    grid = scaling_grid.grid(found, Footnotes())
    assert [line[1] for line in grid.lines] == ["pyg", "dgl"]
    assert grid.lines[0][2].startswith("1.50 [")
    assert curves.scaling(found) is not None
