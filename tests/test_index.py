"""The page over all experiments: what it says, and how it behaves in a browser."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from speed_tools import growing
from study_texts import ATTENTION, LOOKUP, read

from bench import cli, records, study_run
from bench.folder import ResultsFolder
from bench.options import Options
from bench.progress import PlainDisplay
from bench.report import index
from bench.runner import Unheard
from bench.study_config import Study

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """The reference results with their page, and a folder whose records are of no use."""
    place = tmp_path_factory.mktemp("people") / "results"
    shutil.copytree(ROOT / "results/reference", place)
    (place / "torn").mkdir()
    (place / "torn/experiment.json").write_text('{"title": <b>')
    assert cli.main(["report", "--results", str(place)]) == cli.DONE
    return place


@pytest.fixture(scope="module")
def unpublished(tmp_path_factory) -> Path:
    """A page over what the reference results have nothing of: a sweep and both kinds of study."""
    place = tmp_path_factory.mktemp("unpublished")
    grow(ResultsFolder(place / "results/scaling"))
    for name, text in {"attention": ATTENTION, "lookup": LOOKUP}.items():
        study(ResultsFolder(place / "results" / name), read(place, text))
    assert cli.main(["report", "--results", str(place / "results")]) == cli.DONE
    return place / "results"


def grow(folder: ResultsFolder) -> None:
    """A sweep over nodes and heads."""
    found = growing()
    folder.write_experiment(found.experiment)
    for record in found.records:
        records.append(folder.path, record)


def study(folder: ResultsFolder, asked: Study) -> None:
    """A study of a few steps, as a run leaves it before there are views."""
    folder.write_experiment(asked)
    assert study_run.StudyRun(asked, folder, PlainDisplay(), Unheard(), Options(parallel=1)).run() == 0


@pytest.fixture(scope="module")
def html(results) -> str:
    return (results / "index.html").read_text()


def test_the_page_opens_with_the_verdicts_of_every_experiment(html):
    opening = html[html.index('id="verdicts"') : html.index('id="accuracy"')]
    assert "are equivalent in accuracy on gat · cora_linqs · cpu." in opening
    fastest = r"Training step on gat · cora_linqs · cpu \(same input, 1 thread\): \w+ is [\d.]+\s× \[[\d., ]+\] faster"
    assert re.search(fastest, opening)
    assert "gatv2-tables13-17" in opening
    assert "fused_step is" in opening
    assert "fused_step_pruned is" not in opening  # another amount of work: it is ranked nowhere


def test_what_the_records_can_show_has_its_section(html):
    there = {"accuracy", "speed", "memory", "trade-off", "roofline", "papers", "parity", "semantics", "environment"}
    assert set(sections(html)) == {"verdicts", *there}


def test_every_section_is_opened_by_a_test_here(html, unpublished):
    others = sections((unpublished / "index.html").read_text())
    assert {"scaling", "attention"} <= set(others)
    assert {*sections(html), *others} == {"verdicts", *index.SECTIONS}


def sections(text: str) -> list[str]:
    return re.findall(r'<section id="([\w-]+)"', text)


def test_an_unreadable_folder_is_named_and_the_others_are_shown(html):
    assert "torn/experiment.json: cannot be read" in html
    assert "<b>" not in html


def test_nothing_is_fetched(html):
    links = re.findall(r"""(?:src|href)=["']([^"']+)|url\(([^)]+)\)""", html)
    assert links
    assert [link for pair in links for link in pair if link and not link.startswith(("#", "data:"))] == []


def test_the_same_records_give_the_same_page(results, html):
    assert cli.main(["report", "--results", str(results)]) == cli.DONE
    assert (results / "index.html").read_text() == html


def test_every_link_on_the_page_leads_somewhere(html):
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)


def test_every_exhibit_has_a_table_and_says_how_to_make_it_again(html):
    exhibits = html.split('<article class="exhibit"')[1:]
    assert exhibits
    for exhibit in exhibits:
        assert "<table>" in exhibit
        assert "Reproduce exactly this: <code>" in exhibit


def test_every_mark_of_a_figure_has_its_title(html):
    drawings = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert drawings
    for drawing in drawings:
        assert drawing.count('<g class="mark">\n<title>') == drawing.count('class="mark"') > 0


def test_a_folder_without_results_is_a_mistake_in_one_line(tmp_path, capsys):
    assert cli.main(["report", "--results", str(tmp_path)]) == cli.USER_ERROR
    assert "nothing was run here" in capsys.readouterr().err


def test_a_program_gets_an_experiment_as_json_and_nothing_else(results, capsys):
    assert cli.main(["report", "labml-cora", "--results", str(results), "--json"]) == cli.DONE
    found = json.loads(capsys.readouterr().out)
    assert [cell["operator"] for cell in found["cells"]] == ["gatv2_labml", "gatv2"]
    assert all(cell["metrics"]["accuracy_seeds"] == 5 for cell in found["cells"])


def test_a_program_gets_a_papers_table_as_json(results, capsys):
    assert cli.main(["report", "gatv2-tables13-17", "--results", str(results), "--json"]) == cli.DONE
    assert len(json.loads(capsys.readouterr().out)["tests"]) == 23


@pytest.fixture
def page(browser, results) -> Iterator:
    with opened(browser, results) as shown:
        yield shown


@pytest.fixture
def other_page(browser, unpublished) -> Iterator:
    with opened(browser, unpublished) as shown:
        yield shown


@contextmanager
def opened(browser, place: Path) -> Iterator:
    """The page at a phone's width; whatever the console complains of fails the test."""
    context = browser.new_context(viewport={"width": 360, "height": 800})
    shown = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto((place / "index.html").as_uri())
    yield shown
    context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window_and_axe_finds_nothing(page, width, scheme):
    fits_and_is_accessible(page, width, scheme)


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1440, "light")])
def test_a_sweep_and_studies_fit_the_window_and_axe_finds_nothing(other_page, width, scheme):
    fits_and_is_accessible(other_page, width, scheme)


def fits_and_is_accessible(page, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((closed) => { closed.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("over", ["page", "other_page"])
def test_on_paper_every_table_is_whole_and_what_only_a_screen_can_do_is_left_out(over, request):
    page = request.getfixturevalue(over)
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 upright, less margins of 1 cm
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("[...document.querySelectorAll('table')].filter((one) => !one.offsetHeight).length") == 0
    assert page.evaluate("document.querySelectorAll('details:not([open])').length") > 0
    assert not page.locator(".filter").is_visible()


def test_a_mark_says_what_it_is_under_the_pointer(page):
    drawing = page.locator("#accuracy figure").first
    mark = drawing.locator(".mark").first
    said = r"\w+ · gat · cora_linqs · cpu, test accuracy: [\d.]+ % \[[\d.]+, [\d.]+\]"
    assert re.fullmatch(said, mark.locator("title").text_content())
    mark.hover()
    assert drawing.locator(".said").inner_text() == mark.locator("title").text_content()


def test_the_keyboard_enters_a_figure_once_and_walks_its_marks_by_the_arrows(page):
    drawing = page.locator("#speed figure").first
    marks = drawing.locator(".mark")
    assert drawing.locator("[tabindex='0']").count() == 1
    marks.first.focus()
    for key, number in (("ArrowDown", 1), ("ArrowRight", 2), ("ArrowUp", 1)):
        page.keyboard.press(key)
        told = marks.nth(number).locator("title").text_content()
        assert drawing.locator(".said").inner_text() == told
        assert page.locator(":focus").get_attribute("aria-label") == told
    page.keyboard.press("Tab")
    assert page.locator(":focus").evaluate("place => place.closest('figure')") is None


def test_a_column_sorts_by_its_numbers_both_ways(page):
    header = page.locator("#speed table").first.locator("thead th").nth(3).locator("button")
    column = page.locator("#speed table").first.locator("tbody tr").locator("> :nth-child(4)")
    for direction, sign in (("ascending", 1), ("descending", -1)):
        header.click()
        numbers = [sign * float(re.match(r"[\d,.]+", text)[0].replace(",", "")) for text in column.all_inner_texts()]
        assert len(numbers) > 2
        assert numbers == sorted(numbers)
        assert page.locator(f"#speed th[aria-sort='{direction}']").count() == 1


def test_the_filter_leaves_the_rows_that_hold_every_word_and_says_how_many(page):
    page.get_by_role("searchbox").fill("pyg gatv2")
    visible = page.locator("#accuracy table").first.locator("tbody tr:visible").all_inner_texts()
    assert visible
    assert all("pyg" in row and "gatv2" in row for row in visible)
    assert re.fullmatch(r"\d+ of \d+ rows", page.locator("output").inner_text())


def test_words_sort_by_the_numbers_in_them_and_stay_behind_numbers_both_ways(page):
    texts = ["faster, 125 ×", "", "1,250", "baseline", "faster, 15.7 ×", "300"]
    table = page.locator("#speed table").first
    column = table.locator("tbody tr > :nth-child(4)")
    fill = "(cells, texts) => cells.forEach((cell, number) => { cell.textContent = texts[number % texts.length]; })"
    column.evaluate_all(fill, texts)
    orders = []
    for _ in range(2):
        table.locator("thead th").nth(3).locator("button").click()
        orders.append(list(dict.fromkeys(column.all_inner_texts())))
    assert orders == [
        ["300", "1,250", "baseline", "faster, 15.7 ×", "faster, 125 ×", ""],
        ["1,250", "300", "faster, 125 ×", "faster, 15.7 ×", "baseline", ""],
    ]


def shown(page, words: str, section: str) -> list[str]:
    """The rows of a section's first table that are left when so many words are asked for."""
    page.get_by_role("searchbox").fill(words)
    return list(page.locator(f"{section} table").first.locator("tbody tr:visible").all_inner_texts())


def test_the_filter_finds_what_a_caption_says_of_all_rows(page):
    assert "cora_linqs" in page.locator("#accuracy caption").first.inner_text()
    rows = shown(page, "cora_linqs pyg", "#accuracy")
    assert rows == shown(page, "pyg", "#accuracy") != []


def test_the_filter_takes_a_number_and_a_name_with_a_hyphen_as_one_word(page):
    number = re.search(r"\d+\.\d", page.locator("#accuracy tbody tr").first.inner_text())[0]
    rows = shown(page, number, "#accuracy")
    assert rows
    assert all(number in row for row in rows)
    assert shown(page, "gatv2-tables13-17", "#accuracy") == []
    assert shown(page, "gatv2-tables13-17", '[aria-labelledby="papers-gatv2-tables13-17-title"]')
