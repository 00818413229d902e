"""The results as text: a table for the terminal, `table.md` and `table.csv`."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from bench.config import Experiment
from bench.folder import ResultsFolder, write_atomically
from bench.records import Record
from bench.report import grids, special, wording
from bench.report.columns import csv_text, meanings
from bench.report.results import Results
from bench.report.rows import Row
from bench.report.wording import TRACKS, Footnotes


def write(folder: ResultsFolder, experiment: Experiment, records: Sequence[Record]) -> None:
    """Write `table.md` and `table.csv` into the folder."""
    write_results(folder, Results.of(experiment, records))


def write_results(folder: ResultsFolder, results: Results) -> None:
    """See `write`; from results already worked out."""
    write_atomically(folder.path / "table.md", markdown(results, folder.name))
    write_atomically(folder.path / "table.csv", csv_text(results))


def terminal(experiment: Experiment, records: Sequence[Record]) -> str:
    """What a run prints at its end: a table per data set, device and thread count, notes, provenance."""
    results = Results.of(experiment, records)
    notes = Footnotes()
    tables = [
        f"{dataset} · {device} · {threads} thread{'s' if threads > 1 else ''}\n"
        + _plain(results, [row for row in results.rows if row.key[2:] == (dataset, device)], threads, notes)
        for dataset in experiment.datasets
        for device in experiment.devices
        for threads in experiment.timing.threads
    ]
    asked = [_terminal(grid) for grid in special.grids(results, notes)]
    remarks = "\n".join([*notes.lines(), *wording.warnings(results)])
    legend = _LEGEND if experiment.seeds else _LEGEND_OF_SPEED
    parts = [experiment.title, *tables, legend, *asked, remarks, wording.provenance(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown(results: Results, name: str) -> str:
    """`table.md`: how to read it, accuracy, speed, verdicts, notes, where the numbers come from."""
    notes = Footnotes()
    experiment = results.experiment
    tables = [_section("Accuracy", markdown_table(grids.accuracy(results, notes)))] if experiment.seeds else []
    if asked := [markdown_table(grid) for grid in special.grids(results, notes)]:
        said = [f"- {line}" for line in special.remarks(results)]
        tables.append(_section("Throughput", "\n\n".join([*asked, *said])))
    if experiment.timing.rounds:
        tables.append(_section("Speed and memory", markdown_table(grids.speed(results, notes))))
    columns = [f"- `{column}`: {meaning}" for column, meaning in meanings(experiment.timing.tracks).items()]
    parts = [
        f"# {experiment.title}",
        experiment.description,
        f"{wording.how_to_read(results)} A single number in brackets refers to the notes.",
        *tables,
        _section("Verdicts", "\n\n".join(_verdicts(results))),
        _section("Notes", "\n".join(f"- {line}" for line in [*notes.lines(), *wording.warnings(results)])),
        _section("Columns of table.csv", "\n".join(columns)),
        f"---\n\n{wording.provenance(results)}. Made by `bench run {name}`, without a number typed by hand.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_LEGEND_OF_SPEED = (
    "Step: median over rounds [interval] of one training step. Below it, the verdict against the baseline.\n"
    "Never compare times of the two tracks."
)
_LEGEND = (
    "Accuracy: mean ± std over seeds [interval of the mean]. Step: median over rounds [interval] of one "
    "training step.\nBelow each, the verdict against the baseline. Never compare times of the two tracks."
)


def _plain(results: Results, rows: Sequence[Row], threads: int, notes: Footnotes) -> str:
    trains = bool(results.experiment.seeds)
    speeds = {row.key: [speed for speed in row.speeds if speed.threads == threads] for row in rows}
    tracks = [speed.track for speed in speeds[rows[0].key]]
    headers = ["", "parity", *(["accuracy, %"] * trains), *(f"step ms,\n{TRACKS[track]}" for track in tracks)]
    lines = [
        [
            f"{row.key.operator} · {row.key.backend}",
            wording.parity(row.parity, notes),
            *([_accuracy(row, notes)] if trains else []),
            *(
                _two_lines(wording.step(speed, notes), wording.against(speed.verdict, bool(speed.timing)))
                for speed in speeds[row.key]
            ),
            *(wording.mebibytes(speed.timing.peak_bytes) if speed.timing else "" for speed in speeds[row.key]),
        ]
        for row in rows
    ]
    headers += [f"MiB, {TRACKS[track]}".replace(" ", "\n", 2).replace("\n", " ", 1) for track in tracks]
    return tabulate(lines, headers, tablefmt="simple", disable_numparse=True)


def _accuracy(row: Row, notes: Footnotes) -> str:
    found = wording.accuracy(row.accuracy, row.accuracy_state, notes)
    return _two_lines(found, wording.against(row.accuracy_verdict, bool(row.accuracy)))


def _terminal(grid: grids.Grid) -> str:
    return f"{grid.caption}\n{tabulate(grid.lines, grid.headers, tablefmt='simple', disable_numparse=True)}"


def _two_lines(number: str, verdict: str) -> str:
    return f"{number}\n{verdict}" if verdict else number


def markdown_table(grid: grids.Grid) -> str:
    """A grid as Markdown, its caption above it."""
    escaped = [[" ".join(text.replace("|", "\\|").split()) for text in line] for line in grid.lines]
    return f"{grid.caption}\n\n{tabulate(escaped, grid.headers, tablefmt='github', disable_numparse=True)}"


def _verdicts(results: Results) -> Iterator[str]:
    for kind, lines in results.verdicts().items():
        yield _list(kind, lines)
    times = grids.times(results)
    if times.lines:
        yield f"### All times that are judged\n\n{markdown_table(times)}"


def _list(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"### {title}", "", *(f"- {line}" for line in lines)])


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""
