"""Runs what a paper's table needs: every row to the fewest seeds that tell its spread, then the most uncertain rows on.

Which rows get more seeds, and how many, follows from the spread of the runs and nothing else (`bench.reproduction`), so
the same records lead to the same seeds. The time budget only ends it early, and the table says which rows it cut.
"""

import fnmatch
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bench import reproduction
from bench.errors import UserError
from bench.kind import Line, Means, Sample
from bench.paper_rows import PaperTable, Row
from bench.plan import duration
from bench.plugins import EXPERIMENT_KINDS, unknown
from bench.table_file import Part, TableFile


@dataclass(frozen=True)
class Ask:
    """How much to run."""

    seeds: int | None = None  # for every row, whatever its spread
    full: bool = False  # as many as the paper has
    only: str = ""  # rows whose id matches this pattern
    minutes: float | None = None  # instead of the file's budget

    @property
    def fixed(self) -> bool:
        """Whether the number of seeds is given; then there is no time budget."""
        return self.full or self.seeds is not None


@dataclass
class Reproduction:
    """One run of one table in one results folder, which the caller holds exclusively."""

    name: str
    table: TableFile
    means: Means
    ask: Ask = field(default_factory=Ask)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._parts = {part.name: part for part in self.table.part}
        self._start_s = self.clock()
        self._errors = 0
        self._cut: dict[Line, str] = {}
        self.refresh()
        if self.ask.only and not any(self._wanted(row) for row in self.state.compared()):
            ids = [row.line.id for row in self.state.compared() if row.line]
            raise UserError(f"--only: {unknown('row', self.ask.only, ids)}")

    def refresh(self) -> None:
        """Read the records again."""
        self.state = PaperTable.of(self.name, self.table, self.means.folder.records())

    def planned(self) -> Iterator[tuple[Row, int]]:
        """Rows that are to be run, in order, and to how many seeds at first."""
        for row in self._first_looks():
            yield row, self._first_target(row)

    def run(self) -> int:
        """Run what is missing; returns how many jobs ended in an error."""
        for part in self.table.part:
            self._first_look(part, leading=True)
        for part in self.table.part:
            self._first_look(part, leading=False)
        while batch := self._next():
            row, seeds = batch
            self._bring([row], seeds)
        return self._errors

    def remarks(self) -> list[str]:
        """What the time budget kept from being run."""
        return [f"{line.id}: {text}" for line, text in self._cut.items()]

    def _first_look(self, part: Part, *, leading: bool) -> None:
        """Rows of a part to their first number of seeds; where a back end is barred, the next one leads."""
        tried: set[Line] = set()
        while True:
            rows = [row for row in self._first_looks() if row.part == part and row.line not in tried]
            rows = [row for row in rows if row.leads or not leading]
            todo = [row for row in rows if row.tried < self._first_target(row) and self._affordable(row, None)]
            if not todo:
                return
            for seeds in sorted({self._first_target(row) for row in todo}, reverse=True):
                self._bring([row for row in todo if self._first_target(row) == seeds], seeds)
            tried |= {row.line for row in todo if row.line}

    def _first_looks(self) -> list[Row]:
        rows = [row for row in self.state.compared() if self._wanted(row) and not self.state.replaced(row)]
        return sorted(rows, key=lambda row: not row.leads)  # stable: leading back ends first, the file's order else

    def _first_target(self, row: Row) -> int:
        part = row.require_part()
        if self.ask.full:
            return (row.published.runs if row.published else None) or self.table.runs or part.seeds.most
        if self.ask.seeds is not None:
            return self.ask.seeds
        return part.seeds.least if row.leads or self.ask.only else part.seeds.beside

    def _next(self) -> tuple[Row, int] | None:
        """The most uncertain row that may still get seeds, and to how many."""
        if self.ask.fixed:
            return None
        rows = [row for row in self._first_looks() if (row.leads or self.ask.only) and self._further(row)]
        rows.sort(key=lambda row: -self._uncertainty(row))
        for row in rows:
            seeds = min(row.tried + self._further(row), row.require_part().seeds.most)
            if self._affordable(row, seeds):
                return row, seeds
        return None

    def _further(self, row: Row) -> int:
        """Seeds that a verdict on the row still needs, as far as the file allows them; 0 where nothing is judged."""
        part = row.require_part()
        room = part.seeds.most - row.tried
        if row.published is None or not row.published.verified or part.differs or not row.sample.values or room <= 0:
            return 0
        values = list(row.sample.values.values())
        return min(room, reproduction.further_seeds(row.published, values, row.rule))

    def _uncertainty(self, row: Row) -> float:
        assert row.published  # `_further` is zero without
        return reproduction.uncertainty(row.published, list(row.sample.values.values()), row.rule)

    def _affordable(self, row: Row, seeds: int | None) -> bool:
        """Whether the time budget has room; None asks whether any is left at all."""
        if self.ask.fixed or row.line is None:
            return True
        allowed_s = 60 * (self.ask.minutes or self.table.budget_min)
        left_s = allowed_s - (self.clock() - self._start_s)
        needed_s = 0.0 if seeds is None else self._predicted_s(row.sample, row.tried, seeds)
        if needed_s <= left_s:
            return True
        ended = f"the time budget of {duration(allowed_s)} is used up"
        if seeds is not None:
            ended = f"{seeds - row.tried} more seeds would take {duration(needed_s)}, and {ended}"
        self._cut[row.line] = ended
        return False

    def _predicted_s(self, sample: Sample, tried: int, seeds: int) -> float:
        return (seeds - tried) * sample.seconds / max(1, tried) / max(1, self.means.parallel or 2)

    def _bring(self, rows: Sequence[Row], seeds: int) -> None:
        for part in self.table.part:
            lines = [row.line for row in rows if row.part == part and row.line]
            if lines:
                self._errors += EXPERIMENT_KINDS.get(part.kind).run(part, lines, seeds, self.means)
        self.refresh()

    def _wanted(self, row: Row) -> bool:
        if row.line is None:
            return False
        pattern = self.ask.only
        return not pattern or fnmatch.fnmatchcase(row.line.id, pattern) or row.line.id.startswith(pattern)
