"""The documents under `docs/`: built without a warning, linked without a gap, and followed to the letter."""

import re
import shutil
import subprocess
import sys

import pytest
from docs_tools import DOCS, PAGES, ROOT, blocks, commands, files, follow

from bench import cli, config, experiment_file
from implementations import conformance

sys.path.insert(0, str(DOCS / "_extensions"))
TUTORIAL = DOCS / "tutorial.md"


def build(source, site):
    """As `make docs` does, into another folder."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(source), str(site)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    done = build(DOCS, place)
    assert (done.returncode, done.stderr) == (0, "")
    return place


def test_the_documents_are_built_without_a_warning_and_without_a_dead_link(site):
    assert (site / "index.html").exists()


NAMES = sorted(str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md") if "_build" not in path.parts)


@pytest.mark.parametrize("name", [*NAMES, "genindex", "search"])
def test_in_a_browser_a_page_fits_its_window_asks_nobody_for_anything_and_axe_finds_nothing(site, browser, name):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
    page = browser.new_page()
    heard = []
    page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url))
    for width, scheme in ((360, "light"), (1440, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        heard.clear()
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert [text for text in heard if not text.startswith(("data:", "file:"))] == []
        found = axe.Axe().run(page)  # reads the style sheets again, of which Chromium complains where they are files
        assert found.violations_count == 0, found.generate_report()
    page.close()


def test_a_dead_link_is_found(site, tmp_path):
    from links import problems

    copy = shutil.copytree(site, tmp_path / "site")
    page = copy / "tutorial.html"
    page.write_text(page.read_text().replace("</body>", '<a href="gone.html">x</a><a href="#gone">x</a></body>'))
    assert list(problems(copy)) == ["tutorial.html: gone.html leads nowhere", "tutorial.html: #gone leads nowhere"]


def test_what_would_be_fetched_from_elsewhere_is_found(site, tmp_path):
    from links import problems

    copy = shutil.copytree(site, tmp_path / "site")
    page = copy / "tutorial.html"
    page.write_text(page.read_text().replace("</body>", '<script src="https://cdn.example/x.js"></script></body>'))
    assert list(problems(copy)) == ["tutorial.html: loads https://cdn.example/x.js"]


def test_equations_are_mathml_in_the_page_itself(site):
    page = (site / "explanation/gatv2.html").read_text()
    assert page.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') >= 3
    assert "\\mathrm" not in page
    assert "&amp;" not in "".join(re.findall(r"<math.*?</math>", page))


def test_each_page_says_in_which_language_it_is(site):
    languages = {name: re.search(r'<html[^>]* lang="(\w+)"', (site / f"explanation/{name}.html").read_text())[1]
                 for name in ("gatv2", "gatv2.si")}  # fmt: skip
    assert languages == {"gatv2": "en", "gatv2.si": "si"}


def test_the_reference_has_every_command_with_its_options_and_every_exit_code(site):
    page = (site / "reference/commands.html").read_text()
    for name in cli.COMMANDS:
        assert f"usage: bench {name}" in page
    assert "--dry-run" in page
    assert all(f">{code}</span>" in page for code in cli.EXIT_CODES)


def test_the_reference_has_every_table_that_an_experiment_file_may_have():
    text = (DOCS / "reference/experiment-file.md").read_text()
    named = set(re.findall(r"bench\.config:(\w+)", text))
    schemas = {name for name, found in vars(config).items() if isinstance(found, type)}
    schemas = {name for name in schemas if issubclass(getattr(config, name), config.Asked)} - {"Asked"}
    assert named == schemas, "docs/reference/experiment-file.md has a heading and a `{keys}` block for each of them"


def test_every_key_of_the_reference_says_what_it_takes():
    from keys import keys

    found = {key.name: key for key in keys(config.Training)}
    assert found.keys() == config.Training.model_fields.keys()
    assert found["stop_on"].takes == "'both' or 'accuracy' or 'loss' or 'never'"
    assert found["lr"].default == "0.005"
    assert found["batches"].default == "absent"
    assert "patience restarts" in found["stop_on"].comment


def test_the_picture_of_static_attention_shows_what_its_text_says():
    import pictures

    from implementations.operators import gat, gatv2

    static, dynamic = (pictures.random_scores(operator) for operator in (gat, gatv2))
    assert (static.argsort(1) == static.argsort(1)[0]).all()
    assert len(set(dynamic.argmax(1).tolist())) > 1


def test_the_head_written_by_hand_prefers_the_nearest_source():
    import pictures
    import torch

    places = torch.linspace(0, 1, 50)[:, None]
    assert torch.allclose(pictures.nearest_scores(places), -0.8 * (places - places.T).abs(), atol=1e-6)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Follows a page's commands in a folder of its own, with the files that the page tells to save."""
    monkeypatch.chdir(tmp_path)

    def bench(arguments):
        try:
            return cli.main(arguments)
        except SystemExit as end:  # argparse after --help
            return int(end.code or 0)

    def read(page, *, whole=False):
        for name, text in files(page).items():
            (tmp_path / name).write_text(text)
        return {command: follow(command, bench, conformance.main, whole=whole) for command in commands(page)}

    return read


@pytest.mark.parametrize("page", [page for page in PAGES if page != TUTORIAL], ids=lambda page: page.stem)
def test_every_command_of_a_page_does_what_it_says(page, reader):
    done = reader(page)
    assert {command: codes for command, codes in done.items() if any(codes)} == {}


def test_every_command_of_the_tutorial_does_what_it_says(reader, tmp_path):
    shutil.copytree(ROOT / "results/reference/default", tmp_path / "results/smoke")  # as if it had been run
    done = reader(TUTORIAL)
    assert {command: codes for command, codes in done.items() if any(codes)} == {}


@pytest.mark.slow
def test_the_tutorial_works_from_its_first_command_to_its_last(reader, tmp_path, capsys):
    done = reader(TUTORIAL, whole=True)
    assert {command: codes for command, codes in done.items() if any(codes)} == {}
    assert (tmp_path / "results/index.html").exists()
    assert "GATv2 with shared weights" in capsys.readouterr().out


@pytest.mark.parametrize("page", [page for page in PAGES if files(page)], ids=lambda page: page.stem)
def test_every_experiment_file_of_a_page_is_valid(page, tmp_path):
    for name, text in files(page).items():
        (tmp_path / name).write_text(text)
        assert experiment_file.read(tmp_path / name).title


@pytest.mark.parametrize(
    "text", [text for page in PAGES for text in blocks(page, r"python \w+")], ids=lambda text: text.split("\n")[0]
)
def test_every_piece_of_python_on_a_page_runs(text):
    exec(compile(text, "page", "exec"), {})


def test_the_sinhala_page_says_the_same_equations_commands_and_code_as_the_english_one():
    english, sinhala = (DOCS / f"explanation/gatv2{language}.md" for language in ("", ".si"))
    equations = [set(re.findall(r"\$\$\n(.*?)\$\$", page.read_text(), flags=re.DOTALL)) for page in (english, sinhala)]
    assert equations[0] <= equations[1]
    assert commands(english) == commands(sinhala)
    shown = [re.sub(r'""".*?"""|#.*', "", blocks(page, "python gatv2")[0]) for page in (english, sinhala)]
    assert shown[0] == shown[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_target_and_file_that_a_page_names_exists(page):
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    named = re.findall(r"`((?:bench|implementations|tests|results/reference)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


PLAIN = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md")]
STANDS_FOR = {"ADDRESS": "https://example.org", "my-table.toml": "loss.toml", "my.toml": "sharing.toml"}
NOT_FOLLOWED = re.compile(
    r"make (check|test|docs|soak|screenshots|perf)|BEFORE|NAME(?!=)|--into|--backends mine|--cluster"
    r"|bench (run --retime|report)$"
)
"""What tests and builds, a loop of the shell's, what has a word that stands for anything, and what would write into a
document."""


def told(page):
    """Commands of a page that is read as it stands: indented lines, and those in the middle of a sentence."""
    text = page.read_text()
    lines = re.findall(r"^    ((?:make|bench|\.venv/bin/bench) .*?)(?:  +#.*)?$", text, flags=re.MULTILINE)
    within = re.findall(r"`((?:make|bench|\.venv/bin/bench) [^`]+)`", text)
    found = dict.fromkeys(command.replace("\n", " ") for command in [*lines, *within])
    return [command for command in found if not NOT_FOLLOWED.search(command)]


@pytest.mark.parametrize(
    ("page", "command"),
    [(page, command) for page in PLAIN for command in told(page)],
    ids=lambda value: value if isinstance(value, str) else value.stem,
)
def test_every_command_of_a_page_outside_the_site_does_what_it_says(page, command, reader, tmp_path):
    for name, kind in (("sharing", "experiment"), ("loss", "table")):
        (tmp_path / f"{name}.toml").write_text(blocks(ROOT / "CONTRIBUTING.md", f"toml {kind}")[0])
    shutil.copytree(ROOT / "results/reference/labml-cora", tmp_path / "results/labml-cora")
    if "results/reference" in command:  # what it asks of is written to
        shutil.copytree(ROOT / "results/reference", tmp_path / "results/reference")
    for word, real in STANDS_FOR.items():
        command = command.replace(word, real)
    saved = tmp_path / "page.md"
    saved.write_text(f"```sh\n{command}\n```\n")
    assert [codes for codes in reader(saved).values() if any(codes)] == []
