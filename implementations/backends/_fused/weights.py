"""A layer's parameters in the order in which the kernels read them, their gradients, and Adam."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from implementations.backends._fused.calls import Adam, Gather, Program
from implementations.backends._fused.library import WIDTH, address
from implementations.backends._fused.structures import Rows
from implementations.contract import LayerConfig


@dataclass(eq=False)
class Weight:
    """One parameter. Where its memory already has the order of the kernels, they work on it directly."""

    parameter: Tensor
    index: Tensor  # int32, shape of `packed`: where each number lies in the parameter's memory; -1 for padding
    packed: Tensor
    grad: Tensor  # as `packed`
    transposed: Tensor | None = None  # [row, inner]
    transposed_index: Tensor | None = None
    memory_grad: Tensor | None = None  # in the order of the parameter's memory, where that is another
    inverse: Tensor | None = None

    @classmethod
    def of(cls, parameter: Tensor, index: Tensor, needs_transposed: bool) -> "Weight":
        """A parameter whose numbers the kernels want at `index`."""
        index = index.to(torch.int32).contiguous()
        size = parameter.numel()
        grad = torch.empty(index.shape, dtype=parameter.dtype)
        is_direct = index.numel() == size and bool((index.flatten() == torch.arange(size)).all())
        packed = parameter.as_strided(index.shape, torch.empty(index.shape).stride()) if is_direct else grad.clone()
        weight = cls(parameter, index, packed, grad)
        if not is_direct:
            weight.memory_grad = torch.empty(size, dtype=parameter.dtype)
            weight.inverse = torch.empty(size, dtype=torch.int32)
            used = index.flatten() >= 0
            positions = torch.arange(index.numel(), dtype=torch.int32)
            weight.inverse[index.flatten()[used].long()] = positions[used]
        if needs_transposed:
            weight.transposed_index = index.t().contiguous()
            weight.transposed = torch.empty(weight.transposed_index.shape, dtype=parameter.dtype)
        return weight

    def pack(self, program: Program, with_transposed: bool) -> None:
        """Bring the parameter's present values into the order of the kernels."""
        if self.inverse is not None:
            program.add(
                Gather(self.index.numel(), address(self.index), self.parameter.data_ptr(), address(self.packed))
            )
        if with_transposed and self.transposed_index is not None:
            program.add(
                Gather(
                    self.transposed_index.numel(),
                    address(self.transposed_index),
                    self.parameter.data_ptr(),
                    address(self.transposed),
                )
            )

    def update(self, program: Program, first: Tensor, second: Tensor, clock: Tensor, weight_decay: float) -> None:
        """One step of Adam from `grad`."""
        grad = self.grad
        if self.inverse is not None:
            assert self.memory_grad is not None
            grad = self.memory_grad
            program.add(Gather(grad.numel(), address(self.inverse), address(self.grad), address(grad)))
        program.add(
            Adam(
                self.parameter.numel(),
                self.parameter.data_ptr(),
                address(grad),
                address(first),
                address(second),
                address(clock),
                weight_decay,
            )
        )


class Weights:
    """All parameters of one layer by canonical name."""

    def __init__(self, layer: nn.Module, config: LayerConfig, rows: Rows, previous: Rows | None) -> None:
        self.config, self.rows = config, rows
        self.is_last = not config.concat
        self.dtype = next(layer.parameters()).dtype
        self.by_name: dict[str, Weight] = {}
        for name, parameter in layer.named_parameters():
            positions = _positions(parameter.detach()) + 1
            is_product = name in ("weight", "w_source", "w_target", "residual")
            if is_product and previous is not None:
                positions = _inputs_as(previous, positions)
            index = self._index(name, positions) - 1
            self.by_name[name] = Weight.of(parameter.detach(), index, is_product and previous is not None)
        self.vector_grads = torch.empty(2, rows.row, dtype=self.dtype)  # one kernel writes both
        for number, name in enumerate(name for name in ("a", "a_source", "a_target") if name in self.by_name):
            self.by_name[name].grad = self.vector_grads[number]

    def __getitem__(self, name: str) -> Weight:
        return self.by_name[name]

    def get(self, name: str) -> Weight | None:
        """A parameter that the configuration may leave out."""
        return self.by_name.get(name)

    def packed(self, name: str) -> int | None:
        """Address of a parameter in the order of the kernels, or None if there is none."""
        found = self.by_name.get(name)
        return None if found is None else address(found.packed)

    @property
    def out_row(self) -> int:
        """Numbers in a row of what leaves the layer: of the heads' rows, or of the padded classes."""
        C = self.config.out_channels
        return C + -C % WIDTH[self.dtype] if self.is_last else self.rows.row

    def _index(self, name: str, positions: Tensor) -> Tensor:
        H, C = self.config.heads, self.config.out_channels
        if name in ("bias", "residual"):
            if self.is_last:  # after the mean over heads
                padding = -C % WIDTH[self.dtype]
                return F.pad(positions.movedim(0, -1), (0, padding))
            positions = positions.view(H, C, *positions.shape[1:])
        return self.rows.pack(positions)


def _positions(parameter: Tensor) -> Tensor:
    """Where in its memory each number of a parameter lies."""
    positions = torch.empty_strided(parameter.shape, parameter.stride(), dtype=torch.int64)
    positions.as_strided((parameter.numel(),), (1,)).copy_(torch.arange(parameter.numel()))
    return positions


def _inputs_as(previous: Rows, positions: Tensor) -> Tensor:
    """[..., F] -> [..., row]: inputs in the order, and with the padding, in which the layer before leaves them."""
    features = torch.arange(1, positions.shape[-1] + 1).view(previous.heads, previous.channels)
    none = positions.new_zeros(*positions.shape[:-1], 1)
    return torch.cat([none, positions], -1)[..., previous.pack(features)]
