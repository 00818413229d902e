"""Files of data sets: found, checked, brought, refused; and what `bench data` says of them."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fault_tools import ROOT
from toy_files import FILES, PINNED, Shelf, put, shelf, store_of, visible

from bench import cli
from bench.data import DataRow, data_rows
from bench.datasets import blocks, citeseer, cora_linqs
from bench.datasets._files import FileStore, Report, cache_folder, sha256
from bench.errors import UserError
from bench.task import DataUnavailable

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    return tmp_path / "cache" / "toy"


@pytest.fixture
def lines() -> list[str]:
    return []


# Bringing.


def test_absent_files_are_brought_into_the_cache_and_read(cache: Path, lines: list[str]) -> None:
    store = store_of(shelf())
    store.fetch(lines.append)
    assert store.read() == FILES
    assert lines == ["one.txt from the shelf", "two.txt from the shelf"]
    assert [Path(state.place).parent for state in store.states()] == [cache, cache]


def test_what_is_there_is_not_asked_for_again(lines: list[str]) -> None:
    source = shelf()
    store_of(source).fetch(lines.append)
    store_of(source).fetch(lines.append)
    assert source.asked == ["one.txt", "two.txt"]


def test_reading_brings_what_is_absent() -> None:
    assert store_of(shelf()).read(["two.txt"]) == {"two.txt": b"second file"}


def test_the_next_source_is_asked_for_what_the_first_has_not_got(lines: list[str]) -> None:
    first, second = Shelf({"one.txt": FILES["one.txt"]}, []), shelf()
    store_of(first, second).fetch(lines.append)
    assert second.asked == ["two.txt"]


def test_when_no_source_has_a_file_the_text_says_what_was_tried_and_what_to_do(lines: list[str]) -> None:
    with pytest.raises(DataUnavailable) as failure:
        store_of(Shelf({}, [])).fetch(lines.append)
    text = str(failure.value)
    assert "no source has one.txt and 1 more" in text
    assert "shelf: out of stock" in text
    assert "BENCH_DATA" in text
    assert "planetoid-toy/" in text


def test_an_altered_file_from_a_source_is_not_kept(cache: Path, lines: list[str]) -> None:
    with pytest.raises(DataUnavailable) as failure:
        store_of(shelf(two=b"something else")).fetch(lines.append)
    assert PINNED["two.txt"] in str(failure.value)
    assert sha256(b"something else") in str(failure.value)
    assert visible(cache) == {"one.txt"}


def test_an_interrupted_fetch_leaves_nothing_half_installed(cache: Path, lines: list[str]) -> None:
    @dataclass
    class Interrupted(Shelf):
        def contents(self, names: Sequence[str], report: Report) -> Iterator[tuple[str, bytes]]:
            yield "one.txt", self.files["one.txt"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_of(Interrupted(FILES, [])).fetch(lines.append)
    assert visible(cache) == {"one.txt"}
    assert store_of(shelf()).read() == FILES


def test_what_a_killed_process_left_half_written_goes_and_nothing_else(cache: Path, lines: list[str]) -> None:
    cache.mkdir(parents=True)
    dies = "with atomic_file(Path(sys.argv[1])) as file: file.write(b'half'); os.kill(os.getpid(), 9)"
    code = f"import os, sys\nfrom pathlib import Path\nfrom bench.folder import atomic_file\n{dies}"
    subprocess.run([sys.executable, "-c", code, str(cache / "two.txt")], cwd=ROOT, check=False)
    (left,) = cache.glob(".two.txt.*")
    others = {".lock", ".three.txt.a1b2", ".two.txt", "two.txt.rejected", ".scratch.mine"}
    put(cache, dict.fromkeys(others, b"somebody's"))
    store_of(shelf()).fetch(lines.append)
    assert not left.exists()
    assert {path.name for path in cache.iterdir()} == others | FILES.keys()


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataUnavailable, match=r"cannot be written.*BENCH_CACHE"):
        store_of(shelf()).read()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "sub/evil", "..", ""])
def test_a_pinned_name_that_is_a_path_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a plain file name"):
        FileStore("toy", {name: "0" * 64}, ())


# Checking.


@pytest.mark.parametrize("content", [b"first fi", b"First file", b""], ids=["truncated", "altered", "empty"])
def test_a_bad_file_in_the_cache_is_refused_by_name_with_both_digests(cache: Path, content: bytes) -> None:
    store = store_of(shelf())
    store.read()
    (cache / "one.txt").write_bytes(content)
    with pytest.raises(DataUnavailable) as failure:
        store.read()
    text = str(failure.value)
    assert str(cache / "one.txt") in text
    assert f"expected SHA-256 {PINNED['one.txt']}, found {sha256(content)} in {len(content)} bytes" in text
    assert "bench data toy --fetch" in text
    assert (cache / "one.txt").read_bytes() == content


def test_fetching_sets_a_bad_cached_file_aside_and_says_so(cache: Path, lines: list[str]) -> None:
    store = store_of(shelf())
    store.read()
    (cache / "one.txt").write_bytes(b"first fi")
    store.fetch(lines.append)
    assert store.read() == FILES
    assert (cache / "one.txt.rejected").read_bytes() == b"first fi"
    assert "set aside as one.txt.rejected" in lines[0]


def test_states_tell_verified_from_altered_and_absent(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "one.txt").write_bytes(b"first fi")
    states = store_of().states()
    assert [state.state for state in states] == ["altered", "absent"]
    assert PINNED["one.txt"] in states[0].note


def test_the_digest_depends_on_names_and_contents_only() -> None:
    store = store_of(shelf())
    assert store.digest == replace(store, name="other", sources=()).digest
    assert store.digest != replace(store, pinned=PINNED | {"one.txt": "0" * 64}).digest


# The user's folder.


@pytest.mark.parametrize("subfolder", ["", "planetoid-toy"])
def test_the_users_folder_wins_over_the_cache(subfolder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(shelf())
    store.read()
    put(tmp_path / "mine" / subfolder, FILES)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "mine"))
    assert {Path(state.place).parent for state in store.states()} == {tmp_path / "mine" / subfolder}
    assert store.read() == FILES


def test_a_bad_file_in_the_users_folder_is_refused_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    store = store_of(shelf())
    store.read()
    put(tmp_path / "mine", {"one.txt": b"altered"})
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "mine"))
    for attempt in (store.read, lambda: store.fetch(lines.append)):
        with pytest.raises(DataUnavailable, match=r"mine/one.txt: refused.*put the right file there"):
            attempt()
    assert visible(tmp_path / "mine") == {"one.txt"}


def test_a_users_folder_without_the_files_leaves_the_cache_in_charge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert store_of(shelf()).read() == FILES


def test_a_users_folder_that_does_not_exist_is_the_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"BENCH_DATA=.*nowhere"):
        store_of(shelf()).read()


def test_the_cache_follows_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gat-bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "gat-bench"


# What `bench data` says.

TOYS = {
    "blocks": blocks.DATASET,
    "cora_linqs": replace(cora_linqs.DATASET, store=store_of(shelf())),
    "citeseer": replace(citeseer.DATASET, store=store_of(Shelf({}, []))),
}


def row(rows: Sequence[DataRow], name: str) -> DataRow:
    return next(row for row in rows if row.name == name)


def test_a_list_shows_every_data_set_and_fetches_none(lines: list[str]) -> None:
    rows = data_rows(TOYS.values(), report=lines.append)
    assert [(row.name, row.state) for row in rows] == [
        ("blocks", "generated"),
        ("cora_linqs", "absent"),
        ("citeseer", "absent"),
    ]
    assert (rows[0].nodes, rows[0].features, rows[0].splits) == (400, 64, ("random",))
    assert not lines


def test_one_data_set_that_cannot_be_had_does_not_keep_the_others_away(lines: list[str], cache: Path) -> None:
    rows = data_rows(reversed(TOYS.values()), fetch=True, report=lines.append)
    assert (row(rows, "cora_linqs").state, row(rows, "cora_linqs").place) == ("verified", str(cache))
    assert not row(rows, "cora_linqs").problem


def test_a_failed_fetch_is_the_rows_problem(lines: list[str]) -> None:
    (only,) = data_rows([TOYS["citeseer"]], fetch=True, report=lines.append)
    assert "no source has" in only.problem


def test_verifying_says_what_is_absent_and_fetches_nothing(lines: list[str], cache: Path) -> None:
    (only,) = data_rows([TOYS["cora_linqs"]], verify=True, report=lines.append)
    assert f"{cache / 'one.txt'}: absent" in only.problem
    assert not cache.exists()


def test_verifying_compares_a_data_set_with_what_is_said_of_it(lines: list[str]) -> None:
    (right,) = data_rows([TOYS["blocks"]], verify=True, report=lines.append)
    assert not right.problem
    wrong = replace(blocks.DATASET, info=replace(blocks.DATASET.info, edges=3, classes=5))
    (found,) = data_rows([wrong], verify=True, report=lines.append)
    assert "3 edges expected, 2180 found" in found.problem
    assert "5 classes expected, 4 found" in found.problem


def test_an_altered_file_shows_in_the_list_with_its_digests(lines: list[str], cache: Path) -> None:
    put(cache, FILES | {"two.txt": b"altered"})
    found = row(data_rows(TOYS.values(), report=lines.append), "cora_linqs")
    assert found.state == "altered"
    assert f"two.txt: expected SHA-256 {PINNED['two.txt']}" in found.note


def test_a_variant_of_a_data_set_is_named_as_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "qm9-mu", "powerlaw-n500-d4"]) == 0
    states = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "absent" in states["qm9-mu"]
    assert "generated" in states["powerlaw-n500-d4"]
    assert cli.main(["data", "qm9-muu"]) == 2
    assert "there is no property 'muu'; did you mean 'mu'?" in capsys.readouterr().err
