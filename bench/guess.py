"""How long a job takes as far as its own settings tell: a rough model, for what was never run.

Its unit is the message: one number that one edge or node hands on in a layer, for each head and channel.
"""

import itertools
import math
import operator

from bench.config import LinkBatches, NeighbourBatches, Training, WalkBatches
from bench.plugins import DATASETS
from bench.speed.timing import FEWEST_SAMPLES, WINDOW
from bench.task import DatasetInfo
from bench.training.network import layer_configs
from bench.training.parts import MOST_NODES
from bench.work import AttentionJob, FitJob, GridJob, Job, LookupJob, ParityJob, SpeedJob, TuneJob

# Seconds per message of a training step with its evaluation, by a library's back end on one current CPU core that has
# nothing else to do. Compiled kernels need a fraction, whoever looks at all pairs of nodes a multiple; nothing that a
# plan knows tells them apart.
PER_MESSAGE_S = 30e-9
START_S = 5.0
SMALL_STEP_S = 4e-3  # of a training step on next to nothing
PER_LOOKED_UP_S = 15e-9  # as PER_MESSAGE_S, where graphs share their structure
PARITY_STEPS = 60
OUTLASTED = 10
"""Times patience: no published training went on for longer."""
GOOD_TO = 4
EXPERIENCE = f"the published experiments took between 1/{GOOD_TO} and {GOOD_TO} times their guess"
"""Of all jobs of one together; tests/test_estimate.py holds the records to it."""

GraphJob = GridJob | AttentionJob


def job_s(job: Job) -> float:
    """Seconds of one job."""
    match job:
        case ParityJob():
            return START_S + PARITY_STEPS * _checked(job) * PER_MESSAGE_S
        case SpeedJob():
            return START_S + 2 * len(job.timing.tracks) * _phase_s(job)
        case TuneJob():
            return START_S + job.trials * len(job.seeds) * _training_s(job)
        case FitJob() | AttentionJob():
            return 1.0 + _training_s(job)
        case LookupJob():
            return 1.0 + _lookup_steps(job) * (SMALL_STEP_S + _looked_up(job) * PER_LOOKED_UP_S)


def most_epochs(training: Training) -> int:
    """As many as a training is expected to have at most.

    Patience may end it at any epoch, yet no published training had fewer than 0.4 of these, and most had all.
    """
    if training.stop_on == "never":
        return training.max_epochs
    return min(training.max_epochs, max(training.min_epochs, OUTLASTED * training.patience_epochs))


def _training_s(job: TuneJob | FitJob | AttentionJob) -> float:
    steps, messages = _epoch(job)
    return most_epochs(job.training) * steps * messages * PER_MESSAGE_S


def _phase_s(job: SpeedJob) -> float:
    """Of training or of evaluation: warm-up and samples in the time allowed, but at least the fewest there are."""
    timing, (_, messages) = job.timing, _epoch(job)
    step_s = messages * PER_MESSAGE_S
    wanted_s = (timing.samples + 2 * WINDOW) * max(timing.min_sample_s, step_s)
    return max(min(timing.max_phase_s, wanted_s), (1 + FEWEST_SAMPLES) * step_s)


def _epoch(job: SpeedJob | TuneJob | FitJob | AttentionJob) -> tuple[int, float]:
    """Steps of an epoch, and messages of each."""
    info, batches = DATASETS.get(job.dataset).info, job.training.batches
    nodes, edges = info.size
    match batches:
        case WalkBatches():
            visited = batches.roots * (batches.length + 1)
            steps, seen = batches.steps, visited * (nodes + edges) / nodes
        case NeighbourBatches():
            steps = _bounded(nodes / batches.targets, batches.steps)
            seen = _reached(batches.targets, batches.fanout)
        case LinkBatches():
            steps = _bounded(edges / batches.links, batches.steps)
            seen = _reached(4 * batches.links, batches.fanout) if batches.fanout else math.inf
        case _:
            steps, seen = 1, math.inf
    return steps, min(_whole(job), seen * _width(job, info))


def _lookup_steps(job: LookupJob) -> int:
    """As many as there can be; whoever solves the task ends sooner."""
    training = job.training
    graphs = training.train_fraction * min(training.max_graphs, math.factorial(min(job.size, 20)))
    return _bounded(training.max_epochs * max(1.0, graphs / training.batch_graphs), training.max_steps)


def _looked_up(job: LookupJob) -> int:
    """Messages of a step: every key of a graph to every query."""
    return job.training.batch_graphs * job.size**2 * job.architecture.features


def _bounded(steps: float, most: int | None) -> int:
    return min(max(1, math.ceil(steps)), most or 2**31)


def _reached(targets: int, fanout: tuple[int, ...]) -> float:
    """Nodes and edges, where no neighbour is drawn twice."""
    nodes = list(itertools.accumulate(fanout, operator.mul, initial=targets))
    return sum(nodes) + sum(nodes[1:])


def _whole(job: GraphJob) -> float:
    """Messages of a step on all of a data set."""
    info = DATASETS.get(job.dataset).info
    return sum(info.size) * _width(job, info)


def _checked(job: ParityJob) -> float:
    """Messages of a step on as much of a data set as the gate looks at."""
    nodes = DATASETS.get(job.dataset).info.size[0]
    return _whole(job) * min(1.0, MOST_NODES / nodes)


def _width(job: GraphJob, info: DatasetInfo) -> int:
    """Heads times channels, of all layers."""
    configs = layer_configs(job.architecture, info.features, max(1, info.classes))
    return sum(config.heads * config.out_channels for config in configs)
