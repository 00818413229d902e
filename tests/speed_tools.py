"""Records of timed rounds with ceilings, and of a step that grows, as a run would leave them."""

from typing import Any

import record_builders as build

from bench.config import Architecture, Experiment, Timing
from bench.outcomes import Ceilings
from bench.records import Record
from bench.report.results import Results
from bench.settings import varied
from bench.work import CellKey, SpeedJob

TOP = Ceilings(gemm_flops_per_s=30e9, copy_bytes_per_s=10e9, free_bytes=2**33)
SIZES = {"features": 1433, "stored_features": 49216, "ceilings": TOP}


def asked(**changes: Any) -> Experiment:
    timing = Timing(rounds=3, ceilings=True)
    basics = {"backends": ("pyg", "dgl", "scatter"), "operators": ("gat",), "seeds": (), "timing": timing}
    return build.experiment(statistics={"rivals": ("pyg", "dgl")}, **(basics | changes))


def timed(backend: str, seconds: list[float], dataset: str = "cora", **changes: Any) -> list[Record]:
    """One record for each round; `changes` are of the outcome."""
    cell = build.key(backend, dataset=dataset)
    tracks = [{"as_shipped": value, "same_input": value / 2} for value in seconds]
    return [_changed(build.speed(cell, number, of_round), **changes) for number, of_round in enumerate(tracks)]


def _changed(record: Record, **changes: Any) -> Record:
    return record.model_copy(update={"outcome": record.outcome.model_copy(update=SIZES | changes)})


def passed(experiment: Experiment) -> list[Record]:
    return [
        build.parity(CellKey(backend, operator, dataset, "cpu"))
        for dataset in experiment.datasets
        for operator in experiment.operators
        for backend in experiment.backends
    ]


def results(records: list[Record], **changes: Any) -> Results:
    experiment = asked(**changes)
    return Results.of(experiment, [*passed(experiment), *records])


GROWING = {f"powerlaw-n{nodes}-d10": nodes for nodes in (1000, 2000, 4000)}


def growing(**others: Any) -> Results:
    """Time ~ nodes^1.5, and ~ heads^0.5; `others` are what the experiment's file says otherwise."""
    timing = Timing(rounds=1)
    sweep = {"architecture.heads": (2, 4)}
    changes: dict[str, Any] = {"datasets": tuple(GROWING), "timing": timing, "sweep": sweep, "backends": ("pyg", "dgl")}
    changes |= others
    records = [
        record for name, nodes in GROWING.items() for record in timed("pyg", [(nodes / 1000) ** 1.5], dataset=name)
    ]
    for (name, value), architecture in varied(asked(**changes)).items():
        growth = (int(value) / 8) ** 0.5 if name == "architecture.heads" else 1.0
        records.append(_of_architecture(records[0], architecture, growth))
    return results(records, **changes)


def _of_architecture(record: Record, architecture: Architecture, seconds: float) -> Record:
    assert isinstance(record.job, SpeedJob)
    (made,) = timed("pyg", [seconds], dataset=record.job.dataset)
    job = record.job.model_copy(update={"architecture": architecture})
    return made.model_copy(update={"job": job, "id": job.id})
