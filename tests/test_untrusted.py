"""Files from elsewhere are data: nothing in them is run, written by a name of theirs, or shown as anything but text."""

import ast
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import record_builders as build

from bench import records
from bench.datasets import _download, _unpickle
from bench.datasets._download import UpstreamArchive
from bench.folder import ResultsFolder
from bench.report import index, write_report
from bench.task import DataUnavailable

pytestmark = pytest.mark.faults
ROOT = Path(__file__).resolve().parent.parent
SOURCES = [path for package in ("bench", "implementations") for path in sorted((ROOT / package).rglob("*.py"))]
RESTRICTED = ROOT / "bench" / "datasets" / "_unpickle.py"
PICKLING = {"pickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
RUNNING = {"eval", "exec", "compile", "__import__"}
UNPACKING = {"extract", "extractall", "unpack_archive"}
GUARDED = {("torch", "load"): ("weights_only", True), ("np", "load"): ("allow_pickle", False)}


def breaches(source: str, path: Path) -> Iterator[str]:
    """Calls and imports that would let a file do more than be read."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom) and path != RESTRICTED:
            module = node.module if isinstance(node, ast.ImportFrom) else None
            named = {(module or alias.name).partition(".")[0] for alias in node.names}
            yield from (f"{path.name}:{node.lineno} imports {name}" for name in named & PICKLING)
        if isinstance(node, ast.Call):
            yield from (f"{path.name}:{node.lineno} {wrong}" for wrong in _wrong(node))


def _wrong(call: ast.Call) -> Iterator[str]:
    given = {word.arg: getattr(word.value, "value", ...) for word in call.keywords}
    if isinstance(call.func, ast.Name) and call.func.id in RUNNING:
        yield f"calls {call.func.id}"
    if given.get("shell", False) is not False:
        yield "starts a shell"
    if isinstance(call.func, ast.Attribute):
        owner = call.func.value.id if isinstance(call.func.value, ast.Name) else ""
        if call.func.attr in UNPACKING or (owner, call.func.attr) == ("os", "system"):
            yield f"calls {call.func.attr}"
        word, value = GUARDED.get((owner, call.func.attr), ("", None))
        if word and given.get(word) is not value:
            yield f"calls {owner}.{call.func.attr} without {word}={value}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_runs_or_unpickles_what_it_reads(path):
    assert list(breaches(path.read_text(), path)) == []


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)", "exec(text)", "import pickle", "from joblib import load", "torch.load(path)", "os.system(text)",
        "torch.load(path, weights_only=False)", "np.load(path, allow_pickle=True)", "archive.extractall(folder)",
        "subprocess.run(text, shell=True)",
    ],
)  # fmt: skip
def test_the_rule_sees_what_it_forbids(line):
    assert len(list(breaches(line, Path("any.py")))) == 1


class Calls:
    """Pickles as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


@pytest.mark.parametrize(
    "hostile",
    [
        Calls(os.system, "touch {there}"), Calls(eval, "open('{there}', 'w')"), Calls(os.mkdir, "{there}"),
        {"a": Calls(os.getcwd)},
    ],
    ids=["os.system", "eval", "mkdir", "nested"],
)  # fmt: skip
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_calls_anything_is_refused_and_nothing_happens(hostile, protocol, tmp_path):
    there = tmp_path / "there"
    if isinstance(hostile, Calls):
        function, arguments = hostile.call
        hostile = Calls(function, *(str(argument).format(there=there) for argument in arguments))
    with pytest.raises(DataUnavailable, match="which is refused"):
        _unpickle.load(pickle.dumps(hostile, protocol))
    assert not there.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"cnumpy\nndarray\n(tR.", b"]" * 9, b"(lp0\nI1\naR.", b"\x85R."])
def test_a_torn_pickle_is_no_pickle(content):
    with pytest.raises(DataUnavailable, match="not a pickle of arrays"):
        _unpickle.load(content)


def pickled_array(code: str, flags: int, data: bytes, count: int) -> bytes:
    """As NumPy pickles an array, but whatever its type says: `flags` 0 denies that its numbers are objects."""
    described = f"cnumpy\ndtype\n(V{code}\nI00\nI01\ntR(I3\nV|\nNNNI-1\nI-1\nI{flags}\ntb"
    raw = "".join(f"\\u{byte:04x}" for byte in data)
    state = f"(I1\n(I{count}\nt{described}I00\nV{raw}\ntb."
    return f"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR{state}".encode("ascii")


@pytest.mark.parametrize("code", ["O8", "O", "V8", "S8", "M8", "object", "i8,O", "c16"])
def test_bytes_of_a_pickle_never_become_addresses_of_objects(code):
    with pytest.raises(DataUnavailable, match="which is refused"):
        _unpickle.load(pickled_array(code, 0, b"\x41" * 8, 1))


def test_such_a_pickle_of_numbers_is_read():
    assert _unpickle.load(pickled_array("i8", 0, b"\x01" + bytes(15), 2)).tolist() == [1, 0]


@pytest.mark.parametrize("count", [1, 3, -2])
def test_an_array_has_as_many_numbers_as_its_bytes_hold(count):
    with pytest.raises(DataUnavailable, match="not a pickle of arrays"):
        _unpickle.load(pickled_array("i8", 0, bytes(16), count))


def archive(folder: Path, **members: bytes) -> UpstreamArchive:
    """A zip file, brought from where it lies."""
    path = folder / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return UpstreamArchive(path.as_uri())


@pytest.mark.parametrize("name", ["../edge.csv", "/etc/edge.csv", "a/../../edge.csv", "C:\\edge.csv", "..\\edge.csv"])
def test_a_members_name_never_becomes_a_path(name, tmp_path, monkeypatch):
    source = archive(tmp_path, **{name: b"1,2", "data/edge.csv": b"3,4"})
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    ((brought, content),) = source.contents(["edge.csv"], lambda text: None)
    assert brought == "edge.csv"
    assert content in (b"1,2", b"3,4")
    assert {path.name for path in tmp_path.rglob("*")} == {"x.zip", "a", "b"}


def test_a_member_that_would_fill_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(_download, "LARGEST_BYTES", 1000)
    with pytest.raises(DataUnavailable, match="would unpack to 100,000 bytes"):
        list(archive(tmp_path, **{"data/edge.csv": b"0" * 100_000}).contents(["edge.csv"], lambda text: None))


def test_an_archive_that_was_torn_is_refused(tmp_path):
    source = archive(tmp_path, **{"data/edge.csv": b"0,1\n" * 9000})
    whole = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(whole[:40] + b"\xff" * 20 + whole[60:])
    with pytest.raises(DataUnavailable, match="cannot be unpacked"):
        list(source.contents(["edge.csv"], lambda text: None))


EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"


def test_pages_show_whatever_a_record_says_as_text(tmp_path):
    folder = ResultsFolder(tmp_path / "default")
    folder.write_experiment(build.experiment(title=EVIL, description=EVIL))
    failed = build.not_done(build.fit_job(build.key("dense"), 0), "error", EVIL)
    told = build.fit(build.key(), 0, 0.8)
    for record in (failed, told.model_copy(update={"environment": told.environment | {"cpu": EVIL, EVIL: EVIL}})):
        records.append(folder.path, record)
    write_report(folder, {"pyg": {EVIL: (EVIL, EVIL)}})
    page = (folder.path / "report.html").read_text()
    overview = index.render(tmp_path, lambda asked: {"pyg": {EVIL: (EVIL, EVIL)}})
    for text in (page, overview):
        assert "&lt;script&gt;alert(" in text
        assert "<script>alert(" not in text
        assert "<img src=x" not in text
