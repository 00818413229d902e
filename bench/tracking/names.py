"""What the MLflow runs of jobs, trials and reports are called.

What was done comes first, because MLflow cuts names in its lists. Numbers have zeros in front, so that names sort as
their numbers do: up to 9999 for seeds, of which those that tune start at 1000, and up to 999 for what is counted.
"""

from typing import assert_never

from bench.work import AttentionJob, FitJob, Job, LookupJob, ParityJob, SpeedJob, TuneJob


def of_job(job: Job) -> str:
    """Such as "fit seed 0007 · pyg · gat · cora · cpu"."""
    match job:
        case FitJob() | LookupJob() | AttentionJob():
            return f"{job.phase} seed {job.seed:04} · {job.key}"
        case SpeedJob():
            replica = ", replica" if job.replica else ""
            return f"speed round {job.round:03}, {job.threads:03} threads{replica} · {job.key}"
        case ParityJob():
            return f"parity · {job.key}"
        case TuneJob():
            return f"tune · {_study(job)}"
    assert_never(job)


def of_trial(job: TuneJob, number: int) -> str:
    """Such as "trial 017 · gat · cora"."""
    return f"trial {number:03} · {_study(job)}"


def of_report(experiment: str) -> str:
    """There is one for each experiment."""
    return f"report of {experiment}"


def _study(job: TuneJob) -> str:
    return f"{job.operator} · {job.dataset}" if job.shared else str(job.key)
