"""`bench ui` with a real MLflow server on loopback."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import psutil
import pytest
import record_builders as build
from mlflow import MlflowClient
from server_tools import listened_at

from bench.errors import UserError
from bench.folder import ResultsFolder
from bench.report.rows import rows
from bench.tracking import mlflow_store
from bench.tracking.writer import Tracking
from bench.ui import serve

ROOT = Path(__file__).resolve().parent.parent
GRID = build.tuned_experiment(backends=("pyg", "dgl"), operators=("gat",), seeds=(0, 1))
ACCURACIES = {"pyg": (0.81, 0.82), "dgl": (0.83, 0.84)}
RECORDS = [
    build.study(),
    *(fit for name, found in ACCURACIES.items() for fit in build.fits(build.key(name), found, tuned=build.TUNED)),
    *(build.speed(build.key(name), 0, {"as_shipped": 0.1, "same_input": 0.1}) for name in ACCURACIES),
]


ELSEWHERE = "sqlite:////nowhere/else.db"
"""Another store, which a user's environment names; ours is the one that was asked for."""


class Ui:
    """`bench ui` as a person runs it."""

    def __init__(self, results: Path, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.store = mlflow_store.default_uri(results)
        command = [sys.executable, "-m", "bench", "ui", "--results", str(results), "--port", str(port)]
        self.process = subprocess.Popen(
            [*command, "--mlflow", self.store],
            cwd=ROOT,
            env=os.environ | dict.fromkeys(("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI"), ELSEWHERE),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if "Ctrl-C" in line:
                break

    def links(self) -> list[str]:
        return re.findall(r"http://\S+/#/\S+", "\n".join(self.lines))

    def stop(self) -> tuple[str, str]:
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one experiment, in a folder whose name asks for trouble."""
    folder = tmp_path_factory.mktemp("ui") / "my results, ü"
    ResultsFolder(folder / "default").write_experiment(GRID)
    Tracking(None, folder).sync("default", GRID, RECORDS, rows(GRID, RECORDS), live=False)
    return folder


@pytest.fixture(scope="module")
def ui(results: Path) -> Iterator[Ui]:
    """Starting MLflow takes many seconds, so the tests share one."""
    ui = Ui(results, free_port())
    yield ui
    if ui.process.poll() is None:
        ui.stop()


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def test_the_link_opens_the_runs_in_the_model_training_view(ui):
    cells, charts, jobs, trials = ui.links()
    assert charts == f"{cells}&compareRunsMode=CHART"
    assert trials.endswith("viewStateShareKey=gat-bench-trials&compareRunsMode=CHART")
    assert urlopen(cells).status == 200
    client = MlflowClient(ui.address)
    for link, name, view in ((cells, "default", "cells"), (jobs, "default · jobs", "jobs")):
        experiment = client.get_experiment_by_name(name)
        place = urlsplit(urlsplit(link).fragment)
        asked = parse_qs(place.query)
        assert place.path == f"/experiments/{experiment.experiment_id}/runs"
        assert asked == {"workflowType": ["machine_learning"], "viewStateShareKey": [f"gat-bench-{view}"]}
        assert f"mlflow.sharedViewState.gat-bench-{view}" in experiment.tags


@pytest.mark.faults
def test_it_listens_on_this_machine_alone(ui):
    assert listened_at(ui.process.pid) == {"127.0.0.1"}


@pytest.mark.faults
def test_no_command_line_but_the_users_own_tells_the_store_whose_uri_may_have_a_password(ui):
    started = psutil.Process(ui.process.pid).children(recursive=True)
    lines = [" ".join(each.cmdline()) for each in started]
    assert any("mlflow server" in line for line in lines)
    assert [line for line in lines if ui.store in line] == []


@pytest.fixture
def page(browser) -> Iterator:
    """A window whose scripts must not complain, without the panel that MLflow opens upon the first visit of all."""
    shown = browser.new_page(viewport={"width": 1440, "height": 900})
    shown.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
    complaints = []
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    yield shown
    shown.close()
    assert complaints == []


def wait_for(page, *texts):
    for text in texts:
        page.get_by_text(text).first.wait_for(timeout=120_000)


def test_in_a_browser_the_link_shows_each_back_end_with_its_figure(ui, page):
    page.goto(ui.links()[0], timeout=120_000)
    wait_for(page, "pyg · gat · cora", "dgl · gat · cora")
    wait_for(page, re.compile(r"^81\.5"), re.compile(r"^83\.5"))  # the means of their two seeds, in percent


def test_in_a_browser_the_charts_show_each_back_end_by_accuracy_and_throughput(ui, page):
    page.goto(ui.links()[1], timeout=120_000)
    wait_for(page, "Accuracy against throughput: right and up is better")
    charts = page.get_by_test_id("experiment-view-compare-runs-card").filter(has=page.locator(".scatterlayer"))
    page.locator(".scatterlayer .point").nth(3).wait_for(timeout=120_000)
    for chart, track in zip(charts.all(), ("as_shipped", "same_input"), strict=True):
        assert chart.locator(".scatterlayer .point").count() == len(ACCURACIES)
        said = chart.locator("text.xtitle, text.ytitle").all_text_contents()
        assert said == [f"{track}/edges_per_s", "accuracy_test_pct_mean"]


def test_in_a_browser_seeds_and_rounds_fold_under_their_back_end(ui, page):
    page.goto(ui.links()[2], timeout=120_000)
    wait_for(page, "fit seed 0000 · pyg · gat · cora · cpu")
    rows = page.locator(".ag-pinned-left-cols-container [role=row]").all_inner_texts()
    shown = [re.search(r"(Group|fit|speed|tune)\b[^\n]+", row)[0] for row in rows]
    assert shown == [
        *grouped("dgl · gat · cora · cpu", fit=["seed 0000", "seed 0001"], speed=["round 000, 001 threads"]),
        *grouped("pyg · gat · cora · cpu", fit=["seed 0000", "seed 0001"], speed=["round 000, 001 threads"]),
        "Group: cell: scatter · gat · cora · cpu, phase: tune",
        "tune · gat · cora",
    ]


def grouped(cell: str, **jobs: list[str]) -> Iterator[str]:
    """The lines of a cell's groups, each with its jobs."""
    for phase, numbers in jobs.items():
        yield f"Group: cell: {cell}, phase: {phase}"
        yield from (f"{phase} {number} · {cell}" for number in numbers)


def test_in_a_browser_a_study_is_drawn_as_parallel_coordinates_of_its_settings(ui, page):
    page.goto(ui.links()[3], timeout=120_000)
    wait_for(page, "The settings that were tried, and what they reached")
    axes = page.locator(".parcoords .dimension")
    axes.first.wait_for(timeout=120_000)
    said = axes.all_text_contents()
    assert [
        text.endswith(name)
        for text, name in zip(said, ("operator", "training.lr", "accuracy_validation_pct"), strict=True)
    ] == [True] * 3


def test_it_says_how_to_stop_it(ui):
    assert ui.lines[-1] == "Ctrl-C stops it."


def test_it_serves_what_was_logged_and_its_files(ui):
    client = MlflowClient(ui.address)
    experiment = client.get_experiment_by_name("default · jobs").experiment_id
    jobs = client.search_runs([experiment], "params.phase = 'fit'")
    assert len(jobs) == 4
    address = f"{ui.address}/get-artifact?path=record.json&run_uuid={jobs[0].info.run_id}"
    assert b'"kind": "fit"' in urlopen(address).read()


def test_a_server_is_as_good_a_store_as_a_file(ui, tmp_path, capfd):
    for _ in range(2):
        tracking = Tracking(ui.address, tmp_path)
        tracking.sync("remote", GRID, RECORDS, rows(GRID, RECORDS), live=True)
        tracking.finish("remote")
    client = MlflowClient(ui.address)
    counts = [
        len(client.search_runs([client.get_experiment_by_name(name).experiment_id]))
        for name in ("remote", "remote · jobs")
    ]
    assert counts == [2, len(RECORDS) + 3]  # three trials
    assert capfd.readouterr().out == ""


def test_for_a_server_that_runs_already_it_only_says_where_to_look(ui, tmp_path, capsys):
    serve(tmp_path, 5000, ui.address)
    assert ui.links()[0] in capsys.readouterr().out


def test_a_port_that_is_taken_is_one_line_with_the_cure(ui, results):
    port = urlsplit(ui.address).port
    assert port
    with pytest.raises(UserError, match=rf"^port {port} on 127.0.0.1 is taken.*`make ui PORT=\d+`$"):
        serve(results, port, None)


@pytest.mark.faults
def test_ctrl_c_ends_it_without_leftovers(ui):
    children = psutil.Process(ui.process.pid).children(recursive=True)
    assert len(children) >= 2
    assert ui.stop() == ("", "")
    assert ui.process.returncode == 0
    assert [child for child in children if child.is_running()] == []


def test_when_nothing_has_been_run_it_says_so_and_exits_with_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bench", "ui", "--results", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nothing has been run here yet; `make bench` does" in done.stderr


@pytest.mark.faults
def test_when_only_the_store_is_gone_it_says_how_to_get_it_back(tmp_path):
    ResultsFolder(tmp_path / "default").write_experiment(GRID)
    with pytest.raises(UserError, match="`bench mlflow sync` makes it from the records"):
        serve(tmp_path, 5000, None)


@pytest.mark.faults
def test_a_damaged_store_is_named_before_a_server_is_started(tmp_path):
    (tmp_path / mlflow_store.NAME).write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    with pytest.raises(UserError, match=r"mlflow\.db is damaged .*`bench mlflow sync`"):
        serve(tmp_path, 5000, None)


@pytest.mark.faults
def test_a_server_that_is_down_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^no MLflow server answers at http://127.0.0.1:\d+: [^\n]+$"):
        serve(tmp_path, 5000, f"http://127.0.0.1:{free_port()}")


def test_a_port_that_does_not_exist_is_refused(results):
    with pytest.raises(UserError, match="port 70000 does not exist"):
        serve(results, 70000, None)
