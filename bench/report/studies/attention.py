"""Static against dynamic attention, as rows: one per head of a layer of a trained model."""

import csv
import io
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from bench import study_jobs
from bench.outcomes import Attended, Attention, HeadAttention, LookedUp, NotDone
from bench.records import Record
from bench.report.grids import Grid
from bench.study_config import AttentionStudy
from bench.work import AttentionJob, CellKey, Job, LookupJob

LOOKUP = "DictionaryLookup"


@dataclass(frozen=True)
class AttentionRow:
    """One trained model and how it attends; over several seeds, the first's picture and the mean of the numbers."""

    key: CellKey
    model: str  # "GATv2, 1 head"; on a graph the operator's name
    data: str  # DictionaryLookup, or the name of the data set
    attentions: tuple[Attention, ...]
    accuracies: tuple[float, ...]  # test
    not_done: tuple[NotDone, ...]
    seconds: float

    def heads(self) -> list[tuple[HeadAttention, ...]]:
        """By layer and head: what each seed's model does there."""
        return list(zip(*(attention.heads for attention in self.attentions), strict=True))

    def tau(self) -> float:
        """Mean over heads and seeds."""
        return statistics.mean(head.tau for attention in self.attentions for head in attention.heads)

    def entropy(self) -> float:
        """Mean over heads and seeds."""
        return statistics.mean(head.entropy for attention in self.attentions for head in attention.heads)

    def is_static(self) -> bool:
        """Whether no head of any seed ranked one pair of sources in two ways."""
        return all(head.unanimous == 1.0 for attention in self.attentions for head in attention.heads)

    def metrics(self) -> dict[str, float]:
        """Headline numbers for MLflow."""
        if not self.attentions:
            return {"seconds": self.seconds}
        return {
            "kendall_tau_mean": self.tau(),
            "entropy_share_of_uniform_mean": self.entropy(),
            "accuracy_test_pct_mean": 100 * statistics.mean(self.accuracies),
            "seconds": self.seconds,
        }

    def tags(self) -> dict[str, str]:
        """For MLflow."""
        if self.attentions:
            verdict = "static" if self.is_static() else "dynamic"
            return {"status": "partial" if self.not_done else "done", "verdict": verdict}
        failed = self.not_done[:1]
        return {"status": failed[0].status, "reason": failed[0].reason} if failed else {"status": "not_run"}


def rows(study: AttentionStudy, records: Sequence[Record]) -> list[AttentionRow]:
    """One per model on DictionaryLookup, then one per operator on the graph."""
    by_key: dict[CellKey, list[tuple[Job, Record | None]]] = {}
    for job, record in study_jobs.of_study(study, records):
        by_key.setdefault(job.key, []).append((job, record))
    return [_row(study, key, found) for key, found in by_key.items()]


def markdown(study: AttentionStudy, records: Sequence[Record], name: str) -> str:
    """`table.md`."""
    found = rows(study, records)
    seconds = sum(row.seconds for row in found)
    parts = [
        f"# {study.title}",
        study.description,
        "\n".join(f"- {claim}" for claim in claims(found)),
        tabulate(_lines(found), headers=_HEADERS, tablefmt="pipe", disable_numparse=True),
        _MEANINGS,
        f"---\n\nSeeds {', '.join(map(str, study.seeds))}; {seconds:.0f} s of one core. Made by `bench run {name}`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def terminal(study: AttentionStudy, records: Sequence[Record]) -> str:
    """What a run prints at its end."""
    found = rows(study, records)
    table = tabulate(_lines(found), headers=_HEADERS, disable_numparse=True)
    return "\n\n".join([study.title, table, "\n".join(claims(found))]) + "\n"


def csv_text(study: AttentionStudy, records: Sequence[Record]) -> str:
    """`table.csv`: the table's lines."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["data", "model", "layer", "head", "tau", "unanimous_pct", "source_pairs", "entropy", "favourites"])
    writer.writerows(_lines(rows(study, records)))
    return text.getvalue()


def grid(found: Sequence[AttentionRow]) -> Grid:
    """One line per head."""
    return Grid("Rankings of keys, head by head", _HEADERS, tuple(map(tuple, _lines(found))), 4)


def claims(found: Sequence[AttentionRow]) -> Iterator[str]:
    """What the numbers say."""
    for row in found:
        if not row.attentions:
            yield f"{row.model} on {row.data}: {row.tags().get('reason', 'not run')}."
            continue
        heads = [head for attention in row.attentions for head in attention.heads]
        pairs = sum(head.source_pairs for head in heads)
        split = round(sum(head.source_pairs * (1 - head.unanimous) for head in heads))
        verdict = "static" if row.is_static() else "dynamic"
        yield (
            f"{row.model} on {row.data}: {verdict}. Of {pairs:,} pairs of sources that several targets share (counted "
            f"for each head), {split:,} are ranked one way by one target and the other way by another; mean tau "
            f"{row.tau():.3f}; entropy {row.entropy():.2f} of uniform; test accuracy "
            f"{100 * statistics.mean(row.accuracies):.1f} %."
        )


_HEADERS = ("data", "model", "layer", "head", "τ", "unanimous, %", "source pairs", "entropy / uniform", "favourites")
_MEANINGS = """\
- `τ`: Kendall's tau between the rankings that two targets give to the sources they share, pooled over all pairs of \
targets and of sources. 1: all rank alike.
- `unanimous`: share of the pairs of sources, shared by at least two targets, that all of these put in the same order.
- `entropy / uniform`: mean entropy of a target's coefficients over the logarithm of their number. 1: an average.
- `favourites`: different first-ranked keys in a graph over the number of queries; on DictionaryLookup, where each \
query needs its own.

Rankings are those of the scores before the softmax, in float64; exact ties are left out."""


def _lines(found: Sequence[AttentionRow]) -> list[list[str]]:
    return [
        [
            row.data,
            row.model,
            str(heads[0].layer),
            str(heads[0].head),
            f"{statistics.mean(head.tau for head in heads):.4f}",
            f"{100 * statistics.mean(head.unanimous for head in heads):.2f}",
            str(heads[0].source_pairs),
            f"{statistics.mean(head.entropy for head in heads):.3f}",
            "" if heads[0].favourites is None else f"{heads[0].favourites:.2f}",
        ]
        for row in found
        for heads in row.heads()
    ]


def _row(study: AttentionStudy, key: CellKey, found: Sequence[tuple[Job, Record | None]]) -> AttentionRow:
    job = found[0][0]
    outcomes = [record.outcome for _, record in found if record]
    of_graph = [outcome for outcome in outcomes if isinstance(outcome, Attended)]
    of_lookup = [outcome for outcome in outcomes if isinstance(outcome, LookedUp) and outcome.attention]
    return AttentionRow(
        key=key,
        model=_name(study, job),
        data=job.dataset if isinstance(job, AttentionJob) else LOOKUP,
        attentions=tuple(
            [outcome.attention for outcome in of_graph] + [done.attention for done in of_lookup if done.attention]
        ),
        accuracies=tuple([outcome.fitted.test for outcome in of_graph] + [outcome.test for outcome in of_lookup]),
        not_done=tuple(outcome for outcome in outcomes if isinstance(outcome, NotDone)),
        seconds=sum(record.seconds for _, record in found if record),
    )


def _name(study: AttentionStudy, job: Job) -> str:
    if isinstance(job, LookupJob):
        return next(
            model.name
            for model in study.models
            if (model.operator, model.heads) == (job.operator, job.architecture.heads)
        )
    return job.operator
