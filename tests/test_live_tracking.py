"""MLflow is kept up to date beside a run, and does nothing while jobs are timed; whatever it says, the run goes on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tracking_tools import GRID, NAME, jobs, some_records, with_store

from bench import cli, records
from bench.folder import ResultsFolder
from bench.views import LiveTracking, live_tracking


def test_while_jobs_are_timed_nothing_is_done_and_afterwards_what_was_missed(empty_store, tmp_path, monkeypatch):
    synced, sync = threading.Event(), LiveTracking._sync
    monkeypatch.setattr(LiveTracking, "EVERY_S", 0.0)
    monkeypatch.setattr(LiveTracking, "_sync", lambda *given, **options: (synced.set(), sync(*given, **options)))
    folder = ResultsFolder(with_store(tmp_path / "results", empty_store) / NAME)
    folder.write_experiment(GRID)
    with live_tracking(None, folder, GRID) as tracking:
        with tracking.quiet():
            for record in some_records():
                records.append(folder.path, record)
                tracking.finished(record)
            assert not synced.wait(1.0)
        assert synced.wait(60)
    assert tracking.trouble == ""
    assert len(jobs(tmp_path / "results")) == 10


@contextmanager
def answering(body: str) -> Iterator[str]:
    """Address of a web server that has one page, whatever it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815 - so it is called

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("body", ["<html>\nWelcome!\n</html>", '{"experiments": "see our page on experiments"}'])
def test_where_something_else_answers_a_run_says_so_and_goes_on(tmp_path, body, capsys):
    folder = ResultsFolder(tmp_path / "results" / NAME)
    folder.write_experiment(GRID)
    with answering(body) as uri:
        with live_tracking(uri, folder, GRID) as tracking:
            pass
        assert tracking.trouble == f"MLflow at {uri}: something other than an MLflow server answers there"
        assert cli.main(["mlflow", "sync", "--mlflow", uri, "--results", str(folder.path.parent)]) == 1
    assert capsys.readouterr() == (f"{NAME}: {tracking.trouble}\n", "")


def test_a_mistake_in_telling_mlflow_is_told_at_the_end_and_leaves_no_traceback(empty_store, tmp_path, monkeypatch):
    def mistaken(*given: object, **options: object) -> None:
        raise RuntimeError("nobody thought of this\nat all")

    monkeypatch.setattr(LiveTracking, "_sync", mistaken)
    folder = ResultsFolder(with_store(tmp_path / "results", empty_store) / NAME)
    folder.write_experiment(GRID)
    with live_tracking(None, folder, GRID) as tracking:
        pass
    assert tracking.trouble.endswith("(RuntimeError: nobody thought of this)")
