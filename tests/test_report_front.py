"""Who is on the Pareto front of accuracy against throughput: in the plot, in its table and on the page."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import record_builders as build
from matplotlib.axes import Axes

from bench.config import Timing
from bench.records import Record
from bench.report import canvas, curves, front, grids, html, plots
from bench.report.results import Results
from bench.work import CellKey

ACCURATE, FAST, BEATEN = "scatter", "pyg", "dgl"


def cell(where: CellKey, step_s: float, tests: Sequence[float]) -> list[Record]:
    rounds = [build.speed(where, number, {"as_shipped": step_s, "same_input": step_s / 2}) for number in range(3)]
    return [build.parity(where), *build.fits(where, tests), *rounds]


def results(reached: Mapping[CellKey, tuple[float, Sequence[float]]], *more: Record, **changes: Any) -> Results:
    basics = {"backends": (ACCURATE, FAST, BEATEN), "operators": ("gat",), "seeds": (0, 1)}
    asked = build.experiment(timing=Timing(rounds=3), **(basics | changes))
    return Results.of(asked, [*(made for where, of in reached.items() for made in cell(where, *of)), *more])


def three(**where: str) -> dict[CellKey, tuple[float, Sequence[float]]]:
    """The third is slower than the second and no more accurate."""
    return {
        build.key(ACCURATE, **where): (0.4, [0.84, 0.86]),
        build.key(FAST, **where): (0.1, [0.79, 0.81]),
        build.key(BEATEN, **where): (0.2, [0.79, 0.81]),
    }


def fronts_of(axes: Axes) -> list[list[tuple[float, float]]]:
    """The corners of each stepped line of a panel, as edges per second and percent."""
    lines = [line for line in axes.lines if line.get_drawstyle() == "steps-pre"]
    return [
        [(pytest.approx(x), pytest.approx(y)) for x, y in zip(*line.get_data(), strict=True)][1:-1] for line in lines
    ]


def marked(found: Results, column: str) -> dict[tuple[str, ...], str]:
    """What a column of the table says of each line."""
    grid = grids.trade_off(found)
    return {line[: grid.heads]: line[grid.headers.index(column)] for line in grid.lines}


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 9), (2, 5), (3, 7), (4, 1)], [(1, 9), (3, 7), (4, 1)]),
        ([(2, 5), (2, 5), (1, 4)], [(2, 5)]),  # two at one point: neither beats the other
        ([(2, 5), (2, 6)], [(2, 6)]),  # as fast, and less accurate
        ([(2, 5), (3, 5)], [(3, 5)]),  # as accurate, and slower
        ([(1, 1)], [(1, 1)]),
        ([], []),
    ],
)
def test_on_the_front_is_whom_nobody_matches_in_both_and_beats_in_one(points, expected):
    assert front.pareto(points) == expected
    assert front.pareto(points[::-1]) == expected


def test_the_figure_has_the_front_as_a_line_and_the_table_marks_who_is_on_it():
    found = results(three())
    for track, axes in zip(("as shipped", "same input"), curves.trade_off(found).axes, strict=True):
        rate = build.EDGES * (2 if track == "same input" else 1)
        assert fronts_of(axes) == [[(rate / 0.4, 85), (rate / 0.1, 80)]]
        words = marked(found, f"{track}: on the front")
        assert words == {("gat", ACCURATE): "yes", ("gat", FAST): "yes", ("gat", BEATEN): "no"}


def test_who_ties_in_both_with_one_on_the_front_is_on_it():
    found = results(three() | {build.key(BEATEN): (0.1, [0.79, 0.81])})
    assert set(marked(found, "as shipped: on the front").values()) == {"yes"}


def test_operators_share_a_front_and_data_sets_do_not():
    elsewhere = {where: (step_s, [0.5, 0.6]) for where, (step_s, _) in three(dataset="pubmed").items()}
    other = {build.key(BEATEN, "gatv2"): (0.3, [0.9, 0.9])}
    found = results(three() | elsewhere | other, datasets=("cora", "pubmed"), operators=("gat", "gatv2"))
    words = marked(found, "as shipped: on the front")
    assert [place for place, word in words.items() if word == "yes"] == [
        ("gat", FAST, "cora"),
        ("gatv2", BEATEN, "cora"),
        ("gat", FAST, "pubmed"),
    ]
    assert [len(line) for axes in curves.trade_off(found).axes for line in fronts_of(axes)] == [2, 1, 2, 1]


def test_devices_have_fronts_of_their_own_that_the_legend_tells_apart():
    found = results(three() | three(device="cuda"), devices=("cpu", "cuda"))
    figure = curves.trade_off(found)
    assert [len(fronts_of(axes)) for axes in figure.axes] == [2, 2]
    named = {line.get_label(): line.get_linestyle() for line in figure.axes[0].lines if "front" in line.get_label()}
    assert named == {"Pareto front (means) · cpu": "--", "Pareto front (means) · cuda": ":"}
    assert set(named) <= {text.get_text() for text in figure.legends[0].get_texts()}


def test_who_failed_on_some_seeds_is_not_judged_and_bars_nobody_from_the_front():
    best = build.key("dense")
    lucky = [build.parity(best), build.fit(best, 0, 0.99), *[build.speed(best, number, {"as_shipped": 0.01})
             for number in range(3)]]  # fmt: skip
    failed = build.not_done(build.fit_job(best, 1), "diverged", "the loss was nan")
    found = results(three(), *lucky, failed, backends=("dense", ACCURATE, FAST))
    words = marked(found, "as shipped: on the front")
    assert words == {("gat", "dense"): "not judged", ("gat", ACCURATE): "yes", ("gat", FAST): "yes"}
    assert len(fronts_of(curves.trade_off(found).axes[0])[0]) == 2


def test_without_an_accuracy_or_a_rate_nothing_is_said_of_the_front():
    untrained = [build.parity(build.key("dense")), build.speed(build.key("dense"), 0, {"as_shipped": 0.01})]
    found = results(three(), *untrained, backends=("dense", FAST))
    assert marked(found, "as shipped: on the front") == {("gat", "dense"): "", ("gat", FAST): "yes"}


def test_a_dark_screen_can_turn_the_front_light_and_the_page_says_that_it_goes_by_means():
    found = results(three())
    drawn = plots.draw(found, kinds=("svg",))["trade-off", "svg"].decode()
    dashed = [path for path in drawn.split("<path")[1:] if "stroke-dasharray" in path.split("/>")[0]]
    assert len(dashed) == 3  # a panel for each track, and the legend
    assert all(f"stroke: {canvas.INK}" in path for path in dashed)  # which a page turns over
    assert ">Pareto front (means)<" in drawn
    page = html.render("default", found, {"trade-off": drawn}, None)
    assert front.MEANING in page
    assert "the front is by means alone" in page
