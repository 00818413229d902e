"""A paper's table beside ours: one row per thing compared, and one for each printed value that nothing compares.

A pure function of the table's file and the records; running, printing and tracking start from here.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from bench.kind import Line, Sample
from bench.paper import reproduction
from bench.paper.published import Published
from bench.paper.reproduction import Ordering, Rule, Significance, Verdict
from bench.paper.table import OrderingRow, Part, SignificanceRow, TableFile
from bench.plugins import EXPERIMENT_KINDS
from bench.records import Record


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    label: str  # the published row, or the subject where nothing was published
    column: str
    published: Published | None
    verdict: Verdict
    rule: Rule
    line: Line | None = None  # None: nothing compares it
    part: Part | None = None
    sample: Sample = field(default_factory=Sample)
    leads: bool = False  # its back end is the one that most seeds are run on

    @property
    def tried(self) -> int:
        """Runs that came to an end, whatever it was."""
        return len(self.sample.values) + sum(self.sample.failures.values())

    @property
    def differs(self) -> str:
        """In what it is not the published experiment, by its file or by its data."""
        return _differs(self.part, self.sample) if self.part else ""

    def require_published(self) -> Published:
        """What was printed for a row that has it."""
        assert self.published is not None
        return self.published

    def require_line(self) -> Line:
        """What a row that is compared measures."""
        assert self.line is not None
        return self.line

    def require_part(self) -> Part:
        """The part of a row that is compared."""
        assert self.part is not None
        return self.part


@dataclass(frozen=True)
class OrderingResult:
    """The paper's ordering of two methods, in its figures and in ours."""

    asked: OrderingRow
    column: str
    backend: str
    printed: tuple[Published, Published] | None  # the better and the worse; None: a claim about other data
    ours: Ordering

    @property
    def lines(self) -> tuple[Line, Line]:
        """Of ours, the better and the worse."""
        part, subjects = self.asked.part, (self.asked.better, self.asked.worse)
        better, worse = (Line(part, subject, self.column, self.backend) for subject in subjects)
        return better, worse

    @property
    def paper(self) -> Significance | None:
        """The paper's own test; None if it printed nothing, or no standard deviations."""
        return _from_print(*self.printed) if self.printed else None


@dataclass(frozen=True)
class SignificanceResult:
    """A test that the paper prints, worked out again from its own means and standard deviations."""

    asked: SignificanceRow
    found: Significance

    @property
    def agrees(self) -> bool:
        """Whether the printed p is the one-sided one, as far as the rounding of the printed means lets one tell."""
        low, high = self.asked.p_bound
        nearer, further = (self._shifted(sign) for sign in (-1, 1))
        return further <= high and nearer >= low

    def _shifted(self, sign: int) -> float:
        """The one-sided p with the means apart by as much more (or less) as their rounding allows."""
        better, worse = self.asked.gatv2, self.asked.gat
        shift = sign * better.rounding * (1 if self.asked.higher_is_better else -1)
        moved = better.model_copy(update={"value": better.value + shift})
        other = worse.model_copy(update={"value": worse.value - shift})
        return reproduction.recompute(other, moved, self.asked.runs, self.asked.higher_is_better).p_one_sided


@dataclass(frozen=True)
class PaperTable:
    """All rows of one table."""

    name: str
    table: TableFile
    rows: tuple[Row, ...]
    orderings: tuple[OrderingResult, ...]
    significance: tuple[SignificanceResult, ...]
    records: tuple[Record, ...]

    @classmethod
    def of(cls, name: str, table: TableFile, records: Sequence[Record]) -> Self:
        """Work everything out."""
        registry = table.registry(name)
        samples = {part.name: EXPERIMENT_KINDS.get(part.kind).samples(part, records) for part in table.part}
        compared = [row for part in table.part for row in _compared(table, part, registry, samples[part.name])]
        held = {row.published.id for row in compared if row.published}
        orderings = [result for asked in table.ordering for result in _orderings(table, asked, compared)]
        others = [_uncompared(table, value) for id_, value in registry.items() if id_ not in held]
        return cls(
            name=name,
            table=table,
            rows=(*compared, *others),
            orderings=_held_to_claims(orderings),
            significance=tuple(_significance(row) for row in table.significance),
            records=tuple(records),
        )

    def only(self, lines: Container[Line | None]) -> Self:
        """These rows alone, with the orderings between them, for whoever asked for no others."""
        rows = tuple(row for row in self.rows if row.line in lines)
        orderings = tuple(result for result in self.orderings if all(line in lines for line in result.lines))
        return replace(self, rows=rows, orderings=orderings, significance=())

    def compared(self) -> list[Row]:
        """The rows that something is run for."""
        return [row for row in self.rows if row.line]

    def replaced(self, row: Row) -> bool:
        """Whether the row is only a substitute, and what it stands in for can be run here."""
        instead_of = row.part.instead_of if row.part else ""
        return bool(instead_of) and not self.barred(instead_of)

    def barred(self, part: str) -> str:
        """Why no row of a part can be run here, or nothing."""
        rows = [row for row in self.compared() if row.part and row.part.name == part]
        return rows[0].sample.barred if rows and all(row.sample.barred for row in rows) else ""

    def shown(self) -> list[Row]:
        """Rows for people: substitutes only where they are needed or were run; a figure's along its axis."""
        rows = [row for row in self.rows if row.sample.values or not self.replaced(row)]
        return sorted(rows, key=lambda row: self._place(row.part.name if row.part else "", row.column))

    def shown_orderings(self) -> list[OrderingResult]:
        """Orderings for people: a figure's along its axis."""
        return sorted(self.orderings, key=lambda result: self._place(result.asked.part, result.column))

    def _place(self, part: str, column: str) -> tuple[int, float]:
        """Where a figure has it; elsewhere all are alike, so that a sort leaves them as they are."""
        if not self.table.axis:
            return 0, 0.0
        parts = [part.name for part in self.table.part]
        return (parts.index(part) if part else len(parts)), float(column)


def _compared(
    table: TableFile, part: Part, registry: Mapping[str, Published], samples: Mapping[Line, Sample]
) -> Iterator[Row]:
    led: set[tuple[str, str]] = set()
    for line in EXPERIMENT_KINDS.get(part.kind).lines(part):
        sample = samples.get(line, Sample())
        place = line.subject, line.column
        leads = place not in led and not sample.barred
        if leads:
            led.add(place)
        label = part.published.get(line.subject, "")
        column = part.columns.get(line.column, line.column)
        published = registry.get(f"{label}/{column}")
        yield Row(
            label=label or line.subject,
            column=line.column,
            published=published,
            verdict=_verdict(table, part, published, sample, asked=leads or part.seeds.beside > 0),
            rule=table.rule_of(part),
            line=line,
            part=part,
            sample=sample,
            leads=leads,
        )


def _verdict(table: TableFile, part: Part, published: Published | None, sample: Sample, *, asked: bool) -> Verdict:
    values, rule = list(sample.values.values()), table.rule_of(part)
    if not values:
        return Verdict("not run", sample.missing or sample.barred or ("" if asked else "unless it is named"))
    if differs := _differs(part, sample):
        predicted = reproduction.prediction(published, values, rule) if published else None
        return Verdict("protocol differs", differs, prediction=predicted)
    if published is None:
        return Verdict("")
    if not published.verified:
        return Verdict("", "the published value is unverified")
    if failed := sample.failed():
        return Verdict("undecided", failed)
    return reproduction.judge(published, values, rule)


def _differs(part: Part, sample: Sample) -> str:
    return "; ".join(filter(None, [part.differs, sample.differs]))


def _uncompared(table: TableFile, value: Published) -> Row:
    own = next(row.not_run for row in table.published if row.row == value.row)
    why = own or table.not_run
    cure = f"; `{table.fetch}` fetches the data" if table.fetch and not own else ""
    return Row(value.row, value.column, value, Verdict("not run", f"{why}{cure}"), table.rule)


def _orderings(table: TableFile, asked: OrderingRow, rows: Sequence[Row]) -> Iterator[OrderingResult]:
    """One for each column and back end on which both have results."""
    found = {row.line[1:]: row for row in rows if row.line and row.line.part == asked.part}
    for (subject, column, backend), better in found.items():
        worse = found.get((asked.worse, column, backend))
        if subject != asked.better or worse is None or not (better.sample.values and worse.sample.values):
            continue
        printed = (better.published, worse.published) if better.published and worse.published else None
        if printed or asked.claim:
            yield OrderingResult(asked, column, backend, printed, _ordered(table, printed, better, worse))


def _held_to_claims(found: Sequence[OrderingResult]) -> tuple[OrderingResult, ...]:
    """What the paper claims of other data is claimed of all of ours at once, and judged so."""
    judged = iter(reproduction.hold_to_claim([result.ours for result in found if result.printed is None]))
    return tuple(result if result.printed else replace(result, ours=next(judged)) for result in found)


def _ordered(table: TableFile, printed: tuple[Published, Published] | None, better: Row, worse: Row) -> Ordering:
    said = printed[0] if printed else table
    runs, higher = said.runs or 1, said.higher_is_better
    ours = reproduction.order(better.sample.values, worse.sample.values, runs, higher)
    differs = better.differs or worse.differs
    if differs:
        return replace(ours, verdict=Verdict("protocol differs", differs))
    failed = "; ".join(filter(None, map(_failed, (better, worse))))
    return replace(ours, verdict=Verdict("undecided", failed)) if failed else ours


def _failed(row: Row) -> str:
    failed = row.sample.failed()
    return f"{row.require_line().subject} {failed}" if failed else ""


def _from_print(better: Published, worse: Published) -> Significance | None:
    runs = better.runs or 1
    if better.quantity.std is None or worse.quantity.std is None or runs < 2:
        return None
    return reproduction.recompute(worse.quantity, better.quantity, runs, better.higher_is_better)


def _significance(asked: SignificanceRow) -> SignificanceResult:
    return SignificanceResult(asked, reproduction.recompute(asked.gat, asked.gatv2, asked.runs, asked.higher_is_better))
