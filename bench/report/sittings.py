"""Which rounds of two streams were timed side by side.

Rounds pair because what slows the machine in one minute slows both streams. A back end that joined later, or a round
that was tried again, or that was interrupted and went on another day, has rounds of the same number and another day:
their ratio would be that of two days.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from bench.records import Record
from bench.work import SpeedJob

Value = TypeVar("Value")

APART = "their rounds were not timed side by side"
CURE = "`bench run` with --retime times all of them together"

PAUSE_S = 600
"""For so long a sitting may stand still: whoever goes on at once finds the machine nearly as it was."""


class Beginning(NamedTuple):
    """Of one round: UTC, ISO 8601, and so in order as text."""

    at: str
    sitting: str  # when the sitting began in which it was timed


Begun = Mapping[int, Beginning]
"""When each round of a stream began."""


def sittings_of(records: Iterable[Record]) -> list[str]:
    """When each sitting began, in order: a stretch without a pause of more than `PAUSE_S` in which nothing was timed.

    Args:
        records: all that there are, of whichever cells and settings, failures included: a round of many jobs that take
            long each is no pause.
    """
    found: list[str] = []
    until = float("-inf")
    for record in sorted(records, key=lambda record: record.started_utc):
        if isinstance(record.job, SpeedJob):
            at = record.started.timestamp()
            if at - until > PAUSE_S:
                found.append(record.started_utc)
            until = max(until, at + record.seconds)
    return found


def beginning(record: Record, sittings: Sequence[str]) -> Beginning:
    """Of a round that belongs to one of these sittings."""
    return Beginning(record.started_utc, sittings[bisect_right(sittings, record.started_utc) - 1])


def side_by_side(first: Begun, second: Begun) -> set[int]:
    """Rounds of both streams that began in one sitting, with no other round of either begun between them."""
    return {number for number in first.keys() & second.keys() if not _is_parted(number, first, second)}


def _is_parted(number: int, first: Begun, second: Begun) -> bool:
    low, high = sorted((first[number], second[number]))
    return low.sitting != high.sitting or any(
        low.at < other.at < high.at
        for stream in (first, second)
        for another, other in stream.items()
        if another != number
    )


def only(numbers: set[int], series: Mapping[int, Value]) -> dict[int, Value]:
    """What a series has of these rounds."""
    return {number: value for number, value in series.items() if number in numbers}
