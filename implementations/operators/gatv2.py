"""GATv2 (Brody, Alon, Yahav 2022, eq. 7), with biases where PyG and the authors' DGL layer have them.

    e_ij     = a . LeakyReLU(W_s h_j + b_s + W_t h_i + b_t)          j source, i target
    alpha_ij = softmax of e_ij over the edges into i
    z_i      = sum_j alpha_ij (W_s h_j + b_s)

The vector a comes after the nonlinearity: which neighbour scores highest may depend on the target, which
in GAT it cannot.

N nodes, F input features, H heads, C channels per head. Parameters: `w_source`, `w_target` [H, C, F];
`b_source`, `b_target` [H, C] if `config.bias`; `a` [H, C]; and those of `implementations.epilogue`, its
output bias included. With `config.share_weights` source and target use `w_source` and `b_source`. Weights
and attention vectors start as PyG's do; the biases at zero, as in the authors' DGL layer (PyG draws those
of the projections).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from implementations import epilogue
from implementations.contract import Attended, LayerConfig, Params, Terms
from implementations.features import linear
from implementations.initial import glorot
from implementations.operators._softmax import neighbourhood_softmax

name = "gatv2"


def shapes(config: LayerConfig) -> dict[str, tuple[int, ...]]:
    """Canonical parameter names and shapes."""
    H, C = config.heads, config.out_channels
    own: dict[str, tuple[int, ...]] = {}
    for side in _sides(config):
        own[f"w_{side}"] = (H, C, config.in_channels)
        if config.bias:
            own[f"b_{side}"] = (H, C)
    return {**own, "a": (H, C), **epilogue.shapes(config)}


def init(config: LayerConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Glorot uniform: fans F and H*C for the weights, H and C for the attention vector; biases zero."""
    H, C, features = config.heads, config.out_channels, config.in_channels
    own: dict[str, Tensor] = {}
    for side in _sides(config):
        own[f"w_{side}"] = glorot((H, C, features), features, H * C, generator)
        if config.bias:
            own[f"b_{side}"] = torch.zeros(H, C)
    return {**own, "a": glorot((H, C), H, C, generator), **epilogue.init(config, generator)}


def terms(config: LayerConfig, params: Params, x: Tensor) -> Terms:
    """A node's parts of a score are vectors, K = C; it sends its source part."""
    source = _project(config, params, "source", x)
    target = source if config.share_weights else _project(config, params, "target", x)
    return Terms(source, target, source)


def score(config: LayerConfig, params: Params, pair: Tensor) -> Tensor:
    """The attention vector's product with the LeakyReLU of the sum of both parts."""
    return torch.einsum("hk,...hk->...h", params["a"], F.leaky_relu(pair, config.negative_slope))


def reference(config: LayerConfig, params: Params, target_x: Tensor, source_x: Tensor, count: Tensor) -> Attended:
    """The equation of this file for every pair of a block."""
    of_source = ("w_source", "b_source")
    of_target = of_source if config.share_weights else ("w_target", "b_target")
    g_source = _transformed(config, params, of_source, source_x)
    g_target = _transformed(config, params, of_target, target_x)
    pair = g_source + g_target.unsqueeze(1)  # [T, S, H, C]
    e = torch.einsum("hc,tshc->tsh", params["a"], F.leaky_relu(pair, config.negative_slope))
    alpha = neighbourhood_softmax(e, count)
    return Attended(torch.einsum("ts,tsh,shc->thc", count, alpha, g_source), alpha)


def _sides(config: LayerConfig) -> tuple[str, ...]:
    return ("source",) if config.share_weights else ("source", "target")


def _project(config: LayerConfig, params: Params, side: str, x: Tensor) -> Tensor:
    bias = params[f"b_{side}"].flatten() if config.bias else None
    return linear(x, params[f"w_{side}"].flatten(0, 1), bias).view(-1, config.heads, config.out_channels)


def _transformed(config: LayerConfig, params: Params, names: tuple[str, str], h: Tensor) -> Tensor:
    weight, bias = names
    wh = torch.einsum("hcf,nf->nhc", params[weight], h)
    return wh + params[bias] if config.bias else wh
