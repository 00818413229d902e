"""What surrounds a run, broken: folders of results, data files, environment variables, options of the command line."""

import gzip
import io
import json
import random
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import ogb_files
import ppi_files
import qm9_files
import record_builders
import torch
from broken_files import SEED, Broken

from bench import experiment_file
from bench.paper import table_file

RESULTS = ("--results", "{folder}/results")


def places() -> list[Broken]:
    """Every case; their names are unique."""
    draw = random.Random(SEED)
    return [*_snapshots(draw), *_records(draw), *_data(draw), *_surroundings(), *_options(), *_environments()]


# Folders of results.


def _damaged(whole: bytes, draw: random.Random) -> dict[str, bytes | None]:
    """A JSON text that is none any more, or another's."""
    middle = draw.randrange(len(whole) // 4, len(whole) // 2)
    return {
        "empty": b"",
        "cut": whole[:middle],
        "noise": draw.randbytes(200),
        "a list": b"[1, 2]",
        "a number": b"7",
        "null": b"null",
        "another text": b'{"title": 3}',
        "nested without end": b"[" * 100_000,
        "a folder": None,
        "UTF-16": whole.decode().encode("utf-16"),
        "a byte changed": whole[:middle] + b"\x00" + whole[middle + 1 :],
    }


def _snapshots(draw: random.Random) -> Iterator[Broken]:
    asked = experiment_file.read(experiment_file.find("smoke")).model_dump_json().encode()
    printed = table_file.of("gat-table2").model_dump_json(exclude_defaults=True).encode()
    kind = {"a kind that there is not": b'{"kind": "lokup"}', "a kind that is no word": b'{"kind": ["lookup"]}'}
    for what, content in (_damaged(asked, draw) | kind).items():
        files = {"results/smoke/experiment.json": content}
        for command in ("report", "mlflow sync"):
            arguments = (*command.split(), "smoke", *RESULTS)
            yield Broken(f"{command} of a snapshot, {what}", arguments, ("experiment.json",), files)
    for what, content in _damaged(printed, draw).items():
        files = {"results/t/paper-table.json": content}
        yield Broken(f"report of a table's snapshot, {what}", ("report", "t", *RESULTS), ("paper-table.json",), files)


def _records(draw: random.Random) -> Iterator[Broken]:
    asked = record_builders.experiment().model_dump_json().encode()
    good = record_builders.fit(record_builders.key(), 0, 0.8).model_dump_json().encode()
    content = json.loads(good)
    lines: dict[str, bytes | None] = _damaged(good, draw)
    del lines["empty"], lines["a folder"]  # an empty line is none
    del lines["UTF-16"]  # Python's reader takes it
    lines |= {
        f"{name} = {value!r}": json.dumps(content | {name: value}).encode()
        for name, value in {
            "schema_version": 99, "id": 5, "job": {}, "outcome": {"kind": "luck"}, "environment": "fine",
            "seconds": "long", "started_utc": None,
        }.items()
    }  # fmt: skip
    lines |= {
        f"schema_version = {value!r}": json.dumps(content | {"schema_version": value}).encode()
        for value in ("new", None, 0, -1, 1.5, [1])
    }
    for what, line in lines.items():
        assert line is not None
        yield Broken(
            f"records, {what}",
            ("report", "default", *RESULTS),
            ("records.jsonl, line 2",),
            {
                "results/default/experiment.json": asked,
                "results/default/records.jsonl": b"\n".join([good, line, good, b""]),
            },
        )
    folder = {"results/default/experiment.json": asked, "results/default/records.jsonl": None}
    yield Broken("records, a folder", ("report", "default", *RESULTS), ("records.jsonl",), folder)


# Data files.


def _data(draw: random.Random) -> Iterator[Broken]:
    with tempfile.TemporaryDirectory() as written:
        ogb_files.write_arxiv(Path(written))
        ogb_files.write_collab(Path(written))
        ppi_files.write(Path(written) / "ppi")
        qm9_files.write(Path(written) / "qm9")
        files = {
            str(path.relative_to(written)): path.read_bytes()
            for path in sorted(Path(written).rglob("*"))
            if path.is_file() and "mapping" not in path.parts
        }
    for name in sorted(files):
        wrong = _wrong_contents(name, files[name], draw)
        for what in draw.sample(sorted(wrong), min(3, len(wrong))):
            yield _of_data(f"{name}, {what}", files | {name: wrong[what]}, name)
    pinned = ["ind.cora.graph", "ind.cora.allx", "ind.cora.test.index"]
    for name in pinned:
        yield Broken(
            f"data, {name} altered",
            ("data", "cora", "--verify"),
            (name,),
            {f"cora/{name}": draw.randbytes(100)},
            {"BENCH_DATA": "{folder}", "BENCH_CACHE": "{folder}/cache"},
            mistakes=8,  # the other files are absent
        )


def _of_data(what: str, files: Mapping[str, bytes | None], name: str) -> Broken:
    return Broken(
        f"data, {what}",
        ("data", Path(name).parts[0], "--verify"),
        (Path(name).name,),
        files,
        {"BENCH_DATA": "{folder}", "BENCH_CACHE": "{folder}/cache"},
    )


def _wrong_contents(name: str, whole: bytes, draw: random.Random) -> dict[str, bytes]:
    wrong = {"empty": b"", "cut": whole[: len(whole) // 2], "noise": draw.randbytes(300), "words": b"no such file\n"}
    if name.endswith(".npy"):
        return wrong | {
            "of a shape beyond all memory": ppi_files.described("'<f8'", f"({10**9}, {10**9})"),
            "of a size beyond all numbers": ppi_files.described("'<f8'", f"({10**30},)"),
            "of objects": _npy(np.array([{}, None], dtype=object)),
            "without axes": _npy(np.array(3.0)),
            "with a row too few": _npy(np.load(io.BytesIO(whole))[:-1]),
            "of texts": _npy(np.array([["a"], ["b"]])),
            "of nan": _npy(np.full_like(np.load(io.BytesIO(whole)), np.nan, dtype=np.float64)),
        }
    if name.endswith(".pt"):
        return wrong | {
            "of a list": _saved([[0, 1]]),
            "of tensors": _saved({"edge": torch.ones(3, 2)}),
            "of other names": _saved({"links": np.array([[0, 1]])}),
            "of a link to nowhere": _saved({"edge": np.array([[0, 100_000]])}),
            "of numbers alone": _saved({"source_node": np.array(3), "target_node": np.array(4)}),
            "compressed without end": _zip(bytes(10**6)),
        }
    if name.endswith(".csv.gz"):
        return wrong | {
            "no gzip": b"0,1\n",
            "of words": gzip.compress(b"zero,one\n"),
            "with a number of 30 digits": gzip.compress(b"1" + b"0" * 29 + b"\n"),
        }
    if name.endswith(".jsonl.gz"):
        return wrong | {
            "a list": gzip.compress(b"[]\n"),
            "without a molecule": gzip.compress(b""),
            "without atoms": gzip.compress(b'{"targets": [], "graph": [], "node_features": []}\n'),
            "nested without end": gzip.compress(b"[" * 100_000),
        }
    if name.endswith(".json"):
        return wrong | {
            "a list": b"[]",
            "without links": b'{"nodes": []}',
            "a link to nowhere": b'{"links": [{"source": 0, "target": 100000}]}',
            "a link of words": b'{"links": [{"source": "a", "target": "b"}]}',
            "nested without end": b"[" * 100_000,
        }
    return wrong


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _zip(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", data)
    return file.getvalue()


# What a command is told beside files.


def _surroundings() -> Iterator[Broken]:
    """A file where a folder should be, and the other way round."""
    yield Broken("results, a file", ("run", "smoke", *RESULTS), ("results",), {"results": b"x"})
    yield Broken("results of an experiment, a file", ("run", "smoke", *RESULTS), ("smoke",), {"results/smoke": b"x"})
    yield Broken("report of results, a file", ("report", "smoke", *RESULTS), ("results",), {"results": b"x"})
    yield Broken("index of results, a file", ("report", *RESULTS), ("results",), {"results": b"x"})
    yield Broken("index of nothing", ("report", "--all", *RESULTS), ("results",))
    yield Broken("the UI over nothing", ("ui", *RESULTS), ("results",))
    yield Broken("the UI over noise", ("ui", *RESULTS), ("mlflow.db",), {"results/mlflow.db": b"noise" * 999})
    yield Broken("the UI over a folder", ("ui", *RESULTS), ("mlflow.db",), {"results/mlflow.db": None})
    yield Broken("compared, two that are not there", ("compare", "{folder}/a", "{folder}/b"), ("a",))
    yield Broken(
        "a document that is a folder",
        ("report", "smoke", "--into", "{folder}/README.md", *RESULTS),
        ("README.md",),
        {"README.md": None, **_smoke()},
    )
    yield Broken(
        "a document that is a device", ("report", "smoke", "--into", "/dev/null", *RESULTS), ("regular",), _smoke()
    )
    yield Broken(
        "a document without a place",
        ("report", "smoke", "--into", "{folder}/README.md", *RESULTS),
        ("README.md",),
        {"README.md": b"# Nothing\n", **_smoke()},
    )
    yield Broken(
        "a document in Latin-1",
        ("report", "smoke", "--into", "{folder}/README.md", *RESULTS),
        ("README.md",),
        {"README.md": b"caf\xe9\n", **_smoke()},
    )


def _smoke() -> dict[str, bytes | None]:
    asked = experiment_file.read(experiment_file.find("smoke")).model_dump_json().encode()
    return {"results/smoke/experiment.json": asked}


def _options() -> Iterator[Broken]:
    for command, option, values in (
        ("run smoke --dry-run", "--jobs", ("0", "-1", "many", "1.5", "", "9" * 30)),
        (
            "run smoke --dry-run",
            "--storage",
            ("", "optuna.db", "nosuch://x", "sqlite//x", "sqlite://", "postgresql://h:port/db"),
        ),
        ("run smoke --dry-run", "--mlflow", ("", "nosuch://x", "sqlite:", "http://", "http://[", "ftp://h/x")),
        ("tables gat-table2 --dry-run", "--seeds", ("0", "-3", "all", "1e3")),
        ("tables gat-table2 --dry-run", "--minutes", ("0", "-1", "nan", "inf", "long")),
        ("tables gat-table2 --dry-run", "--only", ("nobody/*", "[")),
        ("ui", "--port", ("0", "-1", "70000", "http", "80.5")),
        ("cluster-demo", "--workers", ("0", "-1", "two")),
        ("overhead", "--pairs", ("0", "-1", "two")),
        ("overhead", "--epochs", ("0", "none")),
        ("parity smoke", "--backends", ("pyk", "")),
        ("list", "--json=3", ("",)),
    ):
        for value in values:
            arguments = (*command.split(), option, value) if value or "=" not in option else (*command.split(), option)
            results = RESULTS if command.split()[0] in ("run", "tables", "ui", "report") else ()
            said = "backends" if command == "parity smoke" else option.partition("=")[0]
            yield Broken(f"option, {command} {option} {value!r}", (*arguments, *results), (said,))
    for words in (
        "", "runn", "lst", "run smoke twice", "list backend", "mlflow fill", "data --fetsh", "compare one",
        "run --results", "run ~nobody-of-this-name/e.toml", "tables no-such-table",
        "tables gat-table2 --full --seeds 3", "report smoke --all", "report --all --into README.md",
        "report no-such-run", "run ./smoke", "run smoke.tom",
    ):  # fmt: skip
        yield Broken(f"words, {words!r}", tuple(words.split()), ())


def _environments() -> Iterator[Broken]:
    run, data = ("run", "smoke", "--dry-run", *RESULTS), ("data", "cora", "--fetch")
    closed = {"PIP_ARGS": "--no-index", "no_proxy": ""}
    for name, value, arguments in (
        ("BENCH_DATA", "{folder}/nowhere", data),
        ("BENCH_DATA", "{folder}/file", data),
        ("BENCH_DATA", "\x01", data),
        ("BENCH_CACHE", "{folder}/file", ("data", "cora_linqs", "--fetch")),
        ("BENCH_CACHE", "{folder}/file/inside", ("data", "citeseer", "--fetch")),
        ("BENCH_CACHE", "/proc/nothing", ("data", "cora_linqs", "--fetch")),
        ("BENCH_CACHE", "~nobody-of-this-name/x", ("data", "cora_linqs", "--fetch")),
        ("BENCH_DATA", "~nobody-of-this-name/x", data),
        ("BENCH_CACHE", "{folder}/file", ("overhead", "--pairs", "1")),
        ("BENCH_RESULTS", "{folder}/file", ("run", "smoke")),
        ("BENCH_RESULTS", "{folder}/file/inside", ("run", "smoke")),
        ("BENCH_RESULTS", "/proc/nothing", ("run", "smoke")),
        ("BENCH_LOCKS", "{folder}/file", ("run", "smoke")),
        ("PIP_ARGS", "--index-url 'http://unfinished", ("data", "citeseer", "--fetch")),
        ("XDG_CACHE_HOME", "{folder}/file", ("data", "cora_linqs", "--fetch")),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon", run),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "-1", run),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "some", run),
    ):
        beside = {} if name == "PIP_ARGS" else closed
        cache = {} if name in ("BENCH_CACHE", "XDG_CACHE_HOME") else {"BENCH_CACHE": "{folder}/cache"}
        unset = {"BENCH_CACHE": ""} if name == "XDG_CACHE_HOME" else {}
        environment = beside | cache | unset | {name: value}
        said = (name,) if name not in ("BENCH_RESULTS", "XDG_CACHE_HOME") else ()
        yield Broken(f"{name} = {value!r}, {arguments[0]}", arguments, said, {"file": b"in the way"}, environment)
