"""`index.html`: one self-contained page over all experiments and tables of a results folder, verdicts first."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from bench import experiment_file
from bench.config import Experiment
from bench.errors import UserError, told
from bench.folder import SNAPSHOT, ResultsFolder, write_atomically
from bench.paper import table_file
from bench.paper.rows import PaperTable
from bench.report import (
    front,
    gallery,
    grids,
    headlines,
    html,
    plots,
    scaling_grid,
    special,
    throughput_grid,
    wording,
)
from bench.report.grids import Grid
from bench.report.html import Semantics
from bench.report.paper import curves as paper_curves
from bench.report.paper import tables as paper_tables
from bench.report.paper import views as paper
from bench.report.results import Results, environment, only_commit
from bench.report.studies import attention, lookup
from bench.report.studies import views as study
from bench.report.wording import Footnotes
from bench.study_config import AttentionStudy, Study

SECTIONS = {
    "accuracy": ("Accuracy", "In percent: mean ± standard deviation over seeds, in brackets the interval."),
    "speed": ("Speed", "Never compare a time of one track with one of the other."),
    "memory": ("Memory", "Peak of a training step beyond what was resident before."),
    "trade-off": ("Accuracy against throughput", f"Right and up is better. {front.MEANING}"),
    "roofline": ("Roofline", "How close a training step comes to what the machine can do."),
    "scaling": ("Scaling", "How a training step grows with the problem."),
    "papers": ("The papers' tables", "Published values beside ours, each with a verdict."),
    "parity": ("Parity", "Every back end is held to a float64 reference with the same weights before it is timed."),
    "semantics": ("Semantics", "What each library does by itself, and what runs here so that all do the same."),
    "attention": ("Static against dynamic attention", "Does the ranking of keys depend on the query?"),
    "environment": ("Environment", "Where the records were made."),
}  # fmt: skip


@dataclass(frozen=True)
class Exhibit:
    """One figure with its table, or a table alone, of one experiment."""

    id: str
    title: str
    section: str
    grids: tuple[Grid, ...]
    drawing: Markup | None
    notes: tuple[str, ...]
    commands: tuple[str, ...]  # what makes exactly this again


@dataclass(frozen=True)
class Entry:
    """One experiment or table: what it says in words, and what it has to show."""

    name: str
    title: str
    provenance: str
    headlines: tuple[str, ...]
    exhibits: tuple[Exhibit, ...]


def write(path: Path, semantics: Callable[[Experiment], Semantics]) -> None:
    """Write `index.html` into a folder of results folders.

    Raises:
        UserError: nothing was run there.
    """
    write_atomically(path / "index.html", render(path, semantics))


def render(path: Path, semantics: Callable[[Experiment], Semantics]) -> str:
    """The page's text; a folder that cannot be read is named on it, and the others are shown."""
    entries, trouble = [], []
    for folder in folders(path):
        try:
            entries.append(_entry(folder, semantics))
        except (UserError, OSError) as problem:
            trouble.append(told(problem).replace(f"{path}/", ""))
    shown = [exhibit for entry in entries for exhibit in entry.exhibits]
    sections = {
        anchor: (*texts, [exhibit for exhibit in shown if exhibit.section == anchor])
        for anchor, texts in SECTIONS.items()
        if any(exhibit.section == anchor for exhibit in shown)
    }
    return html.fill("index.html", {"entries": entries, "sections": sections, "trouble": trouble})


def folders(path: Path) -> list[ResultsFolder]:
    """All experiments and tables, by name.

    Raises:
        UserError: there are none.
    """
    snapshots = (SNAPSHOT, table_file.SNAPSHOT)
    found = sorted({place.parent for name in snapshots for place in path.glob(f"*/{name}")})
    if not found:
        raise UserError(f"{path}: nothing was run here; `bench run` does")
    return [ResultsFolder(place) for place in found]


def _entry(folder: ResultsFolder, semantics: Callable[[Experiment], Semantics]) -> Entry:
    if kept := table_file.kept(folder):
        return _of_table(folder, PaperTable.of(folder.name, kept, folder.records()))
    asked = folder.asked()
    if isinstance(asked, Experiment):
        return _of_experiment(folder, Results.of(asked, folder.records()), semantics(asked))
    return _of_study(folder, asked)


def _of_experiment(folder: ResultsFolder, results: Results, semantics: Semantics) -> Entry:
    drawn = gallery.on_show(folder, lambda: plots.draw(results, kinds=("svg",)))
    make = _Maker(folder.name, results.experiment.title, _commands(folder.name, results.environment()))
    exhibits = []
    for section, plot, tables in _tables(results, semantics):
        notes = Footnotes()
        made = [grid for grid in tables(notes) if grid.lines]
        svg = drawn.get(plot)
        if made and (svg or section not in _ONLY_DRAWN):
            exhibits.append(make(section, made, {plot: svg} if svg else {}, notes.lines()))
    return Entry(
        folder.name,
        results.experiment.title,
        wording.provenance(results),
        tuple(headlines.headlines(results)),
        tuple(exhibits),
    )


_ONLY_DRAWN = ("trade-off", "roofline", "scaling")
"""Sections whose table says little where there is not enough for a figure."""


def _tables(results: Results, semantics: Semantics) -> Iterator[tuple[str, str, Callable[[Footnotes], list[Grid]]]]:
    """Section, plot and tables of what an experiment can show."""
    if results.experiment.seeds:
        yield "accuracy", "accuracy", lambda notes: [grids.accuracy(results, notes), grids.comparisons(results)]
    if results.experiment.timing.rounds:
        yield "speed", "step-time", lambda notes: [*_speeds(results, notes), grids.times(results)]
        yield "memory", "memory", lambda _: [grids.memory(results)]
        yield "trade-off", "trade-off", lambda _: [grids.trade_off(results)]
        yield "roofline", "roofline", lambda _: [throughput_grid.floors(results)]
        yield "scaling", "scaling", lambda _: [scaling_grid.points(results)]
    yield "parity", "", lambda _: [grids.parity_worst(results)]
    if facts := html.semantics_grid(semantics):
        yield "semantics", "", lambda _: [facts]
    yield "environment", "", lambda _: [_environment(results.environment())]


def _speeds(results: Results, notes: Footnotes) -> list[Grid]:
    return [*special.grids(results, notes), grids.speed(results, notes)]


def _of_table(folder: ResultsFolder, found: PaperTable) -> Entry:
    notes = Footnotes()
    make = _Maker(found.name, found.table.title, tuple(paper.commands(found)))
    drawn = gallery.on_show(folder, lambda: paper_curves.draw(found, kinds=("svg",)))
    tables = paper_tables.grids(found, notes)
    exhibit = make("papers", tables, drawn, notes.lines())
    return Entry(found.name, found.table.title, paper.provenance(found), tuple(paper.headlines(found)), (exhibit,))


def _of_study(folder: ResultsFolder, asked: Study) -> Entry:
    records = folder.records()
    if isinstance(asked, AttentionStudy):
        rows = attention.rows(asked, records)
        said, tables = list(attention.claims(rows)), [attention.grid(rows)]
    else:
        said, tables = lookup.headlines(asked, records), lookup.grids(asked, records)
    found = environment(records)
    drawn = gallery.on_show(folder, lambda: study.drawn(asked, records))
    make = _Maker(folder.name, asked.title, _commands(folder.name, found))
    exhibits = (make("attention", tables, drawn, []), make("environment", [_environment(found)], {}, []))
    return Entry(folder.name, asked.title, wording.made(records), tuple(said), exhibits)


@dataclass(frozen=True)
class _Maker:
    """Exhibits of one experiment: their ids and captions name it, since the page has many."""

    name: str
    title: str
    commands: tuple[str, ...]

    def __call__(self, section: str, tables: list[Grid], drawings: Mapping[str, str], notes: list[str]) -> Exhibit:
        own = re.sub(r"\W+", "-", f"{section}-{self.name}")
        pictures = [
            html.inline_svg(svg, f"{own}-{plot}", f"{plots.TITLES.get(plot, plot)}, {self.name}; numbers below")
            for plot, svg in drawings.items()
        ]
        captioned = tuple(replace(grid, caption=f"{self.name}: {grid.caption}") for grid in tables)
        drawing = Markup("\n").join(pictures) if pictures else None
        return Exhibit(own, self.title, section, captioned, drawing, tuple(notes), self.commands)


def _commands(name: str, found: Mapping[str, str]) -> tuple[str, ...]:
    commit = only_commit(found)
    checkout = (f"git checkout {commit}",) if commit else ()
    own = f".venv/bin/bench run {name}.toml"  # a person's own file, which lies wherever they keep it
    return (*checkout, f"make bench EXPERIMENT={name}" if name in experiment_file.names() else own)


def _environment(found: Mapping[str, str]) -> Grid:
    return Grid("What every record says of where it was made", ("what", "value"), tuple(found.items()), 1)
