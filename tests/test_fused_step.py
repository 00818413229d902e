"""The whole training step in one call: against autograd with dropout on, threads, instruction sets, order of nodes."""

from dataclasses import replace

import pytest
import torch
from fused_tools import (
    CPU,
    NEEDS_KERNELS,
    OPERATORS,
    features,
    layer_of,
    on_threads,
    parameters,
    problem,
    random_graph,
    trained,
)
from torch import Tensor
from torch.nn import functional as F

from implementations.backends import fused, fused_step, fused_step_pruned
from implementations.backends._fused import calls, library, ordering, receptive, structures
from implementations.backends._fused.noise import Noise
from implementations.backends._fused.passes import Pass
from implementations.backends._fused.structures import Edges
from implementations.contract import Graph, LayerConfig, TrainingProblem
from implementations.operators import gatv2

SHUFFLED = torch.randperm(60, generator=torch.Generator().manual_seed(9))

pytestmark = NEEDS_KERNELS


@OPERATORS
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("order", [None, SHUFFLED], ids=["as given", "renumbered"])
def test_the_whole_step_is_that_of_autograd_under_the_same_decisions(operator, sparse, order, monkeypatch):
    monkeypatch.setattr(receptive, "order_of", lambda edges: order)
    require_the_step_of_autograd(operator, sparse=sparse)


@OPERATORS
@pytest.mark.parametrize(
    "options",
    [
        {"share_weights": True},
        {"bias": False},
        {"negative_slope": 0.7},
        {"share_weights": True, "bias": False, "residual": False, "negative_slope": 0.0},
        {"dtype": torch.float32},
    ],
    ids=str,
)
def test_the_whole_step_of_other_layers_is_that_of_autograd_too(operator, options):
    require_the_step_of_autograd(operator, **options)


def require_the_step_of_autograd(operator, **options) -> None:
    ours, given = problem(operator, **options), problem(operator, **options)
    is_exact = given.x.dtype == torch.float64  # else a parameter whose gradient is all rounding goes anywhere
    torch.manual_seed(0)
    trainer = fused_step.BACKEND.whole_step(operator, ours)
    data = trainer.training.data  # decisions follow its order of nodes and edges
    theirs = replace(given, x=data.x, prepared=data.field.layers[0], y=given.y[data.field.nodes], nodes=data.nodes)
    adam = torch.optim.Adam(
        [parameter for layer in theirs.layers for parameter in layer.parameters()], lr=ours.lr, weight_decay=1e-3
    )
    for _ in range(5):
        loss = trainer.step()
        adam.zero_grad()
        true_loss = F.cross_entropy(with_decisions(theirs, trainer.training)[theirs.nodes], theirs.y[theirs.nodes])
        true_loss.backward()
        adam.step()
        torch.testing.assert_close(loss, true_loss.detach(), rtol=1e-12 if is_exact else 1e-4, atol=0)
    for own, true in zip(parameters(ours), parameters(theirs), strict=True):
        if is_exact:
            torch.testing.assert_close(own, true, rtol=1e-9, atol=1e-11)


def with_decisions(given: TrainingProblem, of: Pass) -> Tensor:
    """The network through autograd, dropping what the last step of a trainer dropped."""
    kept = {mask.site: Noise(mask.keep, given.feature_dropout).mask(mask.decisions) for mask in of.masks}
    scale = 1 / (1 - given.feature_dropout)
    x = given.x.to_dense() if given.x.layout == torch.sparse_csr else given.x
    mask = kept["features 0"]
    if given.x.layout == torch.sparse_csr:
        rows, columns = given.x.crow_indices(), given.x.col_indices()
        mask = torch.sparse_csr_tensor(rows, columns, mask.to(x.dtype), x.shape, check_invariants=True).to_dense()
    x = x * mask.reshape(x.shape) * scale
    for position, (layer, config) in enumerate(zip(given.layers, given.configs, strict=True)):
        layer.noise = Noise.of(kept[f"attention {position}"], config.attention_dropout)
        x = layer(x, given.prepared)
        if position < len(given.layers) - 1:
            # The kernels decide in the order of their rows: channel by channel, heads side by side.
            mask = kept[f"features {position + 1}"].view(-1, config.out_channels, config.heads)
            x = F.elu(x) * mask.transpose(1, 2).flatten(1) * scale
    return x


def test_the_step_of_gatv2_on_a_tenth_of_ogbn_arxiv_takes_less_than_a_tenth_of_600_mb(monkeypatch):
    monkeypatch.setattr(receptive, "order_of", lambda edges: None)
    shrunk = 10
    graph = random_graph(169_343 // shrunk, 2_500_000 // shrunk)
    N = graph.num_nodes
    configs = [
        LayerConfig(128, 8, 8, attention_dropout=0.6),
        LayerConfig(64, 40, 1, concat=False, attention_dropout=0.6),
    ]
    given = TrainingProblem(
        layers=[layer_of(fused.BACKEND, gatv2, config, torch.float32) for config in configs],
        configs=configs,
        feature_dropout=0.6,
        x=torch.ones(N, 128),
        prepared=fused.BACKEND.prepare(graph, CPU),
        y=torch.zeros(N, dtype=torch.int64),
        nodes=torch.arange(N // 2),
        lr=0.01,
        weight_decay=0.0,
    )
    trainer = fused_step.BACKEND.whole_step(gatv2, given)
    masks = sum(mask.keep.nbytes for mask in trainer.training.masks)
    assert trainer.training.arena.peak * torch.float32.itemsize + masks < 600e6 / shrunk


@pytest.mark.parametrize("threads", [1, 2])
def test_dense_features_are_dropped_while_they_are_read_as_stored_ones_are(threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    N, given = 70 * calls.NEAR, problem(gatv2)  # more than one reading for each piece of the nodes
    x = features(N, 12, torch.float64)
    graph = fused.BACKEND.prepare(random_graph(N, 5 * N), CPU)
    labels = torch.arange(N) % 4
    found = []
    for of in (x, x.to_sparse_csr()):
        copied = problem(gatv2)
        losses, after, _ = trained(replace(copied, x=of, prepared=graph, y=labels), steps=2)
        found.append([losses, *after])
    for dense, sparse in zip(*found, strict=True):
        torch.testing.assert_close(dense, sparse, rtol=1e-9, atol=1e-11)
    assert any((new != old).any() for new, old in zip(found[0][1:], parameters(given), strict=True))


@OPERATORS
@pytest.mark.parametrize("backend", [fused_step, fused_step_pruned])
def test_renumbered_nodes_change_neither_training_nor_the_order_of_the_logits(operator, backend, monkeypatch):
    found = []
    for order in (None, SHUFFLED):
        monkeypatch.setattr(receptive, "order_of", lambda edges, order=order: order)
        given = problem(operator, dropout=0.0)
        losses, after, trainer = trained(given, backend, operator=operator)
        found.append([losses, *after, trainer.logits()])
    for own, true in zip(*found, strict=True):
        torch.testing.assert_close(own, true, rtol=1e-8, atol=1e-10)


def test_nodes_are_renumbered_only_where_neighbours_come_nearer(monkeypatch):
    monkeypatch.setattr(ordering, "FEWEST_NODES", 100)
    monkeypatch.setattr(ordering, "BAND", 10)
    ring = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    shuffled = Edges.of(Graph(200, torch.stack([ring, ring.roll(1)])))
    order = ordering.order_of(shuffled)
    assert sorted(order.tolist()) == list(range(200))
    targets, sources = ordering.ends(ordering.reordered(shuffled, order))
    assert int((targets - sources).abs().max()) < 10
    assert ordering.order_of(ordering.reordered(shuffled, order)) is None
    assert ordering.order_of(Edges.of(random_graph(200, 4000, seed=1))) is None
    monkeypatch.setattr(ordering, "FEWEST_NODES", 200)
    assert ordering.order_of(shuffled) is None


@OPERATORS
def test_the_receptive_field_has_the_gradients_of_the_whole_graph(operator):
    whole, pruned = problem(operator, dropout=0.0), problem(operator, dropout=0.0)
    losses, after, _ = trained(whole, fused_step, operator=operator)
    pruned_losses, pruned_after, trainer = trained(pruned, fused_step_pruned, operator=operator)
    torch.testing.assert_close(losses, pruned_losses, rtol=1e-11, atol=0)
    for own, true in zip(pruned_after, after, strict=True):
        torch.testing.assert_close(own, true, rtol=1e-8, atol=1e-10)
    assert trainer.logits().shape == (60, 4)
    assert len(trainer.training.data.field.nodes) <= 60


@OPERATORS
@pytest.mark.parametrize("sparse", [True, False], ids=["sparse", "dense"])
def test_one_and_two_threads_give_the_same_bits(operator, sparse):
    found = []
    for count in (1, 2):
        with on_threads(count):
            given = problem(operator, dtype=torch.float32, sparse=sparse)
            losses, after, trainer = trained(given, operator=operator)
            found.append([losses, *after, trainer.logits()])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@OPERATORS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_processor_computes_the_same(operator, dtype):
    found = []
    for wide in (True, False):
        library.use_wide(wide)
        try:
            losses, _, trainer = trained(problem(operator, dtype=dtype), operator=operator)
        finally:
            library.use_wide(True)
        found.append((losses, trainer.logits()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4 if dtype == torch.float32 else 1e-10, atol=1e-5)


@OPERATORS
def test_features_cut_into_bands_have_the_gradients_of_uncut_ones(operator, monkeypatch):
    uncut, of_layer = trained(problem(operator), operator=operator), layer_gradients(operator)
    monkeypatch.setattr(structures, "BAND", 16)
    for number in (1, 2):
        with on_threads(number):
            losses, values, _ = trained(problem(operator), operator=operator)
            gradients = layer_gradients(operator)
        torch.testing.assert_close(losses, uncut[0], rtol=1e-12, atol=1e-12)
        for ours, theirs in zip(values, uncut[1], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
        for ours, theirs in zip(gradients, of_layer, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def layer_gradients(operator) -> list[Tensor]:
    """Of the first layer of the problem, on its sparse features."""
    given = problem(operator, dropout=0.0)
    given.layers[0](given.x, given.prepared).square().sum().backward()
    return [parameter.grad for parameter in given.layers[0].parameters()]


def test_torchs_seed_decides_what_is_dropped():
    first, again, other = (trained(problem(gatv2), seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@OPERATORS
def test_the_parts_of_a_step_are_named_and_the_steps_that_show_them_train(operator):
    whole, watched = trained(problem(operator), operator=operator, steps=3), problem(operator)
    torch.manual_seed(0)
    found = fused_step.BACKEND.whole_step(operator, watched).parts(3)
    assert {"attention", "gradient of attention", "products with sparse features", "Adam"} <= found.keys()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(parameters(watched), whole[1], strict=True))


def test_evaluation_follows_weights_that_are_loaded_later():
    given = problem(gatv2)
    _, _, trainer = trained(given)
    before = trainer.logits()
    kept = [layer.state_dict() for layer in problem(gatv2).layers]
    for layer, state in zip(given.layers, kept, strict=True):
        layer.load_state_dict(state)
    fresh = problem(gatv2, dropout=0.0)
    expected = fused_step.BACKEND.whole_step(gatv2, fresh).logits()
    assert not torch.allclose(before, expected)
    torch.testing.assert_close(trainer.logits(), expected)


@OPERATORS
def test_parameters_in_the_order_of_their_shape_are_trained_as_those_in_the_order_of_the_kernels(operator):
    reordered = problem(operator)
    for layer in reordered.layers:
        layer.load_state_dict({name: value.contiguous() for name, value in layer.state_dict().items()}, assign=True)
    found = []
    for given in (problem(operator), reordered):
        losses, after, trainer = trained(given, operator=operator)
        found.append([losses, *after, trainer.logits()])
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)
