"""Reading an experiment file, and saying precisely what is wrong with one."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import settings, toml_file
from bench.config import Experiment, GraphBatches, LinkBatches, NeighbourBatches, Training, thread_name
from bench.errors import UserError, unknown
from bench.plugins import BACKENDS, DATASETS, DEVICES, KINDS, OPERATORS, Plugins
from bench.signs import SignedFeatures
from bench.study_config import SCHEMAS, AttentionGraph, AttentionStudy, LookupArchitecture, LookupStudy, Study
from bench.task import DatasetInfo
from bench.training.parts import has_own_sampler
from implementations.contract import Sampling

FOLDER = toml_file.EXPERIMENTS
Trained = Experiment | AttentionGraph
"""What says how networks are trained on data sets."""


def names() -> list[str]:
    """Experiments that come with the project."""
    return toml_file.names(FOLDER)


def find(name: str) -> Path:
    """The file of a built-in experiment, or the path given.

    Raises:
        UserError: neither exists.
    """
    return toml_file.find("experiment", name, FOLDER)


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
    said = toml_file.content(path)
    asked = toml_file.validated(_schema(said.get("kind"), path), said, path)
    if isinstance(asked, Experiment):
        return checked(asked, str(path))
    _refuse(_study_problems(asked), str(path))
    return asked


def checked(experiment: Experiment, where: str) -> Experiment:
    """The experiment itself, if every name in it is known and every setting can be taken.

    Raises:
        UserError: all that is wrong, one line each, beginning with `where`.
    """
    _refuse(itertools.chain(problems(experiment), _unshown(experiment)), where)
    return experiment


def _refuse(found: Iterator[str], where: str) -> None:
    if said := list(found):
        raise UserError("\n".join(f"{where}: {line}" for line in said))


def _schema(kind: Any, path: Path) -> type[Experiment] | type[LookupStudy] | type[AttentionStudy]:
    if kind is None:
        return Experiment
    if not isinstance(kind, str) or kind not in SCHEMAS:
        raise UserError(f"{path}: kind: {unknown('kind of study', str(kind), SCHEMAS)}")
    return SCHEMAS[kind]


def problems(experiment: Experiment) -> Iterator[str]:
    """What only the plug-ins know."""
    names = ((key, plugins.problem(name)) for key, plugins in KINDS.items() for name in getattr(experiment, key))
    misspelt = [f"{key}: {text}" for key, text in names if text]
    yield from misspelt
    if not misspelt:  # else what names it rightly would be told of, too
        yield from _reference_problems(experiment)
    yield from _repetitions(experiment)
    yield from _space_problems(experiment)
    for name, values in experiment.sweep.items():
        for text in settings.value_problems(name, values, experiment.architecture, experiment.training):
            yield f"sweep.{name!r}: {text}"
    yield from _training_problems(experiment.datasets, experiment)
    yield from _sampler_problems(experiment.backends, experiment.training)
    yield from _regression_problems(experiment)


def _repetitions(experiment: Experiment) -> Iterator[str]:
    """What would be done twice for nothing, or told apart too late."""
    listed = {
        "tuning.seeds": experiment.tuning.seeds,
        "timing.threads": experiment.timing.threads,
        "timing.tracks": experiment.timing.tracks,
        "statistics.rivals": experiment.statistics.rivals,
    }
    for key, values in listed.items():
        yield from _repeated(key, values)


def _space_problems(experiment: Experiment) -> Iterator[str]:
    """What is searched must be possible, and nothing else may decide it."""
    tuning = experiment.tuning
    for name, text in settings.problems(tuning.space, experiment.architecture, experiment.training):
        yield f"tuning.space.{name!r}: {text}"
    if tuning.max_epochs and "training.max_epochs" in tuning.space:
        yield "tuning.space.'training.max_epochs': tuning.max_epochs says how long trials train; take either away"


def _study_problems(study: Study) -> Iterator[str]:
    """What only the plug-ins know, and what must fit within the file."""
    features = LookupArchitecture().features
    for model in study.models:
        if features % model.heads:
            yield f"models: {model.name}: {features} features must be a multiple of heads = {model.heads}"
    yield from name_problems("device", [study.device], DEVICES)
    yield from name_problems("models.operator", {model.operator for model in study.models}, OPERATORS)
    yield from _repeated("models", [model.name for model in study.models])
    yield from _repeated("seeds", study.seeds)
    if isinstance(study, LookupStudy):
        yield from _lookup_problems(study)
    else:
        yield from name_problems("operators", study.operators, OPERATORS)
        yield from name_problems("lookup.protocol.layer", study.lookup.protocol.layer, OPERATORS)
        yield from name_problems("graph.backend", [study.graph.backend], BACKENDS)
        yield from name_problems("graph.dataset", [study.graph.dataset], DATASETS)
        yield from _graph_problems(study.graph)


def _lookup_problems(study: LookupStudy) -> Iterator[str]:
    for protocol in study.protocols:
        yield from name_problems(f"protocols.{protocol.name}.layer", protocol.layer, OPERATORS)
    yield from _repeated("sizes", study.sizes)
    yield from _repeated("protocols", [protocol.name for protocol in study.protocols])
    names = [model.name for model in study.models]
    for curve in study.published.curves if study.published else ():
        if curve.model not in names:
            yield f"published.curves.model: {unknown('model', curve.model, names)}"


def _graph_problems(graph: AttentionGraph) -> Iterator[str]:
    unshown = list(_about_graphs("graph.dataset", [graph.dataset], "attention is examined on"))
    yield from unshown
    if not unshown:  # else what follows from it would be told of, too
        yield from (f"graph.{text}" for text in _training_problems([graph.dataset], graph))
    yield from (f"graph.{text}" for text in _sampler_problems([graph.backend], graph.training))


def name_problems(key: str, names: Collection[str], plugins: Plugins[Any]) -> Iterator[str]:
    """What is wrong with names of plug-ins that stand under one key."""
    for name in names:
        if text := plugins.problem(name):
            yield f"{key}: {text}"
    yield from _repeated(key, names)


def _repeated(key: str, values: Collection[object]) -> Iterator[str]:
    if len(set(values)) != len(values):
        yield f"{key}: names something twice: {list(values)}; leave one out"


def _reference_problems(experiment: Experiment) -> Iterator[str]:
    """Keys that name what the file itself lists."""
    cells = [*experiment.backends, *experiment.operators, *experiment.datasets]
    threads = [thread_name(count) for count in experiment.timing.threads]
    named: dict[str, tuple[Iterable[str], Sequence[str]]] = {
        "statistics.rivals": (experiment.statistics.rivals, experiment.backends),
        "timing.self_test": (filter(None, [experiment.timing.self_test]), experiment.backends),
        "fewer_seeds": (experiment.fewer_seeds, cells),
        "timing.fewer_rounds": (experiment.timing.fewer_rounds, [*cells, *threads]),
    }
    for key, (names, known) in named.items():
        if absent := [name for name in names if name not in known]:
            yield f"{key}: names {', '.join(absent)}; it may name {', '.join(known)}"


def _training_problems(datasets: Iterable[str], asked: Trained) -> Iterator[str]:
    """What keeps networks from being trained on these data sets as is asked."""
    for info in _known(datasets):
        yield from _split_problems(info, asked)
        yield from _link_problems(info, asked)
        yield from _end_problems(info, asked)
        yield from _noise_problems(info, asked)
        yield from _batch_problems(info, asked)
        yield from _sign_problems(info, asked)
    batches, layers = asked.training.batches, asked.architecture.layers
    fanout = batches.fanout if isinstance(batches, NeighbourBatches | LinkBatches) else ()
    if fanout and len(fanout) != layers:
        yield f"training.batches.fanout: {len(fanout)} numbers of neighbours for {layers} layers; give one for each"


def _known(names: Iterable[str]) -> Iterator[DatasetInfo]:
    """What is known of the data sets that there are; of the others it has been said."""
    return (DATASETS.get(name).info for name in names if not DATASETS.problem(name))


def _split_problems(info: DatasetInfo, asked: Trained) -> Iterator[str]:
    split = asked.protocol.split
    if split not in ("default", *info.splits):
        yield f"protocol.split: {info.name} has no split {split!r}; it offers {', '.join(info.splits)}"


def _link_problems(info: DatasetInfo, asked: Trained) -> Iterator[str]:
    """A data set of links is asked for as such, and no other is."""
    needs = {
        "training.batches": ("by = 'links'", isinstance(asked.training.batches, LinkBatches)),
        "architecture.decoder": ("a table", asked.architecture.decoder is not None),
    }
    for key, (what, given) in needs.items():
        if info.has_links and not given:
            yield f"{key}: {info.name} is about links between nodes, so it must be {what}"
        if given and not info.has_links:
            yield f"{key}: {info.name} is about nodes, so it cannot be {what}; leave it out"
    if asked.protocol.validation_edges and not info.has_links:
        yield f"protocol.validation_edges: {info.name} has no links that validate; leave it out"


def _end_problems(info: DatasetInfo, asked: Trained) -> Iterator[str]:
    """Numbers of whole graphs need a network that says some."""
    if (asked.architecture.ends == "gated") != info.is_regression:
        if info.is_regression:
            yield f"architecture.ends: {info.name} is about numbers of whole graphs, so it must be 'gated'"
        else:
            yield f"architecture.ends: {info.name} is about nodes or links, so it cannot be 'gated'; leave it out"


def _noise_problems(info: DatasetInfo, asked: Trained) -> Iterator[str]:
    """Of many graphs nearly every false edge would join two of them, and so be none."""
    if asked.protocol.edge_noise and info.graphs != 1:
        about = "numbers of whole graphs" if info.is_regression else "many graphs, which no edge joins"
        yield f"protocol.edge_noise: {info.name} is about {about}, so it must be 0"


def _batch_problems(info: DatasetInfo, asked: Trained) -> Iterator[str]:
    batches = asked.training.batches
    many, whole = info.graphs != 1, isinstance(batches, GraphBatches)
    if batches and many != whole and not info.has_links:
        right = "whole graphs" if many else "random walks or neighbours"
        yield f"training.batches: {info.name} is {'many graphs' if many else 'one graph'}, so take batches by {right}"


def _sign_problems(info: DatasetInfo, asked: Trained) -> Iterator[str]:
    """What has a sign has no sum that measures its size."""
    if asked.protocol.row_normalise and isinstance(DATASETS.get(info.name), SignedFeatures):
        yield f"protocol.row_normalise: {info.name} has features of either sign, so it must be false"


def _sampler_problems(backends: Iterable[str], training: Training) -> Iterator[str]:
    """Some back ends may have none, but not all."""
    known = [name for name in backends if not BACKENDS.problem(name)]
    if known and has_own_sampler(training) and not any(map(_can_sample, known)):
        having = ", ".join(filter(_can_sample, BACKENDS.names()))
        yield f"training.batches.sampler: none of {', '.join(known)} has one of its own ({having} have); take 'shared'"


def _can_sample(backend: str) -> bool:
    return isinstance(BACKENDS.get(backend), Sampling)


def _regression_problems(experiment: Experiment) -> Iterator[str]:
    """Numbers of whole graphs have no score that rises."""
    unfit = {"tuning.trials": experiment.tuning.trials, "timing.rounds": experiment.timing.rounds}
    for info in _known(experiment.datasets):
        if not info.is_regression:
            continue
        if experiment.training.stop_on not in ("loss", "never"):
            yield f"training.stop_on: {info.name} is scored by an error, so it must be 'loss' or 'never'"
        for key in unfit:
            if unfit[key]:
                yield f"{key}: {info.name} is about numbers of whole graphs, so it must be 0"


def _unshown(experiment: Experiment) -> Iterator[str]:
    return _about_graphs("datasets", experiment.datasets, "a grid of accuracies shows")


def _about_graphs(key: str, names: Iterable[str], what: str) -> Iterator[str]:
    for info in _known(names):
        if info.is_regression:
            yield f"{key}: {info.name} is about numbers of whole graphs, not what {what}; name it in a part of a table"
