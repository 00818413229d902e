"""The second track of sampled training: each back end on what its own library's sampler draws."""

import importlib.util
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.config import Experiment
from bench.jobs import run_job
from bench.outcomes import Fitted, NotDone
from bench.plan import cells, fit_jobs
from bench.plugins import BACKENDS
from bench.rig import Place, task_of
from bench.task import NodeTask
from bench.training import parts
from bench.training.sampling import Adjacency
from bench.work import FitJob
from implementations.backends import pyg
from implementations.contract import Drawn, Graph, Sampling

FANOUT = (4, 3)
EVERY_NEIGHBOUR = 500
LIBRARIES = {"dgl": ("dgl",), "pyg": ("pyg_lib", "torch_sparse")}
SAMPLING = [name for name, libraries in LIBRARIES.items() if any(map(importlib.util.find_spec, libraries))]


def jobs(backend: str, sampler: str, fanout: int | None = None, **changes: Any) -> list[FitJob]:
    asked = Experiment.model_validate(
        {
            "title": "sampled",
            "backends": [backend],
            "operators": ["gatv2"],
            "datasets": ["blocks"],
            "devices": ["cpu"],
            "seeds": [3],
            "protocol": {"dtype": "float64"},
            "architecture": {"feature_dropout": 0.0, "attention_dropout": 0.0},
            "training": {
                "max_epochs": 4,
                "batches": {
                    "by": "neighbours", "targets": 30, "shuffle": fanout is None, "sampler": sampler,
                    "fanout": [fanout, fanout] if fanout else FANOUT,
                },
            },
            "timing": {"rounds": 0},
        }
        | changes
    )  # fmt: skip
    return fit_jobs(asked, cells(asked), {})


@pytest.fixture
def task() -> NodeTask:
    job = jobs("scatter", "own")[0]
    return task_of(job.dataset, job.protocol, 3)


def drawn(backend: str, graph: Graph, targets: torch.Tensor, seed: int = 1) -> Iterator[Drawn]:
    found, near = BACKENDS.get(backend), Adjacency.of(graph)
    assert isinstance(found, Sampling)
    return found.sampler(near.starts, near.neighbours, FANOUT, seed)(targets, at_once=25)


@pytest.mark.parametrize("backend", SAMPLING)
def test_blocks_hold_real_edges_around_the_targets_and_no_more_than_the_fanout(backend, task):
    targets, real = task.split.train.flip(0), set(map(tuple, task.graph.edge_index.T.tolist()))
    seen = []
    for part in drawn(backend, task.graph, targets):
        count = min(25, len(targets) - len(seen))
        seen += part.nodes[:count].tolist()
        assert len(set(part.nodes.tolist())) == len(part.nodes)
        for layer, edges in enumerate(part.edges):
            listed = list(map(tuple, part.nodes[edges].T.tolist()))
            assert listed
            assert set(listed) <= real
            assert len(set(listed)) == len(listed)
            most = max(FANOUT) if len(part.edges) == 1 else FANOUT[len(part.edges) - 1 - layer]
            assert torch.bincount(edges[1]).max() <= most
        assert int(part.edges[-1][1].max()) < count or len(part.edges) == 1
    assert seen == targets.tolist()


@pytest.mark.parametrize("backend", SAMPLING)
def test_the_same_seed_draws_the_same_blocks_and_every_neighbour_is_drawn_sometime(backend, task):
    hub = int(task.graph.targets.bincount().argmax())
    near = Adjacency.of(task.graph)
    neighbours = set(near.neighbours[near.starts[hub] : near.starts[hub + 1]].tolist())
    assert len(neighbours) > FANOUT[0]

    def heard(seed: int) -> list[int]:
        (part,) = drawn(backend, task.graph, torch.tensor([hub]), seed)
        return part.nodes[part.edges[-1][0][part.edges[-1][1] == 0]].tolist()

    assert heard(7) == heard(7)
    assert set().union(*map(heard, range(150))) == neighbours


@pytest.mark.parametrize("backend", SAMPLING)
def test_drawing_leaves_torchs_own_random_numbers_alone(backend, task):
    state = torch.get_rng_state()
    for _ in drawn(backend, task.graph, task.split.train):
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("backend", SAMPLING)
def test_where_all_neighbours_are_drawn_it_learns_what_the_shared_sampler_teaches(backend, cpu):
    place = Place(cpu.slots()[0])
    own, shared = (run_job(jobs(backend, sampler, EVERY_NEIGHBOUR)[0], place) for sampler in ("own", "shared"))
    assert isinstance(own, Fitted), own
    assert own.curves["train_loss"] == pytest.approx(shared.curves["train_loss"], rel=1e-9)
    assert (own.sampler, shared.sampler) == (backend, "")


@pytest.mark.parametrize("backend", SAMPLING)
def test_it_trains_as_accurately_as_on_shared_blocks(backend, cpu):
    place, changes = Place(cpu.slots()[0]), {"seeds": [3, 4, 5]}
    tests = {}
    for sampler in ("own", "shared"):
        fits = [run_job(job, place) for job in jobs(backend, sampler, **changes)]
        assert all(fit.curves["train_loss"][-1] < fit.curves["train_loss"][0] for fit in fits)
        tests[sampler] = sum(fit.test for fit in fits) / len(fits)
    assert tests["own"] == pytest.approx(tests["shared"], abs=0.1)
    assert tests["own"] > 0.5


def test_who_has_no_sampler_says_so(cpu):
    outcome = run_job(jobs("scatter", "own")[0], Place(cpu.slots()[0]))
    assert isinstance(outcome, NotDone)
    assert (outcome.status, outcome.reason) == ("unsupported", "scatter has no sampler of its own")


@pytest.mark.skipif("pyg" in SAMPLING, reason="pyg-lib or torch-sparse is installed")
def test_pyg_says_what_its_sampler_needs(cpu):
    outcome = run_job(jobs("pyg", "own")[0], Place(cpu.slots()[0]))
    assert isinstance(outcome, NotDone)
    assert outcome.status == "unsupported"
    assert "NeighborLoader needs pyg-lib" in outcome.reason


def test_an_epoch_has_its_steps_and_its_targets_on_either_track(task):
    sampling = BACKENDS.get("dgl")
    training = jobs("dgl", "own")[0].training
    limited = training.model_copy(update={"batches": training.batches.model_copy(update={"steps": 2})})
    for asked in (training, limited):
        own = parts.batches(task, asked, torch.Generator().manual_seed(1), sampling)
        epoch = list(own)
        assert len(epoch) == len(own)
        counted = [len(part.nodes) for part in epoch]
        assert sum(counted) == min(len(task.split.train), 30 * len(own))


class Loader:
    """As PyG's NeighborLoader: an iterable of parts, each drawn from torch's global generator when it is asked for."""

    asked = 0

    def __init__(self, data: Any, input_nodes: torch.Tensor, **options: Any) -> None:
        self._nodes, self._at_once = input_nodes, options["batch_size"]

    def __iter__(self) -> Iterator[SimpleNamespace]:
        for nodes in self._nodes.split(self._at_once):
            Loader.asked += 1
            yield SimpleNamespace(n_id=nodes, edge_index=torch.randint(len(nodes), (2, 8)))


def test_pygs_sampler_draws_as_steps_go_and_leaves_torchs_own_random_numbers_alone(task, monkeypatch):
    """Held by a stand-in for the loader, which needs a library that few machines have."""
    package = SimpleNamespace(NeighborLoader=Loader, Data=SimpleNamespace)
    monkeypatch.setattr(pyg, "_package", lambda name: package)
    targets = torch.arange(100)
    expected = [part.edges[0] for part in drawn("pyg", task.graph, targets)]
    torch.manual_seed(5)
    numbers, found = [], []
    Loader.asked = 0
    for part in drawn("pyg", task.graph, targets):
        found.append(part.edges[0])
        assert Loader.asked == len(found)
        numbers.append(torch.rand(()))
    torch.manual_seed(5)
    assert numbers == [torch.rand(()) for _ in range(4)]
    assert all(map(torch.equal, found, expected))
    assert not torch.equal(found[0], found[1])
