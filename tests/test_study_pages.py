"""`bench studies`: Optuna's dashboard over what was tuned."""

import json
import signal
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import optuna
import pytest

from bench import study_store
from bench.errors import UserError
from bench.study_pages import serve


@pytest.fixture
def results(tmp_path):
    """Two experiments with a study of the same name."""
    for name in ("first", "second"):
        folder = tmp_path / "results" / name
        folder.mkdir(parents=True)
        storage = study_store.open_storage(study_store.default_url(folder))
        study = optuna.create_study(study_name="gat cora", storage=storage, direction="maximize")
        study.add_trial(optuna.trial.create_trial(value=0.8, params={}, distributions={}))
        storage.engine.dispose()
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


def test_it_serves_on_loopback_until_ctrl_c(results):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed; `make studies` brings it")
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
    assert process.stdout.readline() == f"Optuna's dashboard is at http://127.0.0.1:{port}/\n"
    assert process.stdout.readline() == "Ctrl-C stops it.\n"
    served = _answer(f"http://127.0.0.1:{port}/api/studies")
    assert {study["study_name"] for study in served["study_summaries"]} == {"first · gat cora", "second · gat cora"}
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors


def _answer(address):
    for _ in range(100):
        try:
            return json.load(urlopen(address))
        except OSError:
            time.sleep(0.1)
    raise AssertionError("no answer")


def test_a_folder_without_studies_is_a_mistake_in_one_line(tmp_path):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed; `make studies` brings it")
    with pytest.raises(UserError, match="no study here"):
        serve(tmp_path, 8080)


def test_a_damaged_store_is_named_with_the_cure(results):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed; `make studies` brings it")
    (results / "first" / study_store.NAME).write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    with pytest.raises(UserError, match=r"first/optuna\.db.*`bench run`"):
        serve(results, 8080)
