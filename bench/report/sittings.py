"""Which rounds of two streams were timed side by side.

Rounds pair because what slows the machine in one minute slows both streams. A back end that joined later, or a round
that was tried again, has rounds of the same number and another day: their ratio would be that of two days.
"""

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

APART = "their rounds were not timed side by side"
CURE = "`bench run` with --retime times all of them together"

Begun = Mapping[int, str]
"""When each round of a stream began: UTC, ISO 8601, and so in order as text."""


def side_by_side(first: Begun, second: Begun) -> set[int]:
    """Rounds of both streams between whose beginnings no other round of either began."""
    return {number for number in first.keys() & second.keys() if not _is_parted(number, first, second)}


def _is_parted(number: int, first: Begun, second: Begun) -> bool:
    low, high = sorted((first[number], second[number]))
    return any(low < at < high for stream in (first, second) for other, at in stream.items() if other != number)


def only(numbers: set[int], series: Mapping[int, Value]) -> dict[int, Value]:
    """What a series has of these rounds."""
    return {number: value for number, value in series.items() if number in numbers}
