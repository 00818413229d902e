"""DictionaryLookup: shared structure and ordinary layers compute the same, and splits are what they are called."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from bench import study_jobs
from bench.plugins import BACKENDS, OPERATORS
from bench.studies import lookup, lookup_data
from bench.studies.lookup_model import LookupNetwork
from bench.study_config import LookupArchitecture, LookupModel, LookupTraining, StudyProtocol
from implementations.contract import Graph
from implementations.name_table import load

SCATTER = BACKENDS.get("scatter")
CPU = torch.device("cpu")
SIZE = 5
LAYERS = [
    pytest.param(operator, LookupArchitecture(features=8, heads=heads, **habits), id=f"{operator}-{heads}-{word}")
    for operator, heads in (("gat", 1), ("gat", 4), ("gatv2", 1), ("gatv2", 4))
    for word, habits in (
        ("plain", {}),
        ("loops and bias", {"self_loops": True, "bias": True}),
        ("unshared", {"share_weights": False}),
    )
]


def network(operator: str, architecture: LookupArchitecture, output_dropout: float = 0.0) -> LookupNetwork:
    return LookupNetwork(OPERATORS.get(operator), architecture, SIZE, output_dropout, seed=3).double()


def graphs(count: int = 6) -> torch.Tensor:
    return lookup_data.permutations(SIZE, 10**6, seed=0)[: 20 * count : 20]


class Explicit:
    """The same model over one large graph with a node for every query and key of every graph."""

    def __init__(self, model: LookupNetwork, shown: torch.Tensor) -> None:
        count, size = shown.shape
        queries = torch.arange(count * size).view(count, size)
        keys = queries + count * size
        pairs = [torch.cartesian_prod(keys[graph], queries[graph]).T for graph in range(count)]
        loops = [queries.flatten().expand(2, -1)] if model.self_loops else []
        self.graph = Graph(2 * count * size, torch.cat([*pairs, *loops], 1))
        self.state = torch.cat(
            [(size**2 + torch.arange(size)).repeat(count), (torch.arange(size) * size + shown).flatten()]
        )
        self.layer = SCATTER.layer(model.operator, model.config).double()
        self.names = SCATTER.names(model.operator, model.config)
        load(self.layer, self.names, {name: value.detach() for name, value in model.layer.items()})
        self.prepared = SCATTER.prepare(self.graph, CPU)
        self.model, self.shape = model, (count, size, size)

    def logits(self) -> torch.Tensor:
        z = self.layer(self.model.node_features()[self.state], self.prepared)[: self.shape[0] * self.shape[1]]
        return F.linear(F.dropout(z, self.model.output_dropout), self.model.out).view(self.shape)


@pytest.mark.parametrize(("operator", "architecture"), LAYERS)
@pytest.mark.parametrize("output_dropout", [0.0, 0.5])
def test_the_shared_structure_gives_the_logits_and_gradients_of_scatter(operator, architecture, output_dropout):
    shown = graphs()
    shared, other = network(operator, architecture, output_dropout), network(operator, architecture, output_dropout)
    explicit = Explicit(other, shown)

    torch.manual_seed(0)
    ours = shared(shown)
    torch.manual_seed(0)  # the same mask for both
    truth = explicit.logits()
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-12)

    F.cross_entropy(ours.flatten(0, 1), shown.flatten()).backward()
    F.cross_entropy(truth.flatten(0, 1), shown.flatten()).backward()
    of_layer = dict(explicit.layer.named_parameters())
    for name, parameter in shared.layer.items():
        own = of_layer[explicit.names[name]]
        torch.testing.assert_close(parameter.grad, own.grad.reshape(parameter.shape), rtol=0, atol=1e-12)
    for name in ("keys", "values", "out"):
        torch.testing.assert_close(getattr(shared, name).grad, getattr(other, name).grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("operator", "architecture"), LAYERS)
def test_the_shared_structure_attends_as_scatter_does(operator, architecture):
    shown = graphs()
    model = network(operator, architecture)
    explicit = Explicit(model, shown)
    x = model.node_features()[explicit.state]
    truth = SCATTER.attention(explicit.layer, x, explicit.prepared)[: len(shown) * SIZE**2]
    ours = model.attention(shown)[:, :SIZE].flatten(0, 2)  # edges run key by key, query by query
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-12)


def test_all_permutations_are_used_where_they_are_few():
    found = {tuple(graph) for graph in lookup_data.permutations(5, 32000, seed=0).tolist()}
    assert found == set(itertools.permutations(range(5)))


def test_many_keys_give_as_many_graphs_as_asked_the_same_for_the_same_seed():
    drawn = lookup_data.permutations(12, 500, seed=1)
    assert drawn.shape == (500, 12)
    assert torch.equal(drawn.sort(1).values, torch.arange(12).expand(500, 12))
    assert torch.equal(drawn, lookup_data.permutations(12, 500, seed=1))
    assert not torch.equal(drawn, lookup_data.permutations(12, 500, seed=2))


def test_the_paper_splits_graphs_eighty_to_twenty():
    data = lookup_data.draw(6, 32000, 0.8, "graphs", seed=0)
    assert (len(data.train), len(data.test)) == (576, 144)
    assert not {tuple(graph) for graph in data.train.tolist()} & {tuple(graph) for graph in data.test.tolist()}


@pytest.mark.parametrize("size", [4, 10])
def test_the_released_code_shows_only_allowed_pairs_in_training_and_a_new_one_in_every_test_graph(size):
    allowed = lookup_data.allowed_pairs(size, 0.8, seed=0)
    assert int(allowed.sum()) == int(0.8 ** (1 / size) * size**2)
    data = lookup_data.draw(size, 3000, 0.8, "pairs", seed=0)
    assert len(data.train) + len(data.test) == min(math.factorial(size), 3000)
    assert allowed[torch.arange(size), data.train].all()
    assert not allowed[torch.arange(size), data.test].all(1).any()


def small_fit(operator: str, **protocol: object):
    model = LookupModel(name="m", operator=operator)
    training = LookupTraining(lr=1e-2, evaluate_every_steps=20, max_steps=300, patience_evaluations=5)
    job = study_jobs.lookup_job(
        model, 5, StudyProtocol(name="paper", **protocol), training, "cpu", 0, attention_graphs=5
    )
    return lookup.fit(job, CPU, lambda text: None)


def test_one_head_of_gatv2_solves_what_one_head_of_gat_cannot():
    gatv2, gat = small_fit("gatv2"), small_fit("gat")
    assert (gatv2.train, gatv2.test, gatv2.stopped) == (1.0, 1.0, "solved")
    assert gat.train < 0.6
    assert gatv2.attention.heads[0].tau < 1
    assert (gat.attention.heads[0].tau, gat.attention.heads[0].unanimous) == (1.0, 1.0)


def test_a_fit_repeats_itself():
    assert small_fit("gat", split="pairs", output_dropout=0.5) == small_fit("gat", split="pairs", output_dropout=0.5)


def test_curves_hold_one_value_per_evaluation():
    fitted = small_fit("gat")
    assert {len(curve) for curve in fitted.curves.values()} == {math.ceil(fitted.steps / 20)}


def test_deviations_from_the_published_training_are_words():
    assert list(LookupTraining().deviations()) == []
    assert list(LookupTraining(lr=0.005).deviations()) == ["lr 0.005 instead of 0.001"]
