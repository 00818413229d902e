"""A study runs once, repeats itself, and its views follow from its records."""

import csv
import io
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from grid_tools import Silent
from record_builders import otherwise
from study_texts import ATTENTION, LOOKUP, read

from bench import cli, records, study_jobs, study_run
from bench.folder import ResultsFolder
from bench.kinds.study import KIND
from bench.options import Options
from bench.paper.table import Part
from bench.report.studies import attention, lookup
from bench.report.studies import views as study_views
from bench.study_config import AttentionStudy, LookupStudy
from bench.views import sync, write_index, write_views


class Nobody:
    def finished(self, record: records.Record) -> None:
        pass

    @contextmanager
    def quiet(self):
        yield


def run(study, path: Path) -> ResultsFolder:
    folder = ResultsFolder(path)
    folder.write_experiment(study)
    errors = study_run.StudyRun(study, folder, Silent(), Nobody(), Options(parallel=1)).run()
    assert errors == 0
    return folder


@pytest.fixture(scope="module")
def looked_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[LookupStudy, ResultsFolder]:
    place = tmp_path_factory.mktemp("lookup")
    study = read(place, LOOKUP)
    return study, run(study, place / "small")


@pytest.fixture(scope="module")
def attended(tmp_path_factory: pytest.TempPathFactory) -> tuple[AttentionStudy, ResultsFolder]:
    place = tmp_path_factory.mktemp("attention")
    study = read(place, ATTENTION)
    return study, run(study, place / "small")


def test_every_point_of_the_figure_is_one_row(looked_up):
    study, folder = looked_up
    rows = lookup.rows(study, folder.records())
    assert len(rows) == 2 * 2 * 2  # protocols, models, sizes
    assert {row.status() for row in rows} == {"done"}


def test_a_second_run_repeats_nothing(looked_up):
    study, folder = looked_up
    before = folder.records()
    run(study, folder.path)
    assert folder.records() == before


def test_what_other_code_answered_in_between_stands_in_no_table(looked_up, tmp_path):
    study, folder = looked_up
    again = ResultsFolder(tmp_path / "small")
    shutil.copytree(folder.path, again.path)
    for record in folder.records():
        records.append(again.path, otherwise(record, test=0.0))
    assert {fit.test for row in lookup.rows(study, again.records()) for fit in row.fits} == {0.0}
    run(study, again.path)
    assert lookup.rows(study, again.records()) == lookup.rows(study, folder.records())


def test_another_folder_gets_the_same_numbers(looked_up, tmp_path):
    study, folder = looked_up
    again = run(study, tmp_path / "again")
    assert [record.outcome for record in again.records()] == [record.outcome for record in folder.records()]


def test_the_protocols_differ_in_split_and_layer(looked_up):
    study, _ = looked_up
    paper, released = (
        next(job for job in study_jobs.jobs(study) if (job.operator, job.protocol.name) == ("gat", name))
        for name in ("paper", "released")
    )
    assert (paper.architecture.self_loops, released.architecture.self_loops) == (False, True)
    assert (paper.protocol.split, released.protocol.split) == ("graphs", "pairs")


def test_published_values_stand_beside_ours_with_every_deviation_named(looked_up):
    study, folder = looked_up
    found = lookup.comparisons(study, folder.records())
    assert [row.published for row in found] == [100, 90] * 2
    assert all(row.ours is not None and row.runs == 1 for row in found)
    assert all("lr 0.01 instead of 0.001" in row.protocol for row in found)
    assert "at most 20 steps instead of 50000 epochs" in found[0].protocol


def test_a_comparison_without_a_run_has_no_value(looked_up):
    study, _ = looked_up
    assert {(row.ours, row.runs) for row in lookup.comparisons(study, [])} == {(None, 0)}


@pytest.mark.parametrize("studied", ["looked_up", "attended"])
def test_views_are_made_from_the_records_alone_and_twice_the_same(studied, request):
    _, folder = request.getfixturevalue(studied)
    write_views(folder)
    files = sorted(path for path in folder.path.rglob("*") if path.suffix in {".md", ".csv", ".png", ".svg"})
    assert {path.suffix for path in files} == {".md", ".csv", ".png", ".svg"}
    first = [path.read_bytes() for path in files]
    write_views(folder)
    assert [path.read_bytes() for path in files] == first


def test_the_csv_has_a_line_for_each_accuracy(looked_up):
    study, folder = looked_up
    lines = list(csv.DictReader(io.StringIO(lookup.csv_text(study, folder.records()))))
    assert len(lines) == 16
    assert {line["status"] for line in lines} == {"done"}


def test_gat_is_called_static_and_gatv2_dynamic(attended):
    study, folder = attended
    verdicts = {(row.data, row.key.operator.split()[0]): row.tags()["verdict"] for row in
                attention.rows(study, folder.records())}  # fmt: skip
    assert {verdict for (_, operator), verdict in verdicts.items() if operator == "gat"} == {"static"}
    assert {verdict for (_, operator), verdict in verdicts.items() if operator == "gatv2"} == {"dynamic"}


def test_tables_are_printed_from_the_records(attended, capsys):
    _, folder = attended
    assert cli.main(["report", "small", "--results", str(folder.path.parent)]) == cli.DONE
    assert "dynamic" in capsys.readouterr().out


@pytest.mark.parametrize("studied", ["looked_up", "attended"])
def test_a_study_reaches_mlflow_with_its_curves(studied, request):
    from mlflow import MlflowClient

    study, folder = request.getfixturevalue(studied)
    uri = f"sqlite:///{folder.path.parent / 'mlflow.db'}"
    sync(uri, folder)
    sync(uri, folder)
    client = MlflowClient(uri)
    ids = [client.get_experiment_by_name(name).experiment_id for name in ("small", "small · jobs")]
    cells, jobs = client.search_runs(ids[:1]), client.search_runs(ids[1:], "tags.level = 'job'")
    assert len(cells) == len(study_views.rows(study, folder.records()))
    assert len(jobs) == len(study_jobs.jobs(study))
    curves = {name for run in jobs for name in run.data.metrics if name.startswith("curve/")}
    assert any("accuracy" in name for name in curves)


def test_the_end_of_a_study_says_that_mlflow_failed(looked_up, tmp_path, capsys):
    study, folder = looked_up
    copy = shutil.copytree(folder.path, tmp_path / "results/small")
    (tmp_path / "results/mlartifacts").write_text("a file where a folder must be")
    assert study_run.run(study, ResultsFolder(copy)) == 0
    said = capsys.readouterr().err
    assert "MLflow is behind. MLflow at " in said
    assert "`bench mlflow sync` fills it from the records." in said


def test_the_end_of_a_study_says_what_mlflow_noticed(looked_up, tmp_path, capsys):
    study, folder = looked_up
    copy = shutil.copytree(folder.path, tmp_path / "results/small")
    (tmp_path / "results/mlflow.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    assert study_run.run(study, ResultsFolder(copy)) == 0
    assert "a fresh one takes its place" in capsys.readouterr().err


def on_a_dark_screen(browser, folder: ResultsFolder, marked: str) -> list[list[str]]:
    """The fills of what a selector finds on the page over all results: as drawn, and as shown."""
    write_views(folder)
    write_index(folder.path.parent)
    page = browser.new_page(color_scheme="dark")
    page.goto((folder.path.parent / "index.html").as_uri())
    fills = "marked => marked.map((one) => [one.style.fill, getComputedStyle(one).fill])"
    found: list[list[str]] = page.locator(f"figure svg {marked}").evaluate_all(fills)
    page.close()
    return found


def test_on_a_dark_screen_a_heat_map_keeps_its_numbers_and_other_text_turns_light(attended, browser):
    _, folder = attended
    numbers = on_a_dark_screen(browser, folder, ".on-paper text")
    assert numbers
    assert all(drawn == shown for drawn, shown in numbers)
    labels = on_a_dark_screen(browser, folder, "text:not(.on-paper *)")
    assert {shown for _, shown in labels} == {"rgb(232, 232, 232)"}


def test_on_a_dark_screen_the_band_of_guessing_is_dark(looked_up, browser):
    _, folder = looked_up
    bands = on_a_dark_screen(browser, folder, "[style*='fill: #eeeeee']")
    assert {shown for _, shown in bands} == {"rgb(31, 34, 40)"}


def test_a_study_gives_a_papers_table_its_rows(looked_up):
    _, folder = looked_up
    plain = {"name": "part", "kind": "study", "protocol": "as it is", "seeds": {"least": 1, "most": 1}}
    asked = {"study": str(folder.path.parent / "small.toml"), "protocol": "paper"}
    part = Part.model_validate(plain | {"experiment": asked})
    samples = KIND.samples(part, folder.records())
    assert list(samples) == KIND.lines(part)
    assert any(sample.values for sample in samples.values())
    assert all(0 <= value <= 100 for sample in samples.values() for value in sample.values.values())
    part = part.model_copy(update={"experiment": {"study": "lookup", "protocol": "papr"}})
    assert "did you mean 'paper'" in " ".join(KIND.problems(part))
