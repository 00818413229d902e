"""Edge noise: how many false edges there are, and what none of them is."""

import pytest
import torch

from bench.plugins import DATASETS
from bench.training.noise import with_noise


@pytest.fixture
def graph():
    return DATASETS.get("blocks").load().graph


def pairs(graph) -> list[tuple[int, int]]:
    return list(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_both_directions_of_so_many_new_edges_are_added(graph, share):
    noisy = with_noise(graph, share)
    added = pairs(noisy)[graph.num_edges :]
    assert len(added) == 2 * int(graph.num_edges / 2 * share)
    assert {(b, a) for a, b in added} == set(added)
    assert len(set(added)) == len(added)
    assert not set(added) & set(pairs(graph))
    assert all(a != b for a, b in added)


def test_the_true_edges_stay_where_they_are(graph):
    noisy = with_noise(graph, 0.3)
    assert torch.equal(noisy.edge_index[:, : graph.num_edges], graph.edge_index)


def test_no_noise_is_the_same_graph_and_the_same_share_the_same_noise(graph):
    assert with_noise(graph, 0.0) is graph
    assert torch.equal(with_noise(graph, 0.2).edge_index, with_noise(graph, 0.2).edge_index)


def test_training_meets_the_noise_and_parity_does_not(small, cpu):
    from bench.jobs import run_job
    from bench.plan import cells, fit_jobs, parity_jobs
    from bench.rig import Place

    noisy = small.model_copy(update={"protocol": small.protocol.model_copy(update={"edge_noise": 0.5})})
    assert parity_jobs(noisy) == parity_jobs(small)
    tests = [run_job(fit_jobs(asked, cells(asked), {})[0], Place(cpu.slots()[0])).curves for asked in (small, noisy)]
    assert tests[0] != tests[1]
