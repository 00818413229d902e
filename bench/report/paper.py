"""A paper's table beside ours, for people: `table.md`, `table.csv`, `table.tex`, `table.json`, `report.html`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tabulate import tabulate

from bench.durations import roughly
from bench.folder import ResultsFolder, write_atomically
from bench.paper.published import Published
from bench.paper.reproduction import Ordering, half_width
from bench.paper.rows import OrderingResult, PaperTable, Row
from bench.report import html, paper_curves, paper_values, wording
from bench.report.grids import Grid
from bench.report.table import markdown_table
from bench.report.wording import Footnotes
from bench.summary import mean, std

RULE = (
    "The prediction interval is where the mean of as many runs as ours should fall with 95 % probability if they are "
    "runs of the published experiment: v ± (t s √(1/n + 1/m) + e), with the published mean v and standard deviation s "
    "(ours where none was published: marked *), n published and m own runs, and e the rounding of the printed value or "
    "the error of reading a picture.",
    "Undecided until the 95 % interval of our own mean (in brackets) is narrow enough: no further either way than "
    "{width} published standard deviation, after at least {least} seeds. Seeds are added for that reason only, which "
    "looks at the spread of our runs and not at their distance from the published value: looking again costs no error. "
    "Then reproduced inside the prediction interval, not reproduced outside. Without a published standard deviation: "
    "equivalence within {margin}.",
    "The ordering of two methods is judged at the paper's number of runs and not before, by a one-sided test at 5 % in "
    "the paper's direction, paired by seed (Welch's without shared seeds); what the paper claims of other data only, "
    "at the number of runs that the file declares, by p after Holm over all that is held against the claim. Unverified "
    "values are never judged. Diverged and failed runs are counted under seeds; none is replaced.",
)
_MAIN = ("row", "published", "ours", "95 % prediction interval", "verdict", "seeds", "protocol", "wall time")


def write(folder: ResultsFolder, found: PaperTable, remarks: Sequence[str] = ()) -> None:
    """Write every view into the results folder."""
    write_atomically(folder.path / "table.md", markdown(found, remarks))
    write_atomically(folder.path / "table.csv", paper_values.csv_text(found))
    write_atomically(folder.path / "table.json", paper_values.json_text(found))
    write_atomically(folder.path / "table.tex", latex(found))
    write_atomically(folder.path / "report.html", page(found, paper_curves.write(folder, found), remarks))


def terminal(found: PaperTable, remarks: Sequence[str] = ()) -> str:
    """What a run prints at its end."""
    notes = Footnotes()
    tables = [
        f"{grid.caption}\n{tabulate(grid.lines, grid.headers, tablefmt='simple', disable_numparse=True)}"
        for grid in grids(found, notes)
    ]
    lines = "\n".join([*notes.lines(), *remarks])
    return "\n\n".join(part for part in [found.table.title, *tables, lines, provenance(found)] if part) + "\n"


def markdown(found: PaperTable, remarks: Sequence[str] = ()) -> str:
    """`table.md`."""
    parts = [
        f"# {found.table.title}",
        found.table.description,
        excerpt(found, remarks),
        "## How a verdict is reached\n\n" + "\n\n".join(rule(found)),
        "## Run it\n\n" + "\n".join(f"    {command}" for command in commands(found)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def excerpt(found: PaperTable, remarks: Sequence[str] = ()) -> str:
    """The tables with their notes and where they come from: what a document shows."""
    notes = Footnotes()
    tables = [markdown_table(grid) for grid in grids(found, notes)]
    listed = "\n".join(f"- {line}" for line in [*notes.lines(), *remarks])
    return "\n\n".join(part for part in [*tables, listed, provenance(found)] if part)


def brief(found: PaperTable) -> str:
    """The rows that were run, for a document that shows little, and how many others there are."""
    ran = replace(found, rows=tuple(row for row in found.rows if row.sample.values))
    others = len(found.shown()) - len(ran.rows)
    return excerpt(ran, [f"{others} more rows are in the table's file; they were not run here"] if others else [])


def latex(found: PaperTable) -> str:
    """`table.tex`: one booktabs table per grid."""
    notes = Footnotes()
    return "\n".join(_latex_table(grid) for grid in grids(found, notes)) + "".join(
        f"% {line}\n" for line in notes.lines()
    )


def page(found: PaperTable, drawings: Mapping[str, str], remarks: Sequence[str] = ()) -> str:
    """`report.html`; `drawings` are SVG texts by part."""
    notes = Footnotes()
    tables = grids(found, notes)
    content = {
        "title": found.table.title,
        "description": found.table.description,
        "source": f"Published: {found.table.source}. {found.table.protocol}",
        "provenance": provenance(found),
        "grids": tables,
        "notes": [*notes.lines(), *remarks],
        "figures": [
            (name, html.inline_svg(svg, f"curve-{name}", f"{found.table.title}: {name}"))
            for name, svg in drawings.items()
        ],
        "rule": rule(found),
        "commands": commands(found),
    }
    return html.fill("paper.html", content)


def grids(found: PaperTable, notes: Footnotes) -> list[Grid]:
    """What is compared, the orderings, the paper's own tests, and what is only printed."""
    tables = [_compared(found, notes), _orderings(found), _tests(found), _uncompared(found, notes)]
    return [table for table in tables if table.lines]


def headlines(found: PaperTable) -> list[str]:
    """What came to which verdict: rows and orderings by name, the leading ones first, and how many there are."""
    rows = sorted((row for row in found.shown() if row.line and row.part), key=lambda row: not row.leads)
    by_word: dict[str, list[str]] = {}
    for row in rows:
        by_word.setdefault(f"rows {row.verdict.word or 'not judged'}", []).append(_in_short(row))
    for result in found.shown_orderings():
        by_word.setdefault(f"orderings {result.ours.verdict.word}", []).append(_ordering(result))
    agree = sum(result.agrees for result in found.significance)
    tests = f"{agree} of {len(found.significance)} printed p-values follow from the means and deviations printed."
    return [_told(*told) for told in by_word.items()] + [tests] * bool(found.significance)


_NAMED = 4
"""As many of one verdict are named; the table has all."""


def _told(what: str, names: Sequence[str]) -> str:
    """ "3 rows reproduced: a, b and c." Rows that nothing came out of have no name and are counted."""
    told = [name for name in names if name]
    shown = told[:_NAMED] + [f"{len(told) - _NAMED} more"] * (len(told) > _NAMED)
    noun = what if len(names) > 1 else what.replace("s", "", 1)
    return f"{len(names)} {noun}{f': {wording.joined(shown)}' if shown else ''}."


def _in_short(row: Row) -> str:
    """ "cora/gat/cora/scatter (82.91 ± 0.65; printed 83.0 ± 0.7)", or nothing where nothing came out."""
    if not row.sample.values:
        return ""
    beside = f"; printed {row.published.quantity}" if row.published else ""
    return f"{row.require_line().id} ({ours(row).partition(' [')[0]}{beside})"


def rule(found: PaperTable) -> list[str]:
    """How a verdict is reached, with this table's limits."""
    own = found.table.rule
    margin = "the margin that the file declares, and it declares none" if own.margin is None else f"±{own.margin:g}"
    others = [f"{part.name}: {part.width:g}" for part in found.table.part if part.width is not None]
    width = f"{own.width:g}" + f" ({', '.join(others)})" * bool(others)
    return [paragraph.format(width=width, least=own.least, margin=margin) for paragraph in RULE]


def commands(found: PaperTable) -> list[str]:
    """How to run the table, one row of it, and all of the paper's runs."""
    rows = [row for row in found.shown() if row.line]
    one = [f"bench tables {found.name} --only {rows[0].line.id}"] if rows and rows[0].line else []
    return [f"make table NAME={found.name}", f"make table NAME={found.name} SEEDS=100", *one]


def provenance(found: PaperTable) -> str:
    """When and from what code and machine."""
    worked_out = found.significance or any(row.sample.values for row in found.rows)
    return "" if worked_out and not found.records else wording.made(found.records)


def ours(row: Row) -> str:
    """ "83.21 ± 0.48 [82.61, 83.81]": mean, standard deviation, 95 % interval of the mean."""
    values = list(row.sample.values.values())
    if not values:
        return ""
    if row.rule.exact:
        return f"{values[0]:,.0f}"
    spread, digits = std(values), _decimals(row)
    if spread is None:
        return f"{mean(values):.{digits}f}"
    half = half_width(values, row.rule.confidence)
    ends = f"[{mean(values) - half:.{digits}f}, {mean(values) + half:.{digits}f}]"
    return f"{mean(values):.{digits}f} ± {spread:.{digits}f} {ends}"


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
        "ours",
        "our p (one-sided; two-sided)",
        "verdict",
    )
    lines = tuple(
        (
            _ordering(result),
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


def _ordering(result: OrderingResult) -> str:
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


def _latex_table(grid: Grid) -> str:
    body = tabulate(grid.lines, grid.headers, tablefmt="latex_booktabs", disable_numparse=True)
    body = body.replace("±", r"$\pm$").replace("–", "--").replace("√", r"$\surd$")
    return f"% {grid.caption}\n{body}\n"


def _p_pair(one_sided: float, two_sided: float) -> str:
    return f"{_p(one_sided)}; {_p(two_sided)}"


def _our_p(found: Ordering) -> str:
    pair = _p_pair(found.p_one_sided, found.p_two_sided)
    return pair if found.p_holm is None else f"{pair}; one-sided after Holm {_p(found.p_holm)}"


def _p(value: float) -> str:
    """Four decimals, as the papers print them."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
