"""The softmax over a neighbourhood, for the dense references of all operators."""

import torch
from torch import Tensor


def neighbourhood_softmax(score: Tensor, count: Tensor) -> Tensor:
    """Coefficient of one edge from each source to each target, summing to 1 over a target's edges.

        alpha_ts = exp(e_ts) / sum_s' count_ts' exp(e_ts')

    Parallel edges are terms of their own, hence the count in the sum; a pair without an edge gets 0, and
    so does every pair of a target without edges.

    Args:
        score: e [T, S, H], for every pair.
        count: edges of each pair, [T, S].
    """
    if not score.numel():
        return score  # no source at all; a maximum over nothing is an error
    edges = count.unsqueeze(-1)  # [T, S, 1]
    score = score.masked_fill(edges == 0, -torch.inf)
    # Any shift cancels; the largest score keeps exp below 1. A target without edges has none.
    largest = score.detach().amax(1, keepdim=True)
    weight = torch.exp(score - largest.where(largest.isfinite(), 0))
    total = (edges * weight).sum(1, keepdim=True)
    return weight / total.where(total > 0, 1)
