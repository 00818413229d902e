"""Promises that a layer keeps by itself: what its output must have, and what must not change it.

Each names a mistake that a difference from the reference would only show.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from implementations import epilogue, reference
from implementations.adversarial import ADVERSARIAL
from implementations.contract import Backend, Graph, LayerConfig, Operator
from implementations.name_table import load
from implementations.parity import TOLERANCE, judge, weights
from implementations.promise import BASE, Check, dtypes, features_of, figures, require, supported

# exp overflows float32 from 88.7 on, and two neighbourhoods this far apart cannot share one shift.
LARGE_SCORE = 100.0


class _Layer:
    """One layer of the back end with seeded weights, in evaluation, and what calling it gives, on the CPU."""

    def __init__(
        self,
        backend: Backend,
        operator: Operator,
        device: torch.device,
        config: LayerConfig = BASE,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.backend, self.operator, self.device, self.config = backend, operator, device, config
        self.dtype = dtype or dtypes(device)[-1]
        self.params = weights(operator, config, features_of(30))
        self.module: nn.Module = backend.layer(operator, config).to(device, self.dtype).eval()
        load(self.module, backend.names(operator, config), self.params)

    def prepare(self, graph: Graph) -> Any:
        return self.backend.prepare(graph.to(self.device), self.device)

    def output(self, graph: Graph, x: Tensor) -> Tensor:
        with torch.no_grad():
            out: Tensor = self.module(x.to(self.device, self.dtype), self.prepare(graph))
        return out.cpu()

    def attention(self, graph: Graph, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.backend.attention(self.module, x.to(self.device, self.dtype), self.prepare(graph)).cpu()

    def own_value(self, x: Tensor) -> Tensor:
        """What each node gets when it hears only itself."""
        values = self.operator.terms(self.config, self.params, x).values
        return epilogue.apply(self.config, self.params, x, values)

    def require_close(self, ours: Tensor, truth: Tensor, otherwise: str, tolerance: float | None = None) -> None:
        found = judge("", ours, truth.double(), tolerance or TOLERANCE[self.dtype])
        require(found.passed, f"{otherwise} ({figures(found)})")


def _of_a_layer(check: Callable[[_Layer], None]) -> Check:
    """A check of one layer with the usual options, if the back end can do it."""

    @wraps(check)
    def checked(backend: Backend, operator: Operator, device: torch.device) -> None:
        if backend.unsupported(operator, BASE, device) is None:
            check(_Layer(backend, operator, device))

    return checked


def gives_the_shape_dtype_and_device_asked_for(backend: Backend, operator: Operator, device: torch.device) -> None:
    """[N, config.out_features], as x is."""
    graph = ADVERSARIAL["isolated nodes"]()
    for config in supported(backend, operator, device):
        for dtype in dtypes(device):
            layer = backend.layer(operator, config).to(device, dtype)
            x = features_of(graph.num_nodes).to(device, dtype)
            out = layer(x, backend.prepare(graph.to(device), device))
            shape = (graph.num_nodes, config.out_features)
            require(tuple(out.shape) == shape, f"the output has shape {tuple(out.shape)} instead of {shape}")
            require(out.dtype == dtype, f"the output is {out.dtype} where x is {dtype}")
            require(out.device == x.device, f"the output is on {out.device} where x is on {x.device}")


@_of_a_layer
def evaluates_without_chance(layer: _Layer) -> None:
    """In evaluation two calls give the same."""
    dropping = _Layer(layer.backend, layer.operator, layer.device, replace(BASE, attention_dropout=0.6))
    graph = ADVERSARIAL["directed edges"]()
    first, second = (dropping.output(graph, features_of(graph.num_nodes)) for _ in range(2))
    dropping.require_close(first, second, "two calls in evaluation differ")


@_of_a_layer
def renumbers_its_output_with_the_nodes(layer: _Layer) -> None:
    """Numbers of nodes mean nothing."""
    graph = ADVERSARIAL["directed edges"]()
    x, renumbered = features_of(graph.num_nodes), torch.empty(graph.num_nodes, BASE.in_channels, dtype=torch.float64)
    number = torch.randperm(graph.num_nodes, generator=torch.Generator().manual_seed(1))
    renumbered[number] = x
    out = layer.output(Graph(graph.num_nodes, number[graph.edge_index]), renumbered)
    layer.require_close(out[number], layer.output(graph, x), "renumbering the nodes changes more than the order")


@_of_a_layer
def returns_a_constant_input_projected(layer: _Layer) -> None:
    """When all nodes have the same input, each gets its own projected value: coefficients sum to 1."""
    graph = ADVERSARIAL["duplicate edges"]()
    x = features_of(1).expand(graph.num_nodes, -1)
    otherwise = "with the same input everywhere a node does not get its own projected value; coefficients must sum to 1"
    layer.require_close(layer.output(graph, x), layer.own_value(x), otherwise)


@_of_a_layer
def returns_its_own_value_to_a_node_with_only_its_self_loop(layer: _Layer) -> None:
    """A softmax over one edge is 1."""
    x = features_of(4)
    out = layer.output(Graph(4, torch.tensor([[0, 1, 2, 0, 3], [1, 2, 0, 0, 3]])), x)
    otherwise = "a node with only its self-loop does not get its own projected value"
    layer.require_close(out[3], layer.own_value(x)[3], otherwise)


@_of_a_layer
def keeps_disconnected_parts_apart(layer: _Layer) -> None:
    """What happens in one part of a graph is not felt in another."""
    part = ADVERSARIAL["self-loops already there"]()
    N = part.num_nodes
    both = Graph(2 * N, torch.cat([part.edge_index, part.edge_index + N], dim=1))
    out = layer.output(both, torch.cat([features_of(N), 3 * features_of(N) + 1]))
    layer.require_close(
        out[:N], layer.output(part, features_of(N)), "a part of the graph changes with another, disconnected part"
    )


@_of_a_layer
def stays_finite_with_large_scores(layer: _Layer) -> None:
    """Two neighbourhoods, one with scores around +100, one around -100: each softmax needs a shift of its own."""
    config = replace(BASE, heads=1, bias=False)
    layer = _Layer(layer.backend, layer.operator, layer.device, config, torch.float32)
    candidates = features_of(60)
    source, target, _ = layer.operator.terms(config, layer.params, candidates)
    score = layer.operator.score(config, layer.params, source + target).squeeze(-1)
    if not score.any():
        return  # a constant operator's: no input makes them large
    # Without biases, scores grow as x does.
    highest, lowest = (candidates[k] * LARGE_SCORE / score[k].abs() for k in (score.argmax(), score.argmin()))
    x = torch.stack([highest] * 3 + [lowest] * 3)
    inside = torch.cartesian_prod(torch.arange(3), torch.arange(3)).t()
    out = layer.output(Graph(6, torch.cat([inside, inside + 3], dim=1)), x)
    require(bool(out.isfinite().all()), "scores of +-100 in float32 make the output infinite or not a number")
    layer.require_close(out, layer.own_value(x), "scores of +-100 in float32 spoil the softmax")


@_of_a_layer
def leaves_graph_and_x_as_they_are(layer: _Layer) -> None:
    """Neither preparing, nor a training step, nor asking for attention changes what was given."""
    given = ADVERSARIAL["duplicate edges"]()
    graph = Graph(given.num_nodes, given.edge_index.to(layer.device, copy=True))
    x = features_of(given.num_nodes).to(layer.device, layer.dtype, copy=True)
    prepared = layer.backend.prepare(graph, layer.device)
    layer.module.train()(x, prepared).sum().backward()
    layer.module.eval()
    layer.backend.attention(layer.module, x, prepared)
    require(torch.equal(graph.edge_index.cpu(), given.edge_index), "the graph's edges are not what they were")
    require(torch.equal(x.cpu(), features_of(given.num_nodes).to(layer.dtype)), "x is not what it was")


@_of_a_layer
def orders_neighbours_as_the_operator_does(layer: _Layer) -> None:
    """GATv2 prefers different neighbours for different queries; GAT has one order for all."""
    queries, keys = 12, 8
    pairs = torch.cartesian_prod(torch.arange(keys), torch.arange(keys, keys + queries)).t()
    graph, x = Graph(keys + queries, pairs), features_of(keys + queries)
    truth = reference.run(layer.operator, layer.config, layer.params, graph, x).attention.view(keys, queries, -1)
    ours = layer.attention(graph, x).view(keys, queries, -1)
    same_order = torch.equal(ours.argsort(0), truth.argsort(0))
    require(same_order, f"a query's neighbours are not in the order that {layer.operator.name} gives them")


@_of_a_layer
def gives_attention_that_sums_to_one(layer: _Layer) -> None:
    """Coefficients [E, H], of which those into a node sum to 1."""
    for name, build in ADVERSARIAL.items():
        graph = build()
        coefficients = layer.attention(graph, features_of(graph.num_nodes))
        shape = (graph.num_edges, layer.config.heads)
        require(
            tuple(coefficients.shape) == shape, f"attention has shape {tuple(coefficients.shape)} instead of {shape}"
        )
        total = torch.zeros(graph.num_nodes, shape[1], dtype=layer.dtype).index_add_(0, graph.targets, coefficients)
        hearers = torch.unique(graph.targets)
        otherwise = f"{name}: the coefficients into a node do not sum to 1"
        layer.require_close(total[hearers], torch.ones(len(hearers), shape[1]), otherwise)


@_of_a_layer
def predicts_memory_that_grows_with_the_graph(layer: _Layer) -> None:
    """The planner must be able to tell what fits."""
    small, large = (
        layer.backend.memory_bytes(layer.operator, layer.config, size, 10 * size) for size in (1_000, 100_000)
    )
    require(small > 0, f"memory_bytes predicts {small} bytes for 1,000 nodes and 10,000 edges")
    require(large > small, f"memory_bytes predicts {large} bytes for 100 times the graph that needs {small}")
