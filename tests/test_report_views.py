"""Tables, plots and the page, from records as a run leaves them."""

import csv
import io
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import pytest
import record_builders as build

from bench import records as record_file
from bench.config import Experiment, Timing
from bench.folder import ResultsFolder
from bench.records import Record
from bench.report import gallery, html, plots, table, write_report
from bench.report.columns import csv_text, meanings
from bench.report.results import Results
from bench.report.rows import Row

ASKED = build.experiment()
WHOLE = build.tuned_experiment()
RUN = build.whole_run()
SEMANTICS = {
    "pyg": {"self-loops": ("added by the layer", "added beforehand")},
    "dgl": {"self-loops": ("refused if absent", "added beforehand")},
}


@cache
def whole() -> Results:
    return Results.of(WHOLE, RUN)


def whole_row(backend: str = "pyg", operator: str = "gat") -> Row:
    return next(found for found in whole().rows if found.key == build.key(backend, operator))


@cache
def drawn() -> dict[tuple[str, str], bytes]:
    return plots.draw(whole())


def folder_with(path: Path, asked: Experiment, records: list[Record]) -> ResultsFolder:
    folder = ResultsFolder(path / "default")
    folder.write_experiment(asked)
    for made in records:
        record_file.append(folder.path, made)
    return folder


def test_the_terminal_table_shows_each_reason_once_beneath_it() -> None:
    text = table.terminal(WHOLE, RUN)
    assert "not run: budget [1]" in text
    assert text.count("would take 2 h 13 min for 10 seeds, allowed 10 min") == 1
    assert "failed [4]" in text
    assert all(len(line) <= 130 for line in text.split("Accuracy: mean")[0].splitlines())


def test_the_tracks_have_columns_of_their_own() -> None:
    header = next(line for line in table.markdown(whole(), "default").splitlines() if "train, ms" in line)
    assert "as shipped: train, ms" in header
    assert "same input: train, ms" in header


def test_the_markdown_says_how_to_read_it_and_where_it_was_made() -> None:
    text = table.markdown(whole(), "default")
    assert "never compare a time of one with one of the other" in text
    assert "covers it with less: of 5 rounds 93.8 %" in text
    assert "commit 0123456789ab" in text
    assert "torch-geometric 2.8.1" in text
    assert "120 jobs" in text
    assert "`bench run default`" in text


def test_a_markdown_cell_cannot_break_the_table() -> None:
    asked = build.experiment(backends=("a|b",), timing=Timing())
    text = table.markdown(Results.of(asked, build.fits(build.key("a|b"), [0.8])), "default")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert any("a\\|b" in line for line in lines)


def test_the_csv_has_a_line_per_cell_under_documented_columns_at_full_precision() -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(whole()))))
    assert [line["backend"] for line in lines] == ["dense", "scatter", "pyg", "dgl"] * 2
    assert list(lines[0]) == list(meanings(ASKED.timing.tracks))
    assert float(lines[2]["accuracy_test_pct_mean"]) == whole_row().metrics()["accuracy_test_pct_mean"]
    assert lines[0]["accuracy_test_pct_mean"] == ""
    assert lines[0]["accuracy_reason"].startswith("would take")
    documented = table.markdown(whole(), "default")
    assert all(f"`{name}`" in documented for name in lines[0])


def test_the_environment_may_lack_every_key() -> None:
    bare = [made.model_copy(update={"environment": {}}) for made in RUN]
    assert "120 jobs" in table.terminal(WHOLE, bare)


def test_a_reason_of_several_lines_stays_in_its_line_of_the_table() -> None:
    failed = [build.not_done(build.fit_job(build.key(), 0), "error", "first line\nsecond | line")]
    assert "failed: error, first line second | line" in table.markdown(Results.of(ASKED, failed), "default")


def test_plots_are_drawn_for_what_there_is_and_for_nothing_else() -> None:
    assert {name for name, _ in drawn()} == {"accuracy", "step-time", "memory", "trade-off"}
    only_accuracy = Results.of(ASKED, build.fits(build.key(), [0.80, 0.81, 0.82]))
    assert set(plots.draw(only_accuracy)) == {("accuracy", "svg"), ("accuracy", "png")}
    assert plots.draw(Results.of(ASKED, [])) == {}


def test_a_plot_that_has_lost_its_data_is_removed(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    plots.write(folder, Results.of(ASKED, build.fits(build.key(), [0.80, 0.81])))
    assert (tmp_path / "plots" / "accuracy.svg").exists()
    plots.write(folder, Results.of(ASKED, []))
    assert not list((tmp_path / "plots").glob("*.svg"))
    assert not list((tmp_path / "plots").glob("*.png"))


def never() -> dict[tuple[str, str], bytes]:
    raise AssertionError("drawn again")


def test_what_was_drawn_of_the_same_records_is_not_drawn_again(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    texts = plots.write(folder, whole())
    assert gallery.on_show(folder, never) == texts


@pytest.mark.parametrize("name", ["records.jsonl", "experiment.json", "paper-table.json"])
def test_what_was_drawn_of_other_records_or_for_another_question_is_drawn_anew(tmp_path: Path, name: str) -> None:
    folder = ResultsFolder(tmp_path)
    plots.write(folder, whole())
    (tmp_path / name).write_text("{}")
    assert gallery.on_show(folder, lambda: {("new", "svg"): b"<svg/>", ("new", "png"): b""}) == {"new": "<svg/>"}


def test_a_picture_that_was_lost_is_drawn_anew(tmp_path: Path) -> None:
    folder = ResultsFolder(tmp_path)
    plots.write(folder, whole())
    (tmp_path / "plots" / "memory.svg").unlink()
    assert gallery.on_show(folder, lambda: {("memory", "svg"): b"<svg/>"}) == {"memory": "<svg/>"}


def test_back_ends_keep_their_look_and_never_share_one() -> None:
    asked = build.experiment(backends=("dense", "scatter", "pyg", "dgl", "fused", "mine", "yours"))
    looks = [plots.look(name, Results.of(asked, [])) for name in asked.backends]
    assert len(set(looks)) == len(looks)
    assert plots.look("dgl", Results.of(build.experiment(backends=("dgl",), timing=Timing()), [])) == looks[3]


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    def files(place: Path) -> dict[str, bytes]:
        folder = folder_with(place, WHOLE, RUN)
        write_report(folder, SEMANTICS)
        return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}

    first, second = files(tmp_path / "first"), files(tmp_path / "second")
    assert set(first) >= {
        "default/table.md",
        "default/table.csv",
        "default/report.html",
        "default/plots/accuracy.svg",
        "default/plots/accuracy.png",
    }
    assert first == second


class Page(HTMLParser):
    """What a test asks of a page: its ids, links, headings and anything that would be fetched."""

    VOID: ClassVar = {"meta", "link", "br", "hr", "img", "input"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.open += [] if tag in self.VOID else [tag]
        self.ids += [given["id"]] if "id" in given else []
        target = given.get("href", "")
        self.targets += [target[1:]] if target.startswith("#") else []
        self.fetched += [target] if target and not target.startswith(("#", "data:")) else []
        self.fetched += [given["src"]] if "src" in given else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@cache
def page() -> str:
    return html.render("default", whole(), drawings(drawn()), SEMANTICS)


def drawings(made: dict[tuple[str, str], bytes]) -> dict[str, str]:
    return {plot: text.decode() for (plot, kind), text in made.items() if kind == "svg"}


def test_the_page_is_whole_and_fetches_nothing() -> None:
    text = page()
    parsed = Page(text)
    assert parsed.open == []
    assert parsed.fetched == []
    assert "url(http" not in text
    assert "@import" not in text
    assert len(parsed.ids) == len(set(parsed.ids))
    assert set(parsed.targets) <= set(parsed.ids)


def test_the_page_is_for_everyone() -> None:
    text = page()
    parsed = Page(text)
    assert '<html lang="en">' in text
    assert parsed.counts["h1"] == 1
    assert parsed.counts["caption"] == parsed.counts["table"]
    assert text.count("<svg id=") == text.count('role="img" aria-label=') == 4
    assert "@media screen and (prefers-color-scheme: dark)" in text  # paper is white
    assert "@media print" in text
    assert 'name="viewport"' in text


def test_verdicts_come_before_tables_and_plots() -> None:
    text = page()
    assert text.index("are equivalent in accuracy on") < text.index("<table>") < text.index("<svg")


def test_the_page_says_how_to_make_it_again_and_what_the_libraries_do() -> None:
    text = page()
    assert "python -m bench run default" in text
    assert f"git checkout {build.ENVIRONMENT['commit']}" in text
    assert "refused if absent" in text


def made_at(**environments: tuple[str, ...]) -> Results:
    """The whole run, its records made in environments that take turns."""
    turns = [dict(zip(environments, values, strict=True)) for values in zip(*environments.values(), strict=True)]
    return Results.of(
        WHOLE,
        [
            made.model_copy(update={"environment": made.environment | turns[number % len(turns)]})
            for number, made in enumerate(RUN)
        ],
    )


def test_records_of_several_commits_name_them_all_and_none_to_check_out() -> None:
    found = made_at(commit=("a" * 40, "b" * 40))
    assert re.search(r" · commits (a{12}, b{12}|b{12}, a{12}) · ", table.markdown(found, "default"))
    assert "git checkout" not in html.render("default", found, {}, None)
    assert "git checkout" not in html.render("default", made_at(commit=("unknown",)), {}, None)


def test_what_differs_in_more_than_three_ways_is_a_range_of_numbers_or_a_count_of_words() -> None:
    found = made_at(cores=("2", "16", "4", "8"), host=("c", "a", "d", "b")).environment()
    assert found["cores"] == "2 to 16 (4 values)"
    assert re.fullmatch(r"[a-d], [a-d] and 2 more", found["host"])


def test_no_text_of_a_record_reaches_the_page_as_markup() -> None:
    evil = "<script>alert('x')</script>"
    asked = build.experiment(title=evil, description=evil, backends=("pyg", evil), datasets=("cora",))
    cell = build.key(evil)
    records = [
        *build.fits(cell, [0.80, 0.81, 0.82]),
        *build.fits(build.key(), [0.80, 0.81, 0.82]),
        build.not_done(build.fit_job(cell, 3), "error", evil),
        build.not_done(build.speed_job(cell, 0), "error", evil),
    ]
    found = Results.of(asked, records)
    text = html.render(evil, found, drawings(plots.draw(found)), SEMANTICS)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert Page(text).open == []


def test_a_folder_without_records_still_gets_a_page(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, ASKED, [])
    write_report(folder)
    assert "Too little has been run" in (folder.path / "report.html").read_text()
    assert "not run" in (folder.path / "table.md").read_text()


def test_an_experiment_that_times_nothing_gets_its_page_and_tables(tmp_path: Path) -> None:
    asked = build.experiment(backends=("pyg", "dgl"), operators=("gat",), seeds=(0, 1, 2), timing=Timing(rounds=0))
    folder = ResultsFolder(tmp_path / "untimed")
    folder.write_experiment(asked)
    for backend in asked.backends:
        for found in [build.parity(build.key(backend)), *build.fits(build.key(backend), (0.81, 0.82, 0.83))]:
            record_file.append(folder.path, found)
    write_report(folder)
    assert "82.0" in (folder.path / "report.html").read_text()
    assert "82.0" in table.terminal(asked, folder.records())
