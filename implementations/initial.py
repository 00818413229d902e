"""Start values, drawn from a generator and nothing else, in float32."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def glorot(shape: Sequence[int], fan_in: int, fan_out: int, generator: torch.Generator) -> Tensor:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
    return uniform(shape, math.sqrt(6 / (fan_in + fan_out)), generator)


def uniform(shape: Sequence[int], bound: float, generator: torch.Generator) -> Tensor:
    """Uniform in +-bound."""
    return torch.empty(tuple(shape)).uniform_(-bound, bound, generator=generator)
