"""Jobs that run alone: each in a fresh process, started ahead with a few others, and idle while another runs."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from bench.basis import Code
from bench.config import Experiment
from bench.outcomes import Timed
from bench.plan import cells, speed_jobs
from bench.work import Job
from bench.workers import crew as crews
from bench.workers.crew import WAITS, Crew
from bench.workers.engage import engage
from bench.workers.pool import CodeChanged, Worker
from bench.workers.slots import Claim, of_machine
from bench.workers.workforce import Terms


def jobs(count: int, **changes: Any) -> list[Job]:
    asked = Experiment.model_validate(
        {
            "title": "alone",
            "backends": ["scatter", "pyg"],
            "operators": ["gat"],
            "datasets": ["blocks"],
            "devices": ["cpu"],
            "seeds": [],
            "timing": {"rounds": 2, "samples": 2, "min_sample_s": 0.001, "max_phase_s": 0.2},
        }
        | changes
    )
    return speed_jobs(asked, cells(asked))[:count]


@pytest.fixture
def told(monkeypatch) -> list[tuple[str, int]]:
    """What is done to which process, in order."""
    events: list[tuple[str, int]] = []
    start, run = Worker.start, Worker.run

    def started(worker, job):
        start(worker, job)
        events.append(("start", worker._process.pid))

    def ran(worker, job, *rest):
        pid = worker._process.pid if worker._process else 0
        events.append(("run", pid))
        waiting = [other for kind, other in events if kind == "start" and other != pid and psutil.pid_exists(other)]
        before = [sum(psutil.Process(other).cpu_times()[:2]) for other in waiting]
        done = run(worker, job, *rest)
        after = [sum(psutil.Process(other).cpu_times()[:2]) for other in waiting]
        assert after == pytest.approx(before, abs=0.011), "a process beside the one that is timed had something to do"
        events.append(("ran", pid))
        return done

    monkeypatch.setattr(Worker, "start", started)
    monkeypatch.setattr(Worker, "run", ran)
    return events


def crew(**changes: Any) -> Crew:
    return Crew(lambda device: [f"cpu:{min(os.sched_getaffinity(0))}"] * 2, limit_s=120, **changes)


def test_processes_are_started_a_few_at_a_time_and_each_runs_one_job_alone(told):
    found = [item for item in crew().alone(jobs(3), str) if item]
    assert [type(done.outcome) for _, done in found] == [Timed] * 3
    kinds = [kind for kind, _ in told]
    assert kinds == ["start", "start", "run", "ran", "run", "ran", "start", "run", "ran"]
    ran = [pid for kind, pid in told if kind == "ran"]
    assert len(set(ran)) == 3
    assert sorted(ran) == sorted(pid for kind, pid in told if kind == "start")
    assert not any(map(psutil.pid_exists, ran))


def test_leaving_early_ends_the_processes_that_wait_for_their_job_too(told):
    run = crew().alone(jobs(2), str)
    next(item for item in run if item)
    run.close()
    started = [pid for kind, pid in told if kind == "start"]
    assert len(started) == 2
    assert not any(map(psutil.pid_exists, started))


def test_who_is_killed_while_it_waits_is_replaced_and_its_job_is_done(monkeypatch):
    start = Worker.start

    def killed_at_once(worker, job):
        start(worker, job)
        os.kill(worker._process.pid, signal.SIGKILL)

    monkeypatch.setattr(Worker, "start", killed_at_once)
    assert [type(done.outcome) for _, done in filter(None, crew().alone(jobs(2), str))] == [Timed, Timed]


def test_what_cannot_be_brought_ahead_is_said_by_the_job():
    found = [item for item in crew().alone(jobs(1, datasets=["ppi"]), str) if item]
    assert found[0][1].outcome.status == "unsupported"


def test_no_more_processes_wait_than_are_allowed(told, monkeypatch):
    monkeypatch.setattr(crews, "AHEAD", 1)
    list(crew().alone(jobs(2), str))
    assert [kind for kind, _ in told] == ["start", "run", "ran"] * 2


def test_under_a_limit_of_memory_which_counts_what_a_job_loads_nothing_is_loaded_ahead(told):
    found = [item for item in crew(memory_bytes=2**31).alone(jobs(1), str) if item]
    assert [type(done.outcome) for _, done in found] == [Timed]
    assert "start" not in dict(told)


def test_a_process_that_finds_another_code_than_its_job_was_planned_with_runs_nothing(told):
    planned = Code(("bench/rounds.py",), "of what it held before")
    with pytest.raises(CodeChanged, match="the same command goes on with the code of now"):
        list(crew(code=lambda job: [planned]).alone(jobs(1), str))
    assert "ran" not in dict(told)


@pytest.fixture
def here() -> Iterator[Crew]:
    """What a run has that is alone in its terminal, though not on its machine."""
    with contextlib.closing(engage(Terms(limit_s=120), most=1)) as crew:
        yield crew


def test_a_job_waits_until_no_other_run_uses_its_slot_and_says_so(here, told):
    (slot,) = here.slots("cpu")
    with Claim([slot]) as other:
        assert other.is_held()
        run = here.together(jobs(1), str)
        assert next(run) is None
        assert (here.at_work, told) == ({slot: WAITS}, [])
    assert [type(done.outcome) for _, done in filter(None, run)] == [Timed]
    with Claim([slot]) as other:
        assert other.is_held()


def test_timing_waits_until_no_other_run_uses_any_slot_of_the_machine_and_lets_none_begin(here, told):
    with Claim(of_machine()[-1:]) as other:
        assert other.is_held()
        run = here.alone(jobs(1), str)
        assert next(run) is None
        assert (list(here.at_work.values()), told) == ([WAITS], [])
    found = []
    for item in run:
        found += [item] if item else []
        if told and not found:
            with Claim(of_machine()[-1:]) as other:
                assert not other.is_held()
    assert [type(done.outcome) for _, done in found] == [Timed]


def test_a_run_that_ends_while_it_waits_or_times_holds_nothing_afterwards(here, told):
    with Claim(of_machine()[-1:]) as other:
        assert other.is_held()
        for run in (here.alone(jobs(1), str), here.together(jobs(1), str)):
            next(run)
            run.close()
    next(timing := here.alone(jobs(1), str))
    here.close()
    with Claim(of_machine()) as whole:
        assert whole.is_held()
    timing.close()


def test_a_job_that_is_given_up_takes_its_process_along_and_the_next_on_its_slot_is_done():
    lasting = crew()
    run = lasting.together(jobs(1), str, most=1)
    assert next(run) is None  # at work, or its process is being started
    run.close()
    assert lasting.take(lasting.slots("cpu")[0]) is None
    found = [item for item in lasting.together(jobs(1), str, most=1) if item]
    lasting.close()
    assert [type(done.outcome) for _, done in found] == [Timed]
