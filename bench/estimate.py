"""How long jobs will take: from what was recorded, else from a rough model that says that it is rough."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench import plan
from bench.config import Experiment
from bench.plugins import DATASETS
from bench.records import Record
from bench.work import FitJob, GridJob, Job, ParityJob, SpeedJob, TuneJob

# Seconds per edge, head and channel of a training epoch on one current CPU core, and per node pair where a
# back end looks at all pairs. Good to a factor of three; replaced by measurement at the first job.
PER_MESSAGE_S = 30e-9
START_S = 5.0


class Estimates:
    """Medians of recorded seconds by phase, back end, operator and data set, growing with each record."""

    def __init__(self, experiment: Experiment, records: Iterable[Record]) -> None:
        self._experiment = experiment
        self._seen: dict[tuple[str, ...], list[float]] = {}
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Learn from one finished job."""
        for key in _keys(record.job):
            self._seen.setdefault(key, []).append(record.seconds)

    def job_s(self, job: GridJob) -> float:
        """Expected seconds of one job."""
        for key in _keys(job):
            if key in self._seen:
                return statistics.median(self._seen[key])
        return self._guess_s(job)

    def measured(self) -> bool:
        """Whether anything was recorded yet."""
        return bool(self._seen)

    def _guess_s(self, job: GridJob) -> float:
        info = DATASETS.get(job.dataset).info
        width = job.architecture.heads * job.architecture.hidden
        epoch_s = (info.nodes + info.edges) * width * PER_MESSAGE_S
        match job:
            case ParityJob():
                return START_S + 60 * epoch_s
            case SpeedJob():
                timing = self._experiment.timing
                phase_s = min(timing.max_phase_s, 2 * timing.samples * max(timing.min_sample_s, epoch_s))
                return START_S + 2 * len(timing.tracks) * phase_s
            case TuneJob():
                return START_S + job.trials * len(job.seeds) * job.training.max_epochs / 2 * epoch_s
            case FitJob():
                return 1.0 + job.training.max_epochs / 2 * epoch_s


def _keys(job: Job) -> list[tuple[str, ...]]:
    """From the most to the least like this job."""
    return [
        (job.phase, job.backend, job.operator, job.dataset, job.device),
        (job.phase, job.operator, job.dataset),
    ]


@dataclass
class Forecast:
    """Every job that the experiment is expected to come to, before the later ones are known exactly."""

    phases: dict[str, Sequence[GridJob]]
    timing_s: float | None = None  # what all rounds of timing may take together

    @classmethod
    def of(cls, experiment: Experiment) -> "Forecast":
        """As if every cell passed its parity check and every study kept the file's settings."""
        grid = plan.cells(experiment)
        untuned = experiment.model_copy(update={"tuning": experiment.tuning.model_copy(update={"trials": 0})})
        return cls(
            {
                "parity": plan.parity_jobs(experiment),
                "speed": plan.speed_jobs(experiment, grid),
                "tune": plan.tune_jobs(experiment, grid),
                "fit": plan.fit_jobs(untuned, grid, {}),
            },
            experiment.budget.timing_s,
        )

    def total(self) -> int:
        """Number of jobs."""
        return sum(len(jobs) for jobs in self.phases.values())

    def left_s(self, estimates: Estimates, stands: "Stands", parallel: int) -> float:
        """Seconds until all is done: speed jobs run alone, the others `parallel` at a time."""
        left_s = {
            phase: sum(estimates.job_s(job) for job in jobs if not stands(job.id))
            for phase, jobs in self.phases.items()
        }
        timing_s = left_s.pop("speed", 0.0)
        if self.timing_s is not None:
            spent_s = sum(estimates.job_s(job) for job in self.phases["speed"] if stands(job.id))
            timing_s = min(timing_s, max(0.0, self.timing_s - spent_s))
        return timing_s + sum(left_s.values()) / parallel


Stands = Callable[[str], bool]
"""Whether a job of that id needs no running."""
