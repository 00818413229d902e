"""`bench compare`: what is said of two results folders, or of two commits."""

import json

import pytest
import record_builders as build

from bench import cli, experiment_file
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


@pytest.mark.parametrize("side", [0, 1], ids=["after", "before"])
def test_accuracies_of_a_side_that_failed_on_some_seeds_are_not_judged_by_the_others(side):
    failed = [build.not_done(build.fit_job(CELL, seed), "diverged", "the loss was nan") for seed in range(4, 10)]
    lucky = Results.of(build.experiment(), [*build.fits(CELL, [0.95, 0.96, 0.97, 0.96]), *failed])
    found = difference.difference(*((BEFORE, lucky), (lucky, BEFORE))[side])
    (verdict,) = found.accuracy
    said = f"{('after', 'before')[side]} failed on 6 of 10 seeds"
    assert (verdict.word, verdict.short(), verdict.figures()) == ("undecided", "not judged", said)
    assert not any("accurate" in sentence for sentence in difference.changes(found))
    assert difference.plain(found)["accuracy"] == [
        {"cell": str(CELL), "verdict": "undecided", "points": None, "not_judged": said}
    ]


NOT_BESIDE = "No times of the two were taken side by side: what the machine did differently counts as difference."


def on(machine, found):
    moved = [one.model_copy(update={"environment": one.environment | machine}) for one in found.records]
    return Results.of(found.experiment, moved)


FIRST_MACHINE = {"host": "bench-1", "device": "AMD EPYC", "cores": "2"}


@pytest.mark.parametrize("other", [{"host": "bench-2"}, {"device": "Intel Xeon"}, {"cores": "64"}])
def test_times_of_two_machines_are_not_judged(other):
    machines = FIRST_MACHINE, FIRST_MACHINE | other
    found = difference.difference(*(on(machine, results(0.1, [0.8, 0.81, 0.82])) for machine in machines))
    names = ["{host} ({device}, {cores} cores)".format(**machine) for machine in machines]
    said = f"before was timed on {names[0]}, after on {names[1]}"
    assert {(verdict.short(), verdict.figures()) for verdict in found.time} == {("not judged", said)}
    assert {one["not_judged"] for one in difference.plain(found)["time"]} == {said}
    assert {verdict.word for verdict in found.accuracy} == {"equivalent"}
    assert found.remarks == []


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
    said = capsys.readouterr().out
    assert "after is faster than before" in said
    assert NOT_BESIDE in said
    assert cli.main([*arguments, "--json"]) == cli.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["remarks"] == [NOT_BESIDE]
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


OLD, NEW, TWIN, FIRST = "1a2b" + 36 * "0", "c3d4" + 36 * "1", "c3d4" + 36 * "2", "99" + 38 * "0"
"""Commits of no repository, so that git cannot be asked for them."""


def made_at(commit, records, dirty="no"):
    where = {"commit": commit, "dirty": dirty}
    return [one.model_copy(update={"environment": one.environment | where}) for one in records]


def kept(path, records):
    folder = ResultsFolder(path)
    folder.write_experiment(build.experiment())
    for record in records:
        append(folder.path, record)
    return str(path)


SLOW, FAST = BEFORE.records, results(0.05, [0.80, 0.81, 0.82]).records
MEANWHILE = results(0.4, [0.5, 0.51, 0.52]).records


@pytest.fixture
def at_work(tmp_path):
    """A results folder in which an experiment was run at two commits, and twice at the first: first slowly."""
    records = [*made_at(OLD, MEANWHILE), *made_at(OLD, SLOW), *made_at(NEW, FAST)]
    return kept(tmp_path / "default", records)


def found_by(arguments, capsys):
    assert cli.main(["compare", *arguments, "--json"]) == cli.DONE
    return json.loads(capsys.readouterr().out)


def ratios(found):
    return {(one["phase"], round(one["ratio"], 6)) for one in found["time"]}


HALVED = {("train", 0.5), ("evaluate", 0.5)}


def test_a_folder_at_two_commits_is_compared_by_what_was_recorded_last_at_each(at_work, capsys):
    found = found_by([f"{at_work}@1a2b", f"{at_work}@C3D4111"], capsys)
    assert ratios(found) == HALVED
    assert {one["verdict"] for one in found["accuracy"]} == {"equivalent"}
    assert cli.main(["compare", f"{at_work}@{NEW}", f"{at_work}@{OLD}"]) == cli.DONE
    assert "after is slower than before" in capsys.readouterr().out


def test_of_a_commit_uncommitted_code_counts_only_where_there_is_no_other_and_it_is_said(tmp_path, capsys):
    changed = made_at(NEW, MEANWHILE, dirty="yes")  # the newest
    folder = kept(tmp_path / "default", [*made_at(OLD, SLOW, dirty="yes"), *made_at(NEW, FAST), *changed])
    two = ["1a2b", "c3d4", "--results", str(tmp_path)]
    said = [
        "Before: what was recorded at 1a2b00000000 with uncommitted changes is all that there is, so that the "
        "difference may be theirs.",
        "After: what was recorded at c3d411111111 with uncommitted changes is left out.",
        NOT_BESIDE,
    ]
    for found in (found_by([f"{folder}@1a2b", "c3d4"], capsys), found_by(two, capsys)["experiments"]["default"]):
        assert ratios(found) == HALVED
        assert found["remarks"] == said
    assert cli.main(["compare", *two]) == cli.DONE
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if line in said] == said


def test_a_commit_beside_a_folder_is_of_that_folder(at_work, tmp_path, capsys):
    other = kept(tmp_path / "other", made_at(FIRST, MEANWHILE))
    assert ratios(found_by(["1a2b", at_work], capsys)) == HALVED
    assert ratios(found_by([f"{at_work}@1a2b", "c3d4"], capsys)) == HALVED
    assert ratios(found_by([f"{other}@99000", f"{at_work}@1a2b"], capsys)) == {("train", 0.25), ("evaluate", 0.25)}


def test_two_commits_are_compared_in_every_experiment_that_has_records_of_both(at_work, tmp_path, capsys):
    kept(tmp_path / "again", [*made_at(OLD, FAST), *made_at(NEW, SLOW)])
    kept(tmp_path / "new", made_at(NEW, FAST))
    ResultsFolder(tmp_path / "lookup").write_experiment(
        experiment_file.read_study(experiment_file.FOLDER / "lookup.toml")
    )
    arguments = ["1a2b", "c3d4", "--results", str(tmp_path)]
    found = found_by(arguments, capsys)["experiments"]
    assert {name: ratios(one) for name, one in found.items()} == {
        "again": {("train", 2.0), ("evaluate", 2.0)},
        "default": HALVED,
    }
    assert cli.main(["compare", *arguments]) == cli.DONE
    again, default = capsys.readouterr().out.split("default\n=======\n")
    assert again.startswith("again\n=====\n")
    assert "after is slower than before" in again
    assert "after is faster than before" in default


def test_an_experiment_whose_commits_share_no_cell_is_not_said_to_be_unchanged(at_work, tmp_path, capsys):
    other = build.fits(build.key("dgl"), [0.8, 0.81, 0.82])
    kept(tmp_path / "apart", [*made_at(OLD, SLOW), *made_at(NEW, other)])
    assert cli.main(["compare", "1a2b", "c3d4", "--results", str(tmp_path)]) == cli.DONE
    apart, _ = capsys.readouterr().out.split("default\n=======\n")
    assert "No cell has results of both." in apart
    assert "Nothing was shown to have changed." not in apart


def test_a_folder_whose_name_looks_like_a_commit_or_has_an_at_sign_is_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    kept(tmp_path / "c3d4", made_at(OLD, SLOW))
    kept(tmp_path / "mine@1a2b", made_at(OLD, FAST))
    assert ratios(found_by(["c3d4", "mine@1a2b"], capsys)) == HALVED
    assert ratios(found_by(["c3d4@1a2b", "mine@1a2b@1a2b"], capsys)) == HALVED


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            "{default}@1a2",
            "c3d41",
            "a commit has 4 hexadecimal digits or more, not '1a2'; there are 1a2b00000000, c3d4",
        ),
        ("{default}@HEAD", "c3d41", "4 hexadecimal digits or more, not 'HEAD'; there are 1a2b00000000, c3d4"),
        ("{default}@", "c3d41", "4 hexadecimal digits or more, not ''; there are 1a2b00000000, c3d4"),
        ("{default}@beef", "c3d41", "nothing was recorded at a commit 'beef'; there are 1a2b00000000, c3d411111111"),
        ("1a2", "c3d41", "not '1a2'; there are 1a2b00000000, c3d411111111, c3d422222222"),
        ("1a2b", "beef", "nothing was recorded at a commit 'beef'; there are 1a2b00000000, c3d411111111, c3d4"),
        ("1a2b", "c3d4", "'c3d4' begins several commits; write more digits: there are c3d411111111, c3d422222222"),
        ("1a2b", "c3d42", "both commits; of 1a2b00000000 there are records of default, of c3d422222222 there are"),
        ("{default}@1a2b", "{unknown}@1a2b", "no record says at which commit it was made"),
        ("{default}@1a2b", "{default}x@1a2b", "defaultx: there is no such folder"),
        ("@1a2b", "c3d41", "@1a2b: there is no such folder"),
    ],
)
def test_what_is_no_commit_of_the_records_is_one_line_that_names_those_there_are(
    before, after, says, at_work, tmp_path, capsys
):
    kept(tmp_path / "twin", made_at(TWIN, FAST))
    named = {"default": at_work, "unknown": kept(tmp_path / "unknown", made_at("unknown", FAST))}
    arguments = [before.format(**named), after.format(**named), "--results", str(tmp_path)]
    assert cli.main(["compare", *arguments]) == cli.USER_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_commits_of_a_folder_in_which_nothing_was_run_are_a_mistake(tmp_path, capsys):
    assert cli.main(["compare", "1a2b", "c3d4", "--results", str(tmp_path)]) == cli.USER_ERROR
    assert f"{tmp_path}: no experiment was run here" in capsys.readouterr().err
