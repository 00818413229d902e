"""What a paper printed: one typed value per cell of its tables and figures, with source, runs, protocol and confidence.

A value is written as the paper has it, "83.0 ± 0.7": its digits say how far it was rounded. What was read off a picture
has a reading error instead, and what is remembered only (`memory`) is shown but never judged.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator

from bench.config import Frozen

Confidence = Literal["paper", "image", "secondary", "calculated", "memory"]
"""paper: its text; image: read off a picture; secondary: other texts agree; calculated: counted from released code;
memory: unverified."""

_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_QUANTITY = re.compile(rf"^({_NUMBER})(?:\s*±\s*(\d*\.?\d+))?$")


class Quantity(Frozen):
    """A number with its standard deviation, and the last digit that was printed."""

    value: float
    std: float | None = None
    decimals: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """ "83.0 ± 0.7" -> value 83.0, std 0.7, decimals 1.

        Raises:
            ValueError: the text is something else.
        """
        found = _QUANTITY.match(text.strip().replace(",", ""))
        if not found:
            raise ValueError(f"{text!r} is no value; write it as a string, '83.0' or '83.0 ± 0.7'")
        value, std = found.groups()
        return cls(value=float(value), std=float(std) if std else None, decimals=len(value.partition(".")[2]))

    @property
    def rounding(self) -> float:
        """Half a unit of the last printed digit."""
        return 0.5 * 10.0**-self.decimals

    def __str__(self) -> str:
        if self.std is None:
            return f"{self.value:,.{self.decimals}f}"
        decimals = max(self.decimals, len(f"{self.std:g}".partition(".")[2]))
        return f"{self.value:,.{self.decimals}f} ± {self.std:.{decimals}f}"


def _quantity(given: Any) -> Any:
    return Quantity.parse(given) if isinstance(given, str) else given


Printed = Annotated[Quantity, BeforeValidator(_quantity)]


@dataclass(frozen=True)
class Published:
    """One cell of a published table or figure."""

    table: str  # name of the table file
    row: str  # "GAT", "GATv2 8 heads"
    column: str  # a data set, a property, a k, a share of noise
    quantity: Quantity
    metric: str  # with its unit: "test accuracy, %"
    runs: int | None  # None: not said
    source: str  # "Velickovic et al. 2018, Table 2"
    protocol: str
    confidence: Confidence
    reading_error: float  # 0 unless read off a picture
    higher_is_better: bool
    note: str = ""

    @property
    def id(self) -> str:
        """What table files call it: "GAT/cora"."""
        return f"{self.row}/{self.column}"

    @property
    def verified(self) -> bool:
        """Whether it may be a target at all."""
        return self.confidence != "memory"

    @property
    def uncertainty(self) -> float:
        """How far the printed value may be from the one that was computed: rounding, or the reading error."""
        return max(self.quantity.rounding, self.reading_error)
