"""Every back end is trained on the very same sampled parts of a graph."""

import pytest
import torch

from bench.config import Experiment
from bench.jobs import run_job
from bench.plan import cells, fit_jobs
from bench.rig import Place, Rig, task_of
from bench.training import parts
from bench.training.parts import Part
from bench.work import FitJob

BACKENDS = ("scatter", "dense", "pyg", "dgl", "fused")
BATCHES = {
    "neighbours": {"by": "neighbours", "targets": 30, "fanout": [4, 3], "shuffle": True},
    "random walks": {"by": "random walks", "roots": 20, "length": 3, "steps": 4},
}


def jobs(by: str) -> list[FitJob]:
    """One fit on each back end, without dropout: what then differs is what it saw, or rounding."""
    asked = Experiment.model_validate(
        {
            "title": "sampled",
            "backends": BACKENDS,
            "operators": ["gatv2"],
            "datasets": ["blocks"],
            "devices": ["cpu"],
            "seeds": [3],
            "protocol": {"dtype": "float64"},
            "architecture": {"feature_dropout": 0.0, "attention_dropout": 0.0},
            "training": {"max_epochs": 4, "batches": BATCHES[by]},
            "timing": {"rounds": 0},
        }
    )
    return fit_jobs(asked, cells(asked), {})


def seen(job: FitJob, place: Place, monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """Every part that a fit on this back end gets in two epochs, before it takes the back end's own form."""
    rig, found = Rig.of(job, place), []
    inputs = Rig.inputs
    with monkeypatch.context() as patch:
        patch.setattr(Rig, "inputs", lambda self, part, features: (found.append(part), inputs(self, part, features))[1])
        material = rig.material(task_of(job.dataset, job.protocol, job.seed), "sparse", job.training, job.seed)
        found.clear()  # what validates
        for _ in range(2):
            list(material.batches)
    return found


@pytest.mark.parametrize("by", BATCHES)
def test_every_back_end_gets_the_same_parts_in_the_same_order(by, cpu, monkeypatch):
    place = Place(cpu.slots()[0])
    first, *others = (seen(job, place, monkeypatch) for job in jobs(by))
    assert len(first) >= 4
    for other in others:
        for one, two in zip(first, other, strict=True):
            assert torch.equal(one.graph.edge_index, two.graph.edge_index)
            assert torch.equal(one.x.to_dense(), two.x.to_dense())
            assert torch.equal(one.y, two.y)
            assert torch.equal(one.nodes, two.nodes)
    assert any(not torch.equal(one.y, two.y) for one, two in zip(first, first[len(first) // 2 :], strict=False))


@pytest.mark.parametrize("by", BATCHES)
def test_without_dropout_they_learn_the_same_from_them(by, cpu):
    place = Place(cpu.slots()[0])
    curves = {job.backend: run_job(job, place).curves["train_loss"] for job in jobs(by)}
    for name in BACKENDS[1:]:
        assert curves[name] == pytest.approx(curves["scatter"], rel=1e-3), name
    assert curves["scatter"][-1] < curves["scatter"][0]


def test_another_seed_draws_other_parts():
    job = jobs("neighbours")[0]
    task = task_of(job.dataset, job.protocol, 0)
    one, two = (
        next(iter(parts.batches(task, job.training, torch.Generator().manual_seed(seed)))).graph.edge_index.tolist()
        for seed in (0, 1)
    )
    assert one != two
