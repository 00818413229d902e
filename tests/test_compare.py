"""`bench compare`: what is said of two results folders."""

import json

import pytest
import record_builders as build

from bench import cli
from bench.config import Timing
from bench.folder import ResultsFolder
from bench.records import Record, append
from bench.report import difference
from bench.report.results import Results

CELL = build.key()


def results(seconds: float, tests: list[float]) -> Results:
    jitter = (0.99, 1.0, 1.01, 1.0)
    timed = [build.speed(CELL, number, {"as_shipped": seconds * by}) for number, by in enumerate(jitter)]
    return Results.of(build.experiment(), [*build.fits(CELL, tests), *timed])


BEFORE = results(0.1, [0.80, 0.81, 0.82])


def test_a_faster_and_more_accurate_folder_is_said_to_be_so_with_its_figures():
    found = difference.difference(BEFORE, results(0.05, [0.851, 0.86, 0.869]))
    said = difference.changes(found)
    assert any("after is more accurate than before" in sentence for sentence in said)
    assert any("after is faster than before" in sentence and "ratio of times 0.500" in sentence for sentence in said)
    assert not any("slower" in sentence or "less accurate" in sentence for sentence in said)


def test_the_same_folder_twice_has_changed_in_nothing():
    found = difference.difference(BEFORE, BEFORE)
    assert difference.changes(found) == []
    assert {verdict.word for verdict in found.accuracy} == {"equivalent"}
    assert {verdict.word for verdict in found.time} == {"equal"}


def test_rounds_of_two_folders_are_not_paired_and_seeds_are():
    found = difference.difference(BEFORE, BEFORE)
    assert all("unpaired round" in verdict.figures() for verdict in found.time)
    assert all("3 paired seeds" in verdict.figures() for verdict in found.accuracy)


def test_cells_of_one_folder_alone_are_named():
    other = Results.of(build.experiment(), build.fits(build.key("dgl"), [0.8, 0.81, 0.82]))
    found = difference.difference(BEFORE, other)
    assert (found.only_first, found.only_second) == ((CELL,), (build.key("dgl"),))


def rounds(*threads: int) -> list[Record]:
    return [
        build.speed(CELL, number, {"as_shipped": 0.1 * by}, threads=count)
        for count in threads
        for number, by in enumerate((0.99, 1.0, 1.01, 1.0))
    ]


FULL = [*build.fits(CELL, [0.80, 0.81, 0.82, 0.83, 0.84]), *rounds(1, 2)]
BOTH_COUNTS = build.experiment(timing=Timing(threads=(1, 2)))


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ([*build.fits(CELL, [0.80, 0.81, 0.82]), *rounds(1, 2)], ["accuracy of seeds 3 and 4"]),
        ([*build.fits(CELL, [0.80, 0.81, 0.82, 0.83]), *rounds(1)], ["accuracy of seed 4; as shipped with 2 threads"]),
        (rounds(1, 2), ["accuracy"]),
        (FULL, []),
    ],
    ids=["some seeds", "a seed and a thread count", "all seeds", "nothing"],
)
def test_what_a_cell_has_no_longer_is_named_though_other_results_of_it_are_there(left, said):
    found = difference.difference(Results.of(BOTH_COUNTS, FULL), Results.of(BOTH_COUNTS, left))
    assert [lost.what() for lost in found.lost] == said
    assert found.only_first == ()


def test_a_thread_count_that_is_no_longer_asked_for_is_named():
    asked = build.experiment(timing=Timing(threads=(1,)))
    found = difference.difference(Results.of(BOTH_COUNTS, FULL), Results.of(asked, FULL))
    assert [lost.what() for lost in found.lost] == ["as shipped with 2 threads"]
    assert not found.is_asked_alike


@pytest.fixture
def two(tmp_path):
    for name, of in (("before", BEFORE), ("after", results(0.05, [0.80, 0.81, 0.82]))):
        folder = ResultsFolder(tmp_path / name)
        folder.write_experiment(of.experiment)
        for record in of.records:
            append(folder.path, record)
    return tmp_path


def test_the_command_answers_people_and_programs(two, capsys):
    arguments = ["compare", str(two / "before"), str(two / "after")]
    assert cli.main(arguments) == cli.DONE
    assert "after is faster than before" in capsys.readouterr().out
    assert cli.main([*arguments, "--json"]) == cli.DONE
    found = json.loads(capsys.readouterr().out)
    assert {one["verdict"] for one in found["time"]} == {"faster"}
    assert {one["verdict"] for one in found["accuracy"]} == {"equivalent"}


def test_a_loss_and_other_settings_are_told_to_people_and_to_programs(two, capsys):
    folder = ResultsFolder(two / "less")
    folder.write_experiment(build.experiment(seeds=(0,)))
    for record in build.fits(CELL, [0.80, 0.81]):
        append(folder.path, record)
    arguments = ["compare", str(two / "before"), str(folder.path)]
    assert cli.main(arguments) == cli.DONE
    said = capsys.readouterr().out
    assert "asked with different settings" in said
    assert f"Only before, of {CELL}: accuracy of seeds 1 and 2; as shipped with 1 thread." in said
    assert cli.main([*arguments, "--json"]) == cli.DONE
    found = json.loads(capsys.readouterr().out)
    times = [{"track": "as_shipped", "threads": 1}]
    assert found["lost"] == [{"cell": str(CELL), "seeds": [1, 2], "any_seed_left": True, "time": times}]
    assert found["asked_alike"] is False


def test_folders_without_a_cell_in_common_are_a_mistake(two, capsys):
    other = ResultsFolder(two / "other")
    other.write_experiment(build.experiment())
    assert cli.main(["compare", str(two / "before"), str(other.path)]) == cli.USER_ERROR
    assert "no cell in common" in capsys.readouterr().err
