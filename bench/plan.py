"""From an experiment to its jobs: pure functions of the experiment and what is already recorded.

parity -> speed -> tune -> fit. Speed comes before tuning and fitting because it tells what they would cost.
"""

import itertools
import random
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench import seeds, settings
from bench.basis import Machine, basis, speed_basis, this_machine
from bench.config import Architecture, Experiment, Setting
from bench.durations import roughly
from bench.outcomes import Checked, Fitted, Timed, Tuned
from bench.plugins import BACKENDS, DATASETS, OPERATORS
from bench.records import Record
from bench.training.network import layer_configs
from bench.work import CellKey, FitJob, Job, ParityJob, SpeedJob, TuneJob


def cells(experiment: Experiment) -> list[CellKey]:
    """The grid, data sets outermost."""
    return [
        CellKey(backend, operator, dataset, device)
        for dataset, operator, device, backend in itertools.product(
            experiment.datasets, experiment.operators, experiment.devices, experiment.backends
        )
    ]


def parity_jobs(experiment: Experiment) -> list[ParityJob]:
    """One for each cell, on the data set's own graph."""
    clean = {"protocol": experiment.protocol.without_noise()}
    return [
        ParityJob(**_common(experiment, cell) | clean, architecture=experiment.architecture)
        for cell in cells(experiment)
    ]


def largest_first(jobs: Iterable[ParityJob]) -> list[ParityJob]:
    """By predicted memory, which for one operator goes with time: the longest must not be left for the end."""
    return sorted(jobs, key=_predicted_bytes, reverse=True)


def speed_jobs(
    experiment: Experiment,
    able: Iterable[CellKey],
    machine_of: Callable[[str], Machine] = this_machine,
) -> list[SpeedJob]:
    """Round after round, each a new random order of all cells, so that drift of the machine hits all alike.

    `machine_of` says on which machine the jobs of a device will be timed.

    The variations of `experiment.sweep` are streams of their own beside the cells.
    """
    timing = experiment.timing
    varied = list(settings.varied(experiment).values())
    streams = [
        _Stream(cell, threads, architecture)
        for cell in able
        for threads in timing.threads
        for architecture in [experiment.architecture, *(varied if cell.dataset == experiment.datasets[0] else [])]
    ]
    streams += [replace(stream, replica=1) for stream in streams if stream.cell.backend == timing.self_test][:1]
    jobs = []
    for round_ in range(timing.rounds):
        order = [stream for stream in streams if round_ < timing.rounds_of(stream.cell, stream.threads)]
        random.Random(seeds.derive("order of round", round_)).shuffle(order)
        jobs += [_speed_job(experiment, stream, round_, machine_of(stream.cell.device)) for stream in order]
    return jobs


@dataclass(frozen=True)
class _Stream:
    """What one round times once."""

    cell: CellKey
    threads: int
    architecture: Architecture
    replica: int = 0


def tune_jobs(experiment: Experiment, able: Iterable[CellKey]) -> list[TuneJob]:
    """One per operator and data set, on the first able cell; or one per cell under `scope = "cell"`."""
    if not experiment.tuning.trials:
        return []
    jobs: dict[str, TuneJob] = {}
    for cell in able:
        job = _tune_job(experiment, cell)
        jobs.setdefault(job.id, job)
    return list(jobs.values())


def fit_jobs(experiment: Experiment, able: Iterable[CellKey], done: Mapping[str, Record]) -> list[FitJob]:
    """Seed after seed, all cells in turn; only cells whose study is finished."""
    asked = {cell: _asked_of_fits(experiment, cell, done) for cell in able}
    return [
        FitJob(**content, seed=seed)
        for seed, (cell, content) in itertools.product(experiment.seeds, asked.items())
        if content is not None and seed in experiment.seeds_of(cell)
    ]


def _asked_of_fits(experiment: Experiment, cell: CellKey, done: Mapping[str, Record]) -> dict[str, Any] | None:
    """What all fits of a cell have in common, or None where its study has not finished."""
    tuned = tuned_settings(experiment, cell, done)
    if tuned is None:
        return None
    architecture, training = settings.apply(tuned, experiment.architecture, experiment.training)
    return {**_common(experiment, cell), "architecture": architecture, "training": training, "tuned": tuned}


def tuned_settings(experiment: Experiment, cell: CellKey, done: Mapping[str, Record]) -> dict[str, Setting] | None:
    """What the cell's study chose; empty where nothing is tuned, None where the study has not finished."""
    if not experiment.tuning.trials:
        return {}
    record = done.get(_tune_job(experiment, cell).id)
    return record.outcome.best if record and isinstance(record.outcome, Tuned) else None


def passed(jobs: Iterable[ParityJob], done: Mapping[str, Record]) -> list[CellKey]:
    """Cells whose parity check is recorded as passed."""
    found = []
    for job in jobs:
        record = done.get(job.id)
        if record and isinstance(record.outcome, Checked) and record.outcome.passed:
            found.append(job.key)
    return found


@dataclass(frozen=True)
class EpochCost:
    """Measured seconds of one epoch (training step and evaluation) of each cell that was timed."""

    epoch_s: Mapping[CellKey, float]

    @classmethod
    def of(cls, experiment: Experiment, records: Iterable[Record]) -> "EpochCost":
        """Medians over rounds, of the track that the accuracy runs use, where it was timed; variations aside."""
        preferred = "same_input" if experiment.protocol.features == "sparse" else "as_shipped"
        found: dict[CellKey, list[float]] = {}
        for record in records:
            if isinstance(record.outcome, Timed) and record.job.architecture == experiment.architecture:
                measured = record.outcome.track(preferred), *record.outcome.tracks.values()
                if track := next(filter(None, measured), None):  # none, where the back end can take none that is asked
                    steps_s = record.outcome.steps_per_epoch * statistics.median(track.train.seconds)
                    found.setdefault(record.key, []).append(steps_s + statistics.median(track.evaluate.seconds))
        return cls({key: statistics.median(values) for key, values in found.items()})

    def fit_s(self, experiment: Experiment, cell: CellKey, epochs: float) -> float | None:
        """Predicted seconds for all seeds of a cell, or None if it was not timed."""
        epoch_s = self.epoch_s.get(cell)
        return None if epoch_s is None else epoch_s * epochs * len(experiment.seeds_of(cell))

    def study_s(self, experiment: Experiment, cell: CellKey) -> float | None:
        """Upper bound of a study's seconds, or None if the cell was not timed."""
        epoch_s = self.epoch_s.get(cell)
        if epoch_s is None:
            return None
        tuning = experiment.tuning
        epochs = tuning.max_epochs or experiment.training.max_epochs
        return epoch_s * epochs * tuning.trials * len(tuning.seeds)


def over_budget(experiment: Experiment, job: FitJob, cost: EpochCost, done: Mapping[str, Record]) -> str | None:
    """Why all seeds of this job's cell would exceed its budget, as a sentence, or None."""
    epochs, how = expected_epochs(experiment, job, done)
    needed_s = cost.fit_s(experiment, job.key, epochs)
    allowed_s = experiment.budget.cell_fit_s
    if needed_s is None or needed_s <= allowed_s:
        return None
    return (
        f"would take {roughly(needed_s)} for {len(experiment.seeds_of(job.key))} seeds of {epochs:.0f} epochs ({how}, "
        f"{cost.epoch_s[job.key]:.2f} s each as measured); the file allows {roughly(allowed_s)}"
    )


def expected_epochs(experiment: Experiment, job: FitJob, done: Mapping[str, Record]) -> tuple[float, str]:
    """Epochs that fits took which differ in back end, device or seed alone, or the study's, or the most there can be.

    Where each cell has a study of its own, those of other cells have other settings, and it is the study that tells.
    """
    bases = {cell: basis(*cell) for cell in cells(experiment) if cell[1:3] == job.key[1:3]}
    taken = [
        record.outcome.epochs
        for record in done.values()
        if isinstance(record.outcome, Fitted)
        if _is_like(record.job, job) and record.job.basis == bases.get(record.key)
    ]
    if taken:
        return statistics.mean(taken), "as the other back ends took"
    tune = done.get(_tune_job(experiment, job.key).id) if experiment.tuning.trials else None
    if tune and isinstance(tune.job, TuneJob) and isinstance(tune.outcome, Tuned):
        epochs = tune.outcome.trials[tune.outcome.best_trial].epochs
        if epochs < tune.job.training.max_epochs:  # else they ended there because the study's fits had to
            return epochs, "as in the study"
    return job.training.max_epochs, "at most"


def _is_like(other: Job, job: FitJob) -> bool:
    """Whether another job trains on the same data as this one, and in the same way."""
    return isinstance(other, FitJob) and _trained(other) == _trained(job)


def _trained(job: FitJob) -> tuple[object, ...]:
    return job.operator, job.dataset, job.protocol, job.architecture, job.training


def _common(experiment: Experiment, cell: CellKey) -> dict[str, Any]:
    return {
        **cell._asdict(),
        "protocol": experiment.protocol,
        "basis": basis(*cell),
    }


def _predicted_bytes(job: ParityJob) -> int:
    info = DATASETS.get(job.dataset).info
    backend, operator = BACKENDS.get(job.backend), OPERATORS.get(job.operator)
    configs = layer_configs(job.architecture, info.features, info.classes)
    return sum(backend.memory_bytes(operator, config, *info.size) for config in configs)


def _speed_job(experiment: Experiment, stream: _Stream, round_: int, machine: Machine) -> SpeedJob:
    # How many rounds and thread counts there are is no part of one round's identity: more of them keep what is there.
    unasked = {"rounds": 0, "fewer_rounds": {}, "threads": (1,), "self_test": ""}
    timing = experiment.timing.model_copy(update=unasked)
    return SpeedJob(
        **_common(experiment, stream.cell) | {"basis": speed_basis(*stream.cell, machine)},
        architecture=stream.architecture,
        training=experiment.training.of_one_step(),
        timing=timing,
        threads=stream.threads,
        round=round_,
        replica=stream.replica,
    )


def _tune_job(experiment: Experiment, cell: CellKey) -> TuneJob:
    tuning = experiment.tuning
    training = experiment.training
    if tuning.max_epochs:
        training = training.model_copy(update={"max_epochs": tuning.max_epochs})
    shared = tuning.scope == "operator"
    return TuneJob(
        **_common(experiment, cell) | {"basis": basis(None if shared else cell.backend, *cell[1:])},
        architecture=experiment.architecture,
        training=training,
        trials=tuning.trials,
        seeds=tuning.seeds,
        space=tuning.space,
        shared=shared,
    )
