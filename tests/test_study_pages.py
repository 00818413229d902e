"""`bench studies`: Optuna's dashboard over what was tuned."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import optuna
import pytest
from server_tools import listened_at
from test_tuning import Hill, search

from bench.errors import UserError
from bench.tuning import study_store
from bench.tuning.pages import serve


@pytest.fixture
def results(tmp_path):
    """Two experiments with a study of the same name."""
    for name in ("first", "second"):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        with study_store.opened(study_store.default_url(folder)) as storage:
            study = optuna.create_study(study_name="gat cora", storage=storage, direction="maximize")
            study.add_trial(optuna.trial.create_trial(value=0.8, params={}, distributions={}))
    return tmp_path / "results"


def stores(results):
    return sorted(results.glob(f"*/{study_store.NAME}"))


def test_studies_of_all_experiments_stand_side_by_side_by_folder(results):
    copy = study_store.gathered(stores(results))
    assert optuna.get_all_study_names(copy) == ["first · gat cora", "second · gat cora"]
    assert optuna.load_study(study_name="first · gat cora", storage=copy).best_value == 0.8


def test_what_is_deleted_in_the_dashboard_stays_in_the_folder(results):
    copy = study_store.gathered(stores(results))
    optuna.delete_study(study_name="first · gat cora", storage=copy)
    assert optuna.get_all_study_names(study_store.default_url(results / "first")) == ["gat cora"]


def of_another_version(store: Path) -> None:
    """As an Optuna of years ago would have left it."""
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v0.9.0.a'")


def test_a_store_of_another_version_of_optuna_is_named_with_the_cure(results):
    store = results / "first" / study_store.NAME
    of_another_version(store)
    with pytest.raises(study_store.StudyStoreUnavailable, match="another version of Optuna made its tables") as refused:
        study_store.gathered(stores(results))
    assert str(refused.value).startswith(f"the Optuna store {store}: ")
    assert refused.value.cure.startswith("move it away")


def test_a_study_in_a_store_of_another_version_of_optuna_is_not_begun(results):
    of_another_version(results / "first" / study_store.NAME)
    with pytest.raises(study_store.StudyStoreUnavailable, match="another version of Optuna made its tables"):
        search(study_store.default_url(results / "first"), Hill(), trials=1)


@contextmanager
def served(results: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """`bench studies` as a person runs it, and the address that it says."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "studies", "--results", str(results), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    address = f"http://127.0.0.1:{port}/"
    assert process.stdout.readline() == f"Optuna's dashboard is at {address}\n"
    assert process.stdout.readline() == "Ctrl-C stops it.\n"
    try:
        yield process, address
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.browser
def test_it_serves_on_loopback_until_ctrl_c(results):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed; `make studies` brings it")
    with served(results) as (process, address):
        summaries = _answer(f"{address}api/studies")["study_summaries"]
        assert {study["study_name"] for study in summaries} == {"first · gat cora", "second · gat cora"}
        assert listened_at(process.pid) == {"127.0.0.1"}
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors


@pytest.mark.browser
def test_ctrl_c_stops_it_in_the_middle_of_an_answer(results):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed; `make studies` brings it")
    with served(results) as (process, address):
        _answer(f"{address}api/studies")
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with reader:  # asks for megabytes and takes a byte
            reader.connect(("127.0.0.1", urlsplit(address).port))
            reader.sendall(b"GET /static/bundle.js HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
            assert reader.recv(1)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_in_a_browser_the_dashboard_shows_a_study_with_its_best_value(results, browser):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed; `make studies` brings it")
    with served(results) as (_, address):
        _answer(f"{address}api/studies")
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        heard = []
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.append(request.url) if elsewhere(request.url, address) else None)
        page.goto(address)
        page.get_by_text("second · gat cora").first.wait_for(timeout=60_000)
        page.get_by_text("first · gat cora").first.click(timeout=60_000)
        page.get_by_text(re.compile("Best Trial")).first.wait_for(timeout=60_000)
        page.get_by_text(re.compile(r"0\.8\b")).first.wait_for(timeout=60_000)
        page.close()
    assert heard == []


def elsewhere(url: str, address: str) -> bool:
    return not url.startswith((address, "data:", "blob:"))


def _answer(address):
    for _ in range(100):
        try:
            return json.load(urlopen(address))
        except OSError:
            time.sleep(0.1)
    raise AssertionError("no answer")


@pytest.mark.browser
def test_a_folder_without_studies_is_a_mistake_in_one_line(tmp_path):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed; `make studies` brings it")
    with pytest.raises(UserError, match="no study here"):
        serve(tmp_path, 8080)


@pytest.mark.browser
def test_a_damaged_store_is_named_with_the_cure(results):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed; `make studies` brings it")
    (results / "first" / study_store.NAME).write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    with pytest.raises(UserError, match=r"first/optuna\.db.*`bench run`"):
        serve(results, 8080)
