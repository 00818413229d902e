"""How long jobs will take: from what was recorded, else from a rough model that says that it is rough."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench import guess, plan
from bench.config import Experiment
from bench.outcomes import NotDone
from bench.records import Record
from bench.work import CellKey, FitJob, GridJob, Job, TuneJob


class Paces:
    """How many times its guess a job took: medians by phase, back end, operator and data set.

    They grow with each record.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._found: dict[tuple[str, ...], list[float]] = {}
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Learn from one finished job."""
        pace = record.seconds / guess.job_s(record.job)
        for key in _keys(record.job):
            self._found.setdefault(key, []).append(pace)

    def own_s(self, job: Job) -> float | None:
        """Seconds of a job as others of its cell tell."""
        return self._told_s(job, _keys(job)[:1])

    def alike_s(self, job: Job) -> float | None:
        """As `own_s`, and else as its back end does elsewhere, or others with its operator on its data set."""
        return self._told_s(job, _keys(job))

    def _told_s(self, job: Job, keys: Iterable[tuple[str, ...]]) -> float | None:
        paces = next((self._found[key] for key in keys if key in self._found), None)
        return None if paces is None else statistics.median(paces) * guess.job_s(job)


def _keys(job: Job) -> list[tuple[str, ...]]:
    """From the most to the least like this job."""
    return [
        (job.phase, job.backend, job.operator, job.dataset, job.device),
        (job.phase, job.backend, job.operator, job.device, ""),
        (job.phase, job.operator, job.dataset),
    ]


class Estimates:
    """What jobs of an experiment are expected to take: as their like took, or as measured epochs say, else a guess."""

    def __init__(self, experiment: Experiment, records: Iterable[Record]) -> None:
        self._experiment = experiment
        self._paces = Paces()
        self._records: dict[str, Record] = {}
        self._timed: dict[tuple[str, CellKey], float | None] = {}
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Learn from one finished job; one that the budget forbade took no time, and tells none."""
        is_known = isinstance(record.job, GridJob) and record.job.dataset in self._experiment.datasets
        if is_known and not _is_refused(record):
            self._records[record.id] = record
            self._timed.clear()
            self._paces.add(record)

    def job_s(self, job: GridJob) -> float:
        """Expected seconds of one job, which is killed at the file's limit."""
        told_s = self._told_s(job)
        return min(guess.job_s(job) if told_s is None else told_s, self._experiment.budget.job_s)

    def are_told(self, jobs: Iterable[GridJob]) -> bool:
        """Whether what is expected of all of these rests on records."""
        return all(self._told_s(job) is not None for job in jobs)

    def _told_s(self, job: GridJob) -> float | None:
        ways = (self._paces.own_s, self._timed_s, self._paces.alike_s)
        return next((told_s for way in ways if (told_s := way(job)) is not None), None)

    def _timed_s(self, job: GridJob) -> float | None:
        if not isinstance(job, TuneJob | FitJob):
            return None
        place = (job.phase, job.key)
        if place not in self._timed:
            self._timed[place] = _timed_s(self._experiment, job, self._records)
        return self._timed[place]


def _is_refused(record: Record) -> bool:
    return isinstance(record.outcome, NotDone) and record.outcome.status == "budget"


def _timed_s(experiment: Experiment, job: TuneJob | FitJob, done: Mapping[str, Record]) -> float | None:
    """From the measured epochs of the job's cell, nothing where the budget forbids it; None where it was not timed."""
    cost = plan.EpochCost.of(experiment, done.values())
    if isinstance(job, TuneJob):
        study_s = cost.study_s(experiment, job.key)
        return None if study_s is None else min(study_s, experiment.budget.study_s)
    epochs, _ = plan.expected_epochs(experiment, job, done)
    fits_s = cost.fit_s(experiment, job.key, epochs)
    if fits_s is None or fits_s <= experiment.budget.cell_fit_s:
        return fits_s and fits_s / len(experiment.seeds_of(job.key))
    return 0.0


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

    def left(self, stands: "Stands") -> dict[str, list[GridJob]]:
        """The jobs that need running, by phase."""
        return {phase: [job for job in jobs if not stands(job.id)] for phase, jobs in self.phases.items()}

    def left_s(self, estimates: Estimates, stands: "Stands", parallel: int) -> float:
        """Seconds until all is done: speed jobs run alone, the others of a phase `parallel` at a time."""
        left_s = {phase: [estimates.job_s(job) for job in jobs] for phase, jobs in self.left(stands).items()}
        timing_s = sum(left_s.pop("speed", []))
        if self.timing_s is not None:
            spent_s = sum(estimates.job_s(job) for job in self.phases["speed"] if stands(job.id))
            timing_s = min(timing_s, max(0.0, self.timing_s - spent_s))
        return timing_s + sum(side_by_side_s(jobs_s, parallel) for jobs_s in left_s.values())


def side_by_side_s(jobs_s: Sequence[float], parallel: int) -> float:
    """Seconds that jobs take together: no fewer than the longest."""
    return max(sum(jobs_s) / parallel, max(jobs_s, default=0.0))


Stands = Callable[[str], bool]
"""Whether a job of that id needs no running."""
