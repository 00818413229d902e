"""Jobs handed to a real Dask scheduler and real workers on loopback."""

import contextlib
import itertools
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cluster_tools import Dask, dask, forwarding
from fault_tools import BENCH, ROOT, bench, is_a_users_error, succeeds, tiny
from record_builders import record
from server_tools import agrees
from span_tools import most_at_once, timings_are_alone
from test_kill import studies_agree, substance
from test_paper_tables import TABLE as SMALL_TABLE
from test_runner import changed, timed

from bench import plan, records, saved_model
from bench.basis import build
from bench.errors import UserError
from bench.folder import ResultsFolder
from bench.jobs import run_job
from bench.options import Options
from bench.outcomes import Checked, Fitted
from bench.plugins import DEVICES
from bench.postgres import free_port
from bench.progress import PlainDisplay, title
from bench.rig import Place
from bench.runner import Grid, Unheard
from bench.tracking import mlflow_store
from bench.workers import roster
from bench.workers.dask_worker import device_resource
from bench.workers.engage import engage
from bench.workers.workforce import Terms

Client = pytest.importorskip("distributed", reason="the extra `cluster` is not installed").Client
TERMS = Terms(limit_s=120)
SPARE = Path(__file__).parent / "spare"


def fits(small, seeds: int):
    experiment = changed(small, backends=["scatter"], seeds=list(range(seeds)))
    return plan.fit_jobs(experiment, plan.cells(experiment), {})


def finished(workforce, jobs, each=lambda: None):
    """Id -> outcome of everything that comes out, which must be each job once."""
    found = []
    for item in workforce.together(jobs, title):
        each()
        if item is not None:
            found.append(item)
    assert sorted(job.id for job, _ in found) == sorted(job.id for job in jobs)
    return {job.id: done.outcome for job, done in found}


def in_substance(outcome):
    assert isinstance(outcome, Fitted), outcome
    return (outcome.test, outcome.validation, outcome.epochs)


def test_a_fit_on_a_dask_worker_gives_what_it_gives_here(small, tmp_path, cpu):
    jobs, terms = fits(small, 2), replace(TERMS, models=str(tmp_path / "there"))
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    with (
        dask(tmp_path / "dask", workers=1) as cluster,
        contextlib.closing(engage(terms, ["blocks"], cluster.address)) as force,
    ):
        outcomes = finished(force, jobs)
        assert (force.size("cpu"), force.at_work) == (1, {})
    here = {job.id: run_job(job, Place(cpu.slots()[0], models=str(tmp_path / "here"))) for job in jobs}
    for job in jobs:
        states = [
            saved_model.load(saved_model.path(tmp_path / at, job.id)).network.state_dict() for at in ("here", "there")
        ]
        torch.testing.assert_close(*states)
    assert {id_: in_substance(found) for id_, found in outcomes.items()} == {
        id_: in_substance(found) for id_, found in here.items()
    }


@pytest.mark.slow
def test_an_experiment_on_a_cluster_leaves_the_records_that_one_machine_leaves(tmp_path):
    experiment = tiny(tmp_path)
    succeeds("run", experiment, "--mlflow", "off", "--results", tmp_path / "one")
    with dask(tmp_path / "dask", workers=2) as cluster:
        options = ("--mlflow", "off", "--results", tmp_path / "many", "--cluster", cluster.address)
        succeeds("run", experiment, *options)
        again = bench("run", experiment, *options)
    assert again.returncode == 0
    assert substance(tmp_path / "many" / "tiny") == substance(tmp_path / "one" / "tiny")
    kept = [{path.name for path in (tmp_path / at / "tiny" / "models").iterdir()} for at in ("many", "one")]
    assert kept[0] == kept[1] != set()


@pytest.mark.slow
def test_a_cluster_that_lacks_a_device_of_the_experiment_does_everything_else(small, tmp_path, monkeypatch):
    if DEVICES.get("cuda").unavailable() is None:
        pytest.skip("this machine has the device that a worker here should lack")
    monkeypatch.setattr(roster, "ABSENT_S", 1.0)
    cells = {"operators": ["gat", "gatv2"], "devices": ["cuda", "cpu"]}
    asked = changed(timed(small), backends=["scatter"], seeds=[0], **cells)
    folder = ResultsFolder(tmp_path / "grid")
    folder.write_experiment(asked)
    early = next(job for job in plan.parity_jobs(asked) if (job.operator, job.device) == ("gat", "cuda"))
    records.append(folder.path, record(early, Checked(passed=True, checks=())))  # when there was a worker with it
    with dask(tmp_path / "dask", workers=1) as cluster:
        assert Grid(asked, folder, PlainDisplay(), Unheard(), Options(cluster=cluster.address)).run() == 0
    found = {(each.job.device, each.job.operator, each.job.phase): each.outcome for each in folder.records()}
    assert {where: outcome.kind for where, outcome in found.items() if where[0] == "cpu"} == {
        ("cpu", operator, phase): phase for operator in asked.operators for phase in ("parity", "speed", "fit")
    }
    lacking = {where[1:]: outcome for where, outcome in found.items() if where[0] == "cuda"}
    assert lacking.keys() == {("gat", "parity"), ("gat", "fit"), ("gatv2", "parity")}
    for where in (("gat", "fit"), ("gatv2", "parity")):
        assert (lacking[where].status, "has cuda" in lacking[where].reason) == ("unsupported", True)


@pytest.fixture
def spare(monkeypatch) -> Iterator[None]:
    """Another package with a kind of device is installed: here, and in the workers."""
    monkeypatch.syspath_prepend(str(SPARE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SPARE), os.environ.get("PYTHONPATH", "")]))
    DEVICES.__dict__.pop("_announced", None)
    yield
    DEVICES.__dict__.pop("_announced", None)


@pytest.mark.slow
@pytest.mark.usefixtures("spare")
def test_each_kind_of_device_that_a_worker_has_is_offered_and_gets_its_own_jobs_one_a_unit(small, tmp_path):
    asked = changed(timed(small), backends=["scatter"], devices=["cpu", "spare"], seeds=[0, 1, 2])
    folder = ResultsFolder(tmp_path / "grid")
    folder.write_experiment(asked)
    with dask(tmp_path / "dask") as cluster:
        cluster.add_worker(threads=2)
        grid = Grid(asked, folder, PlainDisplay(), Unheard(), Options(cluster=cluster.address))
        assert grid.run() == 0
        with Client(cluster.address, set_as_default=False) as client:
            (worker,) = client.scheduler_info()["workers"].values()
    assert worker["resources"][device_resource("spare", build())] == 1
    assert worker["resources"][device_resource("cpu", build())] == min(2, len(os.sched_getaffinity(0)))
    found = folder.records()
    on_spare = [each for each in found if each.job.device == "spare"]
    assert [each.outcome.kind for each in on_spare] == ["parity", "speed", "fit", "fit", "fit"]
    assert {each.environment["device"] for each in on_spare} == {"a stand-in"}
    assert "a stand-in" not in {each.environment["device"] for each in found if each not in on_spare}
    assert most_at_once(on_spare) == 1
    assert timings_are_alone(found)


@pytest.mark.slow
def test_a_papers_table_on_a_cluster_gets_the_values_that_one_machine_gets(tmp_path):
    table = tmp_path / "small.toml"
    table.write_text(SMALL_TABLE)
    succeeds("tables", table, "--mlflow", "off", "--results", tmp_path / "one")
    with dask(tmp_path / "dask", workers=2) as cluster:
        succeeds("tables", table, "--mlflow", "off", "--results", tmp_path / "many", "--cluster", cluster.address)
    assert substance(tmp_path / "many" / "small") == substance(tmp_path / "one" / "small")


@pytest.mark.slow
@pytest.mark.faults
def test_workers_killed_at_a_job_of_each_phase_lose_no_job_and_double_none(tmp_path):
    experiment = tiny(tmp_path, MORE_SEEDS)
    succeeds("run", experiment, "--mlflow", "off", "--results", tmp_path / "calm")
    with dask(tmp_path / "dask") as cluster:
        cluster.add_worker(nanny=True)
        cluster.add_worker(nanny=True)
        run = start(experiment, tmp_path / "wild", cluster)
        for phase in PHASES:
            worker, _ = at_work(cluster, run, phase)
            os.kill(worker, signal.SIGKILL)
        _, errors = run.communicate()
    assert run.returncode == 0, errors
    assert substance(tmp_path / "wild" / "tiny") == substance(tmp_path / "calm" / "tiny")
    studies_agree(tmp_path / "wild" / "tiny")


@pytest.mark.slow
@pytest.mark.faults
def test_a_runner_killed_at_a_job_of_each_phase_goes_on_where_it_was_and_all_that_it_left_agrees(tmp_path):
    experiment, wild = tiny(tmp_path, MORE_SEEDS), tmp_path / "wild"
    succeeds("run", experiment, "--mlflow", "off", "--results", tmp_path / "calm")
    uri, killed = mlflow_store.default_uri(wild), set[str]()
    with dask(tmp_path / "dask", workers=2) as cluster:
        for phase in PHASES:
            run = start(experiment, wild, cluster, uri)
            killed.add(at_work(cluster, run, phase, but_of=killed)[1])
            run.send_signal(signal.SIGKILL)
            run.communicate()
        run = start(experiment, wild, cluster, uri)
        _, errors = run.communicate()
    assert run.returncode == 0, errors
    assert substance(wild / "tiny") == substance(tmp_path / "calm" / "tiny")
    studies_agree(wild / "tiny")
    agrees(uri, wild / "tiny")


@pytest.mark.slow
@pytest.mark.faults
def test_the_job_of_a_worker_killed_while_at_it_is_done_by_another(small, tmp_path):
    jobs = fits(small, 6)
    with (
        dask(tmp_path / "dask", workers=2) as cluster,
        contextlib.closing(engage(TERMS, ["blocks"], cluster.address)) as force,
    ):
        killed = []

        def kill_who_works():
            if not killed and len(force.at_work) == 2:
                cluster.kill_worker(0)
                killed.append(0)

        outcomes = finished(force, jobs, kill_who_works)
    assert killed
    assert all(isinstance(outcome, Fitted) for outcome in outcomes.values())


@pytest.mark.slow
@pytest.mark.faults
def test_a_worker_with_other_code_is_named_and_gets_no_job(small, tmp_path):
    for package in ("bench", "implementations"):
        shutil.copytree(ROOT / package, tmp_path / "other" / package)
    with (tmp_path / "other" / "bench" / "training" / "train.py").open("a") as file:
        file.write("\n# another version\n")
    said: list[str] = []
    with dask(tmp_path / "dask") as cluster:
        cluster.add_worker(code=tmp_path / "other")
        with contextlib.closing(engage(TERMS, ["blocks"], cluster.address, say=said.append)) as force:
            for item in force.together(fits(small, 1), title):
                assert item is None
                if said:
                    break
            assert force.size("cpu") == 0
    assert "is not used: it has code" in said[0]
    assert "\n" not in said[0]


@pytest.mark.slow
@pytest.mark.faults
def test_when_the_scheduler_goes_the_run_says_so_in_one_line(tmp_path):
    with dask(tmp_path / "dask", workers=1) as cluster:
        run = start(tiny(tmp_path), tmp_path / "results", cluster)
        deadline = time.monotonic() + 180
        while not (tmp_path / "results" / "tiny" / "records.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        cluster.scheduler.kill()
        _, errors = run.communicate(timeout=120)
    assert run.returncode == 2
    assert errors.splitlines()[-1].startswith(f"bench: the Dask scheduler at {cluster.address} went away")
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.faults
def test_when_the_scheduler_goes_while_no_job_is_at_work_the_run_says_so_and_ends_quietly(small, tmp_path):
    with dask(tmp_path / "dask") as cluster:
        force = engage(TERMS, ["blocks"], cluster.address)
        waiting = force.together(fits(small, 1), title)
        assert next(waiting) is None
        cluster.scheduler.kill()
        with pytest.raises(UserError, match=f"the Dask scheduler at {cluster.address} went away"):
            deque(waiting, maxlen=0)
        force.close()


@pytest.mark.slow
@pytest.mark.faults
def test_a_worker_that_cannot_be_reached_at_first_is_asked_again(small, tmp_path, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    door, behind = free_port(), free_port()
    way = ("--listen-address", f"tcp://127.0.0.1:{behind}", "--contact-address", f"tcp://127.0.0.1:{door}")
    with dask(tmp_path / "dask") as cluster, contextlib.ExitStack() as opened:
        cluster.add_worker(options=way)
        with Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(1)
        with contextlib.closing(engage(TERMS, ["blocks"], cluster.address)) as force:
            waiting = itertools.count()

            def open_after_a_while():
                if (tick := next(waiting)) == 30:
                    opened.enter_context(forwarding(door, behind))
                assert force.size("cpu") or tick < 300

            outcomes = finished(force, fits(small, 1), open_after_a_while)
    assert all(isinstance(outcome, Fitted) for outcome in outcomes.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:9", "no Dask scheduler answers there"),
        ("nothing://127.0.0.1:9", "no Dask scheduler answers there"),
        ("tls://127.0.0.1:9", "where TLS has its certificates"),
    ],
)
def test_a_cluster_that_does_not_answer_is_named_in_one_line(tmp_path, address, said):
    done = bench("run", tiny(tmp_path), "--mlflow", "off", "--results", tmp_path, "--cluster", address)
    assert is_a_users_error(done)
    assert said in done.stderr


class Answering(socketserver.BaseRequestHandler):
    """Somebody else, who says something that is no Dask."""

    def handle(self):
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9)


class Silent(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(2**20)
        time.sleep(60)


@contextlib.contextmanager
def listening(handler) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "tcp://{}:{}".format(*server.server_address)
        server.shutdown()


@pytest.mark.parametrize("address", ["foo", "tcp://nosuchhost.invalid:8786", "tcp://127.0.0.1:1"])
def test_a_mistyped_address_is_answered_in_seconds(address):
    begun = time.monotonic()
    with pytest.raises(UserError, match="no Dask scheduler answers there"):
        engage(TERMS, cluster=address).reach()
    assert time.monotonic() - begun < 8  # three, and what the machine is at besides


@pytest.mark.parametrize("handler", [Answering, Silent])
def test_somebody_who_is_no_scheduler_is_not_waited_for_without_end(handler, monkeypatch):
    monkeypatch.setattr("bench.workers.connection.CONNECT_S", 2)
    with listening(handler) as address, pytest.raises(UserError, match="no Dask scheduler answers there"):
        engage(TERMS, cluster=address).reach()


@pytest.mark.usefixtures("no_data")
def test_a_grid_asks_whether_its_cluster_is_there_before_it_brings_data(small, tmp_path):
    asked = changed(small, datasets=["cora"])
    grid = Grid(asked, ResultsFolder(tmp_path / "grid"), PlainDisplay(), Unheard(), Options(cluster="foo"))
    with pytest.raises(UserError, match="--cluster foo"):
        grid.run()
    assert list(tmp_path.iterdir()) == []


MORE_SEEDS = ("seeds = [0, 1, 2]", "seeds = [0, 1, 2, 3, 4, 5]")
PHASES = ("parity", "speed", "tune", "fit")


def at_work(
    cluster: Dask, run: subprocess.Popen[str], phase: str, but_of: Collection[str] = (), within_s: float = 180.0
) -> tuple[int, str]:
    """The process of a worker that has a job of this phase in hand, and whose run's job it is; none of `but_of`."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for worker, key in cluster.at_work().items():
            of_phase, _, runner, _ = key.split("-")
            if of_phase == phase and runner not in but_of:
                assert run.poll() is None
                return worker, runner
        assert run.poll() is None, f"the run ended, and nobody saw its {phase}"
        time.sleep(0.05)
    raise AssertionError(f"no worker came to a job of {phase}")


def start(experiment: Path, results: Path, cluster: Dask, uri: str = "off") -> subprocess.Popen[str]:
    command = [*BENCH, "run", str(experiment), "--mlflow", uri, "--results", str(results)]
    return subprocess.Popen(
        [*command, "--cluster", cluster.address], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_two_workers_share_40_equal_jobs(small, tmp_path, record_property, capsys):
    """What it takes against one worker is a report, for the machine may be busy; 0.5 is the best there is."""
    experiment = changed(small, backends=["scatter"], seeds=list(range(40)), training={"max_epochs": 200})
    jobs = plan.fit_jobs(experiment, plan.cells(experiment), {})
    taken_s = {}
    for workers in (1, 2):
        with (
            dask(tmp_path / f"dask-{workers}", workers=workers) as cluster,
            contextlib.closing(engage(TERMS, ["blocks"], cluster.address)) as force,
        ):
            while force.size("cpu") < workers:
                force.machine("cpu")
                finished(force, jobs[:1])
            finished(force, jobs[: 2 * workers])  # every child process has started
            begun = time.monotonic()
            finished(force, jobs)
            taken_s[workers] = time.monotonic() - begun
    ratio = taken_s[2] / taken_s[1]
    record_property("two workers / one worker", ratio)
    with capsys.disabled():
        sys.stdout.write(f"\n40 jobs: {taken_s[1]:.1f} s on one worker, {taken_s[2]:.1f} s on two, ratio {ratio:.2f}\n")
