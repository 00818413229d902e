"""One run per results folder; files appear whole or not at all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import record_builders as build
from fault_tools import TINY
from study_texts import LOOKUP

from bench import cli, records
from bench.errors import UserError
from bench.folder import SNAPSHOT, SNAPSHOT_VERSION, TABLE_SNAPSHOT, ResultsFolder, write_atomically

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


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


NEWER_RECORD = json.loads(build.parity(build.key()).model_dump_json()) | {"schema_version": records.SCHEMA_VERSION + 1}
NOT_OURS = {
    "newer records": {"snapshot": '{"asked": "by a newer version"}', records.NAME: json.dumps(NEWER_RECORD) + "\n"},
    "a newer snapshot": {"snapshot": json.dumps({"schema_version": SNAPSHOT_VERSION + 1})},
    "a line that is no record": {"snapshot": "{}", records.NAME: "noise\n{}\n"},
}


@pytest.mark.faults
@pytest.mark.parametrize("found", NOT_OURS)
@pytest.mark.parametrize(
    ("command", "text", "snapshot"),
    [("run", TINY, SNAPSHOT), ("run", LOOKUP, SNAPSHOT), ("tables", None, TABLE_SNAPSHOT)],
    ids=["experiment", "study", "table"],
)
def test_a_run_that_is_refused_for_what_lies_in_its_folder_leaves_all_as_it_was(
    tmp_path, capsys, found, command, text, snapshot
):
    asked = "gat-table2" if text is None else tmp_path / "mine.toml"
    if text is not None:
        asked.write_text(text)
    folder = tmp_path / "results" / Path(asked).stem
    folder.mkdir(parents=True)
    for name, lines in NOT_OURS[found].items():
        (folder / (snapshot if name == "snapshot" else name)).write_text(lines)
    before = content(folder.parent)
    assert cli.main([command, str(asked), "--results", str(folder.parent)]) == 2
    said = capsys.readouterr().err
    assert ("written by a newer gat-bench" in said) == ("newer" in found), said
    assert content(folder.parent) == before


@pytest.mark.parametrize("name", [SNAPSHOT, TABLE_SNAPSHOT])
def test_views_of_a_newer_version_s_folder_ask_for_that_version_and_not_for_another_run(tmp_path, capsys, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text(json.dumps({"schema_version": SNAPSHOT_VERSION + 1, "title": "t"}))
    assert cli.main(["report", "mine", "--results", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'mine' / name}: written by a newer gat-bench (schema {SNAPSHOT_VERSION + 1}, " in said
    assert "run the" not in said


def test_what_was_asked_before_it_had_a_version_can_be_read(tmp_path, small):
    (tmp_path / SNAPSHOT).write_text(small.model_dump_json())
    assert ResultsFolder(tmp_path).experiment() == small


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
