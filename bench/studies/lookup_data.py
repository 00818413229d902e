"""DictionaryLookup (Brody, Alon and Yahav 2022, section 4.1): every query node must find the key node of its own key.

A graph has k query nodes (key q, no value) and k key nodes (key j, value perm[j]), every key node sends to every query
node, and the label of query q is perm[q]. So a graph is a permutation; structure and query nodes are the same in all.
"""

import itertools
import math
import random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench import seeds


class Lookup(NamedTuple):
    """Permutations [graphs, k] to train on and to test on."""

    train: Tensor
    test: Tensor


def draw(size: int, max_graphs: int, train_fraction: float, split: str, seed: int) -> Lookup:
    """Graphs of `size` keys, all if there are at most `max_graphs`, split by "graphs" or by "pairs"."""
    graphs = permutations(size, max_graphs, seed)
    shown = (
        _shown_by_graph(graphs, train_fraction, seed)
        if split == "graphs"
        else _shown_by_pair(graphs, allowed_pairs(size, train_fraction, seed))
    )
    return Lookup(graphs[shown], graphs[~shown])


def permutations(size: int, max_graphs: int, seed: int) -> Tensor:
    """All k! permutations in lexical order, or `max_graphs` drawn with repetition, as the released code draws them."""
    if math.factorial(size) <= max_graphs:
        return torch.tensor(list(itertools.permutations(range(size))))
    rng = np.random.default_rng(seeds.derive(seed, "lookup graphs"))
    return torch.from_numpy(rng.permuted(np.tile(np.arange(size), (max_graphs, 1)), axis=1))


def allowed_pairs(size: int, train_fraction: float, seed: int) -> Tensor:
    """[k, k] whether training may show key j with value v: int(fraction^(1/k) k^2) of the pairs, at random.

    A permutation uses k pairs, so about the fraction of all permutations uses only allowed ones.
    """
    pairs = list(itertools.product(range(size), range(size)))
    count = int(train_fraction ** (1 / size) * size**2)
    chosen = random.Random(seeds.derive(seed, "lookup pairs")).sample(pairs, count)
    allowed = torch.zeros(size, size, dtype=torch.bool)
    allowed[tuple(torch.tensor(chosen).T)] = True
    return allowed


def _shown_by_graph(graphs: Tensor, train_fraction: float, seed: int) -> Tensor:
    order = torch.randperm(len(graphs), generator=seeds.generator(seed, "lookup split"))
    shown = torch.zeros(len(graphs), dtype=torch.bool)
    shown[order[: int(train_fraction * len(graphs))]] = True
    return shown


def _shown_by_pair(graphs: Tensor, allowed: Tensor) -> Tensor:
    return allowed[torch.arange(graphs.shape[1]), graphs].all(1)
