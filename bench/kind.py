"""What a kind of experiment promises to the tables: lines to compare, runs on request, samples from the records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from bench.folder import ResultsFolder
from bench.options import Options
from bench.outcomes import FAILED, failed_on
from bench.paper.table import Part
from bench.progress import Display
from bench.records import Record


class Line(NamedTuple):
    """One thing that is measured: a subject (an operator) on a column (a data set), by a back end."""

    part: str
    subject: str
    column: str
    backend: str

    @property
    def id(self) -> str:
        """What `--only` takes, and what the table's first column says."""
        return "/".join(self)


@dataclass(frozen=True)
class Sample:
    """What the records hold of one line, in the unit of the published metric."""

    values: Mapping[int, float] = field(default_factory=dict)  # by seed
    failures: Mapping[str, int] = field(default_factory=dict)  # runs that came to nothing, by status
    retried: int = 0
    seconds: float = 0.0  # of all its runs together
    barred: str = ""  # why this back end has no say here: parity, or it cannot run; then another may lead
    missing: str = ""  # why there are no values, as a sentence
    note: str = ""
    differs: str = ""  # in what the data were not those of the published experiment; then nothing is judged
    fits: Sequence[Record] = ()  # its runs of which the network may have been kept

    def failed(self) -> str:
        """That some runs came to nothing, so that the values are those of the others; nothing where all have one."""
        return failed_on(sum(self.failures.get(status, 0) for status in FAILED), len(self.values))


@dataclass(frozen=True)
class Means:
    """With what a kind runs: where records go, who is told, on what and how many at once."""

    folder: ResultsFolder
    display: Display
    options: Options = field(default_factory=Options)


class Kind(Protocol):
    """One file in `bench/kinds/` that exports `KIND`."""

    def problems(self, part: Part) -> Iterator[str]:
        """What is wrong with the part's `experiment`, with names that exist."""
        ...

    def lines(self, part: Part) -> list[Line]:
        """What the part measures; of the same subject and column, the preferred back end first."""
        ...

    def run(self, part: Part, lines: Sequence[Line], seeds: int, means: Means) -> int:
        """Bring these lines to so many seeds, running only what is not recorded; returns how many jobs failed."""
        ...

    def samples(self, part: Part, records: Sequence[Record]) -> Mapping[Line, Sample]:
        """What is there of each line."""
        ...
