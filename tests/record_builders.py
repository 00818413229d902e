"""Records as a run would leave them, for tests of what is made of records."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from bench import settings
from bench.config import Architecture, Choice, Experiment, FloatRange, Protocol, Timing, Training, Tuning
from bench.outcomes import Check, Checked, Fitted, NotDone, Outcome, Samples, Timed, TrackTiming, Trial, Tuned
from bench.records import Record
from bench.work import CellKey, FitJob, Job, ParityJob, SpeedJob, TuneJob

NODES, EDGES = 2708, 13264
SPACE: dict[str, FloatRange | Choice] = {"training.lr": FloatRange(low=0.001, high=0.1, log=True)}
TUNED = {"training.lr": 0.01}
ENVIRONMENT = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": "no",
    "python": "3.11.9",
    "torch": "2.13.0",
    "cpu": "AMD EPYC 7R13",
    "cores": "2",
    "os": "Linux",
    "host": "bench-1",
    "version/torch-geometric": "2.8.1",
    "version/dgl": "1.1.3",
}


def experiment(**changes: Any) -> Experiment:
    """A small grid on one data set; `changes` replace what the file would say."""
    asked: dict[str, Any] = {
        "title": "GAT and GATv2 on Cora",
        "backends": ("dense", "scatter", "pyg", "dgl"),
        "operators": ("gat", "gatv2"),
        "datasets": ("cora",),
        "devices": ("cpu",),
        "seeds": tuple(range(10)),
        "timing": Timing(rounds=5, self_test="pyg"),
    }
    return Experiment(**(asked | changes))


def tuned_experiment(**changes: Any) -> Experiment:
    """The same with a study per operator."""
    return experiment(tuning=Tuning(trials=3, seeds=(90,), space=SPACE), **changes)


def key(backend: str = "pyg", operator: str = "gat", dataset: str = "cora", device: str = "cpu") -> CellKey:
    return CellKey(backend, operator, dataset, device)


def otherwise(recorded: Record, **outcome: Any) -> Record:
    """What another code would have said to the same question."""
    job = recorded.job.model_copy(update={"basis": "another code"})
    said = recorded.outcome.model_copy(update=outcome)
    return recorded.model_copy(update={"id": job.id, "job": job, "outcome": said})


def record(job: Job, outcome: Outcome, day: int = 1, seconds: float = 2.0) -> Record:
    return Record(
        id=job.id,
        experiment="default",
        job=job,
        outcome=outcome,
        environment=ENVIRONMENT,
        started_utc=f"2026-01-{day:02d}T12:00:00+00:00",
        seconds=seconds,
    )


def parity(cell: CellKey, passed: bool = True) -> Record:
    checks = tuple(
        Check(name=name, graph=graph, dtype=dtype, difference=1e-4 * tolerance, tolerance=tolerance, passed=True)
        for name in ("output", "gradient of x")
        for graph in ("cora", "hub")
        for dtype, tolerance in (("float64", 1e-10), ("float32", 2e-5))
    )
    checks += (Check(name="signs", graph="dropout", dtype="float64", difference=0.0, tolerance=0.0, passed=True),)
    if not passed:
        checks += (
            Check(name="attention", graph="hub", dtype="float64", difference=0.3, tolerance=1e-10, passed=False),
        )
    return record(ParityJob(**_place(cell)), Checked(passed=passed, checks=checks))


def fit_job(cell: CellKey, seed: int, **changes: Any) -> FitJob:
    architecture, training = settings.apply(changes.get("tuned", {}), Architecture(), Training())
    applied = {"architecture": architecture, "training": training, "seed": seed}
    return FitJob(**(_place(cell) | applied | changes))


def fit(cell: CellKey, seed: int, test: float, **changes: Any) -> Record:
    outcome = Fitted(
        seed=seed,
        epochs=200 + seed,
        best_epoch=100 + seed,
        validation=test - 0.01,
        test=test,
        parameters=92373,
        curves={"accuracy/validation": (0.3, 0.7, test - 0.01)},
    )
    return record(fit_job(cell, seed, **changes), outcome)


def fits(cell: CellKey, tests: Iterable[float], **changes: Any) -> list[Record]:
    return [fit(cell, seed, test, **changes) for seed, test in enumerate(tests)]


def speed_job(cell: CellKey, round_: int, threads: int = 1, replica: int = 0) -> SpeedJob:
    return SpeedJob(
        **_place(cell),
        training=Training(),
        timing=Timing(rounds=5),
        threads=threads,
        round=round_,
        replica=replica,
    )


def speed(
    cell: CellKey,
    round_: int,
    train_s: dict[str, float],
    *,
    threads: int = 1,
    replica: int = 0,
    without: dict[str, str] | None = None,
    jitter: float = 0.01,
    peak_bytes: int | None = 80 * 2**20,
) -> Record:
    """One round; the median training step of each track is exactly its value."""
    tracks = {
        track: TrackTiming(
            train=_samples(seconds, jitter),
            evaluate=_samples(seconds / 4, jitter),
            first_step_s=3 * seconds,
            peak_bytes=peak_bytes,
        )
        for track, seconds in train_s.items()
    }
    outcome = Timed(tracks=tracks, prepare_s=0.004, nodes=NODES, edges=EDGES, threads=threads, without=without or {})
    return record(speed_job(cell, round_, threads, replica), outcome)


def with_training_samples(recorded: Record, samples: Samples) -> Record:
    """A round whose training steps were sampled so, in every track."""
    tracks = {name: track.model_copy(update={"train": samples}) for name, track in recorded.outcome.tracks.items()}
    return recorded.model_copy(update={"outcome": recorded.outcome.model_copy(update={"tracks": tracks})})


def study(operator: str = "gat", best: dict[str, Any] | None = None, backend: str = "scatter") -> Record:
    settings = best or TUNED
    trials = (
        Trial(number=0, settings={"training.lr": 0.005}, state="complete", values={90: 0.80}, epochs=150),
        Trial(number=1, settings=settings, state="complete", values={90: 0.82}, epochs=140),
        Trial(number=2, settings={"training.lr": 0.1}, state="pruned", values={90: 0.5}, epochs=30),
    )
    outcome = Tuned(best=settings, best_trial=1, validation=0.82, trials=trials, study=f"{operator}-cora")
    job = TuneJob(
        **_place(key(backend, operator)),
        training=Training(),
        trials=3,
        seeds=(90,),
        space=SPACE,
        shared=True,
    )
    return record(job, outcome, seconds=60)


def not_done(job: Job, status: Any, reason: str, day: int = 1) -> Record:
    return record(job, NotDone(status=status, reason=reason), day)


def parity_job(cell: CellKey) -> ParityJob:
    return ParityJob(**_place(cell))


def whole_run() -> list[Record]:
    """What `tuned_experiment` may leave: everything that a report must be able to show."""
    draw = random.Random(0)
    records: list[Record] = []
    for operator in ("gat", "gatv2"):
        records.append(study(operator))
        for backend in ("dense", "scatter", "pyg", "dgl"):
            records.append(parity(key(backend, operator), passed=(backend, operator) != ("dgl", "gatv2")))
        records += _all_fits(operator, draw)
        records += _all_speeds(operator, draw)
    return records


def _all_fits(operator: str, draw: random.Random) -> list[Record]:
    budget = "would take 2 h 13 min for 10 seeds, allowed 10 min"
    records = [not_done(fit_job(key("dense", operator), seed, tuned=TUNED), "budget", budget) for seed in range(10)]
    level = 0.815 if operator == "gat" else 0.809
    by_seed = [level + draw.gauss(0, 0.008) for _ in range(10)]
    records += fits(key("scatter", operator), by_seed, tuned=TUNED)
    records += fits(key("pyg", operator), [value + draw.gauss(0, 0.003) for value in by_seed], tuned=TUNED)
    if operator == "gat":
        records += fits(key("dgl", operator), [value + draw.gauss(0.015, 0.004) for value in by_seed[:9]], tuned=TUNED)
        records.append(
            not_done(fit_job(key("dgl", operator), 9, tuned=TUNED), "diverged", "the loss was nan in epoch 17")
        )
    return records


def _all_speeds(operator: str, draw: random.Random) -> list[Record]:
    typical = {"dense": (7.4, None), "scatter": (0.155, 0.034), "pyg": (0.16, 0.036), "dgl": (0.163, 0.041)}
    records = []
    for round_ in range(5):
        machine = draw.gauss(1, 0.03)
        for backend, (as_shipped, same_input) in typical.items():
            for replica in (0, 1) if (backend, operator) == ("pyg", "gat") else (0,):
                if (backend, operator) == ("dgl", "gatv2"):
                    continue
                times = {"as_shipped": as_shipped * machine * draw.gauss(1, 0.008)}
                if same_input:
                    times["same_input"] = same_input * machine * draw.gauss(1, 0.008)
                without = {} if same_input else {"same_input": "dense takes no sparse features"}
                records.append(speed(key(backend, operator), round_, times, replica=replica, without=without))
    return records


def _samples(seconds: float, jitter: float) -> Samples:
    values: Sequence[float] = [seconds * (1 + jitter * offset) for offset in (-1, -0.5, 0, 0.5, 1)]
    return Samples(steps=4, seconds=tuple(values), warmup=(2 * seconds, *[seconds] * 6))


def _place(cell: CellKey) -> dict[str, Any]:
    return cell._asdict() | {"protocol": Protocol(), "architecture": Architecture(), "basis": "b"}
