"""TOML files that a person may hand over and that must be refused, made from those that come with us.

Each is broken in one way that is known to be wrong; which key, value or byte is hit is drawn from a fixed seed.
"""

import json
import math
import random
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import experiment_file
from bench.paper import table_file

SEED = 5
Tree = dict[str, Any]
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Broken:
    """`{folder}` in an argument or a variable stands for the folder with the files."""

    name: str
    arguments: tuple[str, ...]
    says: tuple[str, ...]  # what the error names: the place
    files: Mapping[str, bytes | None] = field(default_factory=dict)  # None: a folder
    environment: Mapping[str, str] = field(default_factory=dict)
    mistakes: int = 1  # at most so many lines

    def put(self, folder: Path) -> None:
        """Write the files."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir()
            else:
                path.write_bytes(content)


def toml_files() -> list[Broken]:
    """Experiments, studies and tables of papers."""
    draw = random.Random(SEED)
    return [*_experiments(draw), *_tables(draw), *_texts(draw)]


# Trees: a TOML file as tomllib reads it.


def toml(tree: Tree) -> bytes:
    """A TOML file that says the same."""
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in tree.items()).encode()


def _value(value: Any) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case float():
            return str(value) if math.isfinite(value) else str(value).replace("infinity", "inf")
        case str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return json.dumps(value)


def _places(tree: Any, above: Place = ()) -> Iterator[Place]:
    """Where anything stands, the outermost first."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield (*above, key)
        yield from _places(value, (*above, key))


def _at(tree: Any, place: Place) -> Any:
    for key in place:
        tree = tree[key]
    return tree


def _changed(tree: Tree, place: Place, change: Callable[[Any, Any], None]) -> bytes:
    """The file with `change(container, key)` made at a place."""
    copy = json.loads(json.dumps(tree))
    change(_at(copy, place[:-1]), place[-1])
    return toml(copy)


def _with(tree: Tree, place: Place, value: Any) -> bytes:
    return _changed(tree, place, lambda container, key: container.__setitem__(key, value))


def _without(tree: Tree, place: Place) -> bytes:
    return _changed(tree, place, lambda container, key: container.__delitem__(key))


def _misspelt(word: str, draw: random.Random) -> str:
    """With one letter too many in its middle."""
    at = draw.randrange(1, max(2, len(word) - 1))
    return word[:at] + "x" + word[at:]


def _renamed(tree: Tree, place: Place, name: str) -> bytes:
    def rename(container: Any, key: Any) -> None:
        inner = list(container.items())
        container.clear()
        container.update({name if old == key else old: value for old, value in inner})

    return _changed(tree, place, rename)


# Experiments and studies.

PLUGINS = ("backends", "operators", "datasets", "devices")


def _experiments(draw: random.Random) -> Iterator[Broken]:
    for name in experiment_file.names():
        tree = tomllib.loads(experiment_file.find(name).read_text(encoding="utf-8"))
        for what, place, content in _mutations(tree, draw, each=3):
            yield Broken(
                f"{name}, {what}",
                ("run", "{folder}/e.toml", "--dry-run"),
                ("e.toml", str(next(key for key in reversed(place) if isinstance(key, str)))),
                {"e.toml": content},
            )


def _tables(draw: random.Random) -> Iterator[Broken]:
    for name in table_file.names():
        tree = tomllib.loads(table_file.find(name).read_text(encoding="utf-8"))
        for what, place, content in _mutations(tree, draw, each=1):
            yield Broken(
                f"table {name}, {what}",
                ("tables", "{folder}/t.toml", "--dry-run"),
                ("t.toml", str(next(key for key in reversed(place) if isinstance(key, str)))),
                {"t.toml": content},
            )


FREE = ("experiment", "columns", "values", "published")  # whose keys are the file's own


def _mutations(tree: Tree, draw: random.Random, each: int) -> Iterator[tuple[str, Place, bytes]]:
    places = list(_places(tree))

    def some(right: Callable[[Place], bool]) -> list[Place]:
        found = [place for place in places if right(place)]
        return draw.sample(found, min(each, len(found)))

    def shown(place: Place) -> str:
        return ".".join(map(str, place))

    for place in some(lambda at: isinstance(at[-1], str) and not set(at[:-1]) & set(FREE)):
        name = _misspelt(str(place[-1]), draw)
        yield f"{shown(place)} misspelt", (*place[:-1], name), _renamed(tree, place, name)
    for place in some(lambda at: True):
        wrong = _another_type(_at(tree, place), draw)
        yield f"{shown(place)} = {wrong!r}", place, _with(tree, place, wrong)
    for place in some(lambda at: _is_number(_at(tree, at))):
        wrong = _out_of_range(_at(tree, place), draw)
        yield f"{shown(place)} = {wrong!r}", place, _with(tree, place, wrong)
    for place in some(lambda at: at[-1] in PLUGINS and bool(_at(tree, at))):
        names = _at(tree, place)
        wrong = [*names[:-1], _misspelt(names[-1], draw)]
        yield f"{shown(place)} misspelt within", place, _with(tree, place, wrong)
        if len(place) == 1:  # a part of a table adds to what it names otherwise
            yield f"{shown(place)} twice", place, _with(tree, place, [*names, names[0]])
            yield f"{shown(place)} empty", place, _with(tree, place, [])
    for place in some(lambda at: len(at) == 1 and at[0] in ("title", "seeds", "paper", "metric", *PLUGINS)):
        yield f"{shown(place)} missing", place, _without(tree, place)


def _out_of_range(value: float, draw: random.Random) -> float:
    """No setting is negative, infinite or not a number, and none that counts goes beyond thousands of millions."""
    wrong = [-1, -0.5, math.nan, math.inf, -math.inf]
    return draw.choice([*wrong, 10**30, 1e300] if isinstance(value, int) else wrong)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _another_type(value: Any, draw: random.Random) -> Any:
    match value:
        case str():
            return draw.choice([7, True, ["a", "b"]])
        case bool() | int() | float():
            return draw.choice(["many", [1, 2], {"a": 1}])
        case _:
            return draw.choice(["many", 3, True])


def _texts(draw: random.Random) -> Iterator[Broken]:
    """Files that are no TOML at all."""
    whole = experiment_file.find("default").read_bytes()
    texts: dict[str, bytes | None] = {
        "empty": b"",
        "a folder": None,
        "UTF-16": whole.decode().encode("utf-16"),
        "Latin-1": b'title = "caf\xe9"\n' + whole,
        "NUL bytes": whole.replace(b"\n", b"\n\0", 3),
        "a byte order mark": b"\xef\xbb\xbf" + whole,
        "a key twice": whole + b"\ntitle = 'again'\n" if b"\n[" not in whole else b"title = 'first'\n" + whole,
        "nested without end": b"seeds = " + b"[" * 100_000,
        "nested too deeply": b"seeds = " + b"[" * 5_000 + b"]" * 5_000,
        "a number of 10,000 digits": b"seeds = [" + b"1" * 10_000 + b"]",
        "JSON": json.dumps(tomllib.loads(whole.decode())).encode(),
        "YAML": b"title: throughput\nbackends:\n  - pyg\n",
        "a date that is none": b"title = 2022-99-99",
    }
    signs = [at for at, byte in enumerate(whole) if byte == ord("=")]
    texts |= {f"cut after {at + 1} bytes": whole[: at + 1] for at in draw.sample(signs, 8)}
    texts |= {f"noise {number}": draw.randbytes(200) for number in range(6)}
    for command in ("run", "tables"):
        for what, content in texts.items():
            yield Broken(
                f"{command} of a file, {what}",
                (command, "{folder}/e.toml", "--dry-run"),
                ("e.toml",),
                {"e.toml": content},
                mistakes=6 if what == "empty" else 1,
            )
