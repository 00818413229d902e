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
    order = torch.argsort(graph.targets, stable=True)
    blocks = _blocks(graph, order)
    # One selection for all blocks: the gradient of a selection is as large as x.
    target_xs = x.split([block.num_targets for block in blocks])
    source_xs = x[torch.cat([block.sources for block in blocks])].split([len(block.sources) for block in blocks])
    aggregated, attention = [], []
    for block, target_x, source_x in zip(blocks, target_xs, source_xs, strict=True):
        count = torch.zeros(block.num_targets, len(block.sources), dtype=x.dtype, device=x.device)
        count.index_put_((block.edge_target, block.edge_source), count.new_ones(()), accumulate=True)
        attended = operator.reference(config, params, target_x, source_x, count)
        aggregated.append(attended.aggregated)
        attention.append(attended.attention[block.edge_target, block.edge_source])
    output = epilogue.apply(config, params, x, torch.cat(aggregated))
    return Reference(output, torch.cat(attention)[torch.argsort(order)])


class _Block(NamedTuple):
    num_targets: int
    sources: Tensor  # node numbers [S]
    edge_target: Tensor  # of each edge: position among the block's targets ...
    edge_source: Tensor  # ... and among `sources`


def _blocks(graph: Graph, order: Tensor) -> list[_Block]:
    targets, sources = graph.targets[order], graph.sources[order]
    firsts = torch.arange(0, graph.num_nodes, TARGETS_PER_BLOCK, device=targets.device)
    edge_firsts = [*torch.searchsorted(targets, firsts).tolist(), graph.num_edges]
    blocks = []
    for position, first in enumerate(firsts.tolist()):
        edges = slice(edge_firsts[position], edge_firsts[position + 1])
        own_sources, edge_source = torch.unique(sources[edges], return_inverse=True)
        num_targets = min(TARGETS_PER_BLOCK, graph.num_nodes - first)
        blocks.append(_Block(num_targets, own_sources, targets[edges] - first, edge_source))
    return blocks
