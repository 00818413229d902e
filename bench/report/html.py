"""`report.html`: one self-contained page. Nothing is fetched, and every string is escaped."""

import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bench.folder import ResultsFolder, write_atomically
from bench.report import grids, plots, scaling_grid, special, throughput_grid, wording
from bench.report.results import Results, only_commit
from bench.report.wording import Footnotes

Semantics = Mapping[str, Mapping[str, tuple[str, str]]]
"""Back end -> topic -> (what its library does by itself, what runs here)."""

_TEMPLATE = "page.html"

_TONES = {
    "good": ("passed", "done", "better", "faster", "yes", "reproduced"),
    "bad": ("failed", "worse", "slower", "no:", "Warning", "not reproduced"),
    "open": ("undecided", "not run", "partial", "unsupported", "protocol differs"),
}


def write(folder: ResultsFolder, results: Results, drawings: Mapping[str, str], semantics: Semantics | None) -> None:
    """Write `report.html`; `drawings` are SVG texts by plot name."""
    write_atomically(folder.path / "report.html", render(folder.name, results, drawings, semantics))


def render(name: str, results: Results, drawings: Mapping[str, str], semantics: Semantics | None) -> str:
    """The page's text."""
    notes = Footnotes()
    beside, tables = {}, []
    if results.experiment.seeds:
        accuracy = grids.accuracy(results, notes)
        beside["accuracy"] = accuracy
        tables.append(accuracy)
    tables += special.grids(results, notes)
    if results.experiment.timing.rounds:
        speed = grids.speed(results, notes)
        tables.append(speed)
        beside |= {"step-time": speed, "memory": grids.memory(results), "trade-off": grids.trade_off(results)}
        beside |= {"roofline": throughput_grid.floors(results), "scaling": scaling_grid.points(results)}
    return (
        _environment()
        .get_template(_TEMPLATE)
        .render(
            name=name,
            experiment=results.experiment,
            how_to_read=wording.how_to_read(results),
            verdicts=results.verdicts(),
            warnings=list(wording.warnings(results)),
            tables=tables,
            tuning=list(dict.fromkeys(f"{row.key.operator}: {row.tuning}" for row in results.rows if row.tuning)),
            figures=[
                (
                    plots.TITLES[plot],
                    inline_svg(svg, plot, plots.TITLES[plot]),
                    beside[plot],
                    plots.EXPLAINED.get(plot, ""),
                )
                for plot, svg in drawings.items()
            ],
            comparisons=[grid for grid in (grids.comparisons(results), grids.times(results)) if grid.lines],
            parity_worst=grids.parity_worst(results),
            parity=grids.parity(results),
            semantics=semantics_grid(semantics or {}),
            notes=[*notes.lines(), *special.remarks(results)],
            provenance=wording.provenance(results),
            environment=results.environment(),
            commit=only_commit(results.environment()),
            settings=results.experiment.model_dump_json(indent=1),
        )
    )


def fill(template: str, content: Mapping[str, object]) -> str:
    """A page from one of the templates beside this file."""
    return _environment().get_template(template).render(content)


def inline_svg(svg: str, name: str, title: str) -> Markup:
    """A drawing as part of a page: its ids and styles are its own, its size is the page's affair.

    Of the name, which becomes part of ids, letters and digits are taken.
    matplotlib escapes the text that it writes into an SVG, so that the drawing needs no further escaping.
    """
    name = re.sub(r"\W+", "-", name)
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"\sxmlns(:xlink)?=\"[^\"]*\"", "", body)
    body = body.replace("xlink:href=", "href=").replace("*{", f"#{name} *{{")
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-")
    label = escape(title)
    # The size in points goes, the viewBox stays: the page scales the drawing to its column.
    return Markup(re.sub(r'<svg width="\S+" height="\S+"', f'<svg id="{name}" role="img" aria-label="{label}"', body))


def linked(text: str, prefix: str = "") -> Markup:
    """Text whose references to notes are links; `prefix` tells the notes of one table on a page from another's."""
    parts = re.split(r"\[(\d+)\]", text)
    return Markup("").join(
        Markup('<a href="#{1}note-{0}">[{0}]</a>').format(part, prefix) if index % 2 else escape(part)
        for index, part in enumerate(parts)
    )


def tone(text: str) -> str:
    """Which colour a cell's words have, beside saying what they say."""
    return next((name for name, words in _TONES.items() if text.startswith(words)), "")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"linked": linked, "tone": tone}
    return environment


def semantics_grid(semantics: Semantics) -> grids.Grid | None:
    """One line per topic and back end; None where nothing is known."""
    topics = dict.fromkeys(topic for facts in semantics.values() for topic in facts)
    lines = tuple(
        (topic, backend, *facts[topic], "" if facts[topic][0] == facts[topic][1] else "yes")
        for topic in topics
        for backend, facts in semantics.items()
        if topic in facts
    )
    headers = ("topic", "back end", "the library by itself", "what runs here", "changed")
    return grids.Grid("What each library does by itself and what runs here", headers, lines, 2) if lines else None
