"""Small graphs, layers and features for the tests of the compiled kernels."""

import pytest
import torch
from torch import Tensor

from implementations.backends._fused import library
from implementations.contract import Graph, LayerConfig
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
