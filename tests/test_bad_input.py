"""Whatever a person hands over: one line that says what is wrong and where, and exit code 2."""

import re
from pathlib import Path

import pytest
from broken_files import Broken, toml_files
from broken_places import places
from fault_tools import bench

from bench import cli

pytestmark = pytest.mark.faults
CASES = [*toml_files(), *places()]
CURE = re.compile(
    r"did you mean|there (are|is)|should (be|hold|have)|must|is required|(mend|correct|update) |move the line|again|"
    r"`bench|`make|written as|write |give |names? |set |take |put |choose|below|above|beyond|tells how|BENCH_|--results"
)


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
