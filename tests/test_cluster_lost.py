"""What a cluster loses: a job's answer with the worker that kept it, the machine that times. Stubs play Dask's side."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

import pytest
from record_builders import experiment

from bench import plan
from bench.basis import build, this_machine
from bench.errors import UserError
from bench.outcomes import NotDone
from bench.progress import title
from bench.workers.dask_worker import Introduction
from bench.workers.worker import Done
from bench.workers.workforce import Terms

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
from bench.workers import roster
from bench.workers.cluster import STRANDINGS, WAITING, Cluster

DONE = Done(outcome=NotDone(status="diverged", reason="as it went"), environment={}, started_utc="", seconds=1.0)
ANSWER = (DONE.model_dump(mode="json"), b"")  # which has no network


class Answer:
    """A job that is over, as the client knows it; fetching what it says may tell another story."""

    def __init__(self, fetch: Callable[[], Any] = lambda: ANSWER, status: str = "finished"):
        self.key, self.status, self._fetch = "", status, fetch

    def result(self, timeout: float) -> Any:
        assert timeout < 60
        return self._fetch()

    def add_done_callback(self, call: Callable[["Answer"], None]) -> None:
        if not isinstance(self, Silence):
            call(self)


class Silence(Answer):
    """A job that no worker is at, and that never ends."""

    def __init__(self) -> None:
        super().__init__(status="pending")


def fails(problem: Exception) -> Answer:
    def fetch() -> None:
        raise problem

    return Answer(fetch)


class Dask:
    """A client whose jobs come to the answers that it was given, one after the other."""

    def __init__(self, answers: Sequence[Answer] = (), status: str = "running") -> None:
        self.status, self._answers = status, list(answers)
        self.keys: list[str] = []
        self.given_up: list[Answer] = []

    def submit(self, *_: object, key: str, **__: object) -> Answer:
        self.keys.append(key)
        answer = self._answers.pop(0)
        answer.key = key
        return answer

    def processing(self) -> dict[str, tuple[str, ...]]:
        return {}

    def cancel(self, futures: Sequence[Answer], *, force: bool) -> None:
        assert force
        self.given_up += futures

    def close(self, timeout: float) -> None:
        pass


def cluster_of(
    client: Dask, monkeypatch: pytest.MonkeyPatch, hosts: Sequence[str] = ("anna",), **options: Any
) -> Cluster:
    """A cluster with a worker on each host, which stays."""
    force = Cluster("tcp://nobody:1", **({"terms": Terms(limit_s=1)} | options))
    for host in hosts:
        join(force, host)
    monkeypatch.setattr(force._roster, "present", lambda: set(force._roster._met))
    monkeypatch.setattr(roster, "LOOK_EVERY_S", 0)
    force._dask.__dict__["_client"] = client
    return force


def join(force: Cluster, host: str) -> None:
    machine = this_machine("cpu")._replace(host=host)
    force._roster._fit[f"worker of {host}"] = Introduction(host, {"cpu": machine}, build(), {"cpu": 1}, {})
    force._roster._met.add(f"worker of {host}")


def asked():
    timing = {"rounds": 1, "self_test": ""}
    return experiment(backends=["scatter"], operators=["gat"], datasets=["blocks"], seeds=[0], timing=timing)


def a_fit():
    return plan.fit_jobs(asked(), plan.cells(asked()), {})


LOST = {
    "lost": Answer(status="lost"),
    "computed anew": Answer(status="pending"),
    "nobody answers": fails(TimeoutError()),
    "the worker is gone": fails(OSError("connection refused")),
    "cancelled": fails(CancelledError()),
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_a_job_whose_answer_was_lost_with_its_worker_is_done_again(lost, monkeypatch):
    client = Dask([lost, Answer()])
    force = cluster_of(client, monkeypatch)
    (job,) = a_fit()
    assert [item for item in force.together([job], title) if item] == [(job, DONE)]
    assert client.given_up == [lost]
    assert len(set(client.keys)) == 2  # Dask takes a job of the same key for the one that it knows


def test_a_network_that_comes_with_an_answer_is_kept_and_one_for_which_there_is_no_room_costs_nothing_else(
    tmp_path, monkeypatch
):
    (job,) = a_fit()
    for folder in (tmp_path, tmp_path / "not there"):
        client = Dask([Answer(lambda: (DONE.model_dump(mode="json"), b"weights"))])
        force = cluster_of(client, monkeypatch, terms=Terms(limit_s=1, models=str(folder)))
        assert [item for item in force.together([job], title) if item] == [(job, DONE)]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {f"{job.id}.pt": b"weights"}


def test_a_job_whose_answer_is_lost_again_and_again_is_an_error(monkeypatch):
    force = cluster_of(Dask([Answer(status="lost") for _ in range(STRANDINGS + 1)]), monkeypatch)
    ((_, done),) = (item for item in force.together(a_fit(), title) if item)
    assert (done.outcome.status, done.outcome.reason) == ("error", "every Dask worker there was died at it, 4 times")


def test_an_answer_that_is_lost_with_the_scheduler_ends_the_run(monkeypatch):
    client = Dask([Answer(status="cancelled")])
    force = cluster_of(client, monkeypatch)
    monkeypatch.setattr(force, "_hand_out", _then_gone(force, client))
    with pytest.raises(UserError, match="the Dask scheduler at tcp://nobody:1 went away"):
        list(force.together(a_fit(), title))


def _then_gone(force: Cluster, client: Dask) -> Callable[..., None]:
    hand_out = force._hand_out

    def both(*arguments: Any) -> None:
        hand_out(*arguments)
        client.status = "closed"

    return both


def test_a_run_whose_timing_machine_died_says_which_and_goes_on_when_it_is_back(monkeypatch):
    client = Dask([Silence(), Answer()])
    force = cluster_of(client, monkeypatch, hosts=("anna", "berta"))
    (job,) = plan.speed_jobs(asked(), plan.cells(asked()), force.machine)
    running = force.alone([job], title)
    assert next(running) is None
    for host in ("anna", "berta"):
        force._heard((0.0, {"key": host, "where": f"{host} cpu:0", "text": "at something"}))
    monkeypatch.setattr(force._roster, "present", lambda: {"worker of berta"})
    assert next(running) is None
    assert force.at_work.keys() == {"berta cpu:0", WAITING}
    assert force.at_work[WAITING].startswith("waiting for anna, where this run's times are made; start a worker there")
    monkeypatch.setattr(force._roster, "present", lambda: set(force._roster._met))
    join(force, "anna")
    assert [item for item in running if item] == [(job, DONE)]
    assert WAITING not in force.at_work


def test_a_run_started_again_times_on_a_machine_that_is_there(monkeypatch):
    assert cluster_of(Dask(), monkeypatch, hosts=("anna", "berta")).machine("cpu").host == "anna"
    assert cluster_of(Dask(), monkeypatch, hosts=("berta",)).machine("cpu").host == "berta"


def test_who_waits_for_a_machine_to_time_on_is_told(monkeypatch):
    said: list[str] = []
    force = cluster_of(Dask(), monkeypatch, hosts=(), say=said.append)
    monkeypatch.setattr(roster, "PATIENCE_S", -1)
    monkeypatch.setattr(force._roster, "look", lambda: join(force, "anna"))
    assert force.machine("cpu").host == "anna"
    assert said == ["waiting for a worker at tcp://nobody:1 that has cpu, to time there"]


def test_tls_without_certificates_is_refused_in_a_sentence():
    with pytest.raises(UserError, match=r"--cluster tls://127\.0\.0\.1:9: Dask cannot speak with it \(TLS expects"):
        Cluster("tls://127.0.0.1:9", Terms(limit_s=1)).machine("cpu")
