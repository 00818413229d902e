"""Numbers of whole graphs, as tf-gnn-samples foretells them (Brockschmidt 2020; tasks/qm9_task.py and its base model).

    x_0 = tanh(V x);   after the first layer also tanh(V' .)
    number of a graph = sum_i sigmoid(w . [h_i, x_i] + c) (u . h_i + d)

over its nodes i, with x the node's features and h what the last layer says of it, activated.
"""

import torch
from torch import Tensor, nn

from bench import seeds
from implementations.initial import glorot


class GatedEnds(nn.Module):
    """Linear maps before the first layer and after it, and a gated number of each node at the end."""

    drops_last = False  # no dropout of what the last layer says

    def __init__(self, features: int, width: int, seed: int | None) -> None:
        super().__init__()
        generator = None if seed is None else seeds.generator(seed, "init", "ends")
        self.into = _dense(features, width, generator, bias=False)
        self.then = _dense(width, width, generator, bias=False)
        self.gate = _dense(width + features, 1, generator)
        self.number = _dense(width, 1, generator)

    def first(self, x: Tensor) -> Tensor:
        """x [N, F] -> [N, width]."""
        return torch.tanh(self.into(x))

    def followed(self, h: Tensor, position: int) -> Tensor:
        """What a layer's activated output becomes."""
        return torch.tanh(self.then(h)) if position == 0 else h

    def last(self, h: Tensor, x: Tensor) -> Tensor:
        """h [N, width] and features [N, F] -> what each node adds to its graph's number, [N]."""
        gate = torch.sigmoid(self.gate(torch.cat([h, x], dim=-1)))
        numbers: Tensor = self.number(h)
        return (gate * numbers).squeeze(-1)


def of_graphs(of_nodes: Tensor, y: Tensor, graph_of: Tensor) -> tuple[Tensor, Tensor]:
    """What is said of each graph and what is true, [G] each, from [N] each: a sum, and what its nodes share."""
    sums = summed(of_nodes, graph_of)
    return sums, torch.zeros_like(sums).index_copy(0, graph_of, y.to(of_nodes.dtype))


def summed(of_nodes: Tensor, graph_of: Tensor) -> Tensor:
    """What is said of each graph, [G], from what is said of its nodes, [N]."""
    return of_nodes.new_zeros(int(graph_of.max()) + 1).index_add(0, graph_of, of_nodes)


def _dense(in_features: int, out_features: int, generator: torch.Generator | None, *, bias: bool = True) -> nn.Linear:
    """Keras's start: Glorot uniform, biases 0; torch's own without a generator."""
    made = nn.Linear(in_features, out_features, bias)
    if generator is not None:
        with torch.no_grad():
            made.weight.copy_(glorot(made.weight.shape, in_features, out_features, generator))
            if bias:
                made.bias.zero_()
    return made
