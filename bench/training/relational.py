"""Attention over several relations: one layer of a back end for each type of edge, with weights of its own.

    out_i = sum_r attention_r(x, edges of type r)_i

The softmax of each relation is over its own edges. Brockschmidt's R-GAT and what Brody et al. 2022 made of it have one
softmax over the edges of all types, which no layer of a library computes from layers of one type.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


class Relational(nn.Module):
    """One layer for each relation; `prepared` holds one graph for each, in the back end's own form."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, prepared: Sequence[Any]) -> Tensor:
        """x [N, F] -> [N, width of each layer]."""
        first, *others = (layer(x, graph) for layer, graph in zip(self.layers, prepared, strict=True))
        out: Tensor = first
        for other in others:
            out = out + other
        return out
