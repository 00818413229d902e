"""The numbers that tell static attention from dynamic."""

import itertools

import pytest
import torch
from scipy.stats import kendalltau

from bench.plugins import BACKENDS, OPERATORS
from bench.studies import attention_facts
from implementations import parity
from implementations.contract import Graph, LayerConfig
from implementations.name_table import load

CONFIG = LayerConfig(in_channels=6, out_channels=4, heads=3, concat=True)


def random_graph(nodes: int = 40, edges: int = 300) -> Graph:
    drawn = torch.randint(nodes, (2, edges), generator=torch.Generator().manual_seed(0))
    return Graph(nodes, torch.unique(drawn, dim=1)).with_self_loops()


def facts(operator_name: str):
    """Of a layer with weights of order 1, where rankings differ if they can."""
    operator, backend, graph = OPERATORS.get(operator_name), BACKENDS.get("scatter"), random_graph()
    x = torch.randn(graph.num_nodes, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    params = parity.weights(operator, CONFIG, x)
    layer = backend.layer(operator, CONFIG).double()
    load(layer, backend.names(operator, CONFIG), params)
    coefficients = backend.attention(layer, x, backend.prepare(graph, torch.device("cpu"))).detach()
    terms = operator.terms(CONFIG, params, x)
    scores = operator.score(CONFIG, params, terms.source[graph.sources] + terms.target[graph.targets])
    return attention_facts.of_graph(1, scores, coefficients, graph, min_degree=5)


def test_every_head_of_gat_is_static_on_any_graph():
    assert {(head.tau, head.unanimous) for head in facts("gat")} == {(1.0, 1.0)}


def test_heads_of_gatv2_are_dynamic():
    for head in facts("gatv2"):
        assert head.tau < 0.99
        assert head.unanimous < 0.99


def test_tau_is_the_mean_kendall_tau_between_queries():
    scores = torch.randn(1, 6, 5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (head,) = attention_facts.of_lookup(scores, torch.softmax(scores, 1))
    rankings = scores[0, :, :, 0].T.numpy()
    taus = [kendalltau(first, second).statistic for first, second in itertools.combinations(rankings, 2)]
    assert head.tau == pytest.approx(sum(taus) / len(taus), abs=1e-12)


def test_tau_on_a_graph_agrees_with_that_of_the_same_lookup():
    scores = torch.randn(1, 6, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    edges = torch.cartesian_prod(torch.arange(5, 11), torch.arange(5)).T
    of_graph = attention_facts.of_graph(
        1, scores.flatten(0, 2), torch.softmax(scores, 1).flatten(0, 2), Graph(11, edges), min_degree=2
    )
    of_lookup = attention_facts.of_lookup(scores, torch.softmax(scores, 1))
    for ours, theirs in zip(of_graph, of_lookup, strict=True):
        assert ours.tau == pytest.approx(theirs.tau)
        assert ours.entropy == pytest.approx(theirs.entropy)
        assert (ours.unanimous, ours.source_pairs) == (theirs.unanimous, theirs.source_pairs)


def test_entropy_is_one_for_an_average_and_zero_for_one_source():
    scores = torch.arange(8.0, dtype=torch.float64).view(1, 4, 2, 1)
    uniform = torch.full_like(scores, 0.25)
    single = torch.zeros_like(scores)
    single[:, 0] = 1
    assert attention_facts.of_lookup(scores, uniform)[0].entropy == pytest.approx(1)
    assert attention_facts.of_lookup(scores, single)[0].entropy == pytest.approx(0)


def test_scores_that_are_equal_say_nothing_about_the_order():
    scores = torch.zeros(1, 3, 2, 1, dtype=torch.float64)
    scores[0, 0, 0], scores[0, 1, 1] = 1, 1  # the first query likes key 0, the second key 1
    (head,) = attention_facts.of_lookup(scores, torch.softmax(scores, 1))
    assert head.source_pairs == 1  # keys 0 and 1; the others are tied for one of the two queries
    assert head.tau == -1
