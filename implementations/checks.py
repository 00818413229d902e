"""What a back end promises: one function a promise, for our tests and for a stranger's.

Every check takes a back end, an operator and a device, and raises `Nonconformance` with a sentence in domain words.
What the back end calls unsupported is left out.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from implementations import epilogue, reference
from implementations.adversarial import ADVERSARIAL, inputs
from implementations.contract import SEMANTIC_TOPICS, Backend, Graph, LayerConfig, Operator
from implementations.dropout_check import compare_dropout
from implementations.dropout_gradient import compare_dropout_gradient
from implementations.name_table import NameTableError, load, parameters_by_name
from implementations.parity import TOLERANCE, Comparison, compare, judge, weights
from implementations.step_check import compare_dropped_step, compare_whole_step

Check = Callable[[Backend, Operator, torch.device], None]

BASE = LayerConfig(in_channels=12, out_channels=5, heads=3)
CONFIGS = (
    BASE,
    replace(BASE, concat=False),
    replace(BASE, bias=False, share_weights=True, negative_slope=0.05),
    replace(BASE, bias=False, concat=False, residual=True),
    replace(BASE, share_weights=True, residual=True, negative_slope=0.5),
    replace(BASE, share_weights=True, concat=False, heads=1, negative_slope=0.0),
)
# Every graph meets the first configurations; these two meet all of them.
EVERY_CONFIG_ON = ("isolated nodes", "duplicate edges")
# exp overflows float32 from 88.7 on, and two neighbourhoods this far apart cannot share one shift.
LARGE_SCORE = 100.0


class Nonconformance(AssertionError):
    """A back end breaks a promise of the contract; the message says which, in a sentence."""


def describes_itself(backend: Backend, operator: Operator, device: torch.device) -> None:
    """Name, packages, and a fact for every topic of semantics."""
    _require(bool(backend.name), "the back end has no name")
    _require(
        bool(backend.packages), "packages names no distribution, so a record could not say what decided its numbers"
    )
    missing = [topic for topic in SEMANTIC_TOPICS if topic not in backend.semantics]
    _require(not missing, f"semantics says nothing of {', '.join(missing)}")
    empty = [topic for topic, fact in backend.semantics.items() if not (fact.native and fact.here)]
    _require(not empty, f"semantics leaves {', '.join(empty)} half empty: both `native` and `here` are sentences")


def unsupported_answers_a_sentence_or_none(backend: Backend, operator: Operator, device: torch.device) -> None:
    """Whether something can run is said beforehand, not by an exception."""
    for config in CONFIGS:
        answer: object = backend.unsupported(operator, config, device)
        is_sentence = isinstance(answer, str) and bool(answer.strip())
        _require(answer is None or is_sentence, f"unsupported answers {answer!r}, neither a sentence nor None")


def names_cover_exactly_the_parameters(backend: Backend, operator: Operator, device: torch.device) -> None:
    """Each canonical parameter has one of the layer's, and each of the layer's one canonical parameter."""
    for config in _supported(backend, operator, device):
        names, shapes = backend.names(operator, config), operator.shapes(config)
        _require(names.keys() == shapes.keys(), f"names has {sorted(names)} where {operator.name} has {sorted(shapes)}")
        try:
            own = parameters_by_name(backend.layer(operator, config), names)
        except NameTableError as problem:
            raise Nonconformance(str(problem)) from None
        for name, parameter in own.items():
            _require(
                parameter.numel() == math.prod(shapes[name]),
                f"the parameter for {name} has shape {tuple(parameter.shape)}, which {shapes[name]} cannot become",
            )


def agrees_with_the_reference_in_float64(backend: Backend, operator: Operator, device: torch.device) -> None:
    """Outputs, attention, gradients and five Adam steps, over graphs and options."""
    if torch.float64 in _dtypes(device):
        _agrees(backend, operator, device, torch.float64)


def agrees_with_the_reference_in_float32(backend: Backend, operator: Operator, device: torch.device) -> None:
    """The same to the accuracy of the dtype that is timed."""
    _agrees(backend, operator, device, torch.float32)


def drops_coefficients_and_features_in_training(backend: Backend, operator: Operator, device: torch.device) -> None:
    """Dropout at the right site, at the right rate, each edge and head on its own."""
    if backend.unsupported(operator, BASE, device) is None:
        for found in compare_dropout(backend, operator, BASE, device):
            _require(found.passed, f"dropout: not so: {found.name} ({_figures(found)})")


def differentiates_under_the_masks_it_drew(backend: Backend, operator: Operator, device: torch.device) -> None:
    """A seed repeats the masks, and gradients are those of what was computed under them."""
    if torch.float64 not in _dtypes(device):
        return
    for config in _supported(backend, operator, device):
        for found in compare_dropout_gradient(backend, operator, config, device):
            _require(found.passed, f"{_options(config)}: not so under dropout: {found.name} ({_figures(found)})")


def trains_as_its_layers_define(backend: Backend, operator: Operator, device: torch.device) -> None:
    """A training step of its own goes where autograd and Adam go, and under dropout down its own loss."""
    if backend.unsupported(operator, BASE, device) is not None:
        return
    configs = [BASE, LayerConfig(BASE.out_features, 4, 1, concat=False)]
    graph = ADVERSARIAL["duplicate edges"]()
    x, y = inputs(graph, BASE.in_channels, 4)
    nodes = torch.arange(20)
    for dtype in _dtypes(device):
        for found in compare_whole_step(backend, operator, configs, graph, x, y, nodes, dtype, device):
            _require(found.passed, f"its own training step is another: {found.name} ({_figures(found)})")
    for found in compare_dropped_step(backend, operator, device) if torch.float64 in _dtypes(device) else ():
        _require(found.passed, f"its own training step errs: {found.name} ({_figures(found)})")


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
        self.dtype = dtype or _dtypes(device)[-1]
        self.params = weights(operator, config, _x(30))
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
        _require(found.passed, f"{otherwise} ({_figures(found)})")


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
    for config in _supported(backend, operator, device):
        for dtype in _dtypes(device):
            layer = backend.layer(operator, config).to(device, dtype)
            x = _x(graph.num_nodes).to(device, dtype)
            out = layer(x, backend.prepare(graph.to(device), device))
            shape = (graph.num_nodes, config.out_features)
            _require(tuple(out.shape) == shape, f"the output has shape {tuple(out.shape)} instead of {shape}")
            _require(out.dtype == dtype, f"the output is {out.dtype} where x is {dtype}")
            _require(out.device == x.device, f"the output is on {out.device} where x is on {x.device}")


@_of_a_layer
def evaluates_without_chance(layer: _Layer) -> None:
    """In evaluation two calls give the same."""
    dropping = _Layer(layer.backend, layer.operator, layer.device, replace(BASE, attention_dropout=0.6))
    graph = ADVERSARIAL["directed edges"]()
    first, second = (dropping.output(graph, _x(graph.num_nodes)) for _ in range(2))
    dropping.require_close(first, second, "two calls in evaluation differ")


@_of_a_layer
def renumbers_its_output_with_the_nodes(layer: _Layer) -> None:
    """Numbers of nodes mean nothing."""
    graph = ADVERSARIAL["directed edges"]()
    x, renumbered = _x(graph.num_nodes), torch.empty(graph.num_nodes, BASE.in_channels, dtype=torch.float64)
    number = torch.randperm(graph.num_nodes, generator=torch.Generator().manual_seed(1))
    renumbered[number] = x
    out = layer.output(Graph(graph.num_nodes, number[graph.edge_index]), renumbered)
    layer.require_close(out[number], layer.output(graph, x), "renumbering the nodes changes more than the order")


@_of_a_layer
def returns_a_constant_input_projected(layer: _Layer) -> None:
    """When all nodes have the same input, each gets its own projected value: coefficients sum to 1."""
    graph = ADVERSARIAL["duplicate edges"]()
    x = _x(1).expand(graph.num_nodes, -1)
    otherwise = "with the same input everywhere a node does not get its own projected value; coefficients must sum to 1"
    layer.require_close(layer.output(graph, x), layer.own_value(x), otherwise)


@_of_a_layer
def returns_its_own_value_to_a_node_with_only_its_self_loop(layer: _Layer) -> None:
    """A softmax over one edge is 1."""
    x = _x(4)
    out = layer.output(Graph(4, torch.tensor([[0, 1, 2, 0, 3], [1, 2, 0, 0, 3]])), x)
    otherwise = "a node with only its self-loop does not get its own projected value"
    layer.require_close(out[3], layer.own_value(x)[3], otherwise)


@_of_a_layer
def keeps_disconnected_parts_apart(layer: _Layer) -> None:
    """What happens in one part of a graph is not felt in another."""
    part = ADVERSARIAL["self-loops already there"]()
    N = part.num_nodes
    both = Graph(2 * N, torch.cat([part.edge_index, part.edge_index + N], dim=1))
    out = layer.output(both, torch.cat([_x(N), 3 * _x(N) + 1]))
    layer.require_close(
        out[:N], layer.output(part, _x(N)), "a part of the graph changes with another, disconnected part"
    )


@_of_a_layer
def stays_finite_with_large_scores(layer: _Layer) -> None:
    """Two neighbourhoods, one with scores around +100, one around -100: each softmax needs a shift of its own."""
    config = replace(BASE, heads=1, bias=False)
    layer = _Layer(layer.backend, layer.operator, layer.device, config, torch.float32)
    candidates = _x(60)
    source, target, _ = layer.operator.terms(config, layer.params, candidates)
    score = layer.operator.score(config, layer.params, source + target).squeeze(-1)
    if not score.any():
        return  # a constant operator's: no input makes them large
    # Without biases, scores grow as x does.
    highest, lowest = (candidates[k] * LARGE_SCORE / score[k].abs() for k in (score.argmax(), score.argmin()))
    x = torch.stack([highest] * 3 + [lowest] * 3)
    inside = torch.cartesian_prod(torch.arange(3), torch.arange(3)).t()
    out = layer.output(Graph(6, torch.cat([inside, inside + 3], dim=1)), x)
    _require(bool(out.isfinite().all()), "scores of +-100 in float32 make the output infinite or not a number")
    layer.require_close(out, layer.own_value(x), "scores of +-100 in float32 spoil the softmax")


@_of_a_layer
def leaves_graph_and_x_as_they_are(layer: _Layer) -> None:
    """Neither preparing, nor a training step, nor asking for attention changes what was given."""
    given = ADVERSARIAL["duplicate edges"]()
    graph = Graph(given.num_nodes, given.edge_index.to(layer.device, copy=True))
    x = _x(given.num_nodes).to(layer.device, layer.dtype, copy=True)
    prepared = layer.backend.prepare(graph, layer.device)
    layer.module.train()(x, prepared).sum().backward()
    layer.module.eval()
    layer.backend.attention(layer.module, x, prepared)
    _require(torch.equal(graph.edge_index.cpu(), given.edge_index), "the graph's edges are not what they were")
    _require(torch.equal(x.cpu(), _x(given.num_nodes).to(layer.dtype)), "x is not what it was")


@_of_a_layer
def orders_neighbours_as_the_operator_does(layer: _Layer) -> None:
    """GATv2 prefers different neighbours for different queries; GAT has one order for all."""
    queries, keys = 12, 8
    pairs = torch.cartesian_prod(torch.arange(keys), torch.arange(keys, keys + queries)).t()
    graph, x = Graph(keys + queries, pairs), _x(keys + queries)
    truth = reference.run(layer.operator, layer.config, layer.params, graph, x).attention.view(keys, queries, -1)
    ours = layer.attention(graph, x).view(keys, queries, -1)
    same_order = torch.equal(ours.argsort(0), truth.argsort(0))
    _require(same_order, f"a query's neighbours are not in the order that {layer.operator.name} gives them")


@_of_a_layer
def gives_attention_that_sums_to_one(layer: _Layer) -> None:
    """Coefficients [E, H], of which those into a node sum to 1."""
    for name, build in ADVERSARIAL.items():
        graph = build()
        coefficients = layer.attention(graph, _x(graph.num_nodes))
        shape = (graph.num_edges, layer.config.heads)
        _require(
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
    _require(small > 0, f"memory_bytes predicts {small} bytes for 1,000 nodes and 10,000 edges")
    _require(large > small, f"memory_bytes predicts {large} bytes for 100 times the graph that needs {small}")


WITHOUT_A_LAYER: tuple[Check, ...] = (describes_itself, unsupported_answers_a_sentence_or_none)
"""What can be asked even where nothing can run."""

CHECKS: tuple[Check, ...] = (
    *WITHOUT_A_LAYER,
    names_cover_exactly_the_parameters,
    gives_the_shape_dtype_and_device_asked_for,
    leaves_graph_and_x_as_they_are,
    returns_its_own_value_to_a_node_with_only_its_self_loop,
    returns_a_constant_input_projected,
    gives_attention_that_sums_to_one,
    renumbers_its_output_with_the_nodes,
    keeps_disconnected_parts_apart,
    orders_neighbours_as_the_operator_does,
    stays_finite_with_large_scores,
    evaluates_without_chance,
    agrees_with_the_reference_in_float64,
    agrees_with_the_reference_in_float32,
    drops_coefficients_and_features_in_training,
    differentiates_under_the_masks_it_drew,
    trains_as_its_layers_define,
    predicts_memory_that_grows_with_the_graph,
)
"""Everything that is asked of a back end: what names a mistake before what only shows that there is one."""


def _agrees(backend: Backend, operator: Operator, device: torch.device, dtype: torch.dtype) -> None:
    for graph_name, build in ADVERSARIAL.items():
        configs = CONFIGS if graph_name in EVERY_CONFIG_ON else CONFIGS[:2]
        for config in configs:
            if backend.unsupported(operator, config, device) is None:
                x, y = inputs(build(), config.in_channels, config.out_features)
                for found in compare(backend, operator, config, build(), x, y, dtype, device):
                    where = f"{graph_name}, {_options(config)}"
                    _require(found.passed, f"{where}: {found.name} differs from the reference ({_figures(found)})")


def _dtypes(device: torch.device) -> tuple[torch.dtype, ...]:
    """What the device can compute in, the most exact last."""
    return (torch.float32,) if device.type == "mps" else (torch.float32, torch.float64)


def _supported(backend: Backend, operator: Operator, device: torch.device) -> Iterator[LayerConfig]:
    return (config for config in CONFIGS if backend.unsupported(operator, config, device) is None)


def _x(num_nodes: int) -> Tensor:
    return inputs(Graph(num_nodes, torch.empty(2, 0)), BASE.in_channels, 1)[0]


def _options(config: LayerConfig) -> str:
    chosen = [name for name in ("concat", "bias", "share_weights", "residual") if getattr(config, name)]
    return f"{config.heads} heads, slope {config.negative_slope}, {' '.join(chosen) or 'no option'}"


def _figures(found: Comparison) -> str:
    note = f"; {found.note}" if found.note else ""
    return f"off by {found.difference:.1e}, allowed {found.tolerance:.0e}{note}"


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Nonconformance(otherwise)
