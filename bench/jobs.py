"""A job in, an outcome out. Knows no records, no MLflow, no terminal."""

import contextlib
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from bench import parity, rounds, saved_model, seeds
from bench.config import Architecture, Setting, Training
from bench.outcomes import Attended, Checked, Fitted, NotDone, Outcome, Tuned, seven_digits
from bench.rig import GraphJob, Place, Rig, TooLarge, Unsupported, enter, task_of
from bench.settings import apply, current
from bench.studies import attention, lookup
from bench.task import DataUnavailable, NodeTask
from bench.training import network, objective, parts, train
from bench.training.train import Material
from bench.work import AttentionJob, FitJob, Job, LookupJob, ParityJob, SpeedJob, TuneJob
from implementations.contract import Trainer

PROGRESS_EPOCHS = 20
NO_MEMORY = (
    "allocate memory",  # torch's allocator of the CPU, and what the system says of a mapped file
    "not enough memory",
    "out of memory",  # CUDA and MPS
    "bad_alloc",  # C++, whatever was asked for
    "status_alloc_failed",  # cuBLAS, cuDNN, cuSPARSE
)

Progress = Callable[[str], None]


def run_job(job: Job, place: Place, progress: Progress = lambda text: None) -> Outcome:
    """Run one job to its outcome. Whatever goes wrong in it is an outcome too."""
    try:
        if isinstance(job, LookupJob):  # has neither a data set nor a back end
            return lookup.fit(job, enter(job, place), progress)
        return _run(Rig.of(job, place), job, place, progress)
    except (Unsupported, DataUnavailable) as reason:
        return NotDone(status="unsupported", reason=str(reason))
    except train.Diverged as reason:
        return NotDone(status="diverged", reason=str(reason))
    except (TooLarge, MemoryError, torch.OutOfMemoryError) as reason:
        return NotDone(status="out_of_memory", reason=str(reason) or "the job ran out of memory")
    except Exception as problem:  # noqa: BLE001 - the job boundary: a fault of one cell must not end the grid
        if _tells_of_memory(problem):
            return NotDone(status="out_of_memory", reason=str(problem).splitlines()[0])
        reason_line = f"{type(problem).__name__}: {problem}".splitlines()[0]
        return NotDone(status="error", reason=reason_line, detail=traceback.format_exc())


def _run(rig: Rig, job: GraphJob, place: Place, progress: Progress) -> Outcome:
    match job:
        case ParityJob():
            return _parity(rig, job)
        case SpeedJob():
            return rounds.time(rig, job, progress)
        case TuneJob():
            return _tune(rig, job, place, progress)
        case FitJob():
            return fit(rig, job, place, progress)
        case AttentionJob():
            return _attention(rig, job, progress)


def _parity(rig: Rig, job: ParityJob) -> Checked:
    timed = getattr(torch, job.protocol.dtype)
    dtypes = [torch.float64, timed] if rig.device.supports_float64() else [timed]
    task = task_of(job.dataset, job.protocol, seed=0)
    return parity.check(
        rig.backend, rig.operator, rig.configs(job.architecture), task, job.dataset,
        list(dict.fromkeys(dtypes)), rig.torch_device,
    )  # fmt: skip


def _tune(rig: Rig, job: TuneJob, place: Place, progress: Progress) -> Tuned:
    from bench.tuning import search  # imports Optuna and SQLAlchemy, which no other job needs

    def evaluate(settings: dict[str, Setting], seed: int) -> tuple[float, int]:
        architecture, training = apply(settings, job.architecture, job.training)
        task = task_of(job.dataset, job.protocol, seed)
        material = rig.material(task, job.protocol.features, training, seed)
        try:
            _, _, fitted = _train(rig, job, architecture, training, seed, material, progress)
        except train.Diverged:
            return 0.0, training.max_epochs  # the worst there is, and never the best trial
        return fitted.validation, fitted.epochs

    def on_trial(number: int, value: float) -> None:
        progress(f"trial {number} done: validation {100 * value:.2f} %")

    defaults = current(job.space, job.architecture, job.training)
    return search.tune(job, defaults, place.storage_url, evaluate, on_trial)


def fit(rig: Rig, job: FitJob, place: Place, progress: Progress) -> Fitted:
    """Train with one seed, then read the test nodes."""
    model, fitted = _trained(rig, job, progress)
    if place.models:
        about = saved_model.About(job, rig.data.x.shape[1], rig.classes, len(rig.data.relations))
        with contextlib.suppress(OSError):  # a full disk, say: the result is worth more than the network
            saved_model.save(Path(place.models), about, model)
    return fitted


def _attention(rig: Rig, job: AttentionJob, progress: Progress) -> Attended:
    model, fitted = _trained(rig, job, progress)
    task = task_of(job.dataset, job.protocol, job.seed)
    seen = parts.around(task, task.split.validation)
    inputs = rig.inputs(seen, job.protocol.features)
    configs = rig.configs(job.architecture)
    attended = attention.examine(rig.backend, rig.operator, configs, model, inputs, seen.graph, job.min_degree)
    return Attended(fitted=fitted, attention=attended)


def _trained(rig: Rig, job: FitJob | AttentionJob, progress: Progress) -> tuple[network.Network, Fitted]:
    """The model as it was at its best epoch; the test nodes are read here and nowhere else."""
    task = task_of(job.dataset, job.protocol, job.seed)
    material = rig.material(task, job.protocol.features, job.training, job.seed)
    model, trainer, fitted = _train(rig, job, job.architecture, job.training, job.seed, material, progress)
    model.load_state_dict(fitted.state)
    test = _test(rig, job, task, model, trainer)
    curves = {
        name.replace("score", task.metric or objective.metric(task.y)): tuple(map(seven_digits, values))
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
        differs=rig.data.differs,
        sampler=rig.own_sampler(job.training),
        peak_bytes=rig.device.peak_memory_bytes(),
        is_error=rig.info.is_regression,
    )


def _test(rig: Rig, job: FitJob | AttentionJob, task: NodeTask, model: network.Network, trainer: Trainer) -> float:
    """The score on the test nodes or links; on the graph that validates, its trainer has the logits of all nodes."""
    part = parts.of_test(task, job.training, seeds.generator(job.seed, "tested nodes"))
    if part.graph is task.graph:
        output = trainer.logits()
    else:
        output = train.evaluate(model, rig.inputs(part, job.protocol.features))
    counting = (part.y, part.nodes) if part.graph_of is None else (part.y, part.nodes, part.graph_of)
    with torch.no_grad():
        logits, y = train.asked(model, output, *(tensor.to(rig.torch_device) for tensor in counting))
    return objective.score(logits, y, rig.info.metric, rig.info.unit)


def _train(
    rig: Rig,
    job: TuneJob | FitJob | AttentionJob,
    architecture: Architecture,
    training: Training,
    seed: int,
    material: Material,
    progress: Progress,
) -> tuple[network.Network, Trainer, train.Fit]:
    """Start weights, dropout and split follow from the seed alone, so runs pair up across back ends."""
    model = rig.model(architecture, job.protocol, seed)
    torch.manual_seed(seeds.derive(seed, "dropout"))

    def on_epoch(epoch: int, validation: float) -> None:
        if epoch % PROGRESS_EPOCHS == 0:
            reached = f"error {validation:.2f}" if rig.info.is_regression else f"{100 * validation:.1f} %"
            progress(f"seed {seed}, epoch {epoch}: validation {reached}")

    trainer = train.trainer(model, material, training)
    return model, trainer, train.fit(model, trainer, material, training, on_epoch)


def _tells_of_memory(problem: Exception) -> bool:
    """Only the text says so: most libraries have no exception of their own for memory that has ended."""
    said = str(problem).lower()
    return any(text in said for text in NO_MEMORY)
