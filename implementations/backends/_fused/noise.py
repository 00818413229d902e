"""Dropout decisions by counter: whether number n is kept depends on a 64-bit key and on n, on nothing else.

Not on threads, instruction set or who asks, that is. Of coefficients, n is edge * H + head, with edges numbered by
target as `Edges` has them; of features, the place in memory. A key is drawn from torch's default generator: a new one
by each call of a layer that drops and of `dropout`, and by each whole step, which mixes in a number for each site. So
what is dropped follows from the generator's seed and all that was drawn from it before, by whomever. The number of the
step is no part of it: to repeat a step, set the generator to the state in which the step found it. From one seed,
`fused` and the whole steps drop differently, and so do whole steps that number nodes differently.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from implementations.backends._fused import library
from implementations.backends._fused.library import address, kernels

SPARE_BYTES = 8  # kernels read a little beyond the last bit


@dataclass(frozen=True, eq=False)
class Noise:
    """Decisions, one bit each."""

    keep: Tensor  # uint8
    probability: float

    @classmethod
    def draw(cls, count: int, probability: float, key: int) -> "Noise":
        """`count` decisions under a 64-bit key."""
        keep = torch.empty(count // 8 + SPARE_BYTES, dtype=torch.uint8)
        kernels().fused_fill_bits(key, threshold(probability), count, address(keep), torch.get_num_threads())
        return cls(keep, probability)

    @classmethod
    def of(cls, kept: Tensor, probability: float) -> "Noise":
        """Given decisions: True where kept."""
        bits = torch.zeros((kept.numel() + 7) // 8 + SPARE_BYTES, 8, dtype=torch.uint8)
        bits.view(-1)[: kept.numel()] = kept.flatten()
        return cls((bits << torch.arange(8)).sum(1).to(torch.uint8), probability)

    def mask(self, count: int) -> Tensor:
        """The first `count` decisions as booleans."""
        return (self.keep.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8)).bitwise_and(1).flatten()[:count].bool()


def c_noise(noise: Noise | None) -> library.Noise:
    """As the kernels take it."""
    return (
        library.Noise(None, 1.0) if noise is None else library.Noise(address(noise.keep), 1 / (1 - noise.probability))
    )


def threshold(probability: float) -> int:
    """Below which of 2^32 equally likely words a decision is to drop.

    Raises:
        ValueError: kept numbers could not be divided by 1 - probability.
    """
    if not 0 <= probability < 1:
        raise ValueError(f"a probability of dropout is {probability} and should be at least 0 and less than 1")
    return min(round(probability * 2**32), 2**32 - 1)


def new_key() -> int:
    """64 bits from torch's default generator, so that its seed decides every mask."""
    return int(torch.randint(-(2**63), 2**63 - 1, ()).item()) & (2**64 - 1)
