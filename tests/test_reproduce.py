"""Which rows of a paper's table get how many seeds, and when it ends."""

import pytest
from told_tools import STEADY, WILD, reproduction_of, told_table

from bench.kind import Line
from bench.report.paper import views


def test_seeds_go_to_the_uncertain_row_until_its_interval_is_narrow_or_the_file_ends_it(told, tmp_path):
    kind = told({("gat", "a"): STEADY, ("gat", "b"): WILD})
    run = reproduction_of(told_table(), tmp_path)
    assert run.run() == 0
    assert kind.seeds[Line("ours", "gat", "a", "fast")] == 3
    assert kind.seeds[Line("ours", "gat", "b", "fast")] == 12
    assert kind.seeds[Line("ours", "gat", "b", "slow")] == 2
    words = {row.line.id: str(row.verdict) for row in run.state.compared()}
    assert words["ours/gat/a/fast"] == "reproduced"
    assert words["ours/gat/b/fast"].startswith("undecided (")


def test_leading_back_ends_come_before_the_others_and_subjects_of_a_column_together(told, tmp_path):
    kind = told({("gat", "a"): STEADY, ("gatv2", "a"): STEADY, ("gat", "b"): STEADY})
    reproduction_of(told_table(), tmp_path).run()
    assert [(id_.split("/")[1:], seeds) for id_, seeds in kind.asked[:5]] == [
        (["gat", "a", "fast"], 3),
        (["gatv2", "a", "fast"], 3),
        (["gat", "b", "fast"], 3),
        (["gat", "a", "slow"], 2),
        (["gatv2", "a", "slow"], 2),
    ]


@pytest.mark.parametrize(("minutes", "seeds_in_order"), [(20, [3, 6, 12, 2]), (1.5, [3, 2, 6, 12])])
def test_verdicts_come_before_other_back_ends_but_with_half_the_budget_at_most(told, tmp_path, minutes, seeds_in_order):
    kind = told({("gat", "a"): WILD})  # a seed takes 10 s, two run at once: 3 take 15 s, 9 more 45 s
    run = reproduction_of(told_table(), tmp_path, minutes=minutes, clock=lambda: 5.0 * sum(kind.seeds.values()))
    run.run()
    assert [seeds for _, seeds in kind.asked] == seeds_in_order


def test_a_row_whose_runs_do_not_come_is_not_asked_for_ever(told, tmp_path):
    kind = told({("gat", "a"): WILD})  # twelve values, whatever is asked
    part = {"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT"}, "seeds": {"most": 20}}
    reproduction_of(told_table(part=[part]), tmp_path).run()
    assert [seeds for id_, seeds in kind.asked if id_ == "ours/gat/a/fast"] == [5, 10, 20]


def test_a_part_may_ask_for_a_wider_interval_than_the_table_and_the_rule_says_so(told, tmp_path):
    of_seeds = {"least": 3, "most": 12}
    part = {"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT"}, "seeds": of_seeds}
    seeds = []
    for width in (1.0, 4.0):
        kind = told({("gat", "a"): WILD})
        run = reproduction_of(told_table(part=[part | {"width": width}]), tmp_path)
        run.run()
        seeds.append(kind.seeds[Line("ours", "gat", "a", "fast")])
    assert seeds[0] > seeds[1]
    assert any("1 (ours: 4) published standard deviation" in text for text in views.rule(run.state))


def test_the_most_uncertain_row_doubles_its_seeds_at_most_before_another_has_its_turn(told, tmp_path):
    kind = told({("gat", "a"): WILD, ("gat", "b"): [(value + 80) / 2 for value in WILD]})
    reproduction_of(told_table(), tmp_path).run()
    grown = [(id_.split("/")[2], seeds) for id_, seeds in kind.asked if id_.endswith("fast")][2:]
    assert grown[:2] == [("a", 6), ("b", 6)]


def test_a_batch_that_the_budget_has_no_room_for_is_left_out_and_named(told, tmp_path):
    kind = told({("gat", "a"): WILD})
    run = reproduction_of(told_table(), tmp_path, minutes=0.5)  # 10 s a seed: 3 at first, 9 more do not fit
    run.run()
    assert kind.seeds[Line("ours", "gat", "a", "fast")] == 3
    assert "9 more seeds would take" in run.remarks()[0]


def test_a_slow_back_end_is_not_begun_on_a_large_graph_at_the_pace_of_a_fast_one(told, tmp_path):
    kind = told({("gat", "a"): STEADY, ("gat", "b"): STEADY})
    kind.seconds = {("fast", "a"): 1.0, ("slow", "a"): 10.0, ("fast", "b"): 30.0, ("slow", "b"): 300.0}
    run = reproduction_of(told_table(), tmp_path, minutes=4)
    run.run()
    assert kind.seeds[Line("ours", "gat", "a", "slow")] == 2
    assert Line("ours", "gat", "b", "slow") not in kind.seeds
    assert run.remarks() == [
        "ours/gat/b/slow: 2 more seeds would take 5 min; of the time budget of 4 min, 4 min are left"
    ]


def test_of_the_rows_that_may_run_together_only_those_are_begun_that_the_budget_holds(told, tmp_path):
    kind = told({("gat", "a"): STEADY, ("gatv2", "a"): STEADY})  # two seeds of a slow row take 10 s, 15 s are left
    run = reproduction_of(told_table(), tmp_path, minutes=0.75, clock=lambda: 5.0 * sum(kind.seeds.values()))
    run.run()
    assert [id_ for id_, _ in kind.asked if id_.endswith("slow")] == ["ours/gat/a/slow"]
    assert run.remarks()[0].startswith("ours/gatv2/a/slow: 2 more seeds would take 10 s")


def test_what_a_seed_is_known_to_take_keeps_a_long_row_from_being_begun_unasked(told, tmp_path):
    part = {"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT"}, "seed_min": 60}
    kind = told({("gat", "a"): STEADY})
    run = reproduction_of(told_table(part=[part]), tmp_path)
    run.run()
    assert kind.asked == []
    assert "5 more seeds would take" in run.remarks()[0]
    reproduction_of(told_table(part=[part]), tmp_path, seeds=2).run()
    assert {seeds for _, seeds in kind.asked} == {2}
    kind = told({("gat", "a"): STEADY})
    reproduction_of(told_table(part=[part]), tmp_path, only=("ours/gat/a/fast",)).run()
    assert kind.asked == [("ours/gat/a/fast", 5)]


def test_a_row_that_is_begun_after_all_is_no_longer_said_to_be_cut(told, tmp_path):
    part = {"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT", "gatv2": "GAT"}}
    of_seeds = {"least": 3, "most": 3, "beside": 0}
    dear, cheap = ({**part, "name": name, "seeds": of_seeds, "seed_min": m} for name, m in (("dear", 60), ("cheap", 0)))
    kind = told({("gat", "a"): STEADY})
    run = reproduction_of(told_table(part=[dear, cheap]), tmp_path)
    run.run()
    assert {id_ for id_, _ in kind.asked} == {"cheap/gat/a/fast", "dear/gat/a/fast"}
    assert run.remarks() == []


def test_a_row_far_from_the_published_value_gets_no_more_seeds_than_one_near_it(told, tmp_path):
    seeds = []
    for shift in (0.0, 30.0):
        kind = told({("gat", "a"): [value + shift for value in WILD[:6] + STEADY]})
        reproduction_of(told_table(), tmp_path).run()
        seeds.append(kind.seeds[Line("ours", "gat", "a", "fast")])
    assert seeds[0] == seeds[1] > 3


def test_where_the_first_back_end_is_barred_the_next_one_leads(told, tmp_path):
    kind = told({("gat", "a"): STEADY}, barred=("fast",))
    run = reproduction_of(told_table(), tmp_path)
    run.run()
    assert kind.seeds[Line("ours", "gat", "a", "slow")] == 3
    fast, slow = run.state.compared()
    assert str(fast.verdict) == "not run (parity: off)"
    assert (slow.leads, slow.verdict.word) == (True, "reproduced")


def test_a_substitute_is_run_only_where_the_real_thing_cannot(told, tmp_path):
    real = {"name": "real", "kind": "told", "protocol": "p", "published": {"gat": "GAT"}}
    substitute = real | {"name": "other", "instead_of": "real", "differs": "drawn splits"}
    table = told_table(part=[real, substitute])
    told({("gat", "a"): STEADY})
    ran = reproduction_of(table, tmp_path)
    ran.run()
    assert {row.line.part for row in ran.state.shown() if row.line} == {"real"}
    told({("gat", "a"): STEADY}, barred=("fast", "slow"))
    barred = reproduction_of(table, tmp_path)
    barred.run()
    assert {row.line.part for row in barred.state.shown() if row.line} == {"real", "other"}


def test_a_part_that_differs_says_how_and_is_never_judged(told, tmp_path):
    part = {"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT"}, "differs": "drawn splits"}
    told({("gat", "a"): STEADY})
    run = reproduction_of(told_table(part=[part]), tmp_path)
    run.run()
    assert {str(row.verdict) for row in run.state.compared()} == {"protocol differs (drawn splits)"}


def test_other_data_than_the_published_are_never_judged_and_get_no_further_seeds(told, tmp_path):
    kind = told({("gat", "a"): WILD, ("gatv2", "a"): STEADY})
    kind.differs = "these files hold 3 graphs; PPI has 24"
    ordering = {"part": "ours", "better": "gat", "worse": "gatv2"}
    part = {"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT", "gatv2": "GAT"}}
    run = reproduction_of(told_table(part=[part | {"seeds": {"beside": 5}}], ordering=[ordering]), tmp_path)
    run.run()
    assert {str(row.verdict) for row in run.state.compared()} == {f"protocol differs ({kind.differs})"}
    assert {result.ours.verdict.word for result in run.state.orderings} == {"protocol differs"}
    assert set(kind.seeds.values()) == {5}


def test_the_time_budget_ends_it_and_says_what_it_cut(told, tmp_path):
    kind = told({("gat", "a"): WILD})
    times = iter([0.0] + [10_000.0] * 100)
    run = reproduction_of(told_table(), tmp_path, clock=lambda: next(times))
    run.run()
    assert kind.asked == []
    assert run.remarks()[0] == "ours/gat/a/fast: 3 more seeds; of the time budget of 20 min, nothing is left"


@pytest.mark.parametrize(("ask", "expected"), [({"seeds": 5}, 5), ({"full": True}, 10)])
def test_a_given_number_of_seeds_is_run_for_every_row(told, tmp_path, ask, expected):
    kind = told({("gat", "a"): STEADY, ("gat", "b"): WILD})
    reproduction_of(told_table(), tmp_path, **ask).run()
    assert set(kind.seeds.values()) == {expected}


def test_what_is_counted_is_counted_once(told, tmp_path):
    kind = told({("gat", "a"): [80.0] * 12})
    run = reproduction_of(told_table(rule={"exact": True}), tmp_path)
    run.run()
    assert set(kind.seeds.values()) == {1}
    assert run.remarks() == []


def test_one_row_can_be_run_alone(told, tmp_path):
    kind = told({("gat", "a"): STEADY, ("gat", "b"): WILD})
    reproduction_of(told_table(), tmp_path, only=("ours/gat/a/slow",)).run()
    assert {line.id for line in kind.seeds} == {"ours/gat/a/slow"}


def test_what_is_foreseen_is_what_the_budget_begins_and_no_more_than_it_holds(told, tmp_path):
    told({("gat", "a"): WILD, ("gat", "b"): WILD})  # a seed takes 10 s, two run at once
    first = reproduction_of(told_table(), tmp_path, seeds=1)
    first.run()
    run = reproduction_of(told_table(), tmp_path, minutes=0.3)  # room for three seeds, of 18 s
    foreseen = [(row.require_line().id, seeds, bool(short)) for row, seeds, short in run.foreseen()]
    assert foreseen == [
        ("ours/gat/a/fast", 3, False),  # two more: 10 s
        ("ours/gat/b/fast", 3, True),
        ("ours/gat/a/slow", 2, False),  # one more: 5 s
        ("ours/gat/b/slow", 2, True),
    ]
    row = next(iter(run.state.compared()))
    assert run.most(row, 3) == 4
    assert reproduction_of(told_table(), tmp_path).most(row, 3) == 12
