"""A job in, an outcome out. Knows no file of results, no MLflow, no terminal."""

import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from bench import anatomy, attention_study, ceilings, lookup, network, objective, parity, parts, seeds, timing, train
from bench.config import Architecture, Protocol, Setting, Training
from bench.device import Device
from bench.noise import with_noise
from bench.outcomes import Attended, Checked, Fitted, NotDone, Outcome, Samples, Timed, TrackTiming, Tuned
from bench.parts import Batches, Part
from bench.plugins import BACKENDS, DATASETS, DEVICES, OPERATORS
from bench.settings import apply, current
from bench.task import DataUnavailable, NodeData, NodeTask, Split, row_normalised
from bench.train import Inputs, Material
from bench.work import AttentionJob, FitJob, Job, LookupJob, ParityJob, SpeedJob, TuneJob
from implementations.contract import Backend, LayerConfig, Operator, Trainer
from implementations.features import is_sparse

GIB = 2**30
PROGRESS_EPOCHS = 20


@dataclass(frozen=True)
class Place:
    """Where a job runs and what it may use."""

    slot: str  # "cpu:0"
    storage_url: str = ""  # of Optuna studies
    memory_bytes: int | None = None  # predicted to need more, it is not run; trying to take more, it fails


Progress = Callable[[str], None]


class Unsupported(Exception):
    """The combination cannot run; the text is for the table."""


class TooLarge(Exception):
    """The prediction does not fit in memory; nothing was allocated."""


def run_job(job: Job, place: Place, progress: Progress = lambda text: None) -> Outcome:
    """Run one job to its outcome. Whatever goes wrong in it is an outcome too."""
    try:
        if isinstance(job, LookupJob):  # has neither a data set nor a back end
            return lookup.fit(job, _enter(job, place), progress)
        return _run(_Bench.of(job, place), job, place, progress)
    except (Unsupported, DataUnavailable) as reason:
        return NotDone(status="unsupported", reason=str(reason))
    except train.Diverged as reason:
        return NotDone(status="diverged", reason=str(reason))
    except (TooLarge, MemoryError, torch.OutOfMemoryError) as reason:
        return NotDone(status="out_of_memory", reason=str(reason) or "the job ran out of memory")
    except Exception as problem:  # noqa: BLE001 - the job boundary: a fault of one cell must not end the grid
        if _is_allocation_failure(problem):
            return NotDone(status="out_of_memory", reason=str(problem).splitlines()[0])
        reason_line = f"{type(problem).__name__}: {problem}".splitlines()[0]
        return NotDone(status="error", reason=reason_line, detail=traceback.format_exc())


def _enter(job: Job, place: Place) -> torch.device:
    device = DEVICES.get(job.device)
    if reason := device.unavailable():
        raise Unsupported(reason)
    entered = device.enter(place.slot, job.threads if isinstance(job, SpeedJob) else 1)
    if place.memory_bytes is not None:
        device.limit_memory(place.memory_bytes)
    return entered


GraphJob = ParityJob | SpeedJob | TuneJob | FitJob | AttentionJob


@dataclass(frozen=True, eq=False)
class _Bench:
    """A job's plug-ins, resolved, and the device taken."""

    backend: Backend
    operator: Operator
    device: Device
    torch_device: torch.device
    data: NodeData
    classes: int
    memory_bytes: int | None  # at most, beside what is free

    @classmethod
    def of(cls, job: GraphJob, place: Place) -> "_Bench":
        device, torch_device = DEVICES.get(job.device), _enter(job, place)
        backend, operator = BACKENDS.get(job.backend), OPERATORS.get(job.operator)
        data = _load(job.dataset, job.protocol)
        stated = DATASETS.get(job.dataset).info.classes  # not all need occur
        classes = data.classes if objective.has_many_labels(data.y) else max(stated, int(data.y.max()) + 1)
        bench = cls(backend, operator, device, torch_device, data, classes, place.memory_bytes)
        training = None if isinstance(job, ParityJob) else job.training
        bench.require(bench.configs(job.architecture), *parts.largest(data.graph, data.graph_of, training))
        return bench

    def configs(self, architecture: Architecture) -> list[LayerConfig]:
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
            prepared=self.backend.prepare(part.graph.to(self.torch_device), self.torch_device),
            y=part.y.to(self.torch_device),
            nodes=part.nodes.to(self.torch_device),
        )

    def material(self, task: NodeTask, features: str, training: Training, seed: int) -> Material:
        """What training sees of a task: one graph once, or batches beside the graphs that validate."""
        validation = self.inputs(parts.around(task, task.split.validation), features)
        if task.graph_of is None and not training.batches:
            return Material([replace(validation, nodes=task.split.train.to(self.torch_device))], validation)
        batches = parts.batches(task, training, seeds.generator(seed, "batches"))
        return Material(_OnDevice(self, batches, features), validation)

    def model(self, architecture: Architecture, protocol: Protocol, seed: int) -> network.Network:
        """A network with the start weights of `seed`, on the device."""
        configs = self.configs(architecture)
        torch.manual_seed(seeds.derive(seed, "native init"))
        start = seed if protocol.init == "canonical" else None
        model = network.build(self.backend, self.operator, configs, architecture, start)
        return model.to(self.torch_device, getattr(torch, protocol.dtype))


@dataclass(frozen=True, eq=False)
class _OnDevice:
    """Batches that come to the device one at a time."""

    bench: _Bench
    batches: Batches[Part]
    features: str

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Inputs]:
        return (self.bench.inputs(part, self.features) for part in self.batches)


def _run(bench: _Bench, job: GraphJob, place: Place, progress: Progress) -> Outcome:
    match job:
        case ParityJob():
            return _parity(bench, job)
        case SpeedJob():
            return _speed(bench, job, progress)
        case TuneJob():
            return _tune(bench, job, place, progress)
        case FitJob():
            return fit(bench, job, progress)
        case AttentionJob():
            return _attention(bench, job, progress)


def _parity(bench: _Bench, job: ParityJob) -> Checked:
    timed = getattr(torch, job.protocol.dtype)
    dtypes = [torch.float64, timed] if bench.device.supports_float64() else [timed]
    task = _task(job.dataset, job.protocol, seed=0)
    return parity.check(
        bench.backend, bench.operator, bench.configs(job.architecture), task, job.dataset,
        list(dict.fromkeys(dtypes)), bench.torch_device,
    )  # fmt: skip


def _speed(bench: _Bench, job: SpeedJob, progress: Progress) -> Timed:
    """One round: each track once, in an order of its own; tracks with the very same input are one measurement."""
    ceiling = ceilings.measure(bench.device, bench.torch_device) if job.timing.ceilings else None
    task = _task(job.dataset, job.protocol, seed=0)
    stop = bench.device.stopwatch()
    bench.backend.prepare(task.graph.to(bench.torch_device), bench.torch_device)
    bench.device.synchronize()
    prepare_s = stop()
    without, same_as = _unmeasured_tracks(bench, job)
    tracks = [track for track in job.timing.tracks if track not in {*without, *same_as}]
    random.Random(seeds.derive("tracks", job.id)).shuffle(tracks)
    measured = {}
    for track in tracks:
        progress(track.replace("_", " "))
        measured[track] = _time_track(bench, job, task, track)
    return Timed(
        tracks={track: measured[track] for track in job.timing.tracks if track in measured},
        prepare_s=prepare_s,
        nodes=task.graph.num_nodes,
        edges=task.graph.num_edges,
        threads=job.threads,
        without=without,
        same_as=same_as,
        features=task.x.shape[1],
        stored_features=task.x.values().numel() if is_sparse(task.x) else task.x.numel(),
        ceilings=ceiling,
    )


def _unmeasured_tracks(bench: _Bench, job: SpeedJob) -> tuple[dict[str, str], dict[str, str]]:
    """Tracks that cannot be taken, with the reason; and tracks whose input is that of an earlier one, with its name."""
    without: dict[str, str] = {}
    same_as: dict[str, str] = {}
    first: dict[str, str] = {}
    for track in job.timing.tracks:
        features = bench.features_of(track)
        if features == "sparse" and not bench.backend.sparse_features:
            without[track] = f"{bench.backend.name} takes dense features only"
        elif features in first:
            same_as[track] = first[features]
        else:
            first[features] = track
    return without, same_as


def _time_track(bench: _Bench, job: SpeedJob, task: NodeTask, track: str) -> TrackTiming:
    material = bench.material(task, bench.features_of(track), job.training, seed=0)
    torch.manual_seed(seeds.derive("speed", job.round))
    first_step_s = _first_step_s(bench, job, material)
    bench.device.reset_peak_memory()
    model = bench.model(job.architecture, job.protocol, seed=0)
    trainer = train.trainer(model, material, job.training)
    trained = _measure(trainer.step, bench.device, job)
    peak_bytes = bench.device.peak_memory_bytes()
    evaluated = _measure(trainer.logits, bench.device, job)
    parts_s = anatomy.of_step(trainer, trained.steps, bench.torch_device) if job.timing.parts else {}
    return TrackTiming(
        train=_samples(trained),
        evaluate=_samples(evaluated),
        first_step_s=first_step_s,
        peak_bytes=peak_bytes,
        whole_step=not isinstance(trainer, train.Autograd),
        parts_s={name: _digits(seconds) for name, seconds in parts_s.items()},
    )


def _first_step_s(bench: _Bench, job: SpeedJob, material: Material) -> float:
    """The first step of a model that is then dropped: libraries that load or compile at first use do so here."""
    model = bench.model(job.architecture, job.protocol, seed=0)
    stop = bench.device.stopwatch()
    train.trainer(model, material, job.training).step()
    return _digits(stop())


def _measure(call: Callable[[], object], device: Device, job: SpeedJob) -> timing.Measured:
    return timing.measure(
        call,
        device,
        samples=job.timing.samples,
        min_sample_s=job.timing.min_sample_s,
        max_phase_s=job.timing.max_phase_s,
    )


def _samples(measured: timing.Measured) -> Samples:
    return Samples(
        steps=measured.steps,
        seconds=tuple(_digits(value) for value in measured.seconds),
        warmup=tuple(_digits(value) for value in measured.warmup),
    )


def _tune(bench: _Bench, job: TuneJob, place: Place, progress: Progress) -> Tuned:
    from bench import tuning  # imports Optuna and SQLAlchemy, which no other job needs

    def evaluate(settings: dict[str, Setting], seed: int) -> tuple[float, int]:
        architecture, training = apply(settings, job.architecture, job.training)
        task = _task(job.dataset, job.protocol, seed)
        material = bench.material(task, job.protocol.features, training, seed)
        try:
            _, _, fitted = _train(bench, job, architecture, training, seed, material, progress)
        except train.Diverged:
            return 0.0, training.max_epochs  # the worst there is, and never the best trial
        return fitted.validation, fitted.epochs

    def on_trial(number: int, value: float) -> None:
        progress(f"trial {number} done: validation {100 * value:.2f} %")

    defaults = current(job.space, job.architecture, job.training)
    return tuning.tune(job, defaults, place.storage_url, evaluate, on_trial)


def fit(bench: _Bench, job: FitJob | AttentionJob, progress: Progress) -> Fitted:
    """Train with one seed, then read the test nodes."""
    return _trained(bench, job, progress)[1]


def _attention(bench: _Bench, job: AttentionJob, progress: Progress) -> Attended:
    model, fitted = _trained(bench, job, progress)
    task = _task(job.dataset, job.protocol, job.seed)
    seen = parts.around(task, task.split.validation)
    inputs = bench.inputs(seen, job.protocol.features)
    configs = bench.configs(job.architecture)
    attention = attention_study.examine(
        bench.backend, bench.operator, configs, model, inputs, seen.graph, job.min_degree
    )
    return Attended(fitted=fitted, attention=attention)


def _trained(bench: _Bench, job: FitJob | AttentionJob, progress: Progress) -> tuple[network.Network, Fitted]:
    """The model as it was at its best epoch; the test nodes are read here and nowhere else."""
    task = _task(job.dataset, job.protocol, job.seed)
    material = bench.material(task, job.protocol.features, job.training, job.seed)
    model, trainer, fitted = _train(bench, job, job.architecture, job.training, job.seed, material, progress)
    model.load_state_dict(fitted.state)
    test = _test(bench, job, task, model, trainer)
    curves = {
        name.replace("score", objective.metric(task.y)): tuple(map(_digits, values))
        for name, values in vars(fitted.curves).items()
    }
    return model, Fitted(
        seed=job.seed,
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        validation=fitted.validation,
        test=test,
        parameters=network.count_parameters(model),
        curves=curves,
        differs=bench.data.differs,
    )


def _test(bench: _Bench, job: FitJob | AttentionJob, task: NodeTask, model: network.Network, trainer: Trainer) -> float:
    """Accuracy or micro-F1 on the test nodes; on one graph its trainer has the logits of all nodes."""
    if task.graph_of is None:
        logits, y, nodes = trainer.logits(), task.y, task.held_out
    else:
        part = parts.around(task, task.held_out)
        logits, y, nodes = train.evaluate(model, bench.inputs(part, job.protocol.features)), part.y, part.nodes
    return objective.score(logits[nodes.to(bench.torch_device)], y[nodes].to(bench.torch_device))


def _train(
    bench: _Bench,
    job: TuneJob | FitJob | AttentionJob,
    architecture: Architecture,
    training: Training,
    seed: int,
    material: Material,
    progress: Progress,
) -> tuple[network.Network, Trainer, train.Fit]:
    """Start weights, dropout and split follow from the seed alone, so runs pair up across back ends."""
    model = bench.model(architecture, job.protocol, seed)
    torch.manual_seed(seeds.derive(seed, "dropout"))

    def on_epoch(epoch: int, validation: float) -> None:
        if epoch % PROGRESS_EPOCHS == 0:
            progress(f"seed {seed}, epoch {epoch}: validation {100 * validation:.1f} %")

    trainer = train.trainer(model, material, training)
    return model, trainer, train.fit(model, trainer, material, training, on_epoch)


# A worker runs the fits of many seeds one after the other; loading and normalising once serves them all.
@lru_cache(maxsize=4)
def _load(dataset: str, protocol: Protocol) -> NodeData:
    data = DATASETS.get(dataset).load()
    x = row_normalised(data.x) if protocol.row_normalise else data.x
    return replace(data, graph=with_noise(data.graph, protocol.edge_noise).with_self_loops(), x=x)


@lru_cache(maxsize=32)
def _task(dataset: str, protocol: Protocol, seed: int) -> NodeTask:
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
    )


def _digits(value: float) -> float:
    """Seven significant digits: more than a timer or a float32 loss has, and half the size on disk."""
    return float(f"{value:.7g}")


def _is_allocation_failure(problem: Exception) -> bool:
    """Torch reports a failed CPU allocation as a plain RuntimeError."""
    return isinstance(problem, RuntimeError) and "can't allocate memory" in str(problem)
