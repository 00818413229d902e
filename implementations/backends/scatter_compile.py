"""torch.compile over a network of the scatter back end."""

from implementations.backends._compiled import Compiled
from implementations.contract import Backend

BACKEND: Backend = Compiled("scatter")
