"""One run per results folder; files appear whole or not at all."""

import subprocess
import sys

import pytest

from bench.errors import UserError
from bench.folder import ResultsFolder, write_atomically

HOLD = """
import sys
from pathlib import Path
from bench.folder import ResultsFolder
with ResultsFolder(Path(sys.argv[1])).exclusive():
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_told_who_holds_the_folder(tmp_path):
    with hold(tmp_path) as holder:
        with pytest.raises(UserError, match=f"process {holder.pid} on "), ResultsFolder(tmp_path).exclusive():
            pass
        holder.communicate("")


def test_a_folder_whose_holder_was_killed_is_free(tmp_path):
    with hold(tmp_path) as holder:
        holder.kill()
    with ResultsFolder(tmp_path).exclusive():
        assert "process" in (tmp_path / ".holder").read_text()


def test_what_was_asked_is_kept_beside_what_came_out(tmp_path, small):
    folder = ResultsFolder(tmp_path / "ä b")
    folder.write_experiment(small)
    assert folder.experiment() == small


def test_a_folder_without_a_run_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="nothing was run here"):
        ResultsFolder(tmp_path).experiment()


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "table.md"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    with pytest.raises(TypeError):
        write_atomically(path, 5)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["table.md"]
