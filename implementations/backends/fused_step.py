"""The network's whole training step in C++: forward, loss, backward and Adam in one call, on the layers of `fused`."""

from implementations.backends._fused.backend import FusedBackend
from implementations.contract import Backend

BACKEND: Backend = FusedBackend("fused_step", "whole")
