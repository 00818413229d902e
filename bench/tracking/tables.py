"""What the MLflow runs of a paper's table hold: one run per row that is compared, with its verdict."""

import math
from dataclasses import replace
from pathlib import Path

from bench import best_models
from bench.paper.rows import PaperTable, Row
from bench.plugins import DATASETS
from bench.records import Record
from bench.summary import mean, std
from bench.task import DatasetInfo
from bench.tracking.pages import MODEL_NOTE, NOTE_TAG
from bench.tracking.points import of_summary
from bench.tracking.runs import Content


def of_table(found: PaperTable, folder: Path, now_ms: int) -> list[Content]:
    """One run per compared row, in the table's order; its networks lie in the table's folder."""
    rows = [row for row in found.shown() if row.line and (row.sample.values or row.sample.missing)]
    return [
        replace(_of_row(found, row, position, now_ms), model=best_models.best(folder, row.sample.fits))
        for position, row in enumerate(rows)
    ]


def _of_row(found: PaperTable, row: Row, position: int, now_ms: int) -> Content:
    part, line = row.require_part(), row.require_line()
    start_ms, end_ms = _span_ms(found.records, now_ms)
    settings = {
        "part": line.part,
        "subject": line.subject,
        "column": line.column,
        "backend": line.backend,
        "published": str(row.published.quantity) if row.published else "",
        "source": row.published.source if row.published else "",
        "protocol": part.protocol,
    }
    return Content(
        name=line.id,
        start_ms=start_ms,
        end_ms=end_ms,
        tags={
            "level": "cell",
            "cell": line.id,
            "order": f"{position:04d}",
            "status": "done" if row.sample.values else "not_run",
            "verdict": str(row.verdict),
            NOTE_TAG: f"One row of `{found.name}`; alone: `bench tables {found.name} --only {line.id}`.\n\n"
            f"- {MODEL_NOTE}",
        },
        params={name: text for name, text in settings.items() if text},
        points=of_summary(_numbers(row), end_ms),
        dataset=_dataset(line.column),
    )


def _numbers(row: Row) -> dict[str, float]:
    values, predicted = list(row.sample.values.values()), row.verdict.prediction
    numbers: dict[str, float | None] = {
        "published": row.published.quantity.value if row.published else None,
        "published_std": row.published.quantity.std if row.published else None,
        "ours": mean(values) if values else None,
        "ours_std": std(values) if values else None,
        "prediction_low": predicted.interval.low if predicted else None,
        "prediction_high": predicted.interval.high if predicted else None,
        "seeds": float(len(values)),
        "failed_runs": float(sum(row.sample.failures.values())),
        "seconds": row.sample.seconds,
    }
    return {name: value for name, value in numbers.items() if value is not None and math.isfinite(value)}


def _dataset(column: str) -> DatasetInfo | None:
    return DATASETS.get(column).info if column in DATASETS.names() else None


def _span_ms(records: tuple[Record, ...], now_ms: int) -> tuple[int, int]:
    starts = [round(record.started.timestamp() * 1e3) for record in records]
    if not starts:
        return now_ms, now_ms
    last = max(range(len(records)), key=starts.__getitem__)
    return min(starts), starts[last] + round(records[last].seconds * 1e3)
