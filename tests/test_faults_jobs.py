"""What befalls the process of a job: it is killed, it hangs with children, it takes more memory than it may."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from fault_tools import BENCH, FOREIGN, ROOT, TINY
from grid_tools import changed, outcome_of, run, timed

from bench import plan
from bench.jobs import run_job
from bench.outcomes import Checked, Fitted
from bench.rig import Place
from bench.workers.pool import ATTEMPTS, Worker
from bench.workers.scratch import Scratch

HOLD = """
from bench.workers.scratch import Scratch
scratch = Scratch()
(scratch.path / "a file").touch()
print(scratch.path, flush=True)
input()
"""
# Two children in sessions of their own, whose numbers it says; it sees to whichever of them ends.
TWO_CHILDREN = """
import os, subprocess
print(*(subprocess.Popen(["sleep", "600"], start_new_session=True).pid for _ in range(2)), flush=True)
while True:
    os.wait()
"""
pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("foreign")]


def are_gone(pids: list[int], within_s: float = 30.0) -> bool:
    """Dead, or waiting for nothing but their parent's attention."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(map(is_alive, pids)):
            return True
        time.sleep(0.1)
    return False


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_job_whose_process_is_killed_is_run_again_and_nothing_shows_of_it(small, tmp_path, monkeypatch):
    shots = tmp_path / "shots"
    shots.mkdir()
    (shots / "1").touch()
    monkeypatch.setenv("SHOTS", str(shots))
    errors, found, _ = run(changed(small, backends=["shot"]), tmp_path)
    assert errors == 0
    assert list(shots.iterdir()) == []
    assert [type(record.outcome) for record in found] == [Checked, Fitted, Fitted]


@pytest.mark.slow
def test_a_job_that_is_killed_every_time_is_an_error_that_the_next_run_looks_at_anew(small, tmp_path):
    errors, found, _ = run(changed(small, backends=["shot", "scatter"]), tmp_path)
    outcome = outcome_of(found, "shot")
    assert errors == 1
    assert (outcome.status, f"{ATTEMPTS} times in a row" in outcome.reason) == ("error", True)
    assert {record.job.backend for record in found if isinstance(record.outcome, Fitted)} == {"scatter"}


def test_a_job_that_takes_more_memory_than_it_may_says_so_and_the_grid_goes_on(small, tmp_path):
    limited = changed(timed(small), backends=["hoarding", "scatter"], budget={"memory_gib": 0.5})
    errors, found, _ = run(limited, tmp_path)
    outcome = outcome_of(found, "hoarding")
    assert errors == 0
    assert (outcome.status, "1073741824 bytes" in outcome.reason) == ("out_of_memory", True)
    assert {record.job.backend for record in found if isinstance(record.outcome, Fitted)} == {"scatter"}


@pytest.mark.parametrize(
    "said",
    [
        "std::bad_alloc",
        "[enforce fail at alloc_cpu.cpp:128] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9 B.",
        "unable to mmap 4096 bytes from file </data/x.bin>: Cannot allocate memory (12)",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "MPS backend out of memory (MPS allocated: 8.0 GB, max allowed: 9.1 GB). Tried to allocate 2.0 GB",
    ],
)
def test_in_whatever_words_a_library_says_that_memory_has_ended_the_job_is_out_of_memory(small, cpu, monkeypatch, said):
    monkeypatch.setenv("SAYS", said)
    (job,) = plan.parity_jobs(changed(small, backends=["failing"]))
    outcome = run_job(job, Place(cpu.slots()[0]))
    assert (outcome.status, outcome.reason) == ("out_of_memory", said)


def test_a_library_that_ends_the_process_for_want_of_memory_is_out_of_memory_and_no_crash(small, tmp_path):
    errors, found, _ = run(changed(small, backends=["throwing", "scatter"]), tmp_path)
    outcome = outcome_of(found, "throwing")
    assert (errors, outcome.status) == (0, "out_of_memory")
    assert "signal 6" in outcome.reason
    assert {record.job.backend for record in found if isinstance(record.outcome, Fitted)} == {"scatter"}


def test_a_hanging_job_is_killed_with_all_its_children(small, tmp_path, monkeypatch):
    children = tmp_path / "children"
    monkeypatch.setenv("CHILDREN", str(children))
    _, found, _ = run(changed(small, backends=["parent"], budget={"job_s": 40}), tmp_path)
    assert outcome_of(found, "parent").status == "timeout"
    assert are_gone([int(pid) for pid in children.read_text().split()])


def test_a_child_that_ends_while_its_job_is_killed_saves_none_of_the_others(monkeypatch):
    command = [sys.executable, "-c", TWO_CHILDREN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        listed = psutil.Process.children

        def ends_meanwhile(process, recursive=False):
            found = listed(process, recursive)
            found[0].kill()
            gone(found[0].pid)
            return found

        monkeypatch.setattr(psutil.Process, "children", ends_meanwhile)
        worker = Worker()
        worker._process = parent
        worker.kill()
    try:
        assert are_gone(pids, within_s=5)
    finally:
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)


def gone(pid: int, within_s: float = 30.0) -> None:
    """Return once its parent has seen to its end."""
    deadline = time.monotonic() + within_s
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_when_the_runner_is_killed_its_workers_end_with_what_they_started(tmp_path):
    experiment, children = tmp_path / "e.toml", tmp_path / "children"
    experiment.write_text(TINY.replace('"scatter"', '"parent"'))
    command = [*BENCH, "run", str(experiment), "--mlflow", "off", "--results", str(tmp_path / "results")]
    environment = os.environ | {"CHILDREN": str(children), "PYTHONPATH": f"{FOREIGN}{os.pathsep}{ROOT}"}
    runner = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pids = [int(pid) for pid in wait_for_text(children).split()]
    worker = psutil.Process(pids[0]).ppid()
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    try:
        assert are_gone([worker, *pids])
    finally:
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)


def test_what_a_job_leaves_in_the_temporary_folder_goes_with_its_process(small, tmp_path, monkeypatch):
    temporary, litter = tmp_path / "temporary", tmp_path / "litter"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("LITTER", str(litter))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))  # is kept, by intent
    run(changed(small, backends=["littering"]), tmp_path)
    left = [Path(line) for line in litter.read_text().split()]
    assert left
    assert {path.parent.parent for path in left} == {temporary}
    assert list(temporary.iterdir()) == []


def test_what_a_killed_run_left_in_the_temporary_folder_the_next_removes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None
        theirs = Path(holder.stdout.readline().strip())
        ours = Scratch()
        assert theirs.exists(), "its holder lives"
        holder.kill()
    another = Scratch()
    assert (theirs.exists(), ours.path.exists()) == (False, True)
    for scratch in (ours, another):
        scratch.close()
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_cannot_be_locked_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def knows_no_locks(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", knows_no_locks)
    with pytest.raises(OSError, match=f"{os.strerror(errno.ENOLCK)}: '{tmp_path}"):
        Scratch()
    assert (list(tmp_path.iterdir()), opened_below(tmp_path)) == ([], [])


def test_a_folder_that_is_swept_before_it_is_held_is_followed_by_another(tmp_path, monkeypatch):
    lock, swept = fcntl.flock, []

    def too_late(folder: int, how: int) -> None:
        if not swept:
            swept.append(Path(f"/proc/self/fd/{folder}").readlink())
            swept[0].rmdir()
        lock(folder, how)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", too_late)
    scratch = Scratch()
    assert [path == scratch.path for path in (*swept, *tmp_path.iterdir())] == [False, True]
    scratch.close()
    assert opened_below(tmp_path) == []


def test_a_process_that_cannot_be_started_leaves_neither_folder_nor_open_file(small, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(FileNotFoundError, match="no-python"):
        Worker().start(plan.parity_jobs(small)[0])
    assert (list(tmp_path.iterdir()), opened_below(tmp_path)) == ([], [])


def opened_below(folder: Path) -> list[Path]:
    """What this process has open there, removed files included."""
    opened = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
    return [path for path in opened if path.is_relative_to(folder)]


def wait_for_text(path: Path, within_s: float = 120.0) -> str:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if path.exists() and len(path.read_text().split()) == 3:
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} was not written")
