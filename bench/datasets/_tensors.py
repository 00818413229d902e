"""Arrays to the tensors that a data set consists of."""

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from implementations.contract import Graph


def graph(num_nodes: int, sources: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]) -> Graph:
    """Edges without self-loops and repetitions, sorted by target, then source."""
    between = sources != targets
    keys = np.unique(targets[between] * num_nodes + sources[between])
    return Graph(num_nodes, torch.from_numpy(np.stack([keys % num_nodes, keys // num_nodes])))


def sparse(matrix: csr_matrix) -> Tensor:
    """The same matrix as a float32 sparse CSR tensor, columns in order."""
    matrix.sort_indices()
    return torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr.astype(np.int64)),
        torch.from_numpy(matrix.indices.astype(np.int64)),
        torch.from_numpy(matrix.data.astype(np.float32)),
        matrix.shape,
        check_invariants=True,
    )
