"""Whose processes the kernel killed for memory: a job that somebody kills has not run out of it because others have."""

import pytest

from bench.workers import pool


@pytest.fixture(autouse=True)
def kernel(monkeypatch, tmp_path):
    """Its files: this process lies in /user/session, and on the whole machine five were killed."""
    monkeypatch.setattr(pool, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(pool, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(pool, "VMSTAT", tmp_path / "vmstat")
    (tmp_path / "cgroup").write_text("4:memory:/another\n0::/user/session\n")
    (tmp_path / "vmstat").write_text("pgfault 9\noom_kill 5\n")
    (tmp_path / "groups" / "user" / "session").mkdir(parents=True)
    return tmp_path


def count(folder, kills: int) -> None:
    (folder / "memory.events").write_text(f"oom 7\noom_kill {kills}\noom_group_kill 0\n")


def test_kills_are_counted_in_the_inmost_group_that_counts_them(kernel):
    count(kernel / "groups" / "user", kills=2)
    assert pool._oom_kills() == 2
    count(kernel / "groups" / "user" / "session", kills=1)
    assert pool._oom_kills() == 1


def test_kills_are_those_of_the_whole_machine_where_no_group_counts_them(kernel):
    assert pool._oom_kills() == 5
    (kernel / "cgroup").unlink()
    assert pool._oom_kills() == 5


def test_how_many_were_killed_is_not_known_where_nothing_counts_them(kernel):
    (kernel / "vmstat").unlink()
    assert pool._oom_kills() is None
