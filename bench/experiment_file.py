"""Reading an experiment file, and saying precisely what is wrong with one."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from bench import settings
from bench.config import Experiment
from bench.errors import UserError
from bench.plugins import DATASETS, KINDS, unknown

FOLDER = Path(__file__).parent / "experiments"


def names() -> list[str]:
    """Experiments that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name: str) -> Path:
    """The file of a built-in experiment, or the path given.

    Raises:
        UserError: neither exists.
    """
    if name.endswith(".toml"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UserError(f"{name}: no such file; give a path to a .toml file or one of {', '.join(names())}")
        return path
    if name not in names():
        raise UserError(unknown("experiment", name, names()))
    return FOLDER / f"{name}.toml"


def read(path: Path) -> Experiment:
    """Read and check one experiment, plug-in names included; nothing has run yet.

    Raises:
        UserError: all that is wrong, one line each: file, key, what, and the nearest valid name.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UserError(f"{path}: not valid TOML: {problem}") from None
    except OSError as problem:
        raise UserError(f"{path}: cannot be read: {problem.strerror}") from None
    try:
        experiment = Experiment.model_validate(content)
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {line}" for line in lines(error))) from None
    return checked(experiment, str(path))


def checked(experiment: Experiment, where: str) -> Experiment:
    """The experiment itself, if every name in it is known and every setting can be taken.

    Raises:
        UserError: all that is wrong, one line each, beginning with `where`.
    """
    if found := list(problems(experiment)):
        raise UserError("\n".join(f"{where}: {line}" for line in found))
    return experiment


def lines(error: ValidationError) -> Iterator[str]:
    """What a file says wrongly, one line each: key, what, and the valid keys."""
    for item in error.errors():
        place = [part for part in item["loc"] if not _is_union_arm(part)]
        key = ".".join(str(part) for part in place) or "the file"
        yield f"{key}: {_message(item, place)}"


def _message(item: Any, place: list[Any]) -> str:
    if item["type"] == "extra_forbidden":
        return unknown("key", str(place[-1]), _fields(place[:-1]))
    if item["type"] == "missing":
        return "is required and absent"
    message = item["msg"].removeprefix("Value error, ")
    given = item["input"]
    return message if isinstance(given, dict) else f"{message} (the file says {given!r})"


def _is_union_arm(part: Any) -> bool:
    return part in ("FloatRange", "Choice")


def _fields(place: list[Any]) -> list[str]:
    """Keys that are valid at a place of the file."""
    model: Any = Experiment
    for part in place:
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        if field is None:
            return ["low", "high", "log", "choices"]  # a dimension of tuning.space
        model = field.annotation
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return [name for arm in get_args(model) for name in getattr(arm, "model_fields", {})]


def problems(experiment: Experiment) -> Iterator[str]:
    """What only the plug-ins know."""
    for key, plugins in KINDS.items():
        for name in getattr(experiment, key):
            if text := plugins.problem(name):
                yield f"{key}: {text}"
    for name, text in settings.problems(experiment.tuning.space, experiment.architecture, experiment.training):
        yield f"tuning.space.{name!r}: {text}"
    for name, values in experiment.sweep.items():
        for text in settings.value_problems(name, values, experiment.architecture, experiment.training):
            yield f"sweep.{name!r}: {text}"
    yield from _split_problems(experiment)


def _split_problems(experiment: Experiment) -> Iterator[str]:
    split = experiment.protocol.split
    for name in experiment.datasets:
        if split != "default" and not DATASETS.problem(name):
            offered = DATASETS.get(name).info.splits
            if split not in offered:
                yield f"protocol.split: {name} has no split {split!r}; it offers {', '.join(offered)}"
