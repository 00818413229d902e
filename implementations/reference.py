"""An operator's reference over a whole graph: the float64 truth that every back end is held to.

A reference works on dense blocks of targets x sources. Running it block of targets by block of targets,
each with only the sources that send to that block, leaves out pairs without an edge and nothing else,
so it is exact, and Cora takes about a second where the whole matrix would take many.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from implementations import epilogue
from implementations.contract import Graph, LayerConfig, Operator, Params

# Few targets share few sources: smaller blocks compute fewer pairs without an edge, larger ones fewer calls.
TARGETS_PER_BLOCK = 16


class Reference(NamedTuple):
    """What the equation gives for one layer on one graph."""

    output: Tensor  # [N, config.out_features]
    attention: Tensor  # [E, H], in the order of `graph.edge_index`


def run(operator: Operator, config: LayerConfig, params: Params, graph: Graph, x: Tensor) -> Reference:
    """The layer without dropout for dense x [N, F]; differentiable with respect to x and params."""
    hearers, edge_hearer = _hearers(graph)
    order = torch.argsort(edge_hearer, stable=True)
    blocks = _blocks(len(hearers), edge_hearer[order], graph.sources[order])
    # One selection for all blocks: the gradient of a selection is as large as x.
    target_xs = torch.split(x[hearers], [block.num_targets for block in blocks])
    source_xs = torch.split(x[torch.cat([block.sources for block in blocks])], [len(block.sources) for block in blocks])
    aggregated, attention = [], []
    for block, target_x, source_x in zip(blocks, target_xs, source_xs, strict=True):
        count = torch.zeros(block.num_targets, len(block.sources), dtype=x.dtype, device=x.device)
        count.index_put_((block.edge_target, block.edge_source), count.new_ones(()), accumulate=True)
        attended = operator.reference(config, params, target_x, source_x, count)
        aggregated.append(attended.aggregated)
        attention.append(attended.attention[block.edge_target, block.edge_source])
    of_all = x.new_zeros(graph.num_nodes, config.heads, config.out_channels).index_copy(
        0, hearers, torch.cat(aggregated)
    )
    return Reference(epilogue.apply(config, params, x, of_all), torch.cat(attention)[torch.argsort(order)])


def _hearers(graph: Graph) -> tuple[Tensor, Tensor]:
    """Nodes with incoming edges, ascending, and the position of each edge's target among them.

    The others aggregate zero by definition. Without any edge every node is one, so that an operator's equation still
    is what gives the zeros, and gradients their way back.
    """
    if not graph.num_edges:
        return torch.arange(graph.num_nodes, device=graph.edge_index.device), graph.targets
    hearers, edge_hearer = torch.unique(graph.targets, return_inverse=True)
    return hearers, edge_hearer


class _Block(NamedTuple):
    num_targets: int
    sources: Tensor  # node numbers [S]
    edge_target: Tensor  # of each edge: position among the block's targets ...
    edge_source: Tensor  # ... and among `sources`


def _blocks(num_targets: int, targets: Tensor, sources: Tensor) -> list[_Block]:
    """Blocks of targets, from edges in the order of their targets."""
    firsts = torch.arange(0, num_targets, TARGETS_PER_BLOCK, device=targets.device)
    edge_firsts = [*torch.searchsorted(targets, firsts).tolist(), len(targets)]
    blocks = []
    for position, first in enumerate(firsts.tolist()):
        edges = slice(edge_firsts[position], edge_firsts[position + 1])
        own_sources, edge_source = torch.unique(sources[edges], return_inverse=True)
        size = min(TARGETS_PER_BLOCK, num_targets - first)
        blocks.append(_Block(size, own_sources, targets[edges] - first, edge_source))
    return blocks
