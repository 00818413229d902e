"""torch.compile over a network of PyTorch Geometric's layers."""

from implementations.backends._compiled import Compiled
from implementations.contract import Backend

BACKEND: Backend = Compiled("pyg")
