"""Whatever a person hands over: one line that says what is wrong and where, and exit code 2."""

import re
from pathlib import Path

import ppi_files
import pytest
from broken_files import Broken, toml_files
from broken_places import places
from fault_tools import bench, tiny

from bench import cli, records

pytestmark = pytest.mark.faults
CASES = [*toml_files(), *places()]
DO = "add|choose|correct|give|leave|let|make|mend|move|name|put|run|set|take|unset|update|wait|write"
CURE = re.compile(
    r"; did you mean '[^']+'\?"
    r"|; (there are|it has|it offers|it may name) [\w'\[]"  # and which
    r"|\b(should|must) (be|have|hold|differ|start|match) "
    rf"|[;:,] (so |or |and )?({DO}) [\w`'\[<-]"
    r"|`(bench|make) [^`]+` (brings|does|makes|prints|sets|takes|tells) ?"
)


@pytest.mark.parametrize(
    "said",
    [
        "e.toml: title: there is nothing in it",
        "e.toml: seeds: what there is is below 0 again",
        "e.toml: datasets: there is no data set 'koras'",
        "e.toml: name: its place is beyond what can be taken, and so is its name",
        "e.toml: backends: names something twice: ['pyg', 'pyg']",
        "data/train.pt: not an array: Unable to allocate 7.28 PiB for an array with shape (1000000, 1000000)",
        "results/default/records.jsonl, line 2: not a record (Expecting value); BENCH_RESULTS has it",
    ],
)
def test_a_sentence_without_a_cure_is_not_taken_for_one_with(said):
    assert not CURE.search(said)


def test_there_are_at_least_two_hundred_and_each_is_another():
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused_in_one_line_with_place_and_cure(case: Broken, tmp_path, monkeypatch, capsys):
    case.put(tmp_path)
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value.format(folder=tmp_path))
    assert cli.main([argument.format(folder=tmp_path) for argument in case.arguments]) == 2
    is_the_error(case, capsys.readouterr().err)


def is_the_error(case: Broken, written: str) -> None:
    assert "Traceback" not in written
    before, begun, error = written.rpartition("bench: ")  # what was brought until then stands before it
    assert begun, written
    assert not before or before.endswith("\n")
    lines = error.splitlines()
    assert 1 <= len(lines) <= case.mistakes, error
    for line in lines:
        assert all(place in line for place in case.says) or len(lines) > 1, line
        assert CURE.search(line), line
        assert len(line) < 1500


def test_a_run_over_broken_data_says_so_of_each_job_and_ends_as_any_other(tmp_path):
    ppi_files.write(tmp_path / "ppi")
    (tmp_path / "ppi" / "train_feats.npy").write_bytes(ppi_files.described("'<f8'", f"({10**9}, {10**9})"))
    own = (
        ('datasets = ["blocks"]', 'datasets = ["ppi"]'),
        ("[training]", "[protocol]\nrow_normalise = false\n[training]"),
    )
    run = ("run", tiny(tmp_path, *own), "--mlflow", "off", "--results", tmp_path / "results")
    done = bench(*run, BENCH_DATA=str(tmp_path), BENCH_CACHE=str(tmp_path / "cache"))
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "unsupported: train_feats.npy: not an array: " in done.stderr
    found = records.read(tmp_path / "results" / "tiny")
    assert found
    assert {record.outcome.status for record in found} == {"unsupported"}


BY_HAND = [case for case in CASES if case.name.startswith(("run of a file", "BENCH_DATA", "words, 'run smoke tw"))][::6]


@pytest.mark.parametrize("case", BY_HAND, ids=lambda case: case.name)
def test_a_process_of_its_own_says_the_same(case: Broken, tmp_path):
    case.put(tmp_path)
    here = {name: value.format(folder=tmp_path) for name, value in case.environment.items()}
    done = bench(*(argument.format(folder=tmp_path) for argument in case.arguments), **here)
    assert done.returncode == 2
    is_the_error(case, done.stderr)


def test_nothing_is_written_where_a_file_was_refused(tmp_path, capsys):
    path = tmp_path / "e.toml"
    path.write_text("title = 3\n")
    assert cli.main(["run", str(path), "--results", str(tmp_path / "results")]) == 2
    assert {found.name for found in Path(tmp_path).iterdir()} == {"e.toml"}
