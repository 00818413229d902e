"""A paper's table from its file to its views, through the real grid."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest
from told_tools import STEADY, reproduction_of, told_table

from bench import cli
from bench.errors import UserError
from bench.folder import ResultsFolder
from bench.kind import Sample
from bench.paper import table_file
from bench.paper.rows import PaperTable
from bench.plugins import EXPERIMENT_KINDS
from bench.report.paper import tables, views

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

    from bench.tracking import mlflow_store

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


def test_under_a_table_stands_where_looking_again_costs_something(finished):
    _, _, folder = finished
    for text in ((folder / "table.md").read_text(), (folder / "report.html").read_text()):
        assert "by an interval from the published s, looking again costs no error" in text
        assert "one from our own (*) covers slightly less than it says" in text
        assert "a figure to plan by, and none is added for it" in text


def test_the_overview_names_the_rows_of_each_verdict(finished):
    """A verdict without a name says nothing to who does not open the table."""
    _, _, folder = finished
    kept = ResultsFolder(folder)
    told = views.headlines(PaperTable.of("small", table_file.kept(kept), kept.records()))
    (judged,) = (line for line in told if "ours/gat/blocks/scatter (" in line)
    assert re.match(r"1 row (not reproduced|undecided): .* printed 90\.0 ± 1\.0\)\.$", judged)
    assert any(re.match(r"1 row not judged: ours/gatv2/blocks/scatter \(\d", line) for line in told)


def test_diverged_runs_are_counted_beside_the_seeds():
    row = PaperTable.of("t", table_file.of("gat-table2"), []).compared()[0]
    sample = Sample(values={0: 80.0, 1: 81.0}, failures={"diverged": 1}, retried=2)
    assert tables.seeds(replace(row, sample=sample)) == "2 (1 diverged, 2 tried again)"


def test_a_dry_run_names_rows_and_writes_nothing(tmp_path, capsys):
    assert cli.main(["tables", "gat-table2", "--dry-run", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"citeseer/gat/citeseer/\w+: 5 seeds, then up to \d+$", shown, flags=re.MULTILINE)
    assert re.search(r"^  in \d+ min at most, ", shown, flags=re.MULTILINE)


def test_a_dry_run_says_which_rows_no_budget_holds_and_fetches_nothing_for_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    asked = ["tables", "gatv2-table1", "--jobs", "2", "--dry-run", "--results", str(tmp_path / "results")]
    assert cli.main(asked) == 0
    shown = capsys.readouterr().out
    assert (
        "arxiv-1-head/gat/ogbn_arxiv/fused: no new ones: 5 seeds would take 1 h 40 min, 30 min of the time budget of "
        "30 min would be left; name the row (--only) or ask for it (--seeds)" in shown
    )
    assert "then up to" not in shown
    assert "fetched first" not in shown
    assert cli.main([*asked, "--minutes", "250", "--only", "arxiv-1-head/gat/ogbn_arxiv/fused"]) == 0
    assert "5 seeds, then up to 10" in capsys.readouterr().out


def test_a_dry_run_says_of_rows_without_seeds_how_they_are_got(tmp_path, capsys):
    assert cli.main(["tables", "gatv2-table9", "--dry-run", "--results", str(tmp_path)]) == 0
    assert "/pubmed/scatter: none unless named (--only) or asked for (--seeds)" in capsys.readouterr().out


def test_a_dry_run_of_so_many_seeds_names_those_and_what_is_fetched_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    assert cli.main(["tables", "gatv2-table9", "--seeds", "3", "--dry-run", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"/gatv2/pubmed/\w+: 3 seeds$", shown, flags=re.MULTILINE)
    assert "fetched first, if it can be: pubmed (`bench data pubmed --fetch`)" in shown
    assert "in 7 min" not in shown
    assert list(tmp_path.iterdir()) == []


def test_the_list_says_what_is_run_and_what_is_not(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    assert cli.main(["tables", "--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in table_file.names())
    assert re.search(r"gatv2-tables13-17 .* 23 tests worked out at once, from the printed figures", shown)
    assert "not run: VarMisuse is not among the data sets: no package carries its program graphs" in shown
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
    assert "ours/gatv2 above gat/a/fast" in views.markdown(run.state)
    assert run.state.only(fast.lines).orderings == (fast,)
    assert run.state.only(fast.lines[:1]).orderings == ()


@pytest.mark.parametrize(("status", "word"), [("diverged", "undecided"), ("budget", "reproduced")])
def test_neither_a_row_nor_an_ordering_is_judged_by_the_runs_that_did_not_fail(told, tmp_path, status, word):
    part = {"name": "ours", "kind": "told", "protocol": "p", "published": {"gat": "GAT", "gatv2": "GATv2"}}
    published = [{"row": "GAT", "values": {"a": "80.0 ± 1.0"}}, {"row": "GATv2", "values": {"a": "81.0 ± 1.0"}}]
    table = told_table(published=published, part=[part], ordering=[{"part": "ours", "better": "gatv2", "worse": "gat"}])
    kind = told({("gat", "a"): STEADY, ("gatv2", "a"): [value + 1 for value in STEADY]})
    kind.failures["gatv2"] = {status: 2}
    run = reproduction_of(table, tmp_path, seeds=10)
    run.run()
    verdicts = {row.line.subject: row.verdict for row in run.state.compared() if row.leads}
    assert verdicts["gat"].word == "reproduced"
    assert verdicts["gatv2"].word == run.state.orderings[0].ours.verdict.word == word
    if word == "undecided":
        assert str(verdicts["gatv2"]) == "undecided (failed on 2 of 12 seeds)"
        assert "gatv2 failed on 2 of 12 seeds" in str(run.state.orderings[0].ours.verdict)


def test_what_the_paper_claims_of_other_data_is_held_against_ours_along_the_axis(told, tmp_path):
    better = [value + 1 for value in STEADY]
    told({("gat", "0.5"): STEADY, ("gatv2", "0.5"): STEADY, ("gat", "0.0"): STEADY, ("gatv2", "0.0"): better})
    claim = {"part": "ours", "better": "gatv2", "worse": "gat", "claim": "above GAT on another graph"}
    part = {"name": "ours", "kind": "told", "protocol": "p", "seeds": {"least": 10}}
    run = reproduction_of(told_table(published=[], part=[part], ordering=[claim], axis="p"), tmp_path)
    run.run()
    leading = [line for line in views.markdown(run.state).splitlines() if "above gat/" in line and "fast" in line]
    assert ["above gat/0.0" in leading[0], "above gat/0.5" in leading[1]] == [True, True]
    assert all("above GAT on another graph" in line and "paired, n=10" in line for line in leading)
    assert all("after Holm" in line for line in leading)
    assert [line.split("|")[-2].strip() for line in leading] == ["reproduced", "not reproduced (no difference shown)"]


def test_a_claim_about_other_data_without_a_number_of_runs_is_a_mistake_in_the_file():
    claim = {"part": "ours", "better": "gatv2", "worse": "gat", "claim": "above"}
    with pytest.raises(ValueError, match="judged at the table's number of runs: set runs"):
        told_table(ordering=[claim], runs=None)


def test_who_asked_for_one_row_is_shown_that_row(told, tmp_path):
    told({("gat", "0.0"): STEADY, ("gat", "0.5"): STEADY})
    published = [{"row": "GAT", "values": {"0.0": "80.0 ± 1.0", "0.5": "80.0 ± 1.0", "0.9": "70.0"}}]
    run = reproduction_of(told_table(published=published), tmp_path, only=("ours/gat/0.5/fast",))
    run.run()
    shown = views.terminal(run.state.only({row.line for row, _ in run.planned()}))
    assert re.findall(r"ours/\S+", shown) == ["ours/gat/0.5/fast"]
    assert "0.9" not in shown


@pytest.mark.parametrize(
    ("only", "meant"),
    [
        ("ours/gat/a/fast", {"ours/gat/a/fast"}),
        ("ours/gat", {"ours/gat/a/fast", "ours/gat/a/slow"}),
        ("*/a/fast", {"ours/gat/a/fast", "ours/gatv2/a/fast"}),
    ],
)
def test_an_id_or_its_first_parts_or_a_pattern_choose_rows(told, tmp_path, only, meant):
    told({("gat", "a"): STEADY, ("gatv2", "a"): STEADY})
    run = reproduction_of(told_table(), tmp_path, only=(only,))
    assert {row.require_line().id for row, _ in run.planned()} == meant


def test_several_choices_choose_what_any_of_them_does_and_each_must_choose_something(told, tmp_path):
    told({("gat", "a"): STEADY, ("gatv2", "a"): STEADY})
    run = reproduction_of(told_table(), tmp_path, only=("ours/gat/a/fast", "*/slow"))
    assert {row.require_line().id for row, _ in run.planned()} == {
        "ours/gat/a/fast", "ours/gat/a/slow", "ours/gatv2/a/slow",
    }  # fmt: skip
    with pytest.raises(UserError, match="did you mean 'ours/gat/a/fast'"):
        reproduction_of(told_table(), tmp_path, only=("*/slow", "ours/gat/a/fas"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--list", "--json"], "--json: prints a table that is run; leave out --list and --dry-run"),
        (["gat-table2", "--dry-run", "--json"], "--json: prints a table that is run"),
        (["--list", "gat-table2"], "--list: lists all tables; leave out gat-table2"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(arguments, says, capsys):
    assert cli.main(["tables", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_an_id_that_is_cut_off_within_a_name_chooses_no_row_of_a_longer_name(told, tmp_path):
    told({("gat", "a"): STEADY})
    with pytest.raises(UserError, match="did you mean 'ours/gat/a/fast'"):
        reproduction_of(told_table(), tmp_path, only=("ours/gat/a/fas",))


def test_a_dry_run_names_only_the_data_of_what_is_asked_for(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "empty"))
    asked = ["--only", "pubmed/gat/pubmed/scatter", "--dry-run", "--results", str(tmp_path)]
    assert cli.main(["tables", "gat-table2", *asked]) == 0
    assert "fetched first, if it can be: pubmed (" in capsys.readouterr().out


def test_a_figure_gets_a_plot_of_its_leading_rows(told, tmp_path):
    told({("gat", "0.0"): STEADY, ("gat", "0.5"): [value - 10 for value in STEADY]})
    published = [{"row": "GAT", "values": {"0.0": "80.0 ± 1.0"}}]
    run = reproduction_of(told_table(axis="p", published=published), tmp_path)
    run.run()
    run.means.folder.path.mkdir()
    views.write(run.means.folder, run.state)
    assert {path.name for path in (tmp_path / "t" / "plots").glob("*.*g")} == {"ours.svg", "ours.png"}
    page = (tmp_path / "t" / "report.html").read_text()
    assert "<svg" in page
    assert "GAT, paper" in page


def test_a_sweep_is_one_experiment_for_each_value():
    part = table_file.of("gatv2-fig4-planetoid").part[0]
    lines = EXPERIMENT_KINDS.get("grid").lines(part)
    assert {line.column for line in lines} == {f"{p / 20:g}" if p else "0.0" for p in range(11)}
    assert {line.subject for line in lines} == {"gat", "gatv2"}
