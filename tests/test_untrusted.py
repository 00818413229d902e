"""Files from elsewhere are data: nothing in them is run, written by a name of theirs, or shown as anything but text."""

import ast
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import record_builders as build
from pydantic import ValidationError
from study_texts import ATTENTION, LOOKUP, read
from told_tools import STEADY, Silent, told_table

from bench import records, study_jobs
from bench.datasets import _download, _unpickle
from bench.datasets._download import UpstreamArchive
from bench.folder import ResultsFolder
from bench.kind import Means
from bench.options import Options
from bench.outcomes import Attention, HeadAttention, HeatMap, LookedUp, NotDone, Outcome
from bench.paper import table_file
from bench.paper.reproduce import Ask, Reproduction
from bench.report import index, write_report
from bench.report.paper import views as paper
from bench.report.studies import views as study
from bench.task import DataUnavailable
from bench.work import Job, LookupJob

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
        assert shows_as_text(text)


def shows_as_text(text: str) -> bool:
    """Whether a page has what is hostile here, and has it as text alone."""
    return "&lt;img src=x" in text and "<script>alert(" not in text and "<img src=x" not in text


IMAGE = "<img src=x onerror=alert(1)>"  # what may be a folder's name, too
RESULTS = {"title": EVIL, "description": EVIL}


def pages_of(results: Path) -> list[str]:
    """The page over all, and every drawing."""
    return [index.render(results, lambda asked: {}), *(path.read_text() for path in results.rglob("*.svg"))]


def test_a_plot_shows_the_name_of_a_back_end_as_text_and_so_do_pages_with_it_and_its_folder_s_name(tmp_path):
    folder = ResultsFolder(tmp_path / IMAGE)
    folder.write_experiment(build.experiment(backends=("pyg", IMAGE), operators=("gat",), seeds=(0, 1)))
    for backend in ("pyg", IMAGE):
        cell = build.key(backend)
        for record in (*build.fits(cell, (0.8, 0.82)), build.speed(cell, 0, {"as_shipped": 0.02})):
            records.append(folder.path, record)
    write_report(folder, {})
    shown = [(folder.path / "report.html").read_text(), *pages_of(tmp_path)]
    assert len(shown) > 3
    assert all(map(shows_as_text, shown))


def test_a_persons_table_of_a_paper_shows_whatever_it_says_as_text(tmp_path, told):
    part = {"name": "ours", "kind": "told", "protocol": EVIL, "published": {"gat": IMAGE}}
    table = told_table(
        **RESULTS, paper=EVIL, number=EVIL, alias=EVIL, metric=IMAGE, protocol=EVIL, axis=IMAGE, not_run=EVIL,
        published=[
            {"row": IMAGE, "values": {"1": "80.0 ± 1.0", "2": "80.0"}, "note": EVIL},
            {"row": EVIL, "values": {"1": "60.0"}, "not_run": EVIL},
        ],
        part=[part | {"seeds": {"least": 3, "most": 12, "beside": 2}}],
    )  # fmt: skip
    told({("gat", "1"): STEADY, ("gat", "2"): STEADY})
    folder = ResultsFolder(tmp_path / IMAGE)
    table_file.keep(folder, table)
    run = Reproduction(folder.name, table, Means(folder, Silent(), Options(parallel=2)), Ask())
    run.run()
    paper.write(folder, run.state, [EVIL])
    shown = [(folder.path / "report.html").read_text(), *pages_of(tmp_path)]
    assert len(shown) == 3
    assert all(map(shows_as_text, shown))


@pytest.mark.parametrize("name", ["../../elsewhere", '"><script>alert(1)</script>', "a b", ""])
def test_a_part_of_a_table_is_called_as_a_file_may_be(name):
    with pytest.raises(ValidationError, match="should be letters, digits, - and _ alone"):
        told_table(part=[{"name": name, "kind": "told", "protocol": "p"}])


def test_a_study_shows_whatever_it_says_as_text(tmp_path):
    told_of = {"title": EVIL, "description": EVIL}
    curves = LOOKUP.replace("GATv2, 1 head", IMAGE).replace('name = "paper"', f"name = {json.dumps(IMAGE)}")
    lookup = read(tmp_path, curves.replace("a figure", IMAGE)).model_copy(update=told_of)
    attention = read(tmp_path, ATTENTION.replace("GATv2, 1 head", IMAGE)).model_copy(update=told_of)
    for name, asked in {"lookup": lookup, "attention": attention}.items():
        folder = ResultsFolder(tmp_path / "results" / name)
        folder.write_experiment(asked)
        for job in study_jobs.jobs(asked):
            records.append(folder.path, build.record(job, _outcome(job)))
        study.write(folder, asked, folder.records())
    shown = pages_of(tmp_path / "results")
    assert len(shown) == 4
    assert all(map(shows_as_text, shown))


def _outcome(job: Job) -> Outcome:
    if not isinstance(job, LookupJob):
        return NotDone(status="error", reason=EVIL)
    names, half = ("<img src=x>", "b"), (0.5, 0.5)
    seen = HeadAttention(layer=1, head=1, source_pairs=1, tau=1.0, unanimous=1.0, entropy=0.5, favourites=1.0)
    drawn = HeatMap(layer=1, head=1, targets=names, sources=names, coefficients=(half, half))
    return LookedUp(
        seed=job.seed, train=1.0, test=0.9, steps=20, best_step=10, stopped="steps", train_graphs=4, test_graphs=2,
        parameters=10, evaluate_every_steps=10, curves={"accuracy/test": (0.5, 0.9)},
        attention=Attention(heads=(seen,), targets=2, maps=(drawn,)) if job.attention_graphs else None,
    )  # fmt: skip
