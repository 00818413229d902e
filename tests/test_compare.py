"""`bench compare`: what is said of two results folders."""

import json

import pytest
import record_builders as build

from bench import cli
from bench.folder import ResultsFolder
from bench.records import append
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


def test_folders_without_a_cell_in_common_are_a_mistake(two, capsys):
    other = ResultsFolder(two / "other")
    other.write_experiment(build.experiment())
    assert cli.main(["compare", str(two / "before"), str(other.path)]) == cli.USER_ERROR
    assert "no cell in common" in capsys.readouterr().err
