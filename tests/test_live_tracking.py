"""MLflow is kept up to date beside a run, and does nothing while jobs are timed."""

import threading

from tracking_tools import GRID, NAME, jobs, some_records, with_store

from bench import records
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
