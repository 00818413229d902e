"""What heads do, in numbers: do all targets rank the sources they share alike, and how sharply do they choose?

Brody, Alon and Yahav 2022, theorem 1: GAT's attention is static, that is, of any two sources it puts the same one
first for every target, because its score is monotone in one number of the source. For a pair of sources that n targets
share, p of which rank the first above the second and n - p below, Kendall's tau of the targets' rankings, pooled over
all pairs, is

    tau = sum (p - (n - p))^2 - n  /  sum n^2 - n

which is 1 if every pair is unanimous. Pairs that a target scores as equal say nothing and are left out.
"""

import itertools
import math

import torch
from torch import Tensor

from bench.outcomes import HeadAttention
from implementations.contract import Graph


def of_lookup(scores: Tensor, coefficients: Tensor) -> tuple[HeadAttention, ...]:
    """One per head of a layer on DictionaryLookup.

    Args:
        scores: [B graphs, k keys, k queries, H] before the softmax.
        coefficients: [B, k or k + 1, k queries, H], the last row being a self-loop's if there is one.
    """
    first, second = zip(*itertools.combinations(range(scores.shape[1]), 2), strict=True)
    order = torch.sign(scores[:, list(first)] - scores[:, list(second)])  # [B, pairs, queries, H]
    balance, voters = order.sum(2).flatten(0, 1), order.abs().sum(2).flatten(0, 1)  # [B * pairs, H]
    entropy = torch.special.entr(coefficients).sum(1) / math.log(coefficients.shape[1])
    favourites = torch.zeros_like(scores[:, :, 0]).scatter(1, scores.argmax(1), 1).sum(1)  # [B, H]
    return tuple(
        _facts(1, head, balance[:, head], voters[:, head], entropy[..., head], favourites[:, head] / scores.shape[2])
        for head in range(scores.shape[-1])
    )


def of_graph(
    layer: int, scores: Tensor, coefficients: Tensor, graph: Graph, min_degree: int
) -> tuple[HeadAttention, ...]:
    """One per head of a layer on any graph.

    Args:
        layer: its number, from 1.
        scores: [E, H] before the softmax.
        coefficients: [E, H].
        graph: with self-loops; they count as sources like others.
        min_degree: targets with fewer incoming edges are left out of the entropies.
    """
    first, second = _edge_pairs(graph)
    order = torch.sign(scores[first] - scores[second])  # [pairs, H]
    pair = graph.sources[first] * graph.num_nodes + graph.sources[second]
    _, number = torch.unique(pair, return_inverse=True)
    pairs = int(number.max()) + 1
    balance = order.new_zeros(pairs, order.shape[1]).index_add(0, number, order)
    voters = order.new_zeros(pairs, order.shape[1]).index_add(0, number, order.abs())
    degree = torch.bincount(graph.targets, minlength=graph.num_nodes)
    surprise = torch.special.entr(coefficients)
    entropy = surprise.new_zeros(graph.num_nodes, scores.shape[1]).index_add(0, graph.targets, surprise)
    chosen = degree >= min_degree
    entropy = entropy[chosen] / degree[chosen].log().unsqueeze(-1)
    return tuple(
        _facts(layer, head, balance[:, head], voters[:, head], entropy[:, head], None)
        for head in range(scores.shape[1])
    )


def _facts(
    layer: int, head: int, balance: Tensor, voters: Tensor, entropy: Tensor, favourites: Tensor | None
) -> HeadAttention:
    shared = voters >= 2
    balance, voters = balance[shared], voters[shared]
    return HeadAttention(
        layer=layer,
        head=head + 1,
        source_pairs=int(shared.sum()),
        tau=float((balance**2 - voters).sum() / (voters**2 - voters).sum()),
        unanimous=float((balance.abs() == voters).double().mean()),
        entropy=float(entropy.mean()),
        favourites=None if favourites is None else float(favourites.mean()),
    )


def _edge_pairs(graph: Graph) -> tuple[Tensor, Tensor]:
    """All pairs of edges into the same target, the edge from the smaller source first; parallel edges make none."""
    order = torch.argsort(graph.targets * graph.num_nodes + graph.sources)
    sizes = torch.bincount(graph.targets, minlength=graph.num_nodes).tolist()
    pairs = torch.cat([torch.combinations(edges) for edges in torch.split(order, sizes) if len(edges) > 1])
    pairs = pairs[graph.sources[pairs[:, 0]] != graph.sources[pairs[:, 1]]]
    return pairs[:, 0], pairs[:, 1]
