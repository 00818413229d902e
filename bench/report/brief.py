"""An experiment in brief, for a document that shows little: what was found, and one table that fits on a page."""

from collections.abc import Iterator, Sequence

from bench.config import thread_name
from bench.report import headlines, throughput, throughput_grid, wording
from bench.report.cells import Cell
from bench.report.grids import CELL, Grid, slim
from bench.report.results import Results
from bench.report.rows import Row, Speed
from bench.report.table import markdown_table
from bench.report.throughput_grid import PHASES
from bench.report.wording import TRACKS, Footnotes
from bench.verdicts import Phase


def markdown(results: Results, name: str) -> str:
    """Sentences, tables, notes, and where they come from."""
    notes = Footnotes()
    tables = [markdown_table(grid) for grid in grids(results, notes)]
    remarks = "\n".join(f"- {line}" for line in notes.lines())
    sentences = "\n".join(f"- {line}" for line in said(results))
    provenance = f"{wording.provenance(results)}. Made by `bench run {name}`."
    return "\n\n".join(part for part in [sentences, *tables, remarks, provenance] if part) + "\n"


def said(results: Results) -> list[str]:
    """The verdicts as sentences; where back ends are held against rivals, the tables say more and this the doubts."""
    return list(headlines.distrust(results)) if throughput_grid.is_asked(results) else headlines.headlines(results)


def grids(results: Results, notes: Footnotes) -> list[Grid]:
    """Ratios to the best rival, data sets side by side; or accuracy beside the time of a training step."""
    if throughput_grid.is_asked(results):
        return [_ratios(results, phase, notes) for phase in PHASES]
    return [_overview(results, notes)]


def _ratios(results: Results, phase: Phase, notes: Footnotes) -> Grid:
    threads = results.experiment.timing.threads[0]
    places = list(_places(results))
    by_data: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for cell in results.cells:
        if cell.key.backend not in results.experiment.statistics.rivals:
            head = cell.key.operator, throughput_grid.marked(cell, notes), cell.key.device
            by_data.setdefault(head, {})[cell.key.dataset] = cell
    return slim(
        f"{PHASES[phase].capitalize()}, {thread_name(threads)}: how many times faster than "
        f"{throughput_grid.best(results)} in the same rounds",
        ("operator", "back end", "device", *(f"{dataset}, {TRACKS[track]}" for dataset, track in places)),
        tuple(
            (*head, *(_ratio(results, cells[dataset], track, threads, phase) for dataset, track in places))
            for head, cells in by_data.items()
        ),
        3,
    )


def _places(results: Results) -> Iterator[tuple[str, str]]:
    """Data sets and tracks, but those tracks that are none of their own for any back end."""
    for dataset in results.experiment.datasets:
        here = [cell for cell in results.cells if cell.key.dataset == dataset]
        for track in results.experiment.timing.tracks:
            if not any(throughput.is_one_track(results, cell, track) for cell in here):
                yield dataset, track


def _ratio(results: Results, cell: Cell, track: str, threads: int, phase: Phase) -> str:
    found = throughput.against_rivals(results, cell, track, threads, phase)
    return throughput_grid.ratio(found) if found else ""


def _overview(results: Results, notes: Footnotes) -> Grid:
    tracks = results.experiment.timing.tracks if results.experiment.timing.rounds else ()
    trains = bool(results.experiment.seeds)
    shown = " and ".join([*(["accuracy"] if trains else []), *(["speed"] if tracks else [])])
    return slim(
        f"{shown.capitalize()} against the baseline",
        (
            *CELL,
            *(["test accuracy, %", "against the baseline"] if trains else []),
            *(f"{TRACKS[track]}: {name}" for track in tracks for name in ("training step, ms", "against the baseline")),
            *(f"{TRACKS[track]}: peak MiB" for track in tracks),
        ),
        tuple(
            (row.key.operator, row.key.backend, row.key.dataset, row.key.device, *_cells(row, trains, notes))
            for row in results.rows
        ),
        len(CELL),
    )


def _cells(row: Row, trains: bool, notes: Footnotes) -> Iterator[str]:
    if trains:
        yield wording.accuracy(row.accuracy, row.accuracy_state, notes)
        yield wording.against(row.accuracy_verdict, bool(row.accuracy))
    first = _at_first_thread_count(row.speeds)
    for speed in first:
        yield wording.step(speed, notes)
        yield wording.against(speed.verdict, bool(speed.timing))
    for speed in first:
        yield wording.mebibytes(speed.timing.peak_bytes) if speed.timing else ""


def _at_first_thread_count(speeds: Sequence[Speed]) -> list[Speed]:
    return [speed for speed in speeds if speed.threads == speeds[0].threads]
