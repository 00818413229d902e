"""What every layer does after aggregation, so that no two back ends do it differently.

    out_i = merge_h z_i^h  [+ R x_i]  [+ b]        z_i^h the aggregate of head h, x_i the layer's input

`merge` puts the heads side by side or takes their mean. Canonical parameters: `residual` R [O, F] and
`bias` b [O], where O = `config.out_features`; each is there only if the configuration asks for it.
"""

import torch
from torch import Tensor

from implementations.contract import LayerConfig, Params
from implementations.features import linear
from implementations.initial import glorot


def shapes(config: LayerConfig) -> dict[str, tuple[int, ...]]:
    """Canonical names and shapes of the parameters used here; none without residual and bias."""
    residual = {"residual": (config.out_features, config.in_channels)} if config.residual else {}
    bias = {"bias": (config.out_features,)} if config.bias else {}
    return {**residual, **bias}


def init(config: LayerConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Glorot uniform for the projection, zero for the bias, as PyG starts them."""
    F, O = config.in_channels, config.out_features  # noqa: E741  O is the size of the output
    residual = {"residual": glorot((O, F), F, O, generator)} if config.residual else {}
    bias = {"bias": torch.zeros(O)} if config.bias else {}
    return {**residual, **bias}


def apply(config: LayerConfig, params: Params, x: Tensor, aggregated: Tensor) -> Tensor:
    """Merge heads [N, H, C] into [N, O]; then residual from x [N, F], dense or sparse CSR, and bias."""
    out = aggregated.flatten(1) if config.concat else aggregated.mean(1)
    if config.residual:
        out = out + linear(x, params["residual"])
    if config.bias:
        out = out + params["bias"]
    return out
