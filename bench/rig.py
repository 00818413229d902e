"""What a job works with: its plug-ins, resolved, on a device that was entered; its data, loaded once for many jobs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from bench import seeds
from bench.config import Architecture, Protocol, Training
from bench.device import Device
from bench.plugins import BACKENDS, DATASETS, DEVICES, OPERATORS
from bench.task import DatasetInfo, NodeData, NodeTask, Split, row_normalised, with_self_loops
from bench.training import network, objective, parts
from bench.training.noise import with_noise
from bench.training.parts import Batches, Part
from bench.training.train import Inputs, Material
from bench.work import AttentionJob, FitJob, Job, ParityJob, SpeedJob, TuneJob
from implementations.contract import Backend, Graph, LayerConfig, Operator, Sampling
from implementations.features import is_sparse

GIB = 2**30


@dataclass(frozen=True)
class Place:
    """Where a job runs and what it may use."""

    slot: str  # "cpu:0"
    storage_url: str = ""  # of Optuna studies
    memory_bytes: int | None = None  # predicted to need more, it is not run; trying to take more, it fails
    models: str = ""  # folder for the networks that fits train; empty: they are not kept


class Unsupported(Exception):
    """The combination cannot run; the text is for the table."""


class TooLarge(Exception):
    """The prediction does not fit in memory; nothing was allocated."""


def enter(job: Job, place: Place) -> torch.device:
    """Take the device, with the job's threads and its limit of memory.

    Raises:
        Unsupported: it is not there.
    """
    device = DEVICES.get(job.device)
    if reason := device.unavailable():
        raise Unsupported(reason)
    entered = device.enter(place.slot, job.threads if isinstance(job, SpeedJob) else 1)
    device.reset_peak_memory()
    if place.memory_bytes is not None:
        device.limit_memory(place.memory_bytes)
    return entered


GraphJob = ParityJob | SpeedJob | TuneJob | FitJob | AttentionJob


def bring(job: GraphJob) -> None:
    """Import the libraries and load the data that a job needs, without taking its device."""
    data = _load(job.dataset, job.protocol)
    config = network.layer_configs(job.architecture, data.x.shape[1], max(1, data.classes))[0]
    BACKENDS.get(job.backend).unsupported(OPERATORS.get(job.operator), config, torch.device("cpu"))


@dataclass(frozen=True, eq=False)
class Rig:
    """A job's plug-ins, resolved, and the device taken."""

    backend: Backend
    operator: Operator
    device: Device
    torch_device: torch.device
    data: NodeData
    classes: int
    info: DatasetInfo
    memory_bytes: int | None  # at most, beside what is free

    @classmethod
    def of(cls, job: GraphJob, place: Place) -> "Rig":
        """Everything that the job names.

        Raises:
            Unsupported: the combination cannot run.
            TooLarge: it would not fit in memory.
            DataUnavailable: no source has the data.
        """
        device, torch_device = DEVICES.get(job.device), enter(job, place)
        backend, operator = BACKENDS.get(job.backend), OPERATORS.get(job.operator)
        data = _load(job.dataset, job.protocol)
        info = DATASETS.get(job.dataset).info  # of whose classes not all need occur
        counted = objective.has_many_labels(data.y) or info.is_regression
        classes = data.classes if counted else max(info.classes, int(data.y.max()) + 1)
        rig = cls(backend, operator, device, torch_device, data, classes, info, place.memory_bytes)
        training = None if isinstance(job, ParityJob) else job.training
        configs = rig.configs(job.architecture) * max(1, len(data.relations))
        rig.require(configs, *parts.largest(data.graph, data.graph_of, training))
        return rig

    def configs(self, architecture: Architecture) -> list[LayerConfig]:
        """Of the layers, first to last, on this data."""
        return network.layer_configs(architecture, self.data.x.shape[1], self.classes)

    def require(self, configs: list[LayerConfig], nodes: int, edges: int) -> None:
        """Refuse what cannot run on a graph of this size, or cannot fit, before anything is allocated."""
        needed = 0
        for config in configs:
            if reason := self.backend.unsupported(self.operator, config, self.torch_device):
                raise Unsupported(reason)
            needed += self.backend.memory_bytes(self.operator, config, nodes, edges)
        free = min(self.device.free_memory_bytes(), self.memory_bytes or 2**62)
        if needed > free:
            raise TooLarge(
                f"{self.backend.name} needs about {needed / GIB:.1f} GiB for {nodes:,} nodes and {edges:,} edges "
                f"(predicted, not tried); {free / GIB:.1f} GiB are free"
            )

    def features_of(self, track: str) -> str:
        """The form of x that a track gives the layers: "dense" or "sparse"."""
        if not is_sparse(self.data.x):
            return "dense"
        return self.backend.shipped_features if track == "as_shipped" else "sparse"

    def inputs(self, part: Part, features: str) -> Inputs:
        """A part of a task on the device, with the graph in the back end's own form."""
        dense = features == "dense" or not self.backend.sparse_features
        return Inputs(
            x=(part.x.to_dense() if dense else part.x).to(self.torch_device),
            prepared=self.prepared(part),
            y=part.y.to(self.torch_device),
            nodes=part.nodes.to(self.torch_device),
            metric=self.info.metric,
            unit=self.info.unit,
            graph_of=None if part.graph_of is None else part.graph_of.to(self.torch_device),
        )

    def prepared(self, part: Part) -> Any:
        """What the layers are given: one graph, one for each of them, or one for each type of edge."""
        if part.of_layers:
            return network.PerLayer(map(self._in_own_form, part.of_layers))
        return tuple(map(self._in_own_form, part.relations)) if part.relations else self._in_own_form(part.graph)

    def _in_own_form(self, graph: Graph) -> Any:
        return self.backend.prepare(graph.to(self.torch_device), self.torch_device)

    def material(self, task: NodeTask, features: str, training: Training, seed: int) -> Material:
        """What training sees of a task: one graph once, or batches beside the graphs that validate."""
        seen = self._validated(task, training, seed)
        validation = self.inputs(seen, features)
        if task.graph_of is None and not training.batches:
            return Material([replace(validation, nodes=task.split.train.to(self.torch_device))], validation)
        return Material(_OnDevice(self, self.batches(task, training, seed), features, seen, validation), validation)

    def ready(self, task: NodeTask, seen: Sequence[Part], features: str, training: Training, seed: int) -> Material:
        """As `material`, with the parts that steps see given, and all of them on the device."""
        batches = [self.inputs(part, features) for part in seen]
        return Material(batches, self.inputs(self._validated(task, training, seed), features))

    def _validated(self, task: NodeTask, training: Training, seed: int) -> Part:
        return parts.evaluated(task, task.split.validation, training, seeds.generator(seed, "validated nodes"))

    def batches(self, task: NodeTask, training: Training, seed: int) -> Batches[Part]:
        """What the steps see of a task; drawn by the library's own sampler, if that is asked.

        Raises:
            Unsupported: it is, and the back end has none.
        """
        sampling = self._sampling() if self.own_sampler(training) else None
        return parts.batches(task, training, seeds.generator(seed, "batches"), sampling)

    def own_sampler(self, training: Training) -> str:
        """The library whose own sampler draws what steps see, if that is asked, else nothing."""
        return self.backend.name if parts.has_own_sampler(training) else ""

    def _sampling(self) -> Sampling:
        if not isinstance(self.backend, Sampling):
            raise Unsupported(f"{self.backend.name} has no sampler of its own")
        if reason := self.backend.unsampled():
            raise Unsupported(reason)
        return self.backend

    def model(self, architecture: Architecture, protocol: Protocol, seed: int) -> network.Network:
        """A network with the start weights of `seed`, on the device."""
        torch.manual_seed(seeds.derive(seed, "native init"))
        model = network.of(
            self.backend, self.operator, architecture, self.data.x.shape[1], self.classes, len(self.data.relations),
            seed if protocol.init == "canonical" else None,
        )  # fmt: skip
        return model.to(self.torch_device, getattr(torch, protocol.dtype))


@dataclass(frozen=True, eq=False)
class _OnDevice:
    """Batches that come to the device one at a time; what is there already, the graph that validates, stays."""

    rig: Rig
    batches: Batches[Part]
    features: str
    seen: Part
    validation: Inputs

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Inputs]:
        return (self._inputs(part) for part in self.batches)

    def _inputs(self, part: Part) -> Inputs:
        if part.graph is self.seen.graph:
            return replace(self.validation, nodes=part.nodes.to(self.rig.torch_device))
        return self.rig.inputs(part, self.features)


# A worker runs the fits of many seeds one after the other; loading and normalising once serves them all.
@lru_cache(maxsize=4)
def _load(dataset: str, protocol: Protocol) -> NodeData:
    data = DATASETS.get(dataset).load()
    x = row_normalised(data.x) if protocol.row_normalise else data.x
    graph = with_noise(data.graph, protocol.edge_noise)
    if not protocol.self_loops:
        return replace(data, graph=graph, x=x)
    looped, relations = with_self_loops(graph, data.relations)
    return replace(data, graph=looped, x=x, relations=relations)


@lru_cache(maxsize=32)
def task_of(dataset: str, protocol: Protocol, seed: int) -> NodeTask:
    """The data under a protocol, with the split of a seed."""
    plugin = DATASETS.get(dataset)
    data = _load(dataset, protocol)
    split = plugin.info.splits[0] if protocol.split == "default" else protocol.split
    nodes = plugin.nodes(data, split, seed)
    return NodeTask(
        graph=data.graph,
        x=data.x.to(getattr(torch, protocol.dtype)),
        y=data.y,
        split=Split(nodes.train, nodes.validation),
        held_out=nodes.test,
        graph_of=data.graph_of,
        self_loops=protocol.self_loops,
        test_graph=_with_links(data.graph, nodes.validation) if protocol.validation_edges else None,
        metric=plugin.info.metric,
        relations=data.relations,
    )


def _with_links(graph: Graph, links: Tensor) -> Graph:
    """The graph with each true link both ways, and no edge twice."""
    true, N = links[:2, links[2] > 0], graph.num_nodes
    sources, targets = torch.cat([graph.edge_index, true, true.flip(0)], dim=1)
    keys = torch.unique(targets * N + sources)
    return Graph(N, torch.stack([keys % N, keys // N]))
