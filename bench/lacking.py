"""What this machine lacks of what is asked: devices, libraries and compilers, data. Nothing is run or brought."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch

from bench.config import Architecture, Experiment
from bench.plugins import BACKENDS, DATASETS, DEVICES, OPERATORS
from bench.study_config import AttentionStudy, Study
from bench.training.network import layer_configs
from bench.training.parts import has_own_sampler
from implementations.contract import LayerConfig, Sampling


class Answer(NamedTuple):
    """What a back end says of itself on one device, which need not be there."""

    operators: list[str]
    reasons: list[str]  # why not the others


def of_experiment(experiment: Experiment) -> Iterator[str]:
    """A line for each thing that a run does without, or must bring first."""
    yield from devices(experiment.devices)
    layers = _layers(experiment.architecture, experiment.datasets)
    yield from _refusals(experiment.backends, experiment.operators, layers, experiment.devices)
    if has_own_sampler(experiment.training):
        yield from (f"{name}: {reason}" for name in experiment.backends if (reason := unsampled(name)))
    yield from data(experiment.datasets)


def of_study(study: Study) -> Iterator[str]:
    """As `of_experiment`."""
    yield from devices([study.device])
    if isinstance(study, AttentionStudy):
        layers = _layers(study.graph.architecture, study.datasets)
        yield from _refusals([study.graph.backend], study.operators, layers, [study.device])
    yield from data(study.datasets)


def devices(names: Iterable[str]) -> Iterator[str]:
    """Those that are not here."""
    return (f"device {name}: {reason}" for name in names if (reason := DEVICES.get(name).unavailable()))


def asked(backend: str, operators: Iterable[str], layers: Sequence[LayerConfig], device: str) -> Answer:
    """Whether a back end computes operators' layers on a device, library and compiler included."""
    plugin, place = BACKENDS.get(backend), torch.device(device)
    found = {
        name: next(filter(None, (plugin.unsupported(OPERATORS.get(name), layer, place) for layer in layers)), None)
        for name in operators
    }
    able = [name for name, reason in found.items() if reason is None]
    return Answer(able, list(dict.fromkeys(filter(None, found.values()))))


def unsampled(backend: str) -> str | None:
    """Why a back end's library cannot draw neighbours itself, or None."""
    plugin = BACKENDS.get(backend)
    return plugin.unsampled() if isinstance(plugin, Sampling) else f"{backend} has no sampler of its own"


def data(names: Iterable[str]) -> Iterator[str]:
    """Data sets that must be brought or generated first, or whose files will be refused."""
    for name in dict.fromkeys(names):
        states = {file.state: file.name for file in DATASETS.get(name).files()}
        if "altered" in states:
            yield f"data {name}: {states['altered']} is altered; `bench data {name} --verify` says what to do"
        elif "absent" in states:
            yield f"data {name}: not here; brought first, if that can be (`bench data {name} --fetch` does so now)"


def absent(names: Iterable[str]) -> list[str]:
    """Data sets that lack a file, each once."""
    return [name for name in dict.fromkeys(names) if any(file.state == "absent" for file in DATASETS.get(name).files())]


def _layers(architecture: Architecture, datasets: Iterable[str]) -> list[LayerConfig]:
    infos = [DATASETS.get(name).info for name in datasets]
    return [config for info in infos for config in layer_configs(architecture, info.features, max(1, info.classes))]


def _refusals(
    backends: Iterable[str], operators: Sequence[str], layers: Sequence[LayerConfig], devices_: Iterable[str]
) -> Iterator[str]:
    """What back ends cannot do on the devices that are here."""
    here = [name for name in devices_ if DEVICES.get(name).unavailable() is None]
    for backend in backends:
        for device in here:
            yield from (f"{backend} on {device}: {text}" for text in asked(backend, operators, layers, device).reasons)
