"""The runner's side of a worker: start it, hand it jobs, bound their time, and see it die."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from bench.basis import Code
from bench.errors import UserError
from bench.outcomes import NotDone
from bench.rig import Place
from bench.work import Job
from bench.workers.scratch import Scratch
from bench.workers.worker import Done, kill_below

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# glibc gives freed memory back to the system and takes it again by rules that depend on the order of allocations. A fit
# on Cora then has 40,000 page faults or 450,000, up to a tenth of its time, by luck. So it keeps what it once had.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(2**40)}
COMPILED = "TORCHINDUCTOR_CACHE_DIR"
CGROUP, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
VMSTAT = Path("/proc/vmstat")
ATTEMPTS = 3
BAD_ALLOC = "std::bad_alloc"  # what C++ says as it ends a process
KILLED = NotDone(status="error", reason=f"somebody killed the job's process (signal 9), {ATTEMPTS} times in a row")
OUT_OF_MEMORY = NotDone(status="out_of_memory", reason="the system killed the job (signal 9): memory had ended")


class CodeChanged(UserError):
    """The code on disk is not the one that a job was planned with."""


class Worker:
    """One child process; started at the first job, and again after it was killed."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._errors: IO[str] | None = None
        self._scratch: Scratch | None = None
        self._given_up = False

    def start(self, job: Job) -> None:
        """Start the child, and have it import and load what a job needs before the job is run."""
        with contextlib.suppress(BrokenPipeError):  # it died at once; `run` starts another
            self._send({"ahead": job.model_dump(mode="json")})

    def is_ready(self, wait_s: float) -> bool:
        """Whether a started child needs no more waiting for: it is ready, or died."""
        try:
            if self._answers.get(timeout=wait_s) is None:
                self.close()
        except queue.Empty:
            return False
        return True

    def run(
        self, job: Job, code: Sequence[Code], place: Place, limit_s: float, on_progress: Callable[[str], None]
    ) -> Done:
        """Run one job; a crash or a timeout is an outcome, and a child that somebody killed is replaced.

        Raises:
            CodeChanged: the child found another code on disk than the job's.
        """
        request = {"job": job.model_dump(mode="json"), "code": code, "place": asdict(place)}
        for _ in range(ATTEMPTS):
            oom_kills = _oom_kills()
            done = self._attempt(request, limit_s, on_progress)
            if done.outcome != KILLED or self._given_up:
                break
            if oom_kills is None or oom_kills != _oom_kills():
                return done.model_copy(update={"outcome": OUT_OF_MEMORY})
        return done

    def _attempt(self, request: dict[str, Any], limit_s: float, on_progress: Callable[[str], None]) -> Done:
        started, start = datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic()
        outcome = None
        try:
            self._send(request)
            while True:
                line = self._answers.get(timeout=max(0.0, start + limit_s - time.monotonic()))
                if line is None:
                    outcome = self._crashed()
                    break
                answer = json.loads(line)
                if "done" in answer:
                    return Done.model_validate(answer["done"])
                if "changed" in answer:
                    raise CodeChanged(
                        "the code was changed while the run went on; what was finished is recorded, and the same "
                        "command goes on with the code of now"
                    )
                if "progress" in answer:  # else it says late that it was ready
                    on_progress(answer["progress"])
        except queue.Empty:
            outcome = NotDone(status="timeout", reason=f"killed after its limit of {limit_s:.0f} s")
        except BrokenPipeError:
            outcome = self._crashed()
        self.close()
        seconds = round(time.monotonic() - start, 3)
        return Done(outcome=outcome, environment={}, started_utc=started, seconds=seconds)

    def kill(self) -> None:
        """Kill the child for good; may be called while another thread is in `run`, which then ends."""
        self._given_up = True
        self._kill_process()

    def _kill_process(self) -> None:
        """With its own children, also those that left its process group."""
        if (process := self._process) is None:
            return
        kill_below(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the child, if it lives, and release what belongs to it."""
        streams = [self._errors]
        if self._process is not None:
            self._kill_process()
            self._process.wait()
            streams.append(self._process.stdin)
        for stream in filter(None, streams):
            _close(stream)
        if self._scratch is not None:
            self._scratch.close()
        self._process = self._errors = self._scratch = None

    def _send(self, request: dict[str, Any]) -> None:
        process = self._process or self._start()
        assert process.stdin is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()

    def _start(self) -> subprocess.Popen[str]:
        self._answers = queue.SimpleQueue()
        try:
            self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed with the child
            self._scratch = Scratch()
            self._process = process = self._child(self._errors, self._scratch.path)
        except OSError:
            self.close()
            raise
        threading.Thread(target=_forward, args=(process.stdout, self._answers), daemon=True).start()
        if self._given_up:  # `kill` came too early to find the process
            self._kill_process()
        return process

    def _child(self, errors: IO[str], temporary: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "bench.workers.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(self._threads) | _temporary(temporary),
            start_new_session=True,
        )

    def _crashed(self) -> NotDone:
        assert self._process is not None
        code = self._process.wait()
        detail = self._last_errors()
        if code == -signal.SIGKILL:
            return KILLED
        if code == -signal.SIGABRT and BAD_ALLOC in detail:  # thrown where nobody caught it: C++ ends the process
            reason = "the job's process ended itself (signal 6): a library got no memory"
            return NotDone(status="out_of_memory", reason=reason, detail=detail)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return NotDone(status="error", reason=f"the job's process died with {how}", detail=detail)

    def _last_errors(self) -> str:
        if self._errors is None:
            return ""
        self._errors.flush()
        self._errors.seek(0)
        return self._errors.read()[-4000:]


def environment(threads: int) -> dict[str, str]:
    """What every measured process is started with: its number of threads, and memory that stays once it is had."""
    return os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)) | ALLOCATOR


def _temporary(folder: Path) -> dict[str, str]:
    """A temporary folder of one's own; only what torch compiles stays where it serves the next process, too."""
    cache = Path(tempfile.gettempdir()) / f"torchinductor_{os.getuid()}"
    return {"TMPDIR": str(folder), COMPILED: os.environ.get(COMPILED, str(cache))}


def _oom_kills() -> int | None:
    """Processes that the kernel has killed for memory so far, as the first counter that there is says."""
    for counter in _oom_counters():
        with contextlib.suppress(OSError):
            for line in counter.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return None


def _oom_counters() -> Iterator[Path]:
    """Of the control groups that this process lies in, as its children do, from the inmost; then the whole machine's.

    What the last one counts may have been anybody's.
    """
    with contextlib.suppress(OSError):
        for line in CGROUP.read_text().splitlines():
            if line.startswith("0::/"):
                inmost = CGROUPS / line.removeprefix("0::/")
                yield from (group / "memory.events" for group in (inmost, *inmost.parents))
    yield VMSTAT


def _forward(stream: IO[str], answers: "queue.SimpleQueue[str | None]") -> None:
    with stream:
        for line in stream:
            if line.endswith("\n"):  # a child that was killed may leave half an answer
                answers.put(line)
    answers.put(None)


def _close(stream: IO[str]) -> None:
    with contextlib.suppress(BrokenPipeError):  # a request that the dead child never read
        stream.close()
