"""The GATv2 layer of the annotated page at nn.labml.ai/graphs/gatv2, exactly as it computes.

    e_ij     = a . LeakyReLU(W_l h_j + W_r h_i)                      j source, i target
    alpha_ij = softmax of e_ij over the edges into i
    z_i      = sum_j alpha_ij W_r h_j

It differs from the paper's layer (`gatv2`) in three ways. The page names W_l as the transformation of i
and W_r that of j, but `repeat` and `repeat_interleave` lay the pairs out the other way round: the scores
use W_l for the source, while the aggregation, correct by the page's own naming, takes W_r h_source, a
projection which played the target's part in the scores. One attention vector serves all heads. The two
projections have no bias. With `config.share_weights` the first difference disappears.

N nodes, F input features, H heads, C channels per head. Parameters: `w_source` (the page's W_l) and
`w_target` (W_r) [H, C, F], of which `config.share_weights` leaves the first; `a` [C]; and those of
`implementations.epilogue`, which the page does not have. Start values are those of `torch.nn.Linear`.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from implementations import epilogue
from implementations.contract import Attended, LayerConfig, Params, Terms
from implementations.features import linear
from implementations.initial import uniform
from implementations.operators._softmax import neighbourhood_softmax

name = "gatv2_labml"


def shapes(config: LayerConfig) -> dict[str, tuple[int, ...]]:
    """Canonical parameter names and shapes."""
    weight = (config.heads, config.out_channels, config.in_channels)
    weights = dict.fromkeys(_weights(config), weight)
    return {**weights, "a": (config.out_channels,), **epilogue.shapes(config)}


def init(config: LayerConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Uniform as `torch.nn.Linear` starts: +-1/sqrt(F) for the weights, +-1/sqrt(C) for a."""
    H, C, features = config.heads, config.out_channels, config.in_channels
    weights = {w: uniform((H, C, features), 1 / math.sqrt(features), generator) for w in _weights(config)}
    a = uniform((C,), 1 / math.sqrt(C), generator)
    return {**weights, "a": a, **epilogue.init(config, generator)}


def terms(config: LayerConfig, params: Params, x: Tensor) -> Terms:
    """A node's parts of a score are vectors, K = C; it sends the part it has as a target."""
    projected = [
        linear(x, params[w].flatten(0, 1)).view(-1, config.heads, config.out_channels) for w in _weights(config)
    ]
    return Terms(source=projected[0], target=projected[-1], values=projected[-1])


def score(config: LayerConfig, params: Params, pair: Tensor) -> Tensor:
    """The one attention vector's product with the LeakyReLU of the sum of both parts."""
    return torch.einsum("k,...hk->...h", params["a"], F.leaky_relu(pair, config.negative_slope))


def reference(config: LayerConfig, params: Params, target_x: Tensor, source_x: Tensor, count: Tensor) -> Attended:
    """The equation of this file for every pair of a block."""
    w_l = params["w_source"]
    w_r = w_l if config.share_weights else params["w_target"]
    l_source = torch.einsum("hcf,sf->shc", w_l, source_x)
    r_target = torch.einsum("hcf,tf->thc", w_r, target_x)
    r_source = torch.einsum("hcf,sf->shc", w_r, source_x)
    pair = l_source + r_target.unsqueeze(1)  # [T, S, H, C]
    e = torch.einsum("c,tshc->tsh", params["a"], F.leaky_relu(pair, config.negative_slope))
    alpha = neighbourhood_softmax(e, count)
    return Attended(torch.einsum("ts,tsh,shc->thc", count, alpha, r_source), alpha)


def _weights(config: LayerConfig) -> tuple[str, ...]:
    return ("w_source",) if config.share_weights else ("w_source", "w_target")
