"""Memory of a step whose every use is known beforehand: what is given back is what the next call takes."""

import torch
from torch import Tensor

from implementations.backends._fused.library import Unplaced

ALIGNED = 16  # numbers: a cache line of floats


class Arena:
    """First fit over one block. A first pass without memory finds how large the block must be."""

    def __init__(self, dtype: torch.dtype, block: Tensor | None = None) -> None:
        self._dtype, self._block = dtype, block
        self._free: list[tuple[int, int]] = [(0, 2**62)]  # (begin, end), ascending
        self._taken: dict[int, tuple[int, int]] = {}
        self._kept: list[Tensor] = []  # ids name the tensors, so none may be collected while another arises
        self.peak = 0

    def take(self, *shape: int) -> Tensor:
        """A contiguous tensor of that shape; its values are whatever was there."""
        count = 1
        for length in shape:
            count *= length
        wanted = -(-max(count, 1) // ALIGNED) * ALIGNED
        place = next(k for k, (begin, end) in enumerate(self._free) if end - begin >= wanted)
        begin, end = self._free[place]
        self._free[place] = begin + wanted, end
        self.peak = max(self.peak, begin + wanted)
        if self._block is None:
            tensor: Tensor = torch.empty(shape, dtype=self._dtype, device="meta").as_subclass(Unplaced)
        else:
            tensor = self._block[begin : begin + count].view(shape)
        self._taken[id(tensor)] = begin, begin + wanted
        self._kept.append(tensor)
        return tensor

    def give(self, *tensors: Tensor | None) -> None:
        """Whatever comes later may have this memory."""
        for tensor in tensors:
            if tensor is not None:
                self._free.append(self._taken.pop(id(tensor)))
        merged: list[tuple[int, int]] = []
        for begin, end in sorted(self._free):
            if merged and merged[-1][1] == begin:
                merged[-1] = merged[-1][0], end
            elif end > begin:
                merged.append((begin, end))
        self._free = merged
