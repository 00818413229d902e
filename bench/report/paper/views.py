"""A paper's table beside ours, for people: `table.md`, `table.csv`, `table.tex`, `table.json`, `report.html`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tabulate import tabulate

from bench.folder import ResultsFolder, write_atomically
from bench.paper.rows import PaperTable, Row
from bench.report import html, wording
from bench.report.grids import Grid
from bench.report.paper import curves, values
from bench.report.paper.tables import grids, in_short, ordering
from bench.report.table import markdown_table
from bench.report.wording import Footnotes

RULE = (
    "The prediction interval is where the mean of as many runs as ours should fall with 95 % probability if they are "
    "runs of the published experiment: v ± (t s √(1/n + 1/m) + e), with the published mean v and standard deviation s "
    "(ours where none was published, or not of how many runs: marked *), n published and m own runs, and e the "
    "rounding of the printed value or the error of reading a picture.",
    "Undecided until the 95 % interval of our own mean (in brackets) is narrow enough: no further either way than "
    "{width} published standard deviation, after at least {least} seeds. Seeds are added for that reason only, which "
    "looks at the spread of our runs and not at their distance from the published value: by an interval from the "
    "published s, looking again costs no error; one from our own (*) covers slightly less than it says, as seeds end "
    "where that looks small. Then reproduced inside the prediction interval, not reproduced outside. Without a "
    "published standard deviation: equivalence within {margin}. The seeds that such a row still asks for once the "
    "interval is narrow follow from the distance: a figure to plan by, and none is added for it.",
    "The ordering of two methods is judged at the paper's number of runs and not before, by a one-sided test at 5 % in "
    "the paper's direction, paired by seed (Welch's without shared seeds); what the paper claims of other data only, "
    "at the number of runs that the file declares, by p after Holm over all that is held against the claim. Unverified "
    "values are never judged. Diverged and failed runs are counted under seeds; none is replaced.",
)


def write(folder: ResultsFolder, found: PaperTable, remarks: Sequence[str] = ()) -> None:
    """Write every view into the results folder."""
    write_atomically(folder.path / "table.md", markdown(found, remarks))
    write_atomically(folder.path / "table.csv", values.csv_text(found))
    write_atomically(folder.path / "table.json", values.json_text(found))
    write_atomically(folder.path / "table.tex", latex(found))
    write_atomically(folder.path / "report.html", page(found, curves.write(folder, found), remarks))


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
    others = [row for row in found.shown() if not row.sample.values]
    printed_alone = sum(row.line is None for row in others)
    remarks = {
        "more rows of ours are in the table's file; they were not run here": len(others) - printed_alone,
        "more of the paper's values are of methods that are not run here": printed_alone,
    }
    return excerpt(ran, [f"{count} {what}" for what, count in remarks.items() if count])


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


def headlines(found: PaperTable) -> list[str]:
    """What came to which verdict: rows and orderings by name, the leading ones first, and how many there are."""
    rows = sorted((row for row in found.shown() if row.line and row.part), key=lambda row: not row.leads)
    told: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        told.setdefault(("row", row.verdict.word or "not judged"), []).append(_named(row))
    for result in found.shown_orderings():
        told.setdefault(("ordering", result.ours.verdict.word), []).append(ordering(result))
    agree = sum(result.agrees for result in found.significance)
    tests = f"{agree} of {len(found.significance)} printed p-values follow from the means and deviations printed."
    return [_told(noun, word, names) for (noun, word), names in told.items()] + [tests] * bool(found.significance)


_NAMED = 4
"""As many of one verdict are named; the table has all."""


def _told(noun: str, word: str, names: Sequence[str]) -> str:
    """ "3 rows reproduced: a, b and c." Rows that nothing came out of have no name and are counted."""
    told = [name for name in names if name]
    shown = told[:_NAMED] + [f"{len(told) - _NAMED} more"] * (len(told) > _NAMED)
    listed = f": {wording.joined(shown)}" if shown else ""
    return f"{len(names)} {noun}{'s' * (len(names) > 1)} {word}{listed}."


def _named(row: Row) -> str:
    """ "cora/gat/cora/scatter (82.91 ± 0.65; printed 83.0 ± 0.7)", or nothing where nothing came out."""
    if not row.sample.values:
        return ""
    beside = f"; printed {row.published.quantity}" if row.published else ""
    return f"{row.require_line().id} ({in_short(row)}{beside})"


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


def _latex_table(grid: Grid) -> str:
    body = tabulate(grid.lines, grid.headers, tablefmt="latex_booktabs", disable_numparse=True)
    body = body.replace("±", r"$\pm$").replace("–", "--").replace("√", r"$\surd$")
    return f"% {grid.caption}\n{body}\n"
