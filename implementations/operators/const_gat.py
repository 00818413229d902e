"""Const-GAT (Velickovic et al. 2018, section 3.4): the constant mechanism a(x, y) = 1, everything else as GAT.

    alpha_ij = 1 / number of edges into i        j source, i target
    z_i      = sum_j alpha_ij W h_j

N nodes, F input features, H heads, C channels per head. Parameters: `weight` W [H, C, F] and those of
`implementations.epilogue`; start values are GAT's.
"""

import torch
from torch import Tensor

from implementations import epilogue
from implementations.contract import Attended, LayerConfig, Params, Terms
from implementations.features import linear
from implementations.initial import glorot

name = "const_gat"


def shapes(config: LayerConfig) -> dict[str, tuple[int, ...]]:
    """Canonical parameter names and shapes."""
    return {"weight": (config.heads, config.out_channels, config.in_channels), **epilogue.shapes(config)}


def init(config: LayerConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Glorot uniform: fans F and H*C for the weight."""
    H, C, features = config.heads, config.out_channels, config.in_channels
    return {"weight": glorot((H, C, features), features, H * C, generator), **epilogue.init(config, generator)}


def terms(config: LayerConfig, params: Params, x: Tensor) -> Terms:
    """A node has no part in a score; it sends W h."""
    wh = linear(x, params["weight"].flatten(0, 1)).view(-1, config.heads, config.out_channels)  # [N, H, C]
    nothing = wh.new_zeros(len(wh), config.heads, 1)
    return Terms(nothing, nothing, wh)


def score(config: LayerConfig, params: Params, pair: Tensor) -> Tensor:
    """The same for every pair; any constant gives the same softmax, and this one is what both parts add up to."""
    return pair.squeeze(-1)


def reference(config: LayerConfig, params: Params, target_x: Tensor, source_x: Tensor, count: Tensor) -> Attended:
    """The equation of this file for every pair of a block."""
    wh_source = torch.einsum("hcf,sf->shc", params["weight"], source_x)
    incoming = count.sum(1, keepdim=True)
    alpha = (count > 0) / incoming.where(incoming > 0, 1)  # [T, S]
    alpha = alpha.unsqueeze(-1).expand(-1, -1, config.heads)
    return Attended(torch.einsum("ts,tsh,shc->thc", count, alpha, wh_source), alpha)
