"""DPGAT: scaled dot-product attention over neighbourhoods (Brody et al. 2022, Table 11; Vaswani et al. 2017).

    e_ij     = (W_s h_j) . (W_t h_i) / sqrt(C)          j source, i target
    alpha_ij = softmax of e_ij over the edges into i
    z_i      = sum_j alpha_ij W_v h_j

N nodes, F input features, H heads, C channels per head. Parameters: `w_source` (the paper's keys), `w_target` (its
queries) and `w_value`, [H, C, F] each, and those of `implementations.epilogue`. With `config.share_weights` a key is
the query of the same node. Weights start as in the authors' PyG layer, Glorot uniform.
"""

import math

import torch
from torch import Tensor

from implementations import epilogue
from implementations.contract import Attended, LayerConfig, Params, Terms
from implementations.features import linear
from implementations.initial import glorot
from implementations.operators._softmax import neighbourhood_softmax

name = "dpgat"


def shapes(config: LayerConfig) -> dict[str, tuple[int, ...]]:
    """Canonical parameter names and shapes."""
    weight = (config.heads, config.out_channels, config.in_channels)
    return {**dict.fromkeys(_weights(config), weight), **epilogue.shapes(config)}


def init(config: LayerConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Glorot uniform: fans F and H*C."""
    H, C, features = config.heads, config.out_channels, config.in_channels
    own = {weight: glorot((H, C, features), features, H * C, generator) for weight in _weights(config)}
    return {**own, **epilogue.init(config, generator)}


def terms(config: LayerConfig, params: Params, x: Tensor) -> Terms:
    """Key and query side by side, K = 2C, so that the sum over a pair still holds both; it sends its value."""
    key, value = (_project(config, params[weight], x) for weight in ("w_source", "w_value"))
    query = key if config.share_weights else _project(config, params["w_target"], x)
    nothing = torch.zeros_like(key)
    return Terms(torch.cat([key, nothing], -1), torch.cat([nothing, query], -1), value)


def score(config: LayerConfig, params: Params, pair: Tensor) -> Tensor:
    """The product of the two halves."""
    key, query = pair.split(config.out_channels, -1)  # type: ignore[no-untyped-call]
    scaled: Tensor = (key * query).sum(-1) / math.sqrt(config.out_channels)
    return scaled


def reference(config: LayerConfig, params: Params, target_x: Tensor, source_x: Tensor, count: Tensor) -> Attended:
    """The equation of this file for every pair of a block."""
    key = torch.einsum("hcf,sf->shc", params["w_source"], source_x)
    query = torch.einsum("hcf,tf->thc", params["w_source" if config.share_weights else "w_target"], target_x)
    value = torch.einsum("hcf,sf->shc", params["w_value"], source_x)
    e = torch.einsum("shc,thc->tsh", key, query) / math.sqrt(config.out_channels)
    alpha = neighbourhood_softmax(e, count)
    return Attended(torch.einsum("ts,tsh,shc->thc", count, alpha, value), alpha)


def _weights(config: LayerConfig) -> tuple[str, ...]:
    return ("w_source", "w_value") if config.share_weights else ("w_source", "w_target", "w_value")


def _project(config: LayerConfig, weight: Tensor, x: Tensor) -> Tensor:
    return linear(x, weight.flatten(0, 1)).view(-1, config.heads, config.out_channels)
