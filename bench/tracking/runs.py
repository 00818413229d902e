"""What the MLflow runs of an experiment hold, as plain values computed from records and rows.

A record becomes one run of the jobs experiment (a study with one more for each trial), a row one run of the cells
experiment. `bench.tracking.sync` decides which of them to write, `bench.tracking.writer` writes them.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from bench.config import Experiment, Setting
from bench.outcomes import Attended, Checked, LookedUp, NotDone, Outcome, Tuned
from bench.records import Record
from bench.study_config import Study
from bench.task import DatasetInfo
from bench.tracking import names, notes
from bench.tracking.pages import NOTE_TAG, JobsPage, cell_note
from bench.tracking.points import Point, of_numbers, of_outcome, of_summary, of_trial, safe
from bench.work import AttentionJob, CellKey, FitJob, Job, LookupJob, SpeedJob, TuneJob

LAYOUT = "3"
"""Part of the identity of a job's or report's run: with another layout, the runs are written anew."""

MAX_VALUE = 6000  # characters of a parameter or tag; MLflow cuts longer ones with a warning
NO_FAULT = frozenset({"done", "passed", "partial", "not_run", "unsupported", "budget"})
"""Statuses that end a run as FINISHED; every other status ends it as FAILED."""

_VOLATILE = "load"  # of the environment: differs from record to record and says nothing about a cell


class Row(Protocol):
    """What is needed of a `bench.report.rows.Row`."""

    @property
    def key(self) -> CellKey:
        """Which cell it is about."""
        ...

    def metrics(self) -> dict[str, float]:
        """Headline numbers; accuracies in percent."""
        ...

    def tags(self) -> dict[str, str]:
        """Status, reasons and verdicts; `status` is one of the table's."""
        ...


@dataclass(frozen=True)
class Content:
    """One MLflow run. Times are in ms since the epoch."""

    name: str
    start_ms: int
    end_ms: int
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    points: Sequence[Point] = ()
    dataset: DatasetInfo | None = None
    texts: Mapping[str, str] = field(default_factory=dict)  # artifact name -> content
    files: Sequence[Path] = ()
    model: Path | None = None  # a trained network, as `bench.saved_model` writes it
    children: Sequence["Content"] = ()

    @property
    def failed(self) -> bool:
        """Whether the run ended in something that should not have happened."""
        return self.tags["status"] not in NO_FAULT


def identity(record: Record) -> str:
    """Changes when a job was done again, or when its run would be laid out differently."""
    return f"{LAYOUT}/{record.started_utc}"


def of_cells(
    experiment: Experiment | Study,
    records: Sequence[Record],
    rows: Sequence[Row],
    datasets: Mapping[str, DatasetInfo],
    models: Mapping[CellKey, Path],
    jobs: JobsPage,
    now_ms: int,
) -> list[Content]:
    """One run per row, in the rows' order; `jobs` is where their descriptions link to."""
    by_key: dict[CellKey, list[Record]] = defaultdict(list)
    for record in records:
        by_key[record.key].append(record)
    return [
        replace(
            _of_cell(row, experiment, by_key[row.key], position, cell_note(row.key, experiment, jobs), now_ms),
            dataset=datasets.get(row.key.dataset),
            model=models.get(row.key),
        )
        for position, row in enumerate(rows)
    ]


def of_record(record: Record) -> Content:
    """The run of one job, with those of its trials."""
    start_ms, end_ms = _span_ms(record)
    status, reason = _status(record.outcome)
    about = {
        NOTE_TAG: notes.of_job(record),
        "level": "job",
        "cell": str(record.key),
        "job": record.id,
        "order": f"{record.key} · {names.of_job(record.job)}",
        "record": identity(record),
        "phase": record.job.phase,
        "status": status,
        **({"reason": reason} if reason else {}),
    }
    return Content(
        name=names.of_job(record.job),
        start_ms=start_ms,
        end_ms=end_ms,
        tags=_texts(about) | _environment(record),
        params=_texts(record.key._asdict() | {"phase": record.job.phase} | _job_settings(record)),
        points=of_outcome(record.outcome, start_ms, end_ms) + of_numbers({"seconds": record.seconds}, end_ms),
        texts={"record.json": record.model_dump_json(indent=1), **_tables(record.outcome)},
        children=list(_trials(record, start_ms, end_ms)),
    )


def of_report(name: str, files: Sequence[Path], identity: str, now_ms: int) -> Content:
    """The run that holds the report's files, since MLflow attaches files to runs only."""
    tags = {NOTE_TAG: notes.of_report(files), "level": "report", "record": identity, "status": "done"}
    return Content(names.of_report(name), now_ms, now_ms, tags, files=files)


def _of_cell(
    row: Row, experiment: Experiment | Study, records: Sequence[Record], position: int, note: str, now_ms: int
) -> Content:
    spans = [_span_ms(record) for record in records]
    end_ms = max((end for _, end in spans), default=now_ms)
    return Content(
        name=str(row.key),
        start_ms=min((start for start, _ in spans), default=now_ms),
        end_ms=end_ms,
        tags=_texts({"status": "not_run"} | row.tags())
        | {"level": "cell", "cell": str(row.key), "order": f"{position:04d}", NOTE_TAG: note}
        | (_environment(max(records, key=lambda record: record.started_utc)) if records else {}),
        params=_texts(row.key._asdict() | _cell_settings(experiment, records)),
        points=of_summary(row.metrics(), end_ms),
    )


def _cell_settings(experiment: Experiment | Study, records: Sequence[Record]) -> dict[str, Setting]:
    """What the file says, with what was tuned as the newest fit had it; of a study, what its newest job says."""
    if not isinstance(experiment, Experiment):
        return dict(_flat(records[-1].job, ("protocol", "architecture", "training"))) if records else {}
    fits = [record.job for record in records if isinstance(record.job, FitJob)]
    return {
        "threads": ", ".join(map(str, experiment.timing.threads)),
        **dict(_flat(experiment, ("protocol", "architecture", "training"))),
        **(fits[-1].tuned if fits else {}),
    }


def _job_settings(record: Record) -> dict[str, Setting]:
    job = record.job
    settings = dict(_flat(job, ("protocol", "architecture")))
    match job:
        case FitJob() | LookupJob() | AttentionJob():
            settings |= {**dict(_flat(job, ("training",))), "seed": job.seed}
        case SpeedJob():
            settings |= {**dict(_flat(job, ("training",))), "threads": job.threads, "round": job.round}
            settings |= {"replica": job.replica}
        case TuneJob():
            settings |= {**dict(_flat(job, ("training",))), "seeds": ", ".join(map(str, job.seeds))}
    if isinstance(record.outcome, Tuned):
        settings |= {f"best.{name}": value for name, value in record.outcome.best.items()}
    return settings


def _flat(holder: Experiment | Job, sections: Iterable[str]) -> Iterator[tuple[str, Setting]]:
    """Settings under dotted names: `training.lr`."""
    for section in sections:
        for name, value in getattr(holder, section).model_dump().items():
            yield f"{section}.{name}", value


def _status(outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, NotDone):
        return outcome.status, outcome.reason
    if isinstance(outcome, Checked):
        return ("passed", "") if outcome.passed else ("parity", outcome.failure())
    return "done", ""


def _trials(record: Record, start_ms: int, end_ms: int) -> Iterator[Content]:
    if not isinstance(record.outcome, Tuned) or not isinstance(record.job, TuneJob):
        return
    about: dict[str, Setting] = {"operator": record.key.operator, "dataset": record.key.dataset}
    for trial in record.outcome.trials:
        yield Content(
            name=names.of_trial(record.job, trial.number),
            start_ms=start_ms,
            end_ms=end_ms,
            tags={
                NOTE_TAG: notes.of_trial(record.job),
                "level": "trial",
                "phase": "tune",
                "state": trial.state,
                "status": "done",
                "best": "yes" if trial.number == record.outcome.best_trial else "no",
            },
            params=_texts(about | {"trial": trial.number} | trial.settings),
            points=of_trial(trial, end_ms),
        )


def _tables(outcome: Outcome) -> dict[str, str]:
    """CSV files, which MLflow shows as tables."""
    if isinstance(outcome, Checked):
        return {"checks.csv": _csv([check.model_dump() for check in outcome.checks])}
    if isinstance(outcome, Attended | LookedUp) and outcome.attention:
        return {"attention.csv": _csv([head.model_dump() for head in outcome.attention.heads])}
    if isinstance(outcome, Tuned):
        trials = [
            {"number": trial.number, "state": trial.state, **trial.settings}
            | {f"accuracy_validation_seed_{seed}": value for seed, value in trial.values.items()}
            | {"epochs": trial.epochs}
            for trial in outcome.trials
        ]
        return {"trials.csv": _csv(trials)}
    return {}


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _environment(record: Record) -> dict[str, str]:
    found = {f"env.{name}": text for name, text in record.environment.items() if name != _VOLATILE}
    commit = record.environment.get("commit", "unknown")
    return _texts(found | {"mlflow.source.name": "bench", "mlflow.source.git.commit": commit})


def _span_ms(record: Record) -> tuple[int, int]:
    start_ms = round(record.started.timestamp() * 1e3)
    return start_ms, start_ms + round(record.seconds * 1e3)


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {
        safe(name): (value if isinstance(value, str) else json.dumps(value))[:MAX_VALUE]
        for name, value in values.items()
    }
