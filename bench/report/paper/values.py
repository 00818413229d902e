"""A paper's table beside ours for programs: every number at full precision, as `table.csv` and `table.json`."""

import csv
import io
import json
from typing import Any

from bench.paper.rows import OrderingResult, PaperTable, Row, SignificanceResult
from bench.summary import mean, std


def csv_text(found: PaperTable) -> str:
    """A line per row; of a table that holds tests only, a line per test."""
    rows = [_object(row) for row in found.shown()] or [_test(test) for test in found.significance]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["row"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def json_text(found: PaperTable) -> str:
    """As `plain`, written out."""
    return json.dumps(plain(found), indent=1, ensure_ascii=False) + "\n"


def plain(found: PaperTable) -> dict[str, Any]:
    """The rows as in `csv_text`, with the orderings and the paper's own tests."""
    return {
        "table": found.name,
        "title": found.table.title,
        "source": found.table.source,
        "rows": [_object(row) for row in found.shown()],
        "orderings": [_ordering(ordering) for ordering in found.orderings],
        "tests": [_test(test) for test in found.significance],
    }


def _object(row: Row) -> dict[str, Any]:
    values = list(row.sample.values.values())
    published, predicted = row.published, row.verdict.prediction
    return {
        "row": row.line.id if row.line else "",
        "published_row": row.label,
        "column": row.column,
        "published": published.quantity.value if published else None,
        "published_std": published.quantity.std if published else None,
        "published_runs": published.runs if published else None,
        "metric": published.metric if published else None,
        "source": published.source if published else None,
        "confidence": published.confidence if published else None,
        "ours": mean(values) if values else None,
        "ours_std": std(values) if values else None,
        "prediction_low": predicted.interval.low if predicted else None,
        "prediction_high": predicted.interval.high if predicted else None,
        "prediction_std_of": predicted.whose_std if predicted else None,
        "verdict": row.verdict.word,
        "verdict_detail": row.verdict.detail,
        "seeds": len(values),
        "failed": "; ".join(f"{count} {status}" for status, count in row.sample.failures.items()),
        "retried": row.sample.retried,
        "protocol": row.part.protocol if row.part else "",
        "seconds": round(row.sample.seconds, 1),
    }


def _ordering(result: OrderingResult) -> dict[str, Any]:
    return {
        "part": result.asked.part,
        "better": result.asked.better,
        "worse": result.asked.worse,
        "column": result.column,
        "backend": result.backend,
        "difference": result.ours.contrast.difference if result.ours.contrast else None,
        "runs": result.ours.contrast.n if result.ours.contrast else 0,
        "p_one_sided": result.ours.p_one_sided,
        "p_two_sided": result.ours.p_two_sided,
        "p_one_sided_after_holm": result.ours.p_holm,
        "verdict": str(result.ours.verdict),
    }


def _test(result: SignificanceResult) -> dict[str, Any]:
    asked, found = result.asked, result.found
    return {
        "data": asked.row,
        "runs": asked.runs,
        "gat": asked.gat.value,
        "gat_std": asked.gat.std,
        "gatv2": asked.gatv2.value,
        "gatv2_std": asked.gatv2.std,
        "printed_p": asked.p,
        "p_one_sided_student": found.p_one_sided,
        "p_two_sided_welch": found.p_two_sided,
        "cohen_d": found.cohen_d,
        "agrees": result.agrees,
    }
