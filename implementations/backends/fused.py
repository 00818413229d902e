"""GAT and GATv2 as C++ kernels under autograd: streaming softmax, nothing of size E x H x C, CPU only.

The kernels, their layouts and what they store are described beside them in `_fused/`.
"""

from implementations.backends._fused.backend import FusedBackend
from implementations.contract import Backend

BACKEND: Backend = FusedBackend("fused")
