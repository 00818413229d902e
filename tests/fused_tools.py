"""Small graphs, layers, features and networks for the tests of the compiled kernels."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from implementations.backends import fused, fused_step
from implementations.backends._fused import library
from implementations.contract import Graph, LayerConfig, TrainingProblem
from implementations.name_table import load
from implementations.operators import gat, gatv2

CPU = torch.device("cpu")
OPERATORS = pytest.mark.parametrize("operator", [gat, gatv2], ids=lambda operator: operator.name)
SHAPES = [(8, 5, True), (1, 7, False), (3, 4, True), (6, 2, False)]  # heads, channels, concatenated
NEEDS_KERNELS = pytest.mark.skipif(library.missing() is not None, reason=str(library.missing()))


def random_graph(num_nodes: int = 9, num_edges: int = 30, seed: int = 0) -> Graph:
    """Directed, unsorted, with repeated edges; some nodes may hear of nobody."""
    generator = torch.Generator().manual_seed(seed)
    return Graph(num_nodes, torch.randint(num_nodes, (2, num_edges), generator=generator))


def layer_of(backend, operator, config: LayerConfig, dtype=torch.float64, seed: int = 0):
    layer = backend.layer(operator, config).to(dtype)
    start = operator.init(config, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    start = {name: value + 0.3 * torch.randn(value.shape, generator=generator) for name, value in start.items()}
    load(layer, backend.names(operator, config), start)
    return layer


def features(num_nodes: int, width: int, dtype=torch.float64) -> Tensor:
    return torch.randn(num_nodes, width, generator=torch.Generator().manual_seed(3), dtype=dtype)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def problem(
    operator, *, dropout: float = 0.5, sparse: bool = True, dtype=torch.float64, backend=fused, **options
) -> TrainingProblem:
    """Options are of both layers."""
    graph = random_graph(60, 300, seed=5)
    options = {"attention_dropout": dropout, "residual": True, **options}
    configs = [LayerConfig(12, 5, 8, **options), LayerConfig(40, 4, 3, concat=False, **options)]
    x = features(60, 12, dtype).relu()
    return TrainingProblem(
        layers=[layer_of(backend.BACKEND, operator, config, dtype, 7 + k) for k, config in enumerate(configs)],
        configs=configs,
        feature_dropout=dropout,
        x=x.to_sparse_csr() if sparse else x,
        prepared=backend.BACKEND.prepare(graph, CPU),
        y=torch.randint(4, (60,), generator=torch.Generator().manual_seed(2)),
        nodes=torch.tensor([3, 17, 4, 40, 59, 8]),
        lr=0.01,
        weight_decay=1e-3,
    )


def parameters(given: TrainingProblem) -> list[Tensor]:
    return [parameter.detach() for layer in given.layers for parameter in layer.parameters()]


def trained(given: TrainingProblem, backend=fused_step, steps: int = 5, operator=gatv2, seed: int = 0):
    torch.manual_seed(seed)
    trainer = backend.BACKEND.whole_step(operator, given)
    losses = torch.stack([trainer.step() for _ in range(steps)])
    return losses, parameters(given), trainer
