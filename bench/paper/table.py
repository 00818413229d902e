"""What the file of a paper's table or figure says: what was printed, and what is run to compare.

A `part` runs one kind of experiment (`bench/kinds/`) and says which published row each of its subjects is held against;
published rows that no part compares are listed as not run.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bench.config import Asked, Count, Many, Number, Setting, Whole
from bench.errors import unknown
from bench.paper.published import Confidence, Printed, Published
from bench.paper.reproduction import Rule


class Column(Asked):
    """What one column has otherwise than its table."""

    metric: str | None = None
    runs: Count | None = None
    higher_is_better: bool | None = None


class PublishedRow(Asked):
    """One printed row; columns that are absent were not printed."""

    row: str
    values: dict[str, Printed]
    runs: Count | None = None
    confidence: Confidence | None = None
    reading_error: Annotated[Number, Field(ge=0)] | None = None
    note: str = ""
    not_run: str = ""  # why no part compares it, where that is not the table's reason


class SignificanceRow(Asked):
    """A test that the paper prints: two means and what it says of them."""

    row: str
    runs: Count
    gat: Printed
    gatv2: Printed
    p: str  # "<.0001" or ".0349"
    higher_is_better: bool = True

    @property
    def p_bound(self) -> tuple[float, float]:
        """The values that the printed p stands for: below a bound, or within its rounding."""
        if self.p.startswith("<"):
            return 0.0, float(self.p[1:])
        half = 0.5 * 10.0 ** -len(self.p.partition(".")[2])
        return float(self.p) - half, float(self.p) + half


class SeedPlan(Asked):
    """How many seeds: of a row's first able back end from `least` up to `most`, of the others `beside`."""

    least: Many = 5
    most: Many = 20
    beside: Annotated[Whole, Field(ge=0, le=10**4)] = 3


class Vary(Asked):
    """One experiment for each value of a setting; the values are the columns. The first are run first."""

    setting: str  # "protocol.edge_noise"
    values: Annotated[tuple[Setting, ...], Field(min_length=1)]


def _is_a_file_s(name: str) -> str:
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError("should be letters, digits, - and _ alone: a picture's file is called after it")
    return name


class Part(Asked):
    """One experiment of a table, and what it is held against."""

    name: Annotated[str, AfterValidator(_is_a_file_s)]
    kind: str = "grid"
    protocol: str  # how it is run, in the table's words
    differs: str = ""  # in what it is not the paper's experiment: then nothing is judged
    unit: Literal["%", "fraction", "error"] = "%"  # in which shares are printed; or errors are, as they come
    published: dict[str, str] = {}  # subject (an operator) -> published row
    columns: dict[str, str] = {}  # column of the experiment (a data set) -> published column, if called otherwise
    seeds: SeedPlan = SeedPlan()
    # Instead of the rule's, where the published spread is much smaller than ours.
    width: Annotated[Number, Field(gt=0, le=100)] | None = None
    # Minutes that a seed takes, as far as is known before any was run: what no time budget holds is not begun.
    seed_min: Annotated[Number, Field(ge=0, le=10**6)] = 0.0
    instead_of: str = ""  # run only if that part cannot be run here
    lead: tuple[str, ...] = ()  # the back ends for most seeds, by preference: the first that is here and able
    vary: Vary | None = None
    experiment: dict[str, Any] = {}  # what the kind of experiment needs to know


class OrderingRow(Asked):
    """The paper has one method above another."""

    part: str
    better: str  # a subject of the part
    worse: str
    # What the paper says where it printed nothing on the part's own data: held at the table's number of runs.
    claim: str = ""


class TableFile(Asked):
    """Everything that one file says."""

    title: str
    description: str = ""
    paper: str
    number: str  # the camera-ready's: "Table 2"
    alias: str = ""  # what other places call it
    metric: str
    higher_is_better: bool = True
    runs: Count | None = None
    protocol: str
    confidence: Confidence
    reading_error: Annotated[Number, Field(ge=0)] = 0.0
    not_run: str = "nothing here runs it"
    fetch: str = ""  # the command that would bring its data
    budget_min: Annotated[Number, Field(gt=0, le=10**6)] = 20.0
    rule: Rule = Rule()
    columns: dict[str, Column] = {}
    published: tuple[PublishedRow, ...] = ()
    significance: tuple[SignificanceRow, ...] = ()
    part: tuple[Part, ...] = ()
    ordering: tuple[OrderingRow, ...] = ()
    axis: str = ""  # of a figure: what its columns are, on the horizontal axis

    def rule_of(self, part: Part) -> Rule:
        """The rule by which a part's rows are judged."""
        return self.rule if part.width is None else self.rule.model_copy(update={"width": part.width})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        rows, parts = [row.row for row in self.published], [part.name for part in self.part]
        for what, names in (("published.row", rows), ("part.name", parts)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what}: {', '.join(twice)} stands there twice; give each a name of its own")
        for part in self.part:
            for subject, row in part.published.items():
                if row not in rows:
                    raise ValueError(f"part {part.name}: published.{subject}: {unknown('published row', row, rows)}")
            if part.instead_of and part.instead_of not in parts:
                raise ValueError(f"part {part.name}: instead_of: {unknown('part', part.instead_of, parts)}")
        for ordering in self.ordering:
            if ordering.part not in parts:
                raise ValueError(f"ordering: {unknown('part', ordering.part, parts)}")
            if ordering.claim and not self.runs:
                raise ValueError("ordering: a claim about other data is judged at the table's number of runs: set runs")
        return self

    @property
    def source(self) -> str:
        """ "Velickovic et al. 2018, Table 2"."""
        return f"{self.paper}, {self.number}" + (f" ({self.alias})" if self.alias else "")

    def registry(self, name: str) -> dict[str, Published]:
        """Every published value of the file, by its id."""
        values = (self._value(name, row, column) for row in self.published for column in row.values)
        return {value.id: value for value in values}

    def _value(self, name: str, row: PublishedRow, column: str) -> Published:
        own = self.columns.get(column, Column())
        higher = self.higher_is_better if own.higher_is_better is None else own.higher_is_better
        return Published(
            table=name,
            row=row.row,
            column=column,
            quantity=row.values[column],
            metric=own.metric or self.metric,
            runs=row.runs or own.runs or self.runs,
            source=self.source,
            protocol=self.protocol,
            confidence=row.confidence or self.confidence,
            reading_error=self.reading_error if row.reading_error is None else row.reading_error,
            higher_is_better=higher,
            note=row.note,
        )
