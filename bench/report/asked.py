"""Which records answer what the experiment asks now.

A results folder outlives changes of its experiment's file: records of other settings stay, and count again when the
file says so again. Among those that answer the same question, the newest state of data, versions and code counts.
"""

from collections.abc import Sequence

from bench import settings
from bench.config import Experiment, Setting
from bench.outcomes import Tuned
from bench.records import Record, latest
from bench.work import AttentionJob, CellKey, FitJob, Job, LookupJob, ParityJob, SpeedJob, TuneJob

# What decides one round's numbers; how many rounds there are does not.
_MEASURED = {"samples", "min_sample_s", "max_phase_s", "tracks"}


def study(experiment: Experiment, key: CellKey, records: Sequence[Record]) -> Record | None:
    """The study behind a cell's settings, if any was finished or failed."""
    found = [record for record in records if isinstance(record.job, TuneJob) and _is_study(experiment, key, record.job)]
    return found[-1] if found else None


def answers(experiment: Experiment, records: Sequence[Record], tuned: dict[str, Setting] | None) -> list[Record]:
    """Records of one cell that the experiment asks for, superseded attempts included.

    Args:
        experiment: what is asked.
        records: the cell's, oldest first.
        tuned: what the cell's study chose; None if it has not finished.
    """
    asked = [record for record in records if _is_asked(experiment, record.job, tuned)]
    basis = {record.job.phase: record.job.basis for record in asked}
    return [record for record in asked if record.job.basis == basis[record.job.phase]]


def newest(records: Sequence[Record]) -> list[Record]:
    """The newest record of each id, oldest first."""
    kept = latest(list(records))
    return [record for record in records if kept[record.id] is record]


def best(found: Record | None) -> dict[str, Setting] | None:
    """What a study chose, or None if it has not finished."""
    return found.outcome.best if found and isinstance(found.outcome, Tuned) else None


def _is_asked(experiment: Experiment, job: Job, tuned: dict[str, Setting] | None) -> bool:
    if isinstance(job, ParityJob):
        return (job.protocol, job.architecture) == (experiment.protocol.without_noise(), experiment.architecture)
    if job.protocol != experiment.protocol:
        return False
    match job:
        case SpeedJob():
            return job.architecture == experiment.architecture and is_timed_as_asked(experiment, job)
        case FitJob():
            return _is_fit(experiment, job, tuned)
        case TuneJob():
            return False  # belongs to many cells; see `study`
        case LookupJob() | AttentionJob():
            return False  # no grid asks for it


def is_timed_as_asked(experiment: Experiment, job: SpeedJob) -> bool:
    """Whether a round was measured as the experiment has it, whatever the architecture; never if it asks for none."""
    measured = job.timing.model_dump(include=_MEASURED) == experiment.timing.model_dump(include=_MEASURED)
    same = (job.protocol, job.training.of_one_step()) == (experiment.protocol, experiment.training.of_one_step())
    return experiment.timing.rounds > 0 and measured and same and job.threads in experiment.timing.threads


def _is_fit(experiment: Experiment, job: FitJob, tuned: dict[str, Setting] | None) -> bool:
    chosen = tuned if experiment.tuning.trials else {}
    expected = settings.apply(job.tuned, experiment.architecture, experiment.training)
    same = (job.architecture, job.training) == expected
    return same and job.seed in experiment.seeds_of(job.key) and (chosen is None or job.tuned == chosen)


def _is_study(experiment: Experiment, key: CellKey, job: TuneJob) -> bool:
    tuning = experiment.tuning
    training = experiment.training
    if tuning.max_epochs:
        training = training.model_copy(update={"max_epochs": tuning.max_epochs})
    asked = (tuning.trials, tuning.seeds, tuning.space, training, experiment.architecture, experiment.protocol)
    if asked != (job.trials, job.seeds, job.space, job.training, job.architecture, job.protocol):
        return False
    if tuning.scope == "operator":
        return job.shared and (job.operator, job.dataset) == (key.operator, key.dataset)
    return not job.shared and job.key == key
