"""One round of speed: a cell's training step and evaluation, timed in a process of their own.

Where steps see parts of a graph, they are timed on the first few of an epoch, others in each round, over and over: the
same for every back end, and made ready before. What a library's own sampler draws is drawn by the steps themselves.
"""

import itertools
import random
import statistics
from collections.abc import Callable, Sequence

import torch
import torch._dynamo  # torch's first Adam imports it: a second that would be part of somebody's first step

from bench import seeds
from bench.device import Device
from bench.outcomes import Samples, Timed, TrackTiming, seven_digits
from bench.rig import Rig, task_of
from bench.speed import anatomy, ceilings, timing
from bench.task import NodeTask
from bench.training import train
from bench.training.parts import Part
from bench.training.train import Material
from bench.work import SpeedJob
from implementations.features import is_sparse

MOST_PARTS = 4


def time(rig: Rig, job: SpeedJob, progress: Callable[[str], None]) -> Timed:
    """Each track once, in an order of its own; tracks with the very same input are one measurement."""
    ceiling = ceilings.measure(rig.device, rig.torch_device) if job.timing.ceilings else None
    task = task_of(job.dataset, job.protocol, seed=0)
    epoch = rig.batches(task, job.training, job.round)
    seen = list(itertools.islice(epoch, MOST_PARTS))
    stop = rig.device.stopwatch()
    for part in seen:
        rig.prepared(part)
    rig.device.synchronize()
    prepare_s = stop() / len(seen)
    without, same_as = _unmeasured_tracks(rig, job)
    tracks = [track for track in job.timing.tracks if track not in {*without, *same_as}]
    random.Random(seeds.derive("tracks", job.id)).shuffle(tracks)
    measured = {}
    for track in tracks:
        progress(track.replace("_", " "))
        measured[track] = _time_track(rig, job, task, seen, track)
    return Timed(
        tracks={track: measured[track] for track in job.timing.tracks if track in measured},
        prepare_s=prepare_s,
        nodes=round(statistics.fmean(part.graph.num_nodes for part in seen)),
        edges=round(statistics.fmean(part.edges_of_a_layer for part in seen)),
        threads=job.threads,
        without=without,
        same_as=same_as,
        features=task.x.shape[1],
        stored_features=0 if job.training.batches else _stored(task.x),
        ceilings=ceiling,
        steps_per_epoch=len(epoch),
    )


def _stored(x: torch.Tensor) -> int:
    return x.values().numel() if is_sparse(x) else x.numel()


def _unmeasured_tracks(rig: Rig, job: SpeedJob) -> tuple[dict[str, str], dict[str, str]]:
    """Tracks that cannot be taken, with the reason; and tracks whose input is that of an earlier one, with its name."""
    without: dict[str, str] = {}
    same_as: dict[str, str] = {}
    first: dict[str, str] = {}
    for track in job.timing.tracks:
        features = rig.features_of(track)
        if features == "sparse" and not rig.backend.sparse_features:
            without[track] = f"{rig.backend.name} takes dense features only"
        elif features in first:
            same_as[track] = first[features]
        else:
            first[features] = track
    return without, same_as


def _time_track(rig: Rig, job: SpeedJob, task: NodeTask, seen: Sequence[Part], track: str) -> TrackTiming:
    material = _material(rig, job, task, seen, rig.features_of(track))
    torch.manual_seed(seeds.derive("speed", job.round))
    first_step_s = _first_step_s(rig, job, material)
    rig.device.reset_peak_memory()
    model = rig.model(job.architecture, job.protocol, seed=0)
    trainer = train.trainer(model, material, job.training)
    trained = _measure(trainer.step, rig.device, job, period=len(seen))
    peak_bytes = rig.device.peak_memory_bytes()
    evaluated = _measure(trainer.logits, rig.device, job)
    parts_s = anatomy.of_step(trainer, trained.steps, rig.torch_device) if job.timing.parts else {}
    return TrackTiming(
        train=_samples(trained),
        evaluate=_samples(evaluated),
        first_step_s=first_step_s,
        peak_bytes=peak_bytes,
        whole_step=not isinstance(trainer, train.Autograd),
        parts_s={name: seven_digits(seconds) for name, seconds in parts_s.items()},
    )


def _material(rig: Rig, job: SpeedJob, task: NodeTask, seen: Sequence[Part], features: str) -> Material:
    """Parts that all back ends share lie ready; what a library's own sampler draws is drawn as the steps go."""
    if job.training.batches is None or rig.own_sampler(job.training):
        return rig.material(task, features, job.training, job.round)
    return rig.ready(task, seen, features, job.training, job.round)


def _first_step_s(rig: Rig, job: SpeedJob, material: Material) -> float:
    """The first step of a model that is then dropped: libraries that load or compile at first use do so here."""
    model = rig.model(job.architecture, job.protocol, seed=0)
    stop = rig.device.stopwatch()
    train.trainer(model, material, job.training).step()
    return seven_digits(stop())


def _measure(call: Callable[[], object], device: Device, job: SpeedJob, period: int = 1) -> timing.Measured:
    return timing.measure(
        call,
        device,
        samples=job.timing.samples,
        min_sample_s=job.timing.min_sample_s,
        max_phase_s=job.timing.max_phase_s,
        period=period,
    )


def _samples(measured: timing.Measured) -> Samples:
    return Samples(
        steps=measured.steps,
        seconds=tuple(seven_digits(value) for value in measured.seconds),
        warmup=tuple(seven_digits(value) for value in measured.warmup),
    )
