"""Runs what a paper's table needs: leading rows to the fewest seeds that tell their spread, then the most uncertain
of them as far as half the time budget allows, then the other back ends' rows, then what is still uncertain.

Which rows get more seeds, and how many, follows from the spread of the runs and nothing else
(`bench.paper.reproduction`), so the same records lead to the same seeds. The time budget only ends it early, and the
table says which rows it cut.
"""

import fnmatch
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bench.durations import roughly
from bench.errors import UserError, unknown
from bench.kind import Line, Means
from bench.paper import reproduction, seed_cost
from bench.paper.rows import PaperTable, Row
from bench.paper.table import TableFile
from bench.plugins import EXPERIMENT_KINDS

EARLY_SHARE = 0.5  # of the time budget, for verdicts before the other back ends have had a look


@dataclass(frozen=True)
class Ask:
    """How much to run."""

    seeds: int | None = None  # for every row, whatever its spread
    full: bool = False  # as many as the paper has
    only: tuple[str, ...] = ()  # rows of these ids, or all of these parts of a table, or whose ids match these patterns
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
        self._start_s = self.clock()
        self._looked: set[Line] = set()
        self._cut: dict[Line, str] = {}
        self._grown: dict[Line, int] = {}
        self.refresh()
        ids = [row.require_line().id for row in self.state.compared()]
        for chosen in self.ask.only:
            if not any(_is_of(id_, chosen) for id_ in ids):
                raise UserError(f"--only: {unknown('row', chosen, ids)}")

    def refresh(self) -> None:
        """Read the records again."""
        self.state = PaperTable.of(self.name, self.table, self.means.folder.records())

    def planned(self) -> Iterator[tuple[Row, int]]:
        """Rows that are to be run, in order, and to how many seeds at first."""
        for row in self._asked():
            yield row, self._first_target(row)

    def foreseen(self) -> Iterator[tuple[Row, int, str]]:
        """As `planned`, and why none of a row's seeds is begun, as far as is known by now what a seed takes."""
        left_s = self._left_s()
        for row, seeds in self.planned():
            needed_s = max(0.0, self._needed_s(row, seeds))
            if self.ask.fixed or needed_s <= left_s:
                left_s -= needed_s
                yield row, seeds, ""
            else:
                left = f"{roughly(max(0.0, left_s))} of the time budget of {roughly(self._allowed_s())}"
                yield row, seeds, f"{seeds - row.tried} seeds would take {roughly(needed_s)}, {left} would be left"

    def most(self, row: Row, seeds: int) -> int:
        """As many as a row can come to, `seeds` at first: what the file allows, as far as the time budget holds it."""
        if self.ask.fixed or row.rule.exact or not (row.leads or self.ask.only):
            return seeds
        seed_s, most = self._needed_s(row, row.tried + 1), row.require_part().seeds.most
        held = min(most, row.tried + int(self._left_s() / seed_s)) if seed_s else most
        return max(seeds, held)

    def run(self) -> int:
        """Run what is missing; returns how many jobs ended in an error."""
        errors = 0
        while batch := self._choose():
            rows, seeds = batch
            part = rows[0].require_part()
            lines = [row.require_line() for row in rows]
            self._uncut(lines)
            errors += EXPERIMENT_KINDS.get(part.kind).run(part, lines, seeds, self.means)
            self.refresh()
        return errors

    def _uncut(self, lines: Sequence[Line]) -> None:
        """What is begun after all is cut no more: it had seemed dearer than runs since then tell."""
        for line in lines:
            self._cut.pop(line, None)

    def remarks(self) -> list[str]:
        """What the time budget kept from being run."""
        return [f"{line.id}: {text}" for line, text in self._cut.items()]

    def _asked(self) -> list[Row]:
        """Leading back ends first, in the file's order else."""
        rows = [row for row in self.state.compared() if self._wanted(row) and not self.state.replaced(row)]
        return sorted(rows, key=lambda row: not row.leads)

    def _choose(self) -> tuple[list[Row], int] | None:
        """What is to be run next. Verdicts come from the leading rows: they go first, yet not with the whole budget."""
        return (
            self._first_look(leading=True)
            or self._next(self._affordable_early)
            or self._first_look(leading=False)
            or self._next(self._affordable)
        )

    def _first_look(self, leading: bool) -> tuple[list[Row], int] | None:
        """The next rows that lack their first seeds: one back end on one column, all subjects together."""
        for row in [row for row in self._asked() if row.leads == leading]:
            seeds = self._first_target(row)
            if self._lacks(row, seeds) and self._affordable(row, seeds):
                batch = self._beside(row, seeds)
                self._looked |= {other.require_line() for other in batch}
                return batch, seeds
        return None

    def _beside(self, row: Row, seeds: int) -> list[Row]:
        """The row, and of those that may run beside it as many as the time budget has room for."""
        batch, needed_s = [row], self._needed_s(row, seeds)
        for other in self._asked():
            if other.line != row.line and _together(row, other) and self._lacks(other, seeds):
                more_s = self._needed_s(other, seeds)
                if self._has_room(needed_s + more_s):
                    batch.append(other)
                    needed_s += more_s
        return batch

    def _lacks(self, row: Row, seeds: int) -> bool:
        return row.line not in self._looked and row.tried < seeds == self._first_target(row)

    def _first_target(self, row: Row) -> int:
        part = row.require_part()
        if row.rule.exact:
            return 1
        if self.ask.full:
            return (row.published.runs if row.published else None) or self.table.runs or part.seeds.most
        if self.ask.seeds is not None:
            return self.ask.seeds
        return part.seeds.least if row.leads or self.ask.only else part.seeds.beside

    def _next(self, affordable: Callable[[Row, int], bool]) -> tuple[list[Row], int] | None:
        """The most uncertain row that may still get seeds, and to how many.

        A row at most doubles its seeds before all are looked at again: a dear one must not keep others from verdicts.
        """
        rows = [] if self.ask.fixed else [row for row in self._asked() if self._may_grow(row)]
        for row in sorted(rows, key=self._uncertainty, reverse=True):
            further = self._further(row)
            if affordable(row, row.tried + further):
                self._grown[row.require_line()] = seeds = row.tried + min(further, row.tried)
                return [row], seeds
        return None

    def _may_grow(self, row: Row) -> bool:
        """Whether more seeds are of use; of a row that lacks some it was asked for, more are asked for in vain."""
        chosen = row.leads or bool(self.ask.only)
        has_what_it_was_asked_for = row.tried >= self._grown.get(row.require_line(), 0)
        return chosen and row.line not in self._cut and has_what_it_was_asked_for and self._further(row) > 0

    def _further(self, row: Row) -> int:
        """Seeds that a verdict on the row still needs, as far as the file allows them; 0 where nothing is judged."""
        part, values = row.require_part(), list(row.sample.values.values())
        if row.published is None or not row.published.verified or row.differs or not values:
            return 0
        room = max(0, part.seeds.most - row.tried)
        return min(room, reproduction.further_seeds(row.published, values, row.rule))

    def _uncertainty(self, row: Row) -> float:
        assert row.published  # `_further` is zero without
        return reproduction.uncertainty(row.published, list(row.sample.values.values()), row.rule)

    def _affordable_early(self, row: Row, seeds: int) -> bool:
        """Whether so many seeds leave the other back ends their share of the time budget."""
        return self._needed_s(row, seeds) <= self._left_s() - (1 - EARLY_SHARE) * self._allowed_s()

    def _affordable(self, row: Row, seeds: int) -> bool:
        """Whether the time budget has room for so many seeds; what it has not is remembered for the table."""
        needed_s = self._needed_s(row, seeds)
        if self._has_room(needed_s):
            return True
        more = f"{seeds - row.tried} more seeds" + (f" would take {roughly(needed_s)}" if needed_s else "")
        left = f"of the time budget of {roughly(self._allowed_s())}, {_left(self._left_s())} left"
        self._cut[row.require_line()] = f"{more}; {left}"
        return False

    def _has_room(self, needed_s: float) -> bool:
        left_s = self._left_s()
        return self.ask.fixed or (left_s > 0 and needed_s <= left_s)

    def _allowed_s(self) -> float:
        return 60 * (self.table.budget_min if self.ask.minutes is None else self.ask.minutes)

    def _left_s(self) -> float:
        return self._allowed_s() - (self.clock() - self._start_s)

    def _needed_s(self, row: Row, seeds: int) -> float:
        return (seeds - row.tried) * self._per_seed_s(row) / max(1, self.means.options.parallel or os.cpu_count() or 1)

    def _per_seed_s(self, row: Row) -> float:
        """Seconds of one run as the runs so far tell them, else what the file says."""
        told_s = seed_cost.per_seed_s(row, list(self.state.compared()))
        said_s = 0.0 if self.ask.only else 60 * row.require_part().seed_min  # named, a row is begun whatever it takes
        return said_s if told_s is None else told_s

    def _wanted(self, row: Row) -> bool:
        return not self.ask.only or any(_is_of(row.require_line().id, chosen) for chosen in self.ask.only)


def _is_of(id_: str, chosen: str) -> bool:
    """Whether a row's id is the one that was chosen, begins with its parts, or matches its pattern."""
    return fnmatch.fnmatchcase(id_, chosen) or id_.startswith(f"{chosen.rstrip('/')}/")


def _together(row: Row, other: Row) -> bool:
    """Whether one batch may hold both."""
    one, two = row.require_line(), other.require_line()
    return (one.part, one.column, one.backend, row.leads) == (two.part, two.column, two.backend, other.leads)


def _left(seconds: float) -> str:
    return roughly(seconds) + (" is" if seconds < 100 else " are") if seconds > 0 else "nothing is"
