"""GAT and GATv2 as C++ kernels under autograd: streaming softmax, CPU only.

No numbers of size E x H x C are stored; GATv2 in training stores one bit for each edge, head and channel. The
kernels, their layouts and what they store are described beside them in `_fused/`.
"""

from implementations.backends._fused.backend import FusedBackend
from implementations.contract import Backend

BACKEND: Backend = FusedBackend("fused")
