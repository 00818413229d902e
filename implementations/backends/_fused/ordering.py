"""Nodes renumbered so that neighbours lie near each other in memory."""

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from implementations.backends._fused import library
from implementations.backends._fused.structures import BAND, Edges
from implementations.contract import Graph

FEWEST_NODES = 2 * BAND
"""Rows of fewer nodes are near anyway: a core's own cache holds them."""
MOST_EDGES = 2**30 - 1
"""SciPy numbers the edges and their reverses, together, with signed 32 bits."""
LEAST_GAIN = 0.05
"""By so much must the share of edges between near nodes grow, or the order stays."""


def order_of(edges: Edges) -> Tensor | None:
    """The nodes in their new order, [N] int64; None where it would gain nothing, or has too many edges."""
    if edges.num_nodes <= FEWEST_NODES or edges.num_edges > MOST_EDGES:
        return None
    order = _shortened(edges)
    library.release_scratch()  # some numbers an edge, which would lie beside the step's own memory
    return order


def _shortened(edges: Edges) -> Tensor | None:
    """Reverse Cuthill-McKee: breadth first from a node of low degree, neighbours of low degree first (Cuthill & McKee
    1969, reversed by George 1971). It shortens citation graphs; of a random graph there is nothing to shorten.
    """
    N = edges.num_nodes
    rows, columns = edges.target_rows.numpy(), edges.source_of.numpy()
    adjacency = sparse.csr_array((np.ones(len(columns), dtype=np.int8), columns, rows), shape=(N, N))
    order = torch.from_numpy(reverse_cuthill_mckee(adjacency, symmetric_mode=False).astype(np.int64))
    place = places(order)
    targets, sources = ends(edges)
    gain = _share_near(place[targets], place[sources]) - _share_near(targets, sources)
    return order if gain >= LEAST_GAIN else None


def reordered(edges: Edges, order: Tensor) -> Edges:
    """The same edges between the renumbered nodes."""
    place = places(order)
    targets, sources = ends(edges)
    return Edges.of(Graph(edges.num_nodes, torch.stack([place[sources], place[targets]])))


def places(order: Tensor) -> Tensor:
    """Of each node its number in the order."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    return place


def ends(edges: Edges) -> tuple[Tensor, Tensor]:
    """Target and source of each edge, [E] int64."""
    return torch.repeat_interleave(torch.arange(edges.num_nodes), edges.target_rows.diff()), edges.source_of.long()


def _share_near(targets: Tensor, sources: Tensor) -> float:
    return float(((targets - sources).abs() < BAND).double().mean())
