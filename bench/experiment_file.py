"""Reading an experiment file, and saying precisely what is wrong with one."""

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from bench import settings
from bench.config import Experiment, GraphBatches, LinkBatches, NeighbourBatches
from bench.errors import UserError
from bench.plugins import BACKENDS, DATASETS, DEVICES, KINDS, OPERATORS, Plugins, unknown
from bench.study_config import SCHEMAS, AttentionStudy, LookupArchitecture, LookupStudy, Study
from bench.task import DatasetInfo

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
    asked = read_any(path)
    if isinstance(asked, Experiment):
        return asked
    raise UserError(f"{path}: a study of kind {asked.kind!r} has no grid of cells; `bench run` takes it")


def read_study(path: Path) -> Study:
    """As `read`, for a file whose `kind` makes it a study.

    Raises:
        UserError: as `read`.
    """
    asked = read_any(path)
    if isinstance(asked, Experiment):
        raise UserError(f"{path}: not a study; its first line would be `kind = ...` with {' or '.join(SCHEMAS)}")
    return asked


def read_any(path: Path) -> Experiment | Study:
    """An experiment, or a study if the file says of which kind.

    Raises:
        UserError: as `read`.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UserError(f"{path}: not valid TOML: {problem}") from None
    except OSError as problem:
        raise UserError(f"{path}: cannot be read: {problem.strerror}") from None
    schema = _schema(content.get("kind"), path)
    try:
        asked = schema.model_validate(content)
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {line}" for line in lines(error, schema))) from None
    if isinstance(asked, Experiment):
        return checked(asked, str(path))
    _refuse(_study_problems(asked), str(path))
    return asked


def checked(experiment: Experiment, where: str) -> Experiment:
    """The experiment itself, if every name in it is known and every setting can be taken.

    Raises:
        UserError: all that is wrong, one line each, beginning with `where`.
    """
    _refuse(problems(experiment), where)
    return experiment


def _refuse(found: Iterator[str], where: str) -> None:
    if said := list(found):
        raise UserError("\n".join(f"{where}: {line}" for line in said))


def _schema(kind: Any, path: Path) -> type[Experiment] | type[LookupStudy] | type[AttentionStudy]:
    if kind is None:
        return Experiment
    if kind not in SCHEMAS:
        raise UserError(f"{path}: kind: {unknown('kind of study', str(kind), SCHEMAS)}")
    return SCHEMAS[kind]


def lines(error: ValidationError, schema: type[BaseModel] = Experiment) -> Iterator[str]:
    """What a file says wrongly, one line each: key, what, and the valid keys."""
    for item in error.errors():
        place = [part for part in item["loc"] if not _is_union_arm(part)]
        key = ".".join(str(part) for part in place) or "the file"
        yield f"{key}: {_message(item, place, schema)}"


def _message(item: Any, place: list[Any], schema: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        return unknown("key", str(place[-1]), _fields(schema, place[:-1]))
    if item["type"] == "missing":
        return "is required and absent"
    message = item["msg"].removeprefix("Value error, ")
    given = item["input"]
    return message if isinstance(given, dict) else f"{message} (the file says {given!r})"


def _is_union_arm(part: Any) -> bool:
    return part in ("FloatRange", "Choice", "whole graphs", "random walks", "neighbours", "links")


def _fields(schema: type[BaseModel], place: list[Any]) -> list[str]:
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
    yield from _batch_problems(experiment)


def _study_problems(study: Study) -> Iterator[str]:
    """What only the plug-ins know, and what must fit within the file."""
    features = LookupArchitecture().features
    for model in study.models:
        if features % model.heads:
            yield f"models: {model.name}: {features} features cannot be shared out among heads = {model.heads}"
    yield from _unknown("device", [study.device], DEVICES)
    yield from _unknown("models.operator", [model.operator for model in study.models], OPERATORS)
    if isinstance(study, LookupStudy):
        for protocol in study.protocols:
            yield from _unknown(f"protocols.{protocol.name}.layer", protocol.layer, OPERATORS)
        yield from _repeated("models", [model.name for model in study.models])
        yield from _repeated("protocols", [protocol.name for protocol in study.protocols])
        names = [model.name for model in study.models]
        for curve in study.published.curves if study.published else ():
            if curve.model not in names:
                yield f"published.curves.model: {unknown('model', curve.model, names)}"
    else:
        yield from _unknown("operators", study.operators, OPERATORS)
        yield from _unknown("lookup.protocol.layer", study.lookup.protocol.layer, OPERATORS)
        yield from _unknown("graph.backend", [study.graph.backend], BACKENDS)
        yield from _unknown("graph.dataset", [study.graph.dataset], DATASETS)


def _unknown(key: str, names: Iterable[str], plugins: Plugins[Any]) -> Iterator[str]:
    for name in names:
        if name not in plugins.names():
            yield f"{key}: {unknown(plugins.kind, name, plugins.names())}"


def _repeated(key: str, names: list[str]) -> Iterator[str]:
    if len(set(names)) != len(names):
        yield f"{key}: names something twice: {names}"


def _split_problems(experiment: Experiment) -> Iterator[str]:
    split = experiment.protocol.split
    for name in experiment.datasets:
        if split != "default" and not DATASETS.problem(name):
            offered = DATASETS.get(name).info.splits
            if split not in offered:
                yield f"protocol.split: {name} has no split {split!r}; it offers {', '.join(offered)}"


def _batch_problems(experiment: Experiment) -> Iterator[str]:
    asked = experiment.training.batches
    for name in experiment.datasets:
        if DATASETS.problem(name):
            continue
        info = DATASETS.get(name).info
        yield from _link_problems(experiment, info)
        many, whole = info.graphs > 1, isinstance(asked, GraphBatches)
        if asked and many != whole and not info.has_links:
            right = "whole graphs" if many else "random walks or neighbours"
            yield f"training.batches: {name} is {'many graphs' if many else 'one graph'}, so take batches by {right}"
    fanout = asked.fanout if isinstance(asked, NeighbourBatches | LinkBatches) else ()
    if fanout and len(fanout) != experiment.architecture.layers:
        yield (
            f"training.batches.fanout: {len(fanout)} numbers of neighbours for {experiment.architecture.layers} layers"
        )


def _link_problems(experiment: Experiment, info: DatasetInfo) -> Iterator[str]:
    """A data set of links is asked for as such, and no other is."""
    needs = {
        "training.batches": ("by = 'links'", isinstance(experiment.training.batches, LinkBatches)),
        "architecture.decoder": ("a table", experiment.architecture.decoder is not None),
    }
    for key, (what, given) in needs.items():
        if info.has_links and not given:
            yield f"{key}: {info.name} is about links between nodes, so it must be {what}"
        if given and not info.has_links:
            yield f"{key}: {info.name} is about nodes, so it cannot be {what}"
    if experiment.protocol.validation_edges and not info.has_links:
        yield f"protocol.validation_edges: {info.name} has no links that validate"
