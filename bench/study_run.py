"""Runs a study: what is missing becomes records, and what is recorded is never run again."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench import experiment_file, guess, records
from bench.data import bring
from bench.estimate import Paces, side_by_side_s
from bench.folder import ResultsFolder
from bench.history import History
from bench.options import Options
from bench.outcomes import NotDone
from bench.progress import Display, display, news, title
from bench.records import Record
from bench.runner import Listener
from bench.study_config import Study
from bench.study_jobs import jobs
from bench.views import LiveTracking, live_tracking, write_views
from bench.work import Job
from bench.workers.engage import engage
from bench.workers.workforce import Terms, Workforce


def run(study: Study, folder: ResultsFolder, options: Options | None = None, mlflow: str | None = None) -> int:
    """Run what is missing of a study, then rewrite its views; returns how many jobs ended in an error.

    Args:
        study: what is asked.
        folder: where its records lie, `results/<name>`.
        options: how to run.
        mlflow: URI of the MLflow store; that of the results folder if None; "off" for none.

    Raises:
        UserError: another run holds the folder, or a newer version was at work in it.
    """
    with folder.exclusive():
        folder.write_experiment(study)
        with live_tracking(mlflow, folder, study) as tracking:
            with display() as shown:
                errors = StudyRun(study, folder, shown, tracking, options or Options()).run()
            write_views(folder)
    for sentence in _of_mlflow(tracking):
        shown.say(sentence)
    return errors


def _of_mlflow(tracking: LiveTracking) -> Iterator[str]:
    """What became of MLflow: all of it is known only once the tracking has ended."""
    if tracking.trouble:
        yield f"MLflow is behind. {tracking.trouble}. `bench mlflow sync` fills it from the records."
    yield from tracking.notices


@dataclass
class StudyRun:
    """One run of one study in one results folder, which the caller holds exclusively."""

    study: Study
    folder: ResultsFolder
    display: Display
    listener: Listener
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        found = self.folder.records()
        self.history = History(self.folder.path, found, retry=self.options.retry)
        self._paces = Paces(found)

    def run(self) -> int:
        """Whatever is missing; returns how many jobs ended in an error."""
        self.folder.path.mkdir(parents=True, exist_ok=True)
        if notice := records.mend(self.folder.path):
            self.display.say(notice)
        bring(self.study.datasets, self.display.say)
        asked = jobs(self.study)  # only now: what was brought is part of their identity
        self.history.recall(asked)
        todo = self.history.missing(asked)
        crew = self._crew(todo)
        with contextlib.closing(crew):
            crew.reach()
            return self._follow(crew, todo)

    def expected_s(self, todo: Sequence[Job]) -> float:
        """Seconds that jobs take together as records tell, else a rough model."""
        told_s = [self._paces.alike_s(job) for job in todo]
        guessed_s = (guess.job_s(job) if told is None else told for job, told in zip(todo, told_s, strict=True))
        jobs_s = [min(seconds, self.study.job_s) for seconds in guessed_s]
        return side_by_side_s(jobs_s, max(1, self._crew(todo).size(self.study.device)))

    def is_told(self, todo: Sequence[Job]) -> bool:
        """Whether all of that rests on records."""
        return all(self._paces.alike_s(job) is not None for job in todo)

    def _crew(self, todo: Sequence[Job]) -> Workforce:
        terms, datasets = Terms(limit_s=self.study.job_s), [job.dataset for job in todo]
        return engage(terms, datasets, self.options.cluster, self.options.parallel, self.display.say)

    def _follow(self, crew: Workforce, todo: Sequence[Job]) -> int:
        total, errors = len(jobs(self.study)), 0
        left = len(todo)
        for item in crew.together(todo, title):
            if item is not None:
                left -= 1
                job, outcome_of = item
                record = Record(id=job.id, experiment=self.folder.name, job=job, **dict(outcome_of))
                errors += isinstance(record.outcome, NotDone) and record.outcome.status == "error"
                self._record(record)
            self.display.update(total - left, total, None, dict(crew.at_work))
        return errors

    def _record(self, record: Record) -> None:
        """To disk first, then to whoever wants to know."""
        if self.history.add(record):
            self.listener.finished(record)
        self.display.say(f"{title(record.job)}  {news(record.outcome)}  [{record.seconds:.1f} s]")


def read(name: str) -> Study:
    """A study by name or path.

    Raises:
        UserError: there is none of that name, or its file has mistakes.
    """
    return experiment_file.read_study(experiment_file.find(name))
