"""GAT (Velickovic et al. 2018, eq. 1 to 6).

    e_ij     = LeakyReLU(a_source . W h_j + a_target . W h_i)        j source, i target
    alpha_ij = softmax of e_ij over the edges into i
    z_i      = sum_j alpha_ij W h_j

The paper writes a^T [W h_i || W h_j]; the two halves of a are `a_target` and `a_source`.

N nodes, F input features, H heads, C channels per head. Parameters: `weight` W [H, C, F], `a_source` and
`a_target` [H, C], and those of `implementations.epilogue`. Start values are those of PyG.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from implementations import epilogue
from implementations.contract import Attended, LayerConfig, Params, Terms
from implementations.features import linear
from implementations.initial import glorot
from implementations.operators._softmax import neighbourhood_softmax

name = "gat"


def shapes(config: LayerConfig) -> dict[str, tuple[int, ...]]:
    """Canonical parameter names and shapes."""
    H, C = config.heads, config.out_channels
    attention = {"a_source": (H, C), "a_target": (H, C)}
    return {"weight": (H, C, config.in_channels), **attention, **epilogue.shapes(config)}


def init(config: LayerConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Glorot uniform: fans F and H*C for the weight, H and C for the attention vectors."""
    H, C, features = config.heads, config.out_channels, config.in_channels
    return {
        "weight": glorot((H, C, features), features, H * C, generator),
        "a_source": glorot((H, C), H, C, generator),
        "a_target": glorot((H, C), H, C, generator),
        **epilogue.init(config, generator),
    }


def terms(config: LayerConfig, params: Params, x: Tensor) -> Terms:
    """A node's two parts of a score are numbers, K = 1; it sends W h."""
    wh = linear(x, params["weight"].flatten(0, 1)).view(-1, config.heads, config.out_channels)  # [N, H, C]
    source = (wh * params["a_source"]).sum(-1, keepdim=True)  # [N, H, 1]
    target = (wh * params["a_target"]).sum(-1, keepdim=True)
    return Terms(source, target, wh)


def score(config: LayerConfig, params: Params, pair: Tensor) -> Tensor:
    """LeakyReLU of the sum of both parts."""
    return F.leaky_relu(pair.squeeze(-1), config.negative_slope)


def reference(config: LayerConfig, params: Params, target_x: Tensor, source_x: Tensor, count: Tensor) -> Attended:
    """The equation of this file for every pair of a block."""
    wh_target = torch.einsum("hcf,tf->thc", params["weight"], target_x)
    wh_source = torch.einsum("hcf,sf->shc", params["weight"], source_x)
    from_target = torch.einsum("thc,hc->th", wh_target, params["a_target"])
    from_source = torch.einsum("shc,hc->sh", wh_source, params["a_source"])
    e = F.leaky_relu(from_source + from_target.unsqueeze(1), config.negative_slope)  # [T, S, H]
    alpha = neighbourhood_softmax(e, count)
    return Attended(torch.einsum("ts,tsh,shc->thc", count, alpha, wh_source), alpha)
