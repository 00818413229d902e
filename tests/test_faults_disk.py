"""Full disks, read-only folders, folders of other versions, and names that ask for trouble."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import record_builders as build
from fault_tools import SmallDisk, bench, ids, is_a_users_error, small_disk, succeeds, tiny

from bench import cli, records, sqlite_file
from bench.folder import ResultsFolder
from bench.outcomes import NotDone

pytestmark = pytest.mark.faults
LONG = ("max_epochs = 30", "max_epochs = 150\nstop_on = 'never'")  # records of some KiB
NO_STUDY = ("trials = 3", "trials = 0")


@pytest.fixture
def disk(tmp_path):
    yield from small_disk(tmp_path / "small disk", "3m")


def whole_records(disk: SmallDisk, folder: Path) -> list[str]:
    """What can be read with no more room made."""
    return ids(disk.seen(folder))


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(disk, tmp_path):
    results, experiment = disk.place / "results", tiny(tmp_path, LONG, NO_STUDY)
    run = ("run", experiment, "--mlflow", "off", "--results", results)
    disk.fill(but_kib=116)
    full = disk.bench(*run)
    assert is_a_users_error(full), full.stderr
    assert "No space left on device; make room" in full.stderr
    assert str(results / "tiny" / records.NAME) in full.stderr
    finished = whole_records(disk, results / "tiny")
    assert 0 < len(finished) < 5
    disk.make_room()
    again = disk.bench(*run)
    assert again.returncode == 0, again.stderr
    everything = whole_records(disk, results / "tiny")
    assert everything[: len(finished)] == finished
    assert len(set(everything)) == len(everything) == 5  # parity, one round, three fits


@pytest.mark.slow
def test_tables_and_mlflow_on_a_full_disk_are_one_line_each_and_are_made_when_there_is_room(disk, tmp_path):
    results, experiment = disk.place / "results", tiny(tmp_path, NO_STUDY)
    place = ("--results", results)
    assert disk.bench("run", experiment, "--mlflow", "off", *place).returncode == 0
    finished = whole_records(disk, results / "tiny")
    disk.fill(but_kib=8)
    report = disk.bench("report", "tiny", *place)
    assert is_a_users_error(report), report.stderr
    sync = disk.bench("mlflow", "sync", *place)
    assert (sync.returncode, "Traceback" in sync.stderr) == (1, False), sync.stderr
    assert len(sync.stdout.splitlines()) == 1
    assert "disk is full" in sync.stdout or "No space left" in sync.stdout
    assert whole_records(disk, results / "tiny") == finished
    disk.make_room()
    assert disk.bench("report", "tiny", *place).returncode == 0
    done = disk.bench("mlflow", "sync", *place)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_full_mlflow_store_does_not_stop_the_run(disk, tmp_path):
    store, experiment = disk.place / "mlflow.db", tiny(tmp_path, NO_STUDY)
    disk.fill(but_kib=100)
    uri = sqlite_file.url(store)
    done = disk.bench("run", experiment, "--mlflow", uri, "--results", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert "MLflow is behind" in done.stdout
    assert "Traceback" not in done.stderr
    assert len(ids(tmp_path / "results" / "tiny")) == 5
    disk.make_room()
    assert disk.bench("mlflow", "sync", "--mlflow", uri, "--results", tmp_path / "results").returncode == 0


@pytest.mark.slow
def test_a_full_disk_under_the_study_is_a_line_and_the_study_is_run_when_there_is_room(disk, tmp_path):
    store, results = disk.place / "optuna.db", tmp_path / "results"
    run = ("run", tiny(tmp_path), "--mlflow", "off", "--results", results, "--storage", sqlite_file.url(store))
    disk.fill(but_kib=40)
    full = disk.bench(*run)
    assert (full.returncode, "Traceback" in full.stderr) == (1, False), full.stderr
    assert f"error: StudyStoreUnavailable: the Optuna store {store}: database or disk is full" in full.stderr
    finished = ids(results / "tiny")
    disk.make_room()
    again = disk.bench(*run)
    assert again.returncode == 0, again.stderr
    everything = records.latest(records.read(results / "tiny"))
    assert len(everything) == 6
    assert set(finished) <= set(everything)
    assert not any(isinstance(record.outcome, NotDone) for record in everything.values())


def test_a_folder_that_cannot_be_written_is_one_line_before_anything_runs(disk, tmp_path):
    disk.remount("ro")
    done = disk.bench("run", tiny(tmp_path), "--results", disk.place / "results")
    assert is_a_users_error(done), done.stderr
    assert done.stderr.startswith(f"bench: {disk.place / 'results'}")
    assert "Read-only file system; let --results name a folder that can be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_record_that_does_not_fit_leaves_the_file_as_it_was(disk, tmp_path):
    folder = disk.place
    small, large = build.parity(build.key()), build.fit(build.key(), 0, 0.8)
    large = large.model_copy(
        update={"outcome": large.outcome.model_copy(update={"curves": {"loss/train": (0.125,) * 9999}})}
    )
    script = tmp_path / "append.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom bench import records\n"
        "for line in sys.stdin:\n"
        "    try:\n"
        "        records.append(Path(sys.argv[1]), records.Record.model_validate_json(line))\n"
        "    except OSError as problem:\n"
        "        print(problem.errno, problem.filename)\n"
    )
    disk.fill(but_kib=12)
    lines = "".join(record.model_dump_json() + "\n" for record in (small, large, small))
    done = subprocess.run(
        [*disk.prefix, sys.executable, str(script), str(folder)],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"28 {folder / records.NAME}\n"
    assert records.read(disk.seen(folder)) == [small, small]
    assert not disk.seen(folder / "records.torn").exists()


def test_a_store_of_studies_that_cannot_be_made_again_is_one_line_and_is_made_when_there_is_room(disk, tmp_path):
    found = build.study()
    script, store = tmp_path / "mend.py", disk.place / "optuna.db"
    script.write_text(
        "import sys\nfrom bench import errors, records\nfrom bench.tuning import study_store\n"
        "record = records.Record.model_validate_json(sys.argv[2])\n"
        "try:\n"
        "    print(*study_store.mend(sys.argv[1], [record]))\n"
        "except errors.UserError as problem:\n"
        "    sys.exit(str(problem))\n"
    )

    def mend() -> subprocess.CompletedProcess[str]:
        command = [*disk.prefix, sys.executable, str(script), sqlite_file.url(store), found.model_dump_json()]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    disk.fill(but_kib=40)
    full = mend()
    assert full.returncode == 1
    assert full.stderr.startswith(f"the Optuna store {store}: ")
    assert full.stderr.endswith("; make room, or let --storage name another place\n")
    assert len(full.stderr.splitlines()) == 1
    assert not disk.seen(store).exists()
    disk.make_room()
    assert mend().stdout == f"{store} was made again from the records: 1 finished studies\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["größe & spaces", "100% what? #1 'quoted'"])
def test_any_name_of_a_folder_will_do(tmp_path, name):
    place = tmp_path / name
    place.mkdir()
    results = place / "results"
    succeeds("run", tiny(place), "--results", results)
    assert len(ids(results / "tiny")) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    with closing(sqlite3.connect(results / "tiny" / "optuna.db")) as study:
        assert study.execute("SELECT count(*) FROM trials").fetchone() == (3,)
    succeeds("report", "tiny", "--results", results)
    assert "in MLflow" in succeeds("mlflow", "sync", "--results", results)


def test_a_network_that_cannot_be_kept_is_missed_in_a_sentence_and_its_result_stands(tmp_path):
    folder = tmp_path / "results" / "tiny"
    folder.mkdir(parents=True)
    (folder / "models").symlink_to("/proc/self")  # a folder in which nothing can be made
    experiment = tiny(tmp_path, NO_STUDY, ("seeds = [0, 1, 2]", "seeds = [0, 1]"))
    done = bench("run", experiment, "--mlflow", "off", "--results", folder.parent)
    assert done.returncode == 0, done.stderr
    missed = [line for line in done.stderr.splitlines() if "its network could not be kept in" in line]
    assert sorted(line.partition("  its")[0][-6:] for line in missed) == ["seed 0", "seed 1"]
    assert all("the result stands, and the fit is not run again" in line for line in missed)


def test_a_folder_of_a_newer_version_is_refused_in_a_sentence(tmp_path):
    results = tmp_path / "results"
    (results / "tiny").mkdir(parents=True)
    line = json.loads(build.parity(build.key()).model_dump_json()) | {"schema_version": records.SCHEMA_VERSION + 1}
    (results / "tiny" / records.NAME).write_text(json.dumps(line) + "\n")
    before = (results / "tiny" / records.NAME).read_bytes()
    done = bench("run", tiny(tmp_path), "--mlflow", "off", "--results", results)
    assert is_a_users_error(done), done.stderr
    assert "written by a newer gat-bench" in done.stderr
    assert (results / "tiny" / records.NAME).read_bytes() == before


@pytest.fixture
def three(tmp_path) -> Path:
    """Folders of a newer version, of one that cannot be read, and of a whole experiment; in this order."""
    results = tmp_path / "results"
    for name in "abc":
        ResultsFolder(results / name).write_experiment(build.experiment(seeds=(0,)))
        records.append(results / name, build.fit(build.key(), 0, 0.8))
    line = json.loads(build.parity(build.key()).model_dump_json()) | {"schema_version": records.SCHEMA_VERSION + 1}
    (results / "a" / records.NAME).write_text(json.dumps(line) + "\n")
    (results / "b" / records.NAME).unlink()
    (results / "b" / records.NAME).mkdir()
    return results


def names_the_first_two(said: str, results: Path) -> bool:
    newer, unreadable = said.splitlines()
    return newer.startswith(f"bench: {results / 'a' / records.NAME}, line 1: written by a newer gat-bench") and (
        unreadable.startswith(f"bench: {results / 'b' / records.NAME}: Is a directory; ")
    )


def test_folders_that_cannot_be_read_are_named_and_the_others_are_reported(three, capsys):
    assert cli.main(["report", "--all", "--results", str(three)]) == cli.USER_ERROR
    assert names_the_first_two(capsys.readouterr().err, three)
    assert (three / "c" / "report.html").exists()
    page = (three / "index.html").read_text()
    assert f"a/{records.NAME}, line 1: written by a newer gat-bench" in page
    assert f"b/{records.NAME}: Is a directory" in page


def test_folders_that_cannot_be_read_are_named_and_the_others_are_synced(three, capsys):
    assert cli.main(["mlflow", "sync", "--results", str(three)]) == cli.USER_ERROR
    shown = capsys.readouterr()
    assert names_the_first_two(shown.err, three)
    assert shown.out == "c: in MLflow\n"


def test_a_run_stands_beside_folders_that_cannot_be_read_and_without_the_page_over_all(three, tmp_path):
    run = ("run", tiny(tmp_path, NO_STUDY), "--mlflow", "off", "--results", three)
    done = bench(*run)
    assert done.returncode == 0, done.stderr
    assert "cannot be read" not in done.stderr
    assert "b/records.jsonl: Is a directory" in (three / "index.html").read_text()
    (three / "index.html").unlink()
    (three / "index.html").mkdir()
    again = bench(*run)
    assert again.returncode == 0, again.stderr
    behind = f"index.html is behind. {three / 'index.html'}: Is a directory. `bench report` writes it anew."
    assert again.stderr.splitlines()[-1] == behind
