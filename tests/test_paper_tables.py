"""A paper's table from its file to its views: what is run, when it stops, and what the rows then say."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from bench import cli, table_file
from bench.folder import ResultsFolder
from bench.kind import Line, Means, Sample
from bench.paper_rows import PaperTable
from bench.plugins import EXPERIMENT_KINDS
from bench.progress import PlainDisplay
from bench.report import paper
from bench.reproduce import Ask, Reproduction

TABLE = """
title = "A small table"
paper = "Nobody 2020"
number = "Table 1"
metric = "test accuracy, %"
runs = 10
protocol = "as printed"
confidence = "paper"
rule = { least = 2, width = 1.0 }

[[published]]
row = "GAT"
values = { blocks = "90.0 ± 1.0" }

[[published]]
row = "GCN"
values = { blocks = "80.0" }
not_run = "no graph attention"

[[published]]
row = "MLP"
values = { blocks = "60.0" }
confidence = "memory"

[[part]]
name = "ours"
protocol = "a few epochs"
published = { gat = "GAT", gatv2 = "MLP" }
seeds = { least = 2, most = 4, beside = 1 }
lead = ["not-installed", "scatter"]
experiment.operators = ["gat", "gatv2"]
experiment.datasets = ["blocks"]
experiment.training = { max_epochs = 5 }
"""


class Silent(PlainDisplay):
    def say(self, text: str) -> None:
        pass


class Told:
    """A kind of experiment whose values are told beforehand; `KIND` of no file."""

    def __init__(self, values, barred=()):
        self.values, self.barred = values, barred
        self.seeds: dict[Line, int] = {}
        self.asked: list[tuple[str, int]] = []
        self.differs = ""

    def problems(self, part):
        return iter(())

    def lines(self, part):
        return [Line(part.name, s, c, b) for s, c in self.values for b in ("fast", "slow")]

    def run(self, part, lines, seeds, means):
        for line in lines:
            self.seeds[line] = max(seeds, self.seeds.get(line, 0))
            self.asked.append((line.id, seeds))
        return 0

    def samples(self, part, records):
        return {line: self._sample(line) for line in self.lines(part)}

    def _sample(self, line):
        n = self.seeds.get(line, 0)
        if line.backend in self.barred and n:
            return Sample(barred="parity: off", missing="parity: off")
        values = self.values[line.subject, line.column]
        return Sample(values=dict(enumerate(values[:n])), seconds=10.0 * n, differs=self.differs if n else "")


@pytest.fixture
def told(monkeypatch):
    """Parts of kind `told` bring these values."""

    def tell(values, barred=()):
        kind = Told(values, barred)
        monkeypatch.setitem(EXPERIMENT_KINDS.__dict__, "_built_in", ("grid", "told"))
        monkeypatch.setattr(type(EXPERIMENT_KINDS), "get", lambda self, name: kind)
        return kind

    return tell


def told_table(**changes) -> table_file.TableFile:
    content = {
        "title": "t", "paper": "p", "number": "1", "metric": "accuracy, %", "runs": 10, "protocol": "p",
        "confidence": "paper", "rule": {"least": 3},
        "published": [{"row": "GAT", "values": {"a": "80.0 ± 1.0", "b": "80.0 ± 1.0"}}],
        "part": [{"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT"},
                  "seeds": {"least": 3, "most": 12, "beside": 2}}],
    }  # fmt: skip
    return table_file.TableFile.model_validate(content | changes)


def reproduction_of(table, tmp_path, **options) -> Reproduction:
    means = Means(ResultsFolder(tmp_path / "t"), Silent())
    clock = options.pop("clock", lambda: 0.0)
    return Reproduction("t", table, means, Ask(**options), clock)


STEADY = [80.0, 80.2, 79.8] * 4
WILD = [76.0, 84.0, 80.0] * 4


def test_seeds_go_to_the_uncertain_row_until_its_interval_is_narrow_or_the_file_ends_it(told, tmp_path):
    kind = told({("gat", "a"): STEADY, ("gat", "b"): WILD})
    run = reproduction_of(told_table(), tmp_path)
    assert run.run() == 0
    assert kind.seeds[Line("ours", "gat", "a", "fast")] == 3
    assert kind.seeds[Line("ours", "gat", "b", "fast")] == 12
    assert kind.seeds[Line("ours", "gat", "b", "slow")] == 2
    words = {row.line.id: str(row.verdict) for row in run.state.compared()}
    assert words["ours/gat/a/fast"] == "reproduced"
    assert words["ours/gat/b/fast"].startswith("undecided (")


def test_leading_back_ends_come_before_the_others_and_subjects_of_a_column_together(told, tmp_path):
    kind = told({("gat", "a"): STEADY, ("gatv2", "a"): STEADY, ("gat", "b"): STEADY})
    reproduction_of(told_table(), tmp_path).run()
    assert [(id_.split("/")[1:], seeds) for id_, seeds in kind.asked[:5]] == [
        (["gat", "a", "fast"], 3),
        (["gatv2", "a", "fast"], 3),
        (["gat", "b", "fast"], 3),
        (["gat", "a", "slow"], 2),
        (["gatv2", "a", "slow"], 2),
    ]


def test_a_batch_that_the_budget_has_no_room_for_is_left_out_and_named(told, tmp_path):
    kind = told({("gat", "a"): WILD})
    run = reproduction_of(told_table(), tmp_path, minutes=0.5)  # 10 s a seed: 3 at first, 9 more do not fit
    run.run()
    assert kind.seeds[Line("ours", "gat", "a", "fast")] == 3
    assert "9 more seeds would take" in run.remarks()[0]


def test_what_a_seed_is_known_to_take_keeps_a_long_row_from_being_begun_unasked(told, tmp_path):
    part = {"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT"}, "seed_min": 60}
    kind = told({("gat", "a"): STEADY})
    run = reproduction_of(told_table(part=[part]), tmp_path)
    run.run()
    assert kind.asked == []
    assert "5 more seeds would take" in run.remarks()[0]
    reproduction_of(told_table(part=[part]), tmp_path, seeds=2).run()
    assert {seeds for _, seeds in kind.asked} == {2}
    kind = told({("gat", "a"): STEADY})
    reproduction_of(told_table(part=[part]), tmp_path, only="ours/gat/a/fast").run()
    assert kind.asked == [("ours/gat/a/fast", 5)]


def test_a_row_far_from_the_published_value_gets_no_more_seeds_than_one_near_it(told, tmp_path):
    seeds = []
    for shift in (0.0, 30.0):
        kind = told({("gat", "a"): [value + shift for value in WILD[:6] + STEADY]})
        reproduction_of(told_table(), tmp_path).run()
        seeds.append(kind.seeds[Line("ours", "gat", "a", "fast")])
    assert seeds[0] == seeds[1] > 3


def test_where_the_first_back_end_is_barred_the_next_one_leads(told, tmp_path):
    kind = told({("gat", "a"): STEADY}, barred=("fast",))
    run = reproduction_of(told_table(), tmp_path)
    run.run()
    assert kind.seeds[Line("ours", "gat", "a", "slow")] == 3
    fast, slow = run.state.compared()
    assert str(fast.verdict) == "not run (parity: off)"
    assert (slow.leads, slow.verdict.word) == (True, "reproduced")


def test_a_substitute_is_run_only_where_the_real_thing_cannot(told, tmp_path):
    real = {"name": "real", "kind": "told", "protocol": "p", "published": {"gat": "GAT"}}
    substitute = real | {"name": "other", "instead_of": "real", "differs": "drawn splits"}
    table = told_table(part=[real, substitute])
    told({("gat", "a"): STEADY})
    ran = reproduction_of(table, tmp_path)
    ran.run()
    assert {row.line.part for row in ran.state.shown() if row.line} == {"real"}
    told({("gat", "a"): STEADY}, barred=("fast", "slow"))
    barred = reproduction_of(table, tmp_path)
    barred.run()
    assert {row.line.part for row in barred.state.shown() if row.line} == {"real", "other"}


def test_a_part_that_differs_says_how_and_is_never_judged(told, tmp_path):
    part = {"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT"}, "differs": "drawn splits"}
    told({("gat", "a"): STEADY})
    run = reproduction_of(told_table(part=[part]), tmp_path)
    run.run()
    assert {str(row.verdict) for row in run.state.compared()} == {"protocol differs (drawn splits)"}


def test_other_data_than_the_published_are_never_judged_and_get_no_further_seeds(told, tmp_path):
    kind = told({("gat", "a"): WILD, ("gatv2", "a"): STEADY})
    kind.differs = "these files hold 3 graphs; PPI has 24"
    ordering = {"part": "ours", "better": "gat", "worse": "gatv2"}
    part = {"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT", "gatv2": "GAT"}}
    run = reproduction_of(told_table(part=[part | {"seeds": {"beside": 5}}], ordering=[ordering]), tmp_path)
    run.run()
    assert {str(row.verdict) for row in run.state.compared()} == {f"protocol differs ({kind.differs})"}
    assert {result.ours.verdict.word for result in run.state.orderings} == {"protocol differs"}
    assert set(kind.seeds.values()) == {5}


def test_the_time_budget_ends_it_and_says_what_it_cut(told, tmp_path):
    kind = told({("gat", "a"): WILD})
    times = iter([0.0] + [10_000.0] * 100)
    run = reproduction_of(told_table(), tmp_path, clock=lambda: next(times))
    run.run()
    assert kind.asked == []
    assert run.remarks()[0] == "ours/gat/a/fast: 3 more seeds; of the time budget of 20 min, nothing is left"


@pytest.mark.parametrize(("ask", "expected"), [({"seeds": 5}, 5), ({"full": True}, 10)])
def test_a_given_number_of_seeds_is_run_for_every_row(told, tmp_path, ask, expected):
    kind = told({("gat", "a"): STEADY, ("gat", "b"): WILD})
    reproduction_of(told_table(), tmp_path, **ask).run()
    assert set(kind.seeds.values()) == {expected}


def test_what_is_counted_is_counted_once(told, tmp_path):
    kind = told({("gat", "a"): [80.0] * 12})
    run = reproduction_of(told_table(rule={"exact": True}), tmp_path)
    run.run()
    assert set(kind.seeds.values()) == {1}
    assert run.remarks() == []


def test_one_row_can_be_run_alone(told, tmp_path):
    kind = told({("gat", "a"): STEADY, ("gat", "b"): WILD})
    reproduction_of(told_table(), tmp_path, only="ours/gat/a/slow").run()
    assert {line.id for line in kind.seeds} == {"ours/gat/a/slow"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The small table, really run."""
    path = tmp_path_factory.mktemp("table") / "small.toml"
    path.write_text(TABLE)
    results = path.parent / "results"
    code = cli.main(["tables", str(path), "--results", str(results), "--mlflow", "off"])
    return code, path, results / "small"


def test_a_table_is_run_through_the_grid_and_gets_its_views(finished):
    code, _, folder = finished
    assert code == 0
    assert {name.name for name in folder.iterdir()} >= {
        "records.jsonl",
        "table.md",
        "table.csv",
        "table.tex",
        "report.html",
    }
    rows = {row["row"]: row for row in json.loads((folder / "table.json").read_text())["rows"]}
    assert rows["ours/gat/blocks/scatter"]["seeds"] >= 2
    assert rows["ours/gat/blocks/scatter"]["verdict"] in ("not reproduced", "undecided")
    assert rows["ours/gatv2/blocks/scatter"]["verdict"] == ""  # what is published is only remembered
    assert len(list(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))) == 3


def test_a_second_run_repeats_nothing_and_writes_the_same_table(finished):
    _, path, folder = finished
    before = {name: (folder / name).read_bytes() for name in ("records.jsonl", "table.md", "table.tex", "report.html")}
    assert cli.main(["tables", str(path), "--results", str(folder.parent), "--mlflow", "off"]) == 0
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_the_views_are_made_again_from_the_folder_alone(finished, capsys):
    _, _, folder = finished
    before = (folder / "table.md").read_bytes()
    (folder / "table.md").unlink()
    assert cli.main(["report", "small", "--results", str(folder.parent)]) == 0
    assert (folder / "table.md").read_bytes() == before
    assert "ours/gat/blocks/scatter" in capsys.readouterr().out


def test_mlflow_gets_a_run_for_each_row_with_its_verdict(finished):
    from mlflow import MlflowClient

    from bench import mlflow_store

    _, _, folder = finished
    assert cli.main(["mlflow", "sync", "small", "--results", str(folder.parent)]) == 0
    client = MlflowClient(mlflow_store.default_uri(folder.parent))
    (runs, jobs) = (
        client.search_runs([client.get_experiment_by_name(name).experiment_id]) for name in ("small", "small · jobs")
    )
    verdicts = {run.info.run_name: run.data.tags["verdict"] for run in runs}
    assert verdicts.keys() == {"ours/gat/blocks/scatter", "ours/gatv2/blocks/scatter"}
    assert {run.data.tags["phase"] for run in jobs if "phase" in run.data.tags} == {"parity", "fit"}


def test_the_markdown_names_source_rule_verdicts_and_how_to_run_one_row(finished):
    _, _, folder = finished
    text = (folder / "table.md").read_text()
    assert "Nobody 2020, Table 1" in text
    assert "90.0 ± 1.0 (n=10)" in text
    assert "prediction interval" in text
    assert "60.0 (n=10), unverified" in text
    assert "not run (no graph attention)" in text
    assert "--only ours/gat/blocks/scatter" in text


def test_diverged_runs_are_counted_beside_the_seeds():
    row = PaperTable.of("t", table_file.of("gat-table2"), []).compared()[0]
    sample = Sample(values={0: 80.0, 1: 81.0}, failures={"diverged": 1}, retried=2)
    assert paper.seeds(replace(row, sample=sample)) == "2 (1 diverged, 2 tried again)"


def test_a_dry_run_names_rows_and_writes_nothing(tmp_path, capsys):
    assert cli.main(["tables", "gat-table2", "--dry-run", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"citeseer/gat/citeseer/\w+: 5 seeds to run, 0 recorded", shown)
    assert list(tmp_path.iterdir()) == []


def test_the_list_says_what_is_run_and_what_is_not(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    assert cli.main(["tables", "--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in table_file.names())
    assert "not run: there is no operator for dot-product attention" in shown
    assert "`bench data ogbn_arxiv ogbn_mag --fetch` brings their data" in shown


def test_an_ordering_is_shown_with_the_papers_p_and_ours(told, tmp_path):
    published = [
        {"row": "GAT", "values": {"a": "78.1 ± 0.59"}},
        {"row": "GATv2", "values": {"a": "78.5 ± 0.38"}},
    ]
    part = {"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT", "gatv2": "GATv2"}}
    table = told_table(published=published, part=[part], ordering=[{"part": "ours", "better": "gatv2", "worse": "gat"}])
    told({("gat", "a"): STEADY, ("gatv2", "a"): [value + 1 for value in STEADY]})
    run = reproduction_of(table, tmp_path, seeds=10)
    run.run()
    fast = run.state.orderings[0]
    assert fast.ours.contrast.paired
    assert fast.ours.verdict.word == "reproduced"
    assert "ours/gatv2 above gat/a/fast" in paper.markdown(run.state)


def test_a_figure_gets_a_plot_of_its_leading_rows(told, tmp_path):
    told({("gat", "0.0"): STEADY, ("gat", "0.5"): [value - 10 for value in STEADY]})
    published = [{"row": "GAT", "values": {"0.0": "80.0 ± 1.0"}}]
    run = reproduction_of(told_table(axis="p", published=published), tmp_path)
    run.run()
    run.means.folder.path.mkdir()
    paper.write(run.means.folder, run.state)
    assert {path.name for path in (tmp_path / "t" / "plots").iterdir()} == {"ours.svg", "ours.png"}
    page = (tmp_path / "t" / "report.html").read_text()
    assert "<svg" in page
    assert "GAT, paper" in page


def test_a_sweep_is_one_experiment_for_each_value():
    part = table_file.of("gatv2-fig4-planetoid").part[0]
    lines = EXPERIMENT_KINDS.get("grid").lines(part)
    assert {line.column for line in lines} == {f"{p / 20:g}" if p else "0.0" for p in range(11)}
    assert {line.subject for line in lines} == {"gat", "gatv2"}
