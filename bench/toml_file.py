"""A TOML file and the schema it is held against: all that is wrong, one line each, with place and cure."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from bench.errors import UserError, unknown

EXPERIMENTS, TABLES = (Path(__file__).parent / name for name in ("experiments", "tables"))
"""Folders of the files that come with the project."""

Schema = TypeVar("Schema", bound=BaseModel)

# Where a value may be one of several things, pydantic puts into an error's place which of them it tried.
_ARM = re.compile(r"int|float|str|bool|literal\[.*|function-.*|range|choice|whole graphs|random walks|neighbours|links")
_SHOWN = 60  # characters of what the file says


def names(folder: Path) -> list[str]:
    """The files of a folder, without their ending."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def find(kind: str, name: str, folder: Path) -> Path:
    """The file of that name in a folder of the project, or the path given.

    Raises:
        UserError: neither exists.
    """
    known = names(folder)
    if name.endswith(".toml"):
        path = _expanded(name)
        if not path.is_file():
            raise UserError(f"{name}: no such file; give a path to a .toml file or one of {', '.join(known)}")
        return path
    if name not in known:
        raise UserError(unknown(kind, name, known))
    return folder / f"{name}.toml"


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"{name}: there is no user of that name; give a path to a .toml file") from None


def content(path: Path) -> dict[str, Any]:
    """What a file says, as yet unchecked.

    Raises:
        UserError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UserError(f"{path}: cannot be read: {problem.strerror}; give a TOML file") from None
    except RecursionError:
        raise UserError(f"{path}: not valid TOML: lists or tables within each other without end; mend it") from None
    except ValueError as problem:  # of tomllib, of the encoding, and of int() for a number with too many digits
        raise UserError(f"{path}: not valid TOML: {_short(str(problem), 200)}; mend it there") from None


def validated(schema: type[Schema], said: dict[str, Any], path: Path) -> Schema:
    """What a file says, as `schema` has it.

    Raises:
        UserError: all that is wrong, one line each: file, key, what, and the nearest valid key.
    """
    try:
        return schema.model_validate(said)
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {line}" for line in lines(error, schema))) from None


def lines(error: ValidationError, schema: type[BaseModel]) -> Iterator[str]:
    """What a file says wrongly, one line for each place: key, what, and the valid keys."""
    told: dict[tuple[Any, ...], dict[str, str]] = {}
    for item in _causes(error.errors()):
        place = _place(item)
        message, said = _message(item, place, schema)
        told.setdefault(place, {}).setdefault(said, "")
        joint = told[place][said]
        told[place][said] = f"{joint} or {message.removeprefix('should be ')}" if joint else message
    for place, messages in told.items():
        key = ".".join(map(str, place)) or "the file"
        yield from (f"{key}: {message}{said}" for said, message in messages.items())


def _place(item: Any) -> tuple[Any, ...]:
    return tuple(part for part in item["loc"] if not (isinstance(part, str) and _ARM.fullmatch(part)))


def _causes(items: Sequence[Any]) -> Iterator[Any]:
    """Without what follows from another mistake: a key that is missing since it is misspelt, a list that is too short
    since nothing in it is right.
    """
    wrong = [_place(item) for item in items]
    surplus = {_place(item) for item in items if item["type"] == "extra_forbidden"}
    for item in items:
        place = _place(item)
        within = any(len(other) > len(place) and other[: len(place)] == place for other in wrong)
        if item["type"] == "too_short" and within:
            continue
        if item["type"] == "missing" and any(_meant(other, place) for other in surplus):
            continue
        yield item


def _meant(given: tuple[Any, ...], missing: tuple[Any, ...]) -> bool:
    """Whether an unknown key stands for a missing one of the same table."""
    return given[:-1] == missing[:-1] and "did you mean" in unknown("key", str(given[-1]), [str(missing[-1])])


def _message(item: Any, place: Sequence[Any], schema: type[BaseModel]) -> tuple[str, str]:
    """What is wrong, and what the file says."""
    if item["type"] == "extra_forbidden":
        return unknown("key", str(place[-1]), _fields(schema, place[:-1])), ""
    if item["type"] == "missing":
        return "is required and absent; add it", ""
    message = item["msg"].removeprefix("Value error, ").replace("Input should", "should")
    given = item["input"]
    if item["type"] == "model_type":
        message = f"should be a table with {', '.join(_fields(schema, place))}"
    elif item["type"] == "union_tag_invalid":
        message = f"{item['ctx']['discriminator']} should be one of {item['ctx']['expected_tags']}"
    elif item["type"] == "too_short":
        message = f"should hold at least {item['ctx']['min_length']}"
    return message, "" if isinstance(given, dict) else f" (the file says {_short(repr(given), _SHOWN)})"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]} ..."


def _fields(schema: type[BaseModel], place: Sequence[Any]) -> list[str]:
    """Keys that are valid at a place of the file."""
    models: list[Any] = [schema]
    for part in place:
        if isinstance(part, int):
            continue  # an element of a list has the keys that all of them have
        inner = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        models = [found for annotation in inner for found in _models(annotation)] or models  # or the name of a table
    return [name for model in models for name in model.model_fields]


def _models(annotation: Any) -> list[Any]:
    """The models within an annotation: `tuple[Model, ...]`, `dict[str, This | That]`, `Model | None`."""
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for arm in get_args(annotation) for model in _models(arm)]
