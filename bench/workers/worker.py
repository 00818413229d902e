"""A child process that runs jobs: one JSON line in per job, progress lines and one outcome line out.

Asked to, it imports and loads ahead of a job what that needs, and says when it is ready. It runs no job whose code on
disk is not the one that the runner has planned it with, and says that instead.

Never imports MLflow. Ends when its standard input does, so a killed runner leaves no worker behind.
"""

import contextlib
import ctypes
import json
import os
import queue
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any

import psutil
from pydantic import BaseModel, TypeAdapter

from bench import environment, jobs, rig
from bench.basis import Code
from bench.outcomes import Outcome
from bench.plugins import BACKENDS, DEVICES
from bench.work import Job, LookupJob

JOB: TypeAdapter[Job] = TypeAdapter(Job)
PROGRESS_EVERY_S = 0.5
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Done(BaseModel):
    """What a worker says of one job."""

    outcome: Outcome
    environment: dict[str, str]
    started_utc: str
    seconds: float


def main() -> None:
    """Serve jobs until standard input ends."""
    _adopt_orphans()
    answers = _claim_stdout()
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    while True:
        request = json.loads(requests.get())
        if "ahead" in request:
            _bring(JOB.validate_python(request["ahead"]))
            _answer(answers, {"ready": True})
            continue
        job = JOB.validate_python(request["job"])
        if not all(_is_planned(job.phase, Code(tuple(files), digest)) for files, digest in request["code"]):
            _answer(answers, {"changed": True})
            continue
        done = _serve(job, rig.Place(**request["place"]), answers)
        _answer(answers, {"done": done.model_dump(mode="json")})


# Only before the first job of a kind: what later ones of the same need is imported by then.
@cache
def _is_planned(phase: str, code: Code) -> bool:
    del phase
    return code.is_on_disk()


def _bring(job: Job) -> None:
    with contextlib.suppress(Exception):  # whatever is wrong, the job itself will say
        if not isinstance(job, LookupJob):
            rig.bring(job)


def _serve(job: Job, place: rig.Place, answers: Any) -> Done:
    started, start = datetime.now(UTC).isoformat(timespec="milliseconds"), time.perf_counter()
    last_s = 0.0

    def progress(text: str) -> None:
        nonlocal last_s
        if (now_s := time.perf_counter()) - last_s >= PROGRESS_EVERY_S:
            last_s = now_s
            _answer(answers, {"progress": text})

    outcome = jobs.run_job(job, place, progress)
    seconds = round(time.perf_counter() - start, 3)
    return Done(outcome=outcome, environment=_environment(job), started_utc=started, seconds=seconds)


def _environment(job: Job) -> dict[str, str]:
    device = DEVICES.get(job.device)
    described = {} if device.unavailable() else device.describe()
    packages = ("torch", *(BACKENDS.get(job.backend).packages if job.backend in BACKENDS.names() else ()))
    return environment.describe(tuple(dict.fromkeys(packages))) | described


def _claim_stdout() -> Any:
    """Keep the real standard output for answers; whatever a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _adopt_orphans() -> None:
    """What a job's children leave behind becomes a child of this process, so that it can be found and ended with it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _read_requests(requests: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        requests.put(line)
    kill_below(os.getpid())
    if os.getpgrp() == os.getpid():  # as the runner starts it: what the job itself has started ends with it
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def kill_below(pid: int) -> None:
    """Kill what a process has started, if it is there; each for itself, for any of them may end meanwhile."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _answer(answers: Any, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
