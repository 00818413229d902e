"""What a cluster loses: a job's answer with the worker that kept it, the machine that times. Stubs play Dask's side."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from queue import Queue
from types import MappingProxyType
from typing import Any

import pytest
from record_builders import experiment

from bench import plan
from bench.basis import build, this_machine
from bench.errors import UserError
from bench.outcomes import NotDone
from bench.progress import title
from bench.workers.dask_worker import Introduction
from bench.workers.pool import CodeChanged
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


class Refused(Answer):
    """A job whose worker found another code on its disk."""

    def __init__(self) -> None:
        super().__init__(status="error")

    def exception(self) -> Exception:
        return CodeChanged("the code was changed")


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

    def run(self, *_: object, **__: object) -> None:
        pass

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


def join(force: Cluster, host: str, device: str = "cpu", lacking: Mapping[str, str] = MappingProxyType({})) -> None:
    machine = this_machine("cpu")._replace(host=host)
    force._roster._met.add(f"worker of {host}")
    force._roster._welcome(
        f"worker of {host}", Introduction(host, {device: machine}, build(), {device: 1}, dict(lacking))
    )


def asked(*devices: str):
    return experiment(
        backends=["scatter"], operators=["gat"], datasets=["blocks"], devices=devices or ("cpu",), seeds=[0],
        timing={"rounds": 1, "self_test": ""},
    )  # fmt: skip


def a_fit(*devices: str):
    return plan.fit_jobs(asked(*devices), plan.cells(asked(*devices)), {})


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


def test_a_worker_whose_code_was_changed_ends_the_run(monkeypatch):
    with pytest.raises(CodeChanged):
        list(cluster_of(Dask([Refused()]), monkeypatch).together(a_fit(), title))


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


ABSENT = {"blocks": "its file is altered"}
NO_BLOCKS = "no worker at tcp://nobody:1 has blocks: its file is altered"


def test_what_no_worker_has_is_left_out_and_said_and_everything_else_is_done(monkeypatch):
    said: list[str] = []
    force = cluster_of(Dask([Answer()]), monkeypatch, say=said.append)
    monkeypatch.setattr(roster, "ABSENT_S", 0)
    on_cuda, on_cpu = a_fit("cuda", "cpu")
    found = {job.id: done for job, done in filter(None, force.together([on_cuda, on_cpu], title))}
    assert found[on_cpu.id] == DONE
    left_out = found[on_cuda.id].outcome
    assert (left_out.status, left_out.reason) == ("unsupported", "no worker at tcp://nobody:1 has cuda")
    assert (force.offers("cpu"), force.offers("cuda")) == (True, False)
    force.close()
    assert len(said) == 1
    assert said[0].startswith("no worker at tcp://nobody:1 has cuda. What needs it was left out; the same command does")


def test_data_that_no_worker_could_bring_are_waited_for_while_somebody_may_come_who_has_them(monkeypatch):
    force = cluster_of(Dask([Answer()]), monkeypatch, hosts=())
    join(force, "anna", lacking=ABSENT)
    (job,) = a_fit()
    running = force.together([job], title)
    assert next(running) is None
    assert force.at_work[WAITING] == f"{NO_BLOCKS}; the run goes on without, if none comes within 60 s"
    join(force, "berta")
    assert [item for item in running if item] == [(job, DONE)]


def test_data_that_no_worker_could_bring_are_left_out_with_the_reason(monkeypatch):
    force = cluster_of(Dask(), monkeypatch, hosts=())
    join(force, "anna", lacking=ABSENT)
    monkeypatch.setattr(roster, "ABSENT_S", 0)
    ((_, done),) = filter(None, force.together(a_fit(), title))
    assert (done.outcome.status, done.outcome.reason) == ("unsupported", NO_BLOCKS)


def test_times_for_which_their_machine_lacks_the_data_are_left_out_though_another_machine_has_them(monkeypatch):
    force = cluster_of(Dask(), monkeypatch, hosts=())
    join(force, "anna", lacking=ABSENT)
    join(force, "berta")
    monkeypatch.setattr(roster, "ABSENT_S", 0)
    ((_, done),) = filter(None, force.alone(plan.speed_jobs(asked(), plan.cells(asked()), force.machine), title))
    said = "no worker on anna, where this run's times are made, has blocks: its file is altered"
    assert (done.outcome.status, done.outcome.reason) == ("unsupported", said)


def test_what_a_worker_had_that_left_is_waited_for(monkeypatch):
    force = cluster_of(Dask(), monkeypatch, hosts=("anna",))
    join(force, "berta", device="cuda")
    monkeypatch.setattr(roster, "ABSENT_S", 0)
    monkeypatch.setattr(force._roster, "present", lambda: {"worker of anna"})
    running = force.together(a_fit("cuda"), title)
    assert [next(running), next(running)] == [None, None]
    assert force.at_work[WAITING] == "waiting for a worker at tcp://nobody:1 that has cuda and blocks"
    running.close()


def test_a_worker_that_is_asked_what_it_has_is_waited_for_and_one_that_cannot_be_reached_is_not(monkeypatch):
    force = cluster_of(Dask(), monkeypatch)
    answers = Queue[Mapping[str, Exception]]()
    monkeypatch.setattr(roster, "ABSENT_S", 0)
    monkeypatch.setattr(force._roster, "present", lambda: {"worker of anna", "worker of berta"})
    monkeypatch.setattr(force._roster, "introductions", lambda addresses: answers.get(timeout=30))
    running = force.together(a_fit("cuda"), title)
    assert [next(running), next(running)] == [None, None]
    answers.put({"worker of berta": OSError("connection refused")})
    assert [done.outcome.status for _, done in filter(None, running)] == ["unsupported"]
    answers.put({"worker of berta": OSError("connection refused")})  # it is asked again


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
