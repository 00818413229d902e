"""Edge noise as in the GATv2 paper's Figure 4: false edges beside the true ones.

For a share p, int(E/2 * p) pairs of distinct nodes that no edge joins are drawn, and both directions of each are added.
They are drawn once, with one fixed seed, and shared by all runs, as the authors' released code has it.
"""

import numpy as np
import torch

from implementations.contract import Graph

SEED = 123
"""The authors' own; their generator is another, so the edges are not theirs."""


def with_noise(graph: Graph, share: float) -> Graph:
    """The graph with its false edges after the true ones.

    Args:
        graph: without self-loops, both directions of every edge: E counts directed edges.
        share: false undirected edges per true one, p in [0, 1].
    """
    wanted = int(graph.num_edges / 2 * share)
    if not wanted:
        return graph
    N = graph.num_nodes
    low, high = _ordered(graph.sources.numpy(), graph.targets.numpy())
    taken = set((low * N + high).tolist())
    generator = np.random.default_rng(SEED)
    pairs: list[tuple[int, int]] = []
    while len(pairs) < wanted:
        for a, b in generator.integers(0, N, (wanted, 2)).tolist():
            pair = (min(a, b), max(a, b))
            if a != b and pair[0] * N + pair[1] not in taken and len(pairs) < wanted:
                taken.add(pair[0] * N + pair[1])
                pairs.append(pair)
    added = torch.tensor(pairs, dtype=torch.int64).T
    return Graph(N, torch.cat([graph.edge_index, added, added.flip(0)], dim=1))


def _ordered(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(first, second), np.maximum(first, second)
