"""The tables of a paper's table beside ours, as text in cells, and the words for a row."""

from bench.durations import roughly
from bench.paper.published import Published
from bench.paper.reproduction import Ordering, half_width
from bench.paper.rows import OrderingResult, PaperTable, Row
from bench.report.grids import Grid
from bench.report.wording import Footnotes
from bench.summary import mean, std

_MAIN = ("row", "published", "ours", "95 % prediction interval", "verdict", "seeds", "protocol", "wall time")


def grids(found: PaperTable, notes: Footnotes) -> list[Grid]:
    """What is compared, the orderings, the paper's own tests, and what is only printed."""
    tables = [_compared(found, notes), _orderings(found), _tests(found), _uncompared(found, notes)]
    return [table for table in tables if table.lines]


def ours(row: Row) -> str:
    """ "83.21 ± 0.48 [82.61, 83.81]": mean, standard deviation, 95 % interval of the mean."""
    values = list(row.sample.values.values())
    if not values:
        return ""
    if row.rule.exact or len(values) < 2:
        return in_short(row)
    half, digits = half_width(values, row.rule.confidence), _decimals(row)
    return f"{in_short(row)} [{mean(values) - half:.{digits}f}, {mean(values) + half:.{digits}f}]"


def in_short(row: Row) -> str:
    """ "83.21 ± 0.48", of a row that has values; an exact one has no spread."""
    values = list(row.sample.values.values())
    if row.rule.exact:
        return f"{values[0]:,.0f}"
    spread, digits = std(values), _decimals(row)
    return f"{mean(values):.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def printed(published: Published | None) -> str:
    """ "83.0 ± 0.7 (n=100)"."""
    if published is None:
        return "–"
    runs = f" (n={published.runs})" if published.runs else ""
    doubt = "" if published.verified else ", unverified"
    return f"{published.quantity}{runs}{doubt}"


def seeds(row: Row) -> str:
    """ "10 (1 diverged, 2 tried again)"."""
    if row.rule.exact:
        return ""
    extra = [f"{count} {status.replace('_', ' ')}" for status, count in row.sample.failures.items()]
    if row.sample.retried:
        extra.append(f"{row.sample.retried} tried again")
    brackets = f" ({', '.join(extra)})" if extra else ""
    return f"{len(row.sample.values)}{brackets}"


def _compared(found: PaperTable, notes: Footnotes) -> Grid:
    lines = tuple(
        (
            row.line.id,
            printed(row.published),
            ours(row),
            _predicted(row),
            _verdict(row, notes),
            seeds(row),
            _protocol(row, notes),
            roughly(row.sample.seconds) if row.sample.seconds else "",
        )
        for row in found.shown()
        if row.line and row.part
    )
    return Grid(f"{found.table.source}: {found.table.metric}", _MAIN, lines, 1)


def _protocol(row: Row, notes: Footnotes) -> str:
    """How the row was run, and what its study chose where settings were tuned."""
    part = row.require_part()
    marks = [notes.mark(f"{part.name}: {part.protocol}")]
    if row.sample.note:
        marks.append(notes.mark(f"{row.require_line().subject} on {row.column}: {row.sample.note}"))
    return " ".join(marks)


def _verdict(row: Row, notes: Footnotes) -> str:
    """Long details go into a note, so that the column stays a column."""
    if len(row.verdict.detail) <= 40:
        return str(row.verdict)
    return f"{row.verdict.word} {notes.mark(f'{row.verdict.word}: {row.verdict.detail}')}"


def _predicted(row: Row) -> str:
    found = row.verdict.prediction
    if found is None or row.rule.exact:
        return ""
    mark = "*" if found.whose_std == "ours" else ""
    digits = _decimals(row)
    return f"[{found.interval.low:.{digits}f}, {found.interval.high:.{digits}f}]{mark}"


def _decimals(row: Row) -> int:
    """As many digits of a share, whether it is written in % or as a fraction."""
    return 4 if row.part and row.part.unit == "fraction" else 2


def _orderings(found: PaperTable) -> Grid:
    headers = (
        "ordering",
        "the paper",
        "its p (one-sided; two-sided Welch)",
        "ours: ahead by",
        "our p (one-sided; two-sided)",
        "verdict",
    )
    lines = tuple(
        (
            ordering(result),
            _printed_pair(result),
            _p_pair(result.paper.p_one_sided, result.paper.p_two_sided) if result.paper else "",
            f"{result.ours.contrast.difference:+.2f}, {'paired' if result.ours.contrast.paired else 'Welch'}, "
            f"n={result.ours.contrast.n}"
            if result.ours.contrast
            else "",
            _our_p(result.ours) if result.ours.contrast else "",
            str(result.ours.verdict),
        )
        for result in found.shown_orderings()
    )
    return Grid("The paper's ordering", headers, lines, 1)


def ordering(result: OrderingResult) -> str:
    """ "ours/gatv2 above gat/pubmed/scatter"."""
    return f"{result.asked.part}/{result.asked.better} above {result.asked.worse}/{result.column}/{result.backend}"


def _printed_pair(result: OrderingResult) -> str:
    if result.printed is None:
        return result.asked.claim
    better, worse = result.printed
    return f"{better.quantity} against {worse.quantity} (n={better.runs})"


def _tests(found: PaperTable) -> Grid:
    headers = (
        "data",
        "runs",
        "GAT",
        "GATv2",
        "printed p",
        "one-sided Student",
        "two-sided Welch",
        "Cohen's d",
        "printed p follows",
    )
    lines = tuple(
        (
            result.asked.row,
            str(result.asked.runs),
            str(result.asked.gat),
            str(result.asked.gatv2),
            result.asked.p,
            _p(result.found.p_one_sided),
            _p(result.found.p_two_sided),
            f"{result.found.cohen_d:.2f}",
            "yes" if result.agrees else "no",
        )
        for result in found.significance
    )
    return Grid("The paper's own tests, from the means and standard deviations that it prints", headers, lines, 1)


def _uncompared(found: PaperTable, notes: Footnotes) -> Grid:
    """One line per published row, since all its columns share the reason."""
    rows = [row for row in found.rows if row.line is None]
    columns = list(dict.fromkeys(row.column for row in rows))
    by_label: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_label.setdefault(_marked(row), {})[row.column] = row
    lines = tuple(
        (
            label,
            *(str(cells[column].require_published().quantity) if column in cells else "" for column in columns),
            _verdict(next(iter(cells.values())), notes),
        )
        for label, cells in by_label.items()
    )
    caption = f"Printed there, not run here ({found.table.source}: {found.table.metric})"
    return Grid(caption, ("published row", *columns, "verdict"), lines, 1)


def _marked(row: Row) -> str:
    return row.label if row.require_published().verified else f"{row.label} (unverified)"


def _p_pair(one_sided: float, two_sided: float) -> str:
    return f"{_p(one_sided)}; {_p(two_sided)}"


def _our_p(found: Ordering) -> str:
    pair = _p_pair(found.p_one_sided, found.p_two_sided)
    return pair if found.p_holm is None else f"{pair}; one-sided after Holm {_p(found.p_holm)}"


def _p(value: float) -> str:
    """Four decimals, as the papers print them."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
