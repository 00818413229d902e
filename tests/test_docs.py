"""Documents are executed: snippets run, commands exist, tables are those of the records."""

import re
import shlex
import shutil
import subprocess
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import torch

from bench import cli, experiment_file
from bench.commands.report import excerpt, insert
from bench.errors import UserError
from bench.folder import ResultsFolder
from bench.jobs import run_job
from bench.outcomes import Checked
from bench.paper import table_file
from bench.paper.rows import PaperTable
from bench.paper.table import TableFile
from bench.plan import parity_jobs
from bench.plugins import DATASETS, EXPERIMENT_KINDS, OPERATORS
from bench.report.cells import Cell, step_medians
from bench.report.own_words import other_work
from bench.report.results import Results
from bench.report.throughput import part
from bench.rig import Place
from bench.summary import median
from implementations.contract import Graph, LayerConfig
from implementations.parity import compare

ROOT = Path(__file__).resolve().parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
README = (ROOT / "README.md").read_text()


def snippet(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", CONTRIBUTING, flags=re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def plugged(tmp_path, monkeypatch):
    """Put a snippet where its plug-ins are looked for, as the page says, without touching the checkout."""

    def plug(plugins, name: str, text: str):
        import importlib

        package = importlib.import_module(plugins.package)
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        monkeypatch.setitem(plugins.__dict__, "_built_in", (name,))
        return plugins.get(name)

    return plug


def test_the_operator_of_the_page_runs_on_scatter_and_equals_its_reference(plugged):
    from bench.plugins import BACKENDS

    operator = plugged(OPERATORS, "linear_gat", snippet("python operator"))
    graph = Graph(6, torch.tensor([[0, 1, 2, 3, 4, 5, 1], [1, 2, 3, 4, 5, 0, 0]])).with_self_loops()
    config = LayerConfig(in_channels=4, out_channels=3, heads=2)
    x = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cpu = torch.device("cpu")
    found = compare(BACKENDS.get("scatter"), operator, config, graph, x, torch.arange(6) % 3, torch.float64, cpu)
    assert found
    assert [comparison for comparison in found if not comparison.passed] == []


def test_the_data_set_of_the_page_goes_through_a_job(plugged, small, cpu):
    plugged(DATASETS, "ring", snippet("python dataset"))
    (job,) = parity_jobs(small.model_copy(update={"datasets": ("ring",), "backends": ("scatter",)}))
    outcome = run_job(job, Place(cpu.slots()[0]))
    assert isinstance(outcome, Checked), outcome
    assert outcome.passed, outcome.failure()


def test_the_experiment_of_the_page_is_valid(tmp_path):
    path = tmp_path / "sharing.toml"
    path.write_text(snippet("toml experiment"))
    assert experiment_file.read(path).architecture.share_weights


def test_the_table_of_the_page_is_valid_and_compares_what_it_says(tmp_path):
    path = tmp_path / "loss.toml"
    path.write_text(snippet("toml table"))
    state = PaperTable.of("loss", table_file.read(path), [])
    assert [row.line.id for row in state.compared()] == [
        f"loss-only/gat/citeseer/{name}" for name in ("scatter", "pyg")
    ]
    assert [row.label for row in state.rows if row.line is None] == ["GCN"]


def test_the_kind_of_the_page_takes_part_in_rows_and_verdicts(plugged):
    plugged(EXPERIMENT_KINDS, "degrees", snippet("python kind"))
    content = {
        "title": "t", "paper": "p", "number": "1", "metric": "degree", "protocol": "p", "confidence": "paper",
        "rule": {"exact": True}, "published": [{"row": "Blocks", "values": {"mean degree": "5.45"}}],
        "part": [{"name": "ours", "kind": "degrees", "protocol": "counted", "published": {"blocks": "Blocks"},
                  "experiment": {"datasets": ["blocks"]}}],
    }  # fmt: skip
    state = PaperTable.of("t", TableFile.model_validate(content), [])
    assert [row.verdict.word for row in state.rows] == ["reproduced"]


def test_the_entry_point_of_the_page_names_the_group_that_is_looked_up():
    from bench.plugins import BACKENDS

    assert list(tomllib.loads(snippet("toml"))["project"]["entry-points"]) == [BACKENDS.group]


def test_every_file_that_a_document_names_exists():
    for document in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "results/README.md"):
        text = (ROOT / document).read_text()
        named = re.findall(r"`((?:bench|implementations|tests|results)/[\w./-]+)`", text)
        missing = [name for name in named if "NAME" not in name and not (ROOT / name).exists()]
        assert missing == [], f"{document} names {missing}"


def test_every_command_and_experiment_that_the_readme_names_exists():
    (listed,) = re.findall(r"`\.venv/bin/bench`, with\n(.*?), each with", README, flags=re.DOTALL)
    assert set(re.findall(r"`([\w-]+)`", listed)) == set(cli.COMMANDS)
    assert set(re.findall(r"^\| `([\w-]+)` \|", README, flags=re.MULTILINE)) == set(experiment_file.names())


def test_every_make_target_that_a_document_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", README + CONTRIBUTING))
    assert named - {"targets"} <= targets


def test_make_alone_prints_every_target_with_a_line():
    shown = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    for target in ("setup", "bench", "test", "ui", "check"):
        assert re.search(rf"^  make {target} +\w", shown, flags=re.MULTILINE)


@pytest.mark.parametrize("name", re.findall(r"^<!-- table: (.+) -->$", README, flags=re.MULTILINE))
def test_the_readmes_tables_are_those_that_their_records_give(name):
    folder = ResultsFolder(ROOT / "results" / "reference" / name)
    assert excerpt(folder) in README


@pytest.mark.parametrize("path", re.findall(r"\((results/[^)]+)\)", README))
def test_what_the_readme_shows_or_links_to_of_the_results_is_there(path):
    assert (ROOT / path).is_file()


def test_the_readme_names_exactly_the_records_that_are_published():
    sentence = re.search(r"are our records of (.*?)\. Of", (ROOT / "README.md").read_text(), flags=re.DOTALL)[1]
    published = {folder.name for folder in (ROOT / "results/reference").iterdir() if folder.is_dir()}
    assert set(re.findall(r"`([\w-]+)`", sentence)) == published


ROW_ON_SPEED = re.search(r"^\| Which back end is fastest\? \| (.*) \|$", README, flags=re.MULTILINE)[1]
LAYERS, WHOLE_STEP, OTHER_WORK = re.findall(r"\*\*`(\w+)`\*\*", ROW_ON_SPEED)
"""Whom the README calls fastest: of those that give layers, of all that do the same work, of all."""


@cache
def published(name: str) -> Results:
    folder = ResultsFolder(ROOT / "results" / "reference" / name)
    return Results.of(folder.experiment(), folder.records())


def fastest(results: Results, counts: Callable[[Cell, int], bool], threads: Iterable[int]) -> set[str]:
    """Who has the least median training step anywhere, of those that count."""
    steps = defaultdict(dict)
    for cell, count, track in product(results.cells, threads, results.experiment.timing.tracks):
        times = step_medians(cell.rounds.get(count, {}), track, "train")
        if times and counts(cell, count):
            steps[cell.key[1:], count, track][cell.key.backend] = median(list(times.values()))
    assert all(len(rivals) > 2 for rivals in steps.values())
    return {min(rivals, key=rivals.get) for rivals in steps.values()}


@pytest.mark.parametrize("name", ["default", "throughput"])
def test_the_readme_names_the_fastest_of_the_layers_in_the_published_records(name):
    results = published(name)
    threads = results.experiment.timing.threads
    assert fastest(results, lambda cell, count: part(cell, count) == "layers", threads) == {LAYERS}


def test_the_readme_names_the_fastest_whole_step_in_the_published_records():
    results = published("throughput")
    same_work = fastest(results, lambda cell, _: not other_work(cell.key.backend), results.experiment.timing.threads)
    assert same_work == {WHOLE_STEP}
    assert all(part(cell, 1) == "whole step" for cell in results.cells if cell.key.backend == WHOLE_STEP)


def test_the_readme_names_what_is_fastest_by_another_amount_of_work():
    assert fastest(published("throughput"), lambda *_: True, [1]) == {OTHER_WORK}
    assert "the gradient is exact" in other_work(OTHER_WORK)
    assert "evaluation is of all nodes" in other_work(OTHER_WORK)


def test_on_cora_the_fastest_layers_are_faster_by_verdict_than_each_of_the_others():
    results = published("default")
    others = {cell.key.backend for cell in results.cells if part(cell, 1) == "layers"} - {LAYERS}
    beside, missed = set(), []
    for verdict in [one for one in results.comparisons.time if one.timed.phase == "train"]:
        names = verdict.pair.first, verdict.pair.second
        if LAYERS in names and others & set(names):
            beside |= others & set(names)
            if verdict.word != ("faster" if names[0] == LAYERS else "slower"):
                missed.append(verdict.sentence())
    assert missed == []
    assert beside == others


def test_a_document_without_a_place_for_the_table_is_refused(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("nothing here")
    with pytest.raises(UserError, match="no place for this table"):
        insert(path, "default", "table")


def test_a_table_is_put_between_its_markers_and_nowhere_else(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("a\n<!-- table: x -->\nold\n<!-- end of table -->\nb\n")
    insert(path, "x", "new")
    assert path.read_text() == "a\n<!-- table: x -->\n\nnew\n<!-- end of table -->\nb\n"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_misspelt_variable_of_make_is_refused_and_those_that_there_are_are_named():
    command = ["make", "--no-print-directory", "-n", "bench", "SEED=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no variable SEED; there are EXPERIMENT" in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_ci_script_calls_what_the_contributor_is_told_to_call():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert ["make", "check", "test"] in [shlex.split(line, comments=True) for line in lines if line.startswith("make")]
