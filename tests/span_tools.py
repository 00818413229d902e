"""When jobs were at work, as their records say."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from bench.outcomes import Timed
from bench.records import Record

ROUNDED_S = 0.002  # when a job began and how long it took are told in milliseconds


class Span(NamedTuple):
    start_s: float
    end_s: float
    record: Record


def spans(found: Iterable[Record]) -> list[Span]:
    """In the order in which they began."""
    starts = [(datetime.fromisoformat(record.started_utc).timestamp(), record) for record in found]
    found_spans = [Span(start_s, start_s + record.seconds, record) for start_s, record in starts]
    return sorted(found_spans, key=lambda span: span.start_s)


def most_at_once(found: Iterable[Record]) -> int:
    """So many jobs were at work at the same time."""
    at_work = spans(found)
    return max(len(beside(span, at_work)) for span in at_work) + 1


def beside(span: Span, others: Iterable[Span]) -> list[Span]:
    """Those of others that were at work when one began."""
    return [
        other for other in others
        if other is not span and other.start_s <= span.start_s < other.end_s - ROUNDED_S
    ]  # fmt: skip


def timings_are_alone(found: Iterable[Record]) -> bool:
    """Whether no job was at work at any time at which one was timed."""
    at_work = spans(found)
    timed = [span for span in at_work if isinstance(span.record.outcome, Timed)]
    assert timed
    return not any(
        other is not span and max(span.start_s, other.start_s) < min(span.end_s, other.end_s) - ROUNDED_S
        for span in timed
        for other in at_work
    )
