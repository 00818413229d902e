"""The grid: what is missing is run, what finishes is recorded at once, what is recorded is never repeated."""

import contextlib
import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from bench import best_models, plan, records, saved_model
from bench.config import Experiment
from bench.data import bring
from bench.durations import roughly
from bench.estimate import Estimates, Forecast
from bench.folder import ResultsFolder
from bench.history import History
from bench.options import Options
from bench.outcomes import Checked, Fitted, NotDone
from bench.progress import Display, news, title
from bench.records import Record
from bench.rig import GIB
from bench.tuning import study_store
from bench.work import CellKey, FitJob, Job, SpeedJob, TuneJob
from bench.workers.crew import Finished
from bench.workers.engage import engage
from bench.workers.worker import Done
from bench.workers.workforce import Terms


class Listener(Protocol):
    """Who is told of finished jobs besides the records file: tracking."""

    def finished(self, record: Record) -> None:
        """A record is on disk."""
        ...

    def quiet(self) -> contextlib.AbstractContextManager[None]:
        """A block inside which it does nothing: timing is at work."""
        ...


class Unheard:
    """A listener that does nothing."""

    def finished(self, record: Record) -> None:
        """See `Listener`."""

    def quiet(self) -> contextlib.AbstractContextManager[None]:
        """See `Listener`."""
        return contextlib.nullcontext()


@dataclass
class Grid:
    """One run of one experiment in one results folder, which the caller holds exclusively."""

    experiment: Experiment
    folder: ResultsFolder
    display: Display
    listener: Listener
    options: Options = field(default_factory=Options)
    is_alone: bool = True  # in the folder; else it holds the results of other experiments, too

    def __post_init__(self) -> None:
        found = self.folder.records()
        self.history = History(self.folder.path, found, retry=self.options.retry, retime=self.options.retime)
        self._estimates = Estimates(self.experiment, found)
        self.forecast = self._foreseen()
        budget = self.experiment.budget
        self._crew = engage(
            Terms(
                limit_s=budget.job_s,
                storage_url=self.options.storage_url,
                memory_bytes=int(budget.memory_gib * GIB) if budget.memory_gib else None,
                models=str(self.folder.path.absolute() / best_models.FOLDER),
            ),
            self.experiment.datasets,
            self.options.cluster,
            self.options.parallel,
            self.display.say,
        )

    def run(self) -> int:
        """All phases in order; returns how many jobs ended in an error, or checks failed."""
        with contextlib.closing(self._crew):
            return self._run()

    def _run(self) -> int:
        self._crew.reach()
        (self.folder.path / best_models.FOLDER).mkdir(parents=True, exist_ok=True)
        bring(self.experiment.datasets, self.display.say)
        self.forecast = self._foreseen()  # anew: of what was brought the jobs may be others
        self._mend()
        checks = plan.parity_jobs(self.experiment)
        self._together(plan.largest_first(checks))
        able = plan.passed(checks, self.history.latest)
        timings = self._timed(plan.speed_jobs(self.experiment, self._offered(able), self._crew.machine))
        cost = plan.EpochCost.of(self.experiment, self.history.of(timings))
        studies = self._studies(able, cost)
        self._together(studies)
        fits = self._fit(able, cost)
        return sum(_has_failed(record) for record in self.history.of([*checks, *timings, *studies, *fits]))

    def left_s(self) -> float:
        """Expected seconds until all is done."""
        parallel = max(map(self._crew.size, self.experiment.devices))
        return self.forecast.left_s(self._estimates, self.history.stands, max(1, parallel))

    def is_measured(self) -> bool:
        """Whether all of the expectation rests on records, and nothing on a rough model."""
        left = self.forecast.left(self.history.stands)
        return all(self._estimates.are_told(jobs) for jobs in left.values())

    def _foreseen(self) -> Forecast:
        """With the fits of now, once the gate and the studies have decided what those are."""
        forecast = Forecast.of(self.experiment)
        checks = plan.parity_jobs(self.experiment)
        if not self.history.missing(checks):
            able = plan.passed(checks, self.history.latest)
            forecast.phases["fit"] = plan.fit_jobs(self.experiment, able, self.history.latest) or forecast.phases["fit"]
        return forecast

    def _mend(self) -> None:
        """What an earlier run left broken, before anything is added to it."""
        best_models.sweep(self.folder.path, self.history.latest.values())
        notices = [records.mend(self.folder.path)]
        if self.experiment.tuning.trials and self.options.storage_url:
            notices += study_store.mend(self.options.storage_url, self.history.latest.values())
        for notice in filter(None, notices):
            self.display.say(notice)

    def _offered(self, able: list[CellKey]) -> list[CellKey]:
        """Cells that there is a machine to time on; one without is passed over, for a time is a machine's."""
        if not self.experiment.timing.rounds:
            return able
        offered = {device for device in {cell.device for cell in able} if self._crew.offers(device)}
        return [cell for cell in able if cell.device in offered]

    def _timed(self, jobs: Sequence[SpeedJob]) -> list[SpeedJob]:
        """Round after round, as many as the budget allows; returns the jobs of these.

        What is allowed follows from the records alone, so that another run decides alike. A round begun is finished.
        """
        timed: list[SpeedJob] = []
        for number, group in itertools.groupby(jobs, key=lambda job: job.round):
            of_round = list(group)
            if number and not self.history.of(of_round) and not self._is_affordable(timed, of_round):
                break
            self._alone(of_round)
            timed += of_round
        self.forecast.phases["speed"] = timed
        return timed

    def _is_affordable(self, timed: Sequence[SpeedJob], of_round: Sequence[SpeedJob]) -> bool:
        allowed_s = self.experiment.budget.timing_s
        spent_s = sum(record.seconds for record in self.history.of(timed))
        return allowed_s is None or spent_s + sum(map(self._estimates.job_s, of_round)) <= allowed_s

    def _studies(self, able: list[CellKey], cost: plan.EpochCost) -> list[TuneJob]:
        """Each on the first cell that the budget allows; a study that none allows gets one record that says so."""
        allowed_s = self.experiment.budget.study_s
        affordable = [cell for cell in able if (cost.study_s(self.experiment, cell) or 0.0) <= allowed_s]
        studies = plan.tune_jobs(self.experiment, affordable)
        planned = {study.id for study in studies}
        for study in plan.tune_jobs(self.experiment, able):
            if study.id not in planned and not self.history.stands(study.id):
                needed_s = cost.study_s(self.experiment, study.key) or 0.0
                self._refuse(
                    study,
                    f"a study of {study.trials} trials on {study.backend} would take up to {roughly(needed_s)}; "
                    f"the file allows {roughly(allowed_s)}",
                )
        return studies

    def _fit(self, able: list[CellKey], cost: plan.EpochCost) -> list[FitJob]:
        """Cheap cells first: how many epochs they take tells what the dear ones would take."""
        fits = plan.fit_jobs(self.experiment, able, self.history.latest)
        self.forecast.phases["fit"] = fits
        allowed_s, most = self.experiment.budget.cell_fit_s, self.experiment.training.max_epochs
        cheap = {cell for cell in able if (cost.fit_s(self.experiment, cell, most) or 0.0) <= allowed_s}
        self._together([job for job in fits if job.key in cheap])
        dear = [job for job in fits if job.key not in cheap]
        self.history.recall(dear)
        self._together(list(self._within_budget(dear, cost)))
        return fits

    def _within_budget(self, jobs: list[FitJob], cost: plan.EpochCost) -> Iterator[FitJob]:
        """The jobs of cells that the budget allows; a cell that it does not gets one record that says so."""
        refused: set[CellKey] = set()
        for job in jobs:
            if self.history.stands(job.id):
                continue
            reason = plan.over_budget(self.experiment, job, cost, self.history.latest)
            if reason is None:
                yield job
            elif job.key not in refused:
                refused.add(job.key)
                self._refuse(job, reason)

    def _refuse(self, job: Job, reason: str) -> None:
        """Record that a job is not run for its budget."""
        outcome = NotDone(status="budget", reason=reason)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._record(job, Done(outcome=outcome, environment={}, started_utc=now, seconds=0.0))

    def _together(self, jobs: Sequence[Job]) -> None:
        self.history.recall(jobs)
        self._follow(self._crew.together(self.history.missing(jobs), title))

    def _alone(self, jobs: Sequence[Job]) -> None:
        self.history.recall(jobs)
        if todo := self.history.missing(jobs):
            with self.listener.quiet():
                self._follow(self._crew.alone(todo, title))

    def _follow(self, finished: Iterator[Finished | None]) -> None:
        progress = self._progress()
        for item in finished:
            if item is not None:
                self._record(*item)
                progress = self._progress()  # of hundreds of jobs; only a record changes it, and timing may be at work
            self.display.update(*progress, dict(self._crew.at_work))

    def _record(self, job: Job, done: Done) -> None:
        """To disk first, then to whoever wants to know."""
        record = Record(id=job.id, experiment=self.folder.name, job=job, **dict(done))
        if self.history.add(record):
            if isinstance(job, FitJob):
                self._miss_network(job, record)
                best_models.prune(self.folder.path, self.history.latest.values(), job, is_alone=self.is_alone)
            self._estimates.add(record)
            self.listener.finished(record)
        self.display.say(f"{title(job)}  {news(record.outcome)}  [{record.seconds:.1f} s]")

    def _miss_network(self, job: FitJob, record: Record) -> None:
        """Say that a fit's network is not there, which costs the result nothing, and that it will not come."""
        folder = self.folder.path / best_models.FOLDER
        if isinstance(record.outcome, Fitted) and not saved_model.path(folder, job.id).is_file():
            free = shutil.disk_usage(folder).free // 2**20
            self.display.say(
                f"{title(job)}  its network could not be kept in {folder} ({free:,} MiB are free there); the result "
                "stands, and the fit is not run again: the cell has the network of its best other seed, if any"
            )

    def _progress(self) -> tuple[int, int, float]:
        """Jobs that are done, all jobs, and the seconds that the rest is expected to take."""
        total = self.forecast.total()
        left = sum(len(self.history.missing(jobs)) for jobs in self.forecast.phases.values())
        return total - left, total, self.left_s()


def _has_failed(record: Record) -> bool:
    match record.outcome:
        case NotDone():
            return record.outcome.status == "error"
        case Checked():
            return not record.outcome.passed
    return False
