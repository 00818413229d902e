"""A training step as a list of calls for the kernels, made once and run as one.

The structs have their twins in `types.h`.
"""

import ctypes
from collections.abc import Sequence
from ctypes import c_double, c_int64, c_void_p
from typing import NamedTuple

import torch
from torch import Tensor

from implementations.backends._fused import library
from implementations.backends._fused.library import Attention, Noise, Shape, Sparse, address, is_double, kernels

PARTS = 64
"""`fused::PARTS`: into so many pieces at most is a sum over nodes cut."""


class Fill(ctypes.Structure):
    """`fused::Fill`: dropout decisions of this step."""

    _fields_ = (
        ("key", c_void_p),
        ("stream", c_int64),
        ("threshold", c_int64),
        ("count", c_int64),
        ("keep", c_void_p),
    )


class Product(ctypes.Structure):
    """`fused::Product`."""

    _fields_ = (("table", c_void_p), ("bias", c_void_p), ("out", c_void_p), ("row", c_int64))


MOST_PRODUCTS = 3
"""`fused::MOST_PRODUCTS`: so many share one pass over sparse features."""


class SparseProduct(ctypes.Structure):
    """`fused::SparseProduct`."""

    _fields_ = (
        ("x", Sparse),
        ("values", c_void_p),
        ("in_order", c_int64),
        ("noise", Noise),
        ("count", c_int64),
        ("products", Product * MOST_PRODUCTS),
    )

    @classmethod
    def of(
        cls, x: Sparse, values: Tensor, noise: Noise, products: Sequence[Product], *, in_order: bool
    ) -> "SparseProduct":
        """As many products of the same features; `in_order`: values follow the entries, else lie at their places."""
        return cls(x, address(values), in_order, noise, len(products), (Product * MOST_PRODUCTS)(*products))


class Attend(ctypes.Structure):
    """`fused::AttendCall`, forward."""

    _fields_ = (("attention", ctypes.POINTER(Attention)), ("v2", c_int64))


class AttendBack(ctypes.Structure):
    """`fused::AttendCall`, backward."""

    _fields_ = (("attention", ctypes.POINTER(Attention)), ("v2", c_int64))


NEAR = 48
"""`fused::NEAR`: so many rows of a product's left side are dropped out at once."""


class Left(ctypes.Structure):
    """`fused::Left`."""

    _fields_ = (("rows", c_void_p), ("noise", Noise), ("near", c_void_p))

    @classmethod
    def of(cls, rows: Tensor, noise: Noise | None = None, near: Tensor | None = None) -> "Left":
        """Rows as they are, or dropped out while they are read, into `near` (see `near_rows`)."""
        return cls(address(rows), noise or no_noise(), address(near))


def near_rows(n: int) -> int:
    """How many rows `near` has for n rows."""
    return min(PARTS * NEAR, n + NEAR)


class Multiply(ctypes.Structure):
    """`fused::Multiply`."""

    _fields_ = (
        ("n", c_int64),
        ("inner", c_int64),
        ("row", c_int64),
        ("a", Left),
        ("b", c_void_p),
        ("bias", c_void_p),
        ("out", c_void_p),
        ("adds", c_int64),
    )


class MultiplyBack(ctypes.Structure):
    """`fused::MultiplyBack`."""

    _fields_ = (
        ("n", c_int64),
        ("inner", c_int64),
        ("row", c_int64),
        ("a", Left),
        ("grad", c_void_p),
        ("out", c_void_p),
        ("partial", c_void_p),
    )


class Gather(ctypes.Structure):
    """`fused::Gather`."""

    _fields_ = (("count", c_int64), ("index", c_void_p), ("source", c_void_p), ("to", c_void_p))


class Add(ctypes.Structure):
    """`fused::Add`."""

    _fields_ = (("count", c_int64), ("source", c_void_p), ("to", c_void_p))


class SumColumns(ctypes.Structure):
    """`fused::SumColumns`."""

    _fields_ = (
        ("n", c_int64),
        ("row", c_int64),
        ("source", c_void_p),
        ("out", c_void_p),
        ("partial", c_void_p),
    )


class Drop(ctypes.Structure):
    """`fused::Drop`."""

    _fields_ = (("count", c_int64), ("noise", Noise), ("source", c_void_p), ("to", c_void_p))


class Activate(ctypes.Structure):
    """`fused::Activate`."""

    _fields_ = (
        ("n", c_int64),
        ("row", c_int64),
        ("source", c_void_p),
        ("more", c_void_p),
        ("bias", c_void_p),
        ("noise", Noise),
        ("to", c_void_p),
    )


class ActivateBack(ctypes.Structure):
    """`fused::ActivateBack`."""

    _fields_ = (("n", c_int64), ("row", c_int64), ("to", c_void_p), ("noise", Noise), ("grad", c_void_p))


class Logits(ctypes.Structure):
    """`fused::Logits`."""

    _fields_ = (
        ("n", c_int64),
        ("out_row", c_int64),
        ("shape", Shape),
        ("source", c_void_p),
        ("more", c_void_p),
        ("bias", c_void_p),
        ("to", c_void_p),
    )


class Loss(ctypes.Structure):
    """`fused::Loss`."""

    _fields_ = (
        ("n", c_int64),
        ("row", c_int64),
        ("classes", c_int64),
        ("count", c_int64),
        ("nodes", c_void_p),
        ("labels", c_void_p),
        ("logits", c_void_p),
        ("grad", c_void_p),
        ("loss", c_void_p),
        ("partial", c_void_p),
    )


class Spread(ctypes.Structure):
    """`fused::Spread`."""

    _fields_ = (
        ("n", c_int64),
        ("from_row", c_int64),
        ("shape", Shape),
        ("source", c_void_p),
        ("to", c_void_p),
    )


class Adam(ctypes.Structure):
    """`fused::Adam`."""

    _fields_ = (
        ("count", c_int64),
        ("parameter", c_void_p),
        ("grad", c_void_p),
        ("first", c_void_p),
        ("second", c_void_p),
        ("clock", c_void_p),
        ("weight_decay", c_double),
    )


_KINDS = (
    Fill, SparseProduct, Attend, AttendBack, Multiply, MultiplyBack, Gather, Add, SumColumns, Drop, Activate,
    ActivateBack, Logits, Loss, Spread, Adam,
)  # fmt: skip
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}  # `fused::Kind`


class _Call(ctypes.Structure):
    _fields_ = (("kind", c_int64), ("what", c_void_p))


_NAMES = {
    Fill: "dropout decisions",
    SparseProduct: "products with sparse features",
    Attend: "attention",
    AttendBack: "gradient of attention",
    Multiply: "products with weights",
    MultiplyBack: "gradients of weights",
    SumColumns: "gradients of biases",
    Activate: "ELU and dropout",
    ActivateBack: "gradient of ELU and dropout",
    Adam: "Adam",
}  # and "the rest"


class Part(NamedTuple):
    """What one call of a program is about, and how long it took."""

    name: str
    seconds: float


class Program:
    """Calls in their order. Whoever makes one keeps the tensors alive that its calls point into."""

    def __init__(self, dtype: torch.dtype, threads: int) -> None:
        self._sizes = is_double(dtype), threads
        self._structs: list[ctypes.Structure] = []
        self._calls: ctypes.Array[_Call] | None = None

    def add(self, call: ctypes.Structure) -> None:
        """Append one call."""
        self._structs.append(call)
        self._calls = None

    def run(self) -> None:
        """All of them."""
        calls = self._calls or self._assembled()
        kernels().fused_run(ctypes.addressof(calls), len(self._structs), *self._sizes)

    def timed(self) -> list[Part]:
        """All of them, each with its time."""
        calls = self._calls or self._assembled()
        seconds = (c_double * len(self._structs))()
        kernels().fused_run_timed(ctypes.addressof(calls), len(seconds), *self._sizes, ctypes.addressof(seconds))
        return [Part(_NAMES.get(type(call), "the rest"), s) for call, s in zip(self._structs, seconds, strict=True)]

    def _assembled(self) -> "ctypes.Array[_Call]":
        given = [_Call(_NUMBERS[type(call)], ctypes.addressof(call)) for call in self._structs]
        self._calls = (_Call * len(given))(*given)
        return self._calls


def no_noise() -> Noise:
    """Nothing is dropped."""
    return library.Noise(None, 1.0)
