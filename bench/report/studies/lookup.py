"""DictionaryLookup as rows: published and measured accuracies, one row per protocol, model and number of keys."""

import csv
import io
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tabulate import tabulate

from bench import study_jobs
from bench.outcomes import LookedUp, NotDone
from bench.records import Record
from bench.report.grids import Grid
from bench.study_config import LookupModel, LookupStudy, StudyProtocol
from bench.work import CellKey, LookupJob

Subset = Literal["train", "test"]
SUBSETS: tuple[Subset, ...] = ("train", "test")
_COLUMNS = (
    "protocol", "model", "keys", "subset", "published_pct", "ours_pct", "runs", "steps", "stopped", "seconds", "status",
)  # fmt: skip
SOLVED = 0.995
"""Rounds to the figure's 100 %."""


@dataclass(frozen=True)
class LookupRow:
    """One point of one curve, over the seeds. Accuracies are fractions; the published ones are, too."""

    key: CellKey
    protocol: str
    model: str
    size: int
    published: dict[Subset, float]
    fits: tuple[LookedUp, ...]
    not_done: tuple[NotDone, ...]
    seconds: float

    def mean(self, subset: Subset) -> float | None:
        """Over the seeds, or None where none is finished."""
        return statistics.mean(getattr(fit, subset) for fit in self.fits) if self.fits else None

    def status(self) -> str:
        """`done`, `partial`, `not_run`, or why there is nothing."""
        if self.fits:
            return "partial" if self.not_done else "done"
        return self.not_done[0].status if self.not_done else "not_run"

    def metrics(self) -> dict[str, float]:
        """Headline numbers for MLflow, in percent."""
        found = {f"accuracy_{subset}_pct_mean": 100 * value for subset in SUBSETS if (value := self.mean(subset))}
        published = {f"published_{subset}_pct": 100 * value for subset, value in self.published.items()}
        return found | published | {"keys": self.size, "seconds": self.seconds}

    def tags(self) -> dict[str, str]:
        """For MLflow."""
        reasons = {"reason": self.not_done[0].reason} if self.not_done else {}
        return {"status": self.status(), "model": self.model, "protocol": self.protocol, **reasons}


@dataclass(frozen=True)
class Comparison:
    """One published value beside ours, for tables that hold more than this figure. Accuracies are in percent."""

    name: str  # "GATv2, 1 head, k = 10, test"
    published: float
    published_runs: int
    published_error: float  # of reading it off the figure
    ours: float | None
    runs: int
    protocol: str  # in words, with every deviation
    seconds: float
    note: str  # why there is no value


def rows(study: LookupStudy, records: Sequence[Record]) -> list[LookupRow]:
    """Every row of the figure, protocols outermost, with whatever is recorded for it."""
    by_key: dict[CellKey, list[tuple[LookupJob, Record | None]]] = {}
    for job, record in study_jobs.of_study(study, records):
        if isinstance(job, LookupJob):
            by_key.setdefault(job.key, []).append((job, record))
    return [
        _row(study, protocol, model, size, by_key)
        for protocol in study.protocols
        for model in study.models
        for size in sorted(study.sizes)
    ]


def comparisons(study: LookupStudy, records: Sequence[Record]) -> list[Comparison]:
    """What a table of published values needs: every published point, under every protocol."""
    if study.published is None:
        return []
    protocols = {protocol.name: protocol_text(study, protocol) for protocol in study.protocols}
    return [
        Comparison(
            name=f"{row.model}, k = {row.size}, {subset}",
            published=100 * value,
            published_runs=study.published.runs,
            published_error=study.published.error_points,
            ours=None if (mean := row.mean(subset)) is None else 100 * mean,
            runs=len(row.fits),
            protocol=protocols[row.protocol],
            seconds=row.seconds,
            note=row.not_done[0].reason if row.not_done else "",
        )
        for row in rows(study, records)
        for subset, value in row.published.items()
    ]


def protocol_text(study: LookupStudy, protocol: StudyProtocol) -> str:
    """The protocol in words: what it does, and where it is not the published one."""
    split = "random 80:20 split of the graphs" if protocol.split == "graphs" else "test graphs hold an unseen pair"
    parts = [f"{protocol.name}: {split}"]
    parts += [f"dropout {protocol.output_dropout:g} before the output layer, in evaluation too"] * bool(
        protocol.output_dropout
    )
    parts += [f"gradients clipped at {protocol.clip_norm}"] * (protocol.clip_norm is not None)
    for operator, habits in protocol.layer.items():
        has = [name for name, given in (("bias", habits.bias), ("self-loops", habits.self_loops)) if given]
        parts += [f"{operator} with {' and '.join(has)}"] * bool(has)
    parts.append("test accuracy chooses the epoch")
    deviations = "; ".join(study.training.deviations())
    return ", ".join(parts) + (f". Protocol differs: {deviations}" if deviations else "")


def markdown(study: LookupStudy, records: Sequence[Record], name: str) -> str:
    """`table.md`."""
    found = rows(study, records)
    seconds = sum(row.seconds for row in found)
    parts = [f"# {study.title}", study.description]
    parts.append("Node accuracy in %, ours / published. Rows are numbers of keys k.")
    for protocol in study.protocols:
        own = [row for row in found if row.protocol == protocol.name]
        parts += [f"## Protocol `{protocol.name}`", protocol_text(study, protocol) + "."]
        parts.append(tabulate(_lines(study, own), _headers(study), tablefmt="pipe", disable_numparse=True))
        parts.append("\n".join(f"- {line}" for line in claims(study, own)))
    if study.published:
        parts.append(
            f"Published: {study.published.source}; ±{study.published.error_points:g} points, "
            f"{study.published.runs} run per point."
        )
    parts.append(
        f"---\n\nSeeds {', '.join(map(str, study.seeds))}; {_minutes(seconds)} of one core. Made by `bench run {name}`."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def terminal(study: LookupStudy, records: Sequence[Record]) -> str:
    """What a run prints at its end."""
    found = rows(study, records)
    parts = [study.title, "Node accuracy in %, ours / published."]
    for protocol in study.protocols:
        own = [row for row in found if row.protocol == protocol.name]
        parts += [protocol_text(study, protocol), tabulate(_lines(study, own), _headers(study), disable_numparse=True)]
        parts.append("\n".join(claims(study, own)))
    return "\n\n".join(parts) + "\n"


def csv_text(study: LookupStudy, records: Sequence[Record]) -> str:
    """`table.csv`: one line per protocol, model, size and subset."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows(study, records):
        for subset in SUBSETS:
            mean, published = row.mean(subset), row.published.get(subset)
            writer.writerow(
                [
                    row.protocol,
                    row.model,
                    row.size,
                    subset,
                    "" if published is None else f"{100 * published:g}",
                    "" if mean is None else f"{100 * mean:.2f}",
                    len(row.fits),
                    " ".join(str(fit.steps) for fit in row.fits),
                    " ".join(fit.stopped for fit in row.fits),
                    f"{row.seconds:.1f}",
                    row.status(),
                ]
            )
    return text.getvalue()


def grids(study: LookupStudy, records: Sequence[Record]) -> list[Grid]:
    """One table per protocol."""
    found = rows(study, records)
    return [
        Grid(
            f"Node accuracy in %, ours / published · {protocol_text(study, protocol)}",
            tuple(_headers(study)),
            tuple(map(tuple, _lines(study, [row for row in found if row.protocol == protocol.name]))),
            1,
        )
        for protocol in study.protocols
    ]


def headlines(study: LookupStudy, records: Sequence[Record]) -> list[str]:
    """The claims of all protocols."""
    found = rows(study, records)
    return [
        f"{protocol.name}: {claim}"
        for protocol in study.protocols
        for claim in claims(study, [row for row in found if row.protocol == protocol.name])
    ]


def claims(study: LookupStudy, found: Sequence[LookupRow]) -> Iterator[str]:
    """What the figure says, in words that follow from the numbers: rows of one protocol."""
    for model in study.models:
        own = [row for row in found if row.model == model.name and row.fits]
        if own:
            yield f"{model.name}: {_claim(own, 'train')}; {_claim(own, 'test')}."


def _claim(found: Sequence[LookupRow], subset: Subset) -> str:
    means = {row.size: row.mean(subset) or 0.0 for row in found}
    solved = sum(mean >= SOLVED for mean in means.values())
    worst = min(means, key=lambda size: means[size])
    return f"{subset} accuracy 100 % at {solved} of {len(means)} sizes, lowest {100 * means[worst]:.1f} % (k = {worst})"


def _row(
    study: LookupStudy,
    protocol: StudyProtocol,
    model: LookupModel,
    size: int,
    by_key: dict[CellKey, list[tuple[LookupJob, Record | None]]],
) -> LookupRow:
    job = study_jobs.lookup_job(model, size, protocol, study.training, study.device, study.seeds[0])
    records = [record for _, record in by_key[job.key] if record]
    return LookupRow(
        key=job.key,
        protocol=protocol.name,
        model=model.name,
        size=size,
        published=_published(study, model.name, size),
        fits=tuple(record.outcome for record in records if isinstance(record.outcome, LookedUp)),
        not_done=tuple(record.outcome for record in records if isinstance(record.outcome, NotDone)),
        seconds=sum(record.seconds for record in records),
    )


def _published(study: LookupStudy, model: str, size: int) -> dict[Subset, float]:
    return {
        curve.subset: curve.values[curve.sizes.index(size)] / 100
        for curve in (study.published.curves if study.published else ())
        if curve.model == model and size in curve.sizes
    }


def _headers(study: LookupStudy) -> list[str]:
    return ["k", *(f"{model.name}, {subset}" for model in study.models for subset in SUBSETS)]


def _lines(study: LookupStudy, found: Sequence[LookupRow]) -> list[list[str]]:
    of = {(row.model, row.size): row for row in found}
    return [
        [str(size), *(_cell(of[model.name, size], subset) for model in study.models for subset in SUBSETS)]
        for size in sorted(study.sizes)
    ]


def _cell(row: LookupRow, subset: Subset) -> str:
    mean, published = row.mean(subset), row.published.get(subset)
    ours = row.status().replace("_", " ") if mean is None else f"{100 * mean:.1f}"
    return ours if published is None else f"{ours} / {100 * published:.0f}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
