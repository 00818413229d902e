"""Tuned settings by dotted name: `training.lr`, `architecture.hidden`."""

from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from bench.config import Architecture, Choice, Experiment, FloatRange, Setting, Training
from bench.errors import unknown


def names() -> list[str]:
    """Every setting that a search space may name."""
    return [
        *(f"architecture.{name}" for name in Architecture.model_fields),
        *(f"training.{name}" for name in Training.model_fields),
    ]


def current(space: Iterable[str], architecture: Architecture, training: Training) -> dict[str, Setting]:
    """The value that each setting of the space has now."""
    parts = {"architecture": architecture, "training": training}
    found = {}
    for name in space:
        part, field = name.split(".")
        found[name] = getattr(parts[part], field)
    return found


def apply(
    settings: Mapping[str, Setting], architecture: Architecture, training: Training
) -> tuple[Architecture, Training]:
    """Architecture and training with the settings in place, validated again."""
    changed: dict[str, dict[str, Setting]] = {"architecture": {}, "training": {}}
    for name, value in settings.items():
        part, field = name.split(".")
        changed[part][field] = value
    return (
        Architecture.model_validate(architecture.model_dump() | changed["architecture"]),
        Training.model_validate(training.model_dump() | changed["training"]),
    )


def varied(experiment: Experiment) -> dict[tuple[str, Setting], Architecture]:
    """The architectures of an experiment's sweep, each with one setting changed: ("architecture.heads", 4) -> it."""
    found = {
        (name, value): apply({name: value}, experiment.architecture, experiment.training)[0]
        for name, values in experiment.sweep.items()
        for value in values
    }
    return {change: architecture for change, architecture in found.items() if architecture != experiment.architecture}


def problems(
    space: Mapping[str, FloatRange | Choice], architecture: Architecture, training: Training
) -> list[tuple[str, str]]:
    """(name, what is wrong) for every dimension that no setting or no valid value stands behind."""
    found = []
    for name, dimension in space.items():
        if name not in names():
            found.append((name, unknown("setting", name, names())))
            continue
        found += [(name, text) for text in _dimension_problems(name, dimension, architecture, training)]
    return found


def value_problems(name: str, values: Iterable[Setting], architecture: Architecture, training: Training) -> list[str]:
    """What is wrong with values that an architecture's setting should take, one after the other."""
    known = [name for name in names() if name.startswith("architecture.")]
    if name not in known:
        return [unknown("setting of the architecture", name, known)]
    return [text for value in values if (text := _problem(name, value, architecture, training))]


def _dimension_problems(
    name: str, dimension: FloatRange | Choice, architecture: Architecture, training: Training
) -> list[str]:
    """Values that the setting refuses; and the file's own value must lie inside, since it is trial 0."""
    now = current([name], architecture, training)[name]
    if isinstance(dimension, Choice):
        where, ends, inside = "choices: ", dimension.choices, now in dimension.choices
    else:
        where, ends = "", (dimension.low, dimension.high)
        inside = isinstance(now, int | float) and dimension.low <= now <= dimension.high
    if isinstance(dimension, FloatRange) and isinstance(now, int):
        return [f"a range has numbers between whole ones, which {name} cannot be; give it `choices = [...]`"]
    found = [where + text for value in ends if (text := _problem(name, value, architecture, training))]
    if not inside and not found:
        found.append(f"does not contain {name} = {now!r} of this file, which is tried first")
    return found


def _problem(name: str, value: Setting, architecture: Architecture, training: Training) -> str | None:
    try:
        apply({name: value}, architecture, training)
    except ValidationError as error:
        return f"{value!r}: {error.errors()[0]['msg']}"
    return None
