"""One run per results folder; files appear whole or not at all."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import cli
from bench.errors import UserError
from bench.folder import ResultsFolder, write_atomically

PUBLISHED = Path(__file__).parent.parent / "results" / "reference"
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


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("default", "`bench run default` does"),
        ("gat-table2", "`bench tables gat-table2` does"),
        ("defualt", "there is no experiment or table 'defualt'; did you mean 'default'?"),
        ("my-qestion", "did you mean 'my-question'?"),
    ],
)
def test_a_name_of_nothing_that_was_run_is_answered_with_a_command_that_there_is(tmp_path, small, name, hint):
    ResultsFolder(tmp_path / "my-question").write_experiment(small)
    with pytest.raises(UserError) as refused:
        ResultsFolder(tmp_path / name).asked()
    assert str(refused.value).startswith(f"{tmp_path / name}: nothing was run here; ")
    assert hint in str(refused.value)
    assert "`bench run" not in str(refused.value) or name == "default"


def test_a_papers_table_is_not_taken_for_an_experiment(capsys):
    table, default = (PUBLISHED / name for name in ("gat-table2", "default"))
    assert cli.main(["compare", str(table), str(default)]) == 2
    error = capsys.readouterr().err
    assert "gat-table2: holds a paper's table, which has no grid of cells; `bench report gat-table2` prints it" in error


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "table.md"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    with pytest.raises(TypeError):
        write_atomically(path, 5)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["table.md"]
