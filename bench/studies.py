"""From a study to its jobs, and from its jobs to records: what is recorded is never run again."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench import experiment_file, records
from bench.basis import attention_basis, lookup_basis
from bench.folder import ResultsFolder
from bench.options import Options
from bench.outcomes import NotDone
from bench.progress import Display, display, news, title
from bench.records import Record
from bench.runner import Listener
from bench.study_config import (
    AttentionStudy,
    LayerHabits,
    LookupArchitecture,
    LookupModel,
    LookupStudy,
    LookupTraining,
    Study,
    StudyProtocol,
)
from bench.views import live_tracking, write_views
from bench.work import AttentionJob, Job, LookupJob
from bench.workforce import Terms, Workforce, engage

BACKEND = "shared structure"
"""What computes a DictionaryLookup: neither a library nor a plug-in, but `bench.lookup_model`."""


def jobs(study: Study) -> list[LookupJob] | list[LookupJob | AttentionJob]:
    """All jobs of a study, seed after seed, protocol after protocol, small ones first."""
    match study:
        case LookupStudy():
            return [
                lookup_job(model, size, protocol, study.training, study.device, seed)
                for seed in study.seeds
                for protocol in study.protocols
                for size in sorted(study.sizes)
                for model in study.models
            ]
        case AttentionStudy():
            return list(_attention_jobs(study))


def lookup_job(
    model: LookupModel,
    size: int,
    protocol: StudyProtocol,
    training: LookupTraining,
    device: str,
    seed: int,
    attention_graphs: int = 0,
) -> LookupJob:
    """One point of one curve."""
    habits = protocol.layer.get(model.operator, LayerHabits())
    return LookupJob(
        backend=BACKEND,
        operator=model.operator,
        dataset=f"lookup k={size}",
        device=device,
        basis=lookup_basis(),
        size=size,
        protocol=protocol.plain(),
        architecture=LookupArchitecture(heads=model.heads, **habits.model_dump()),
        training=training,
        seed=seed,
        attention_graphs=attention_graphs,
    )


def _attention_jobs(study: AttentionStudy) -> Iterator[LookupJob | AttentionJob]:
    lookup, graph = study.lookup, study.graph
    for seed in study.seeds:
        for model in study.models:
            yield lookup_job(model, lookup.size, lookup.protocol, lookup.training, study.device, seed, lookup.graphs)
        for operator in study.operators:
            yield AttentionJob(
                backend=graph.backend,
                operator=operator,
                dataset=graph.dataset,
                device=study.device,
                basis=attention_basis(graph.backend, graph.dataset),
                protocol=graph.protocol,
                architecture=graph.architecture,
                training=graph.training,
                seed=seed,
                min_degree=graph.min_degree,
            )


def run(study: Study, folder: ResultsFolder, options: Options | None = None, mlflow: str | None = None) -> int:
    """Run what is missing of a study, then rewrite its views; returns how many jobs ended in an error.

    Args:
        study: what is asked.
        folder: where its records lie, `results/<name>`.
        options: how to run.
        mlflow: URI of the MLflow store; that of the results folder if None; "off" for none.

    Raises:
        UserError: another run holds the folder.
    """
    with folder.exclusive(), live_tracking(mlflow, folder, study) as tracking:
        folder.write_experiment(study)
        with display() as shown:
            errors = StudyRun(study, folder, shown, tracking, options or Options()).run()
        if tracking.trouble:
            shown.say(f"MLflow is behind. {tracking.trouble}.")
        write_views(folder)
    return errors


@dataclass
class StudyRun:
    """One run of one study in one results folder, which the caller holds exclusively."""

    study: Study
    folder: ResultsFolder
    display: Display
    listener: Listener
    options: Options = field(default_factory=Options)

    def run(self) -> int:
        """Whatever is missing; returns how many jobs ended in an error."""
        self.folder.path.mkdir(parents=True, exist_ok=True)
        if notice := records.mend(self.folder.path):
            self.display.say(notice)
        done = records.latest(self.folder.records())
        todo = [job for job in jobs(self.study) if not self._stands(done.get(job.id))]
        terms, datasets = Terms(limit_s=self.study.job_s), [job.dataset for job in todo]
        crew = engage(terms, datasets, self.options.cluster, self.options.parallel, self.display.say)
        with contextlib.closing(crew):
            return self._follow(crew, todo)

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
        records.append(self.folder.path, record)
        self.listener.finished(record)
        self.display.say(f"{title(record.job)}  {news(record.outcome)}  [{record.seconds:.1f} s]")

    def _stands(self, record: Record | None) -> bool:
        if record is None or not record.final:
            return False
        return not (self.options.retry and isinstance(record.outcome, NotDone))


def of_study(study: Study, found: Sequence[Record]) -> list[tuple[Job, Record | None]]:
    """Each job of the study with the newest record that answers it, by whatever version of the code."""
    done = {_question(record.job): record for record in found}
    return [(job, done.get(_question(job))) for job in jobs(study)]


def _question(job: Job) -> str:
    return job.model_copy(update={"basis": ""}).id


def read(name: str) -> Study:
    """A study by name or path.

    Raises:
        UserError: there is none of that name, or its file has mistakes.
    """
    return experiment_file.read_study(experiment_file.find(name))
