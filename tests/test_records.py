"""Records survive what machines do to files."""

import json
import shutil
from pathlib import Path

import pytest
import record_builders as build

from bench import cli, records
from bench.errors import UserError

pytestmark = pytest.mark.faults
SAMPLES = Path(__file__).parent / "samples"


@pytest.fixture
def record():
    return build.parity(build.key())


def test_a_record_comes_back_as_it_was_written(tmp_path, record):
    records.append(tmp_path, record)
    assert records.read(tmp_path) == [record]


def test_an_empty_folder_has_no_records(tmp_path):
    assert records.read(tmp_path) == []


def test_a_torn_last_line_is_set_aside_and_the_rest_is_kept(tmp_path, record):
    records.append(tmp_path, record)
    path = tmp_path / records.NAME
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    assert records.read(tmp_path) == [record]
    records.append(tmp_path, record)
    assert records.read(tmp_path) == [record, record]
    assert (tmp_path / "records.torn").read_bytes() == whole[:50] + b"\n"


def test_garbage_in_the_middle_is_named_by_file_and_line(tmp_path, record):
    records.append(tmp_path, record)
    whole = (tmp_path / records.NAME).read_bytes()
    (tmp_path / records.NAME).write_bytes(whole + b"\x00\x01 garbage\n" + whole)
    with pytest.raises(UserError, match="line 2: not a record"):
        records.read(tmp_path)


def test_a_file_of_a_newer_version_is_refused(tmp_path, record):
    line = json.loads(record.model_dump_json()) | {"schema_version": records.SCHEMA_VERSION + 1}
    (tmp_path / records.NAME).write_text(json.dumps(line) + "\n")
    with pytest.raises(UserError, match="newer gat-bench"):
        records.read(tmp_path)


def test_a_line_whose_time_is_none_is_named_by_place(tmp_path, record):
    line = json.loads(record.model_dump_json()) | {"started_utc": "yesterday"}
    (tmp_path / records.NAME).write_text(json.dumps(line) + "\n")
    with pytest.raises(UserError, match=r"line 1: started_utc: .*yesterday"):
        records.read(tmp_path)


def test_a_line_with_an_impossible_value_is_named_by_place(tmp_path, record):
    line = json.loads(record.model_dump_json())
    line["outcome"]["passed"] = "perhaps"
    (tmp_path / records.NAME).write_text(json.dumps(line) + "\n")
    with pytest.raises(UserError, match=r"line 1: outcome\.parity\.passed"):
        records.read(tmp_path)


def test_the_newest_record_of_a_job_counts(record):
    newer = record.model_copy(update={"seconds": 99.0})
    assert records.latest([record, newer])[record.id].seconds == 99.0


@pytest.mark.parametrize(
    ("status", "final"),
    [("error", False), ("unsupported", False), ("budget", False), ("timeout", True), ("out_of_memory", True)],
)
def test_what_may_have_been_mended_is_looked_at_anew(status, final):
    record = build.record(build.parity(build.key()).job, build.NotDone(status=status, reason="r"))
    assert record.final is final


GARBLED = {
    "zeros": b"\x00" * 300,
    "cut": b'{"schema_version": 1, "id"',
    "noise": b"\xff\xfe garbage\n",
    "a number": b"17\n",
    "blank": b"   \n",
    "nested without end": b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("tail", GARBLED.values(), ids=GARBLED)
def test_a_last_line_that_is_not_whole_is_set_aside_by_name(tmp_path, record, tail):
    records.append(tmp_path, record)
    path = tmp_path / records.NAME
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert records.read(tmp_path) == [record]
    notice = records.mend(tmp_path)
    assert str(path) in notice
    assert records.TORN in notice
    assert path.read_bytes() == whole
    assert (tmp_path / records.TORN).read_bytes() == tail.removesuffix(b"\n") + b"\n"
    assert records.mend(tmp_path) is None


def test_a_last_line_longer_than_what_is_read_at_once_is_left_alone(tmp_path, record):
    long = record.model_copy(update={"environment": {"os": "x" * (3 * records.BLOCK_BYTES)}})
    records.append(tmp_path, record)
    records.append(tmp_path, long)
    assert records.mend(tmp_path) is None
    assert records.read(tmp_path) == [record, long]


@pytest.mark.parametrize("version", [0, -1, "1", None, [1]])
def test_a_version_that_never_was_is_named(tmp_path, record, version):
    line = json.loads(record.model_dump_json()) | {"schema_version": version}
    (tmp_path / records.NAME).write_text(json.dumps(line) + "\n" + record.model_dump_json() + "\n")
    with pytest.raises(UserError, match=r"line 1: .*; move the line elsewhere"):
        records.read(tmp_path)


def test_an_older_version_is_upgraded_while_it_is_read_and_the_file_stays(tmp_path, record, monkeypatch):
    def named_anew(content):
        content["seconds"] = content.pop("wall_s")
        return content | {"schema_version": 1}

    monkeypatch.setattr(records, "UPGRADES", {0: named_anew})
    line = json.loads(record.model_dump_json()) | {"schema_version": 0}
    line["wall_s"] = line.pop("seconds")
    path = tmp_path / records.NAME
    path.write_text(json.dumps(line) + "\n")
    before = path.read_bytes()
    assert records.read(tmp_path) == [record]
    records.append(tmp_path, record)
    assert records.read(tmp_path) == [record, record]
    assert path.read_bytes().startswith(before)


def test_the_oldest_folder_that_there_is_can_be_read_and_shown(tmp_path, capsys):
    """A sample for each schema, as it was written then; `results/reference` of 2026-11-22, cut."""
    shutil.copytree(SAMPLES / "schema-1", tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "default" / records.NAME).read_bytes()
    found = records.read(tmp_path / "default")
    assert {type(record.outcome).__name__ for record in found} == {"Checked", "Timed", "Tuned", "Fitted", "NotDone"}
    assert cli.main(["report", "default", "--results", str(tmp_path)]) == 0
    assert "pyg" in capsys.readouterr().out
    assert (tmp_path / "default" / "report.html").exists()
    assert (tmp_path / "default" / records.NAME).read_bytes() == before


def test_there_is_a_sample_of_every_schema():
    versions = range(1, records.SCHEMA_VERSION + 1)
    assert sorted(path.name for path in SAMPLES.iterdir()) == [f"schema-{version}" for version in versions]
