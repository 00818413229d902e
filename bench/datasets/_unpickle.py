"""Pickles of arrays, sparse matrices and adjacency lists, and of nothing else.

A pickle is a program: it may call anything it can name. This reader knows the names that the Planetoid files use,
written by Python 2 with a NumPy and a SciPy whose modules have moved since, and those of arrays that torch saved;
every other name is refused. What has a name here is none of NumPy's or SciPy's own: an array's `__setstate__` would
take bytes for the addresses of objects, if its type said so. Fields are collected, and arrays made of them at the end.
"""

import io
import pickle
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from bench.task import DataUnavailable


def load(content: bytes, skip: int = 0) -> Any:
    """The array, `csr_matrix` or dictionary of such in a pickle, or in the one after so many others.

    Raises:
        DataUnavailable: it names anything else, or is no pickle.
    """
    stream = io.BytesIO(content)
    try:
        *_, value = (_Restricted(stream, encoding="latin1").load() for _ in range(skip + 1))
        return {key: _made(item) for key, item in value.items()} if isinstance(value, dict) else _made(value)
    except _NO_ARRAYS as problem:
        raise DataUnavailable(f"not a pickle of arrays: {problem}") from None


# What a torn or hostile pickle makes of the names that it may call.
_NO_ARRAYS = (
    pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError,
    MemoryError, RecursionError,
)  # fmt: skip


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is refused") from None


class _TypeFields:
    """Takes what describes a pickled `numpy.dtype`: numbers of a fixed size, in either order of bytes."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        del align, copy
        if not re.fullmatch("b1|[iu][1248]|f[248]", code):
            raise pickle.UnpicklingError(f"it has an array of {code!r}, which is refused")
        self._dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._dtype = self._dtype.newbyteorder(state[1])

    def dtype(self) -> np.dtype[Any]:
        return self._dtype


class _ArrayFields:
    """Takes the shape, type and bytes of a pickled `numpy.ndarray`."""

    _fields: tuple[Any, ...]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._fields = state

    def array(self) -> npt.NDArray[Any]:
        _, shape, described, is_fortran, data = self._fields
        content = data.encode("latin1") if isinstance(data, str) else data  # as Python 2 wrote it
        flat: npt.NDArray[Any] = np.frombuffer(content, described.dtype())
        if min(shape, default=0) < 0:
            raise ValueError(f"an array has the shape {shape}")
        return flat.reshape(shape, order="F" if is_fortran else "C").copy()


@dataclass(init=False)
class _CsrFields:
    """Takes the attributes of a pickled `csr_matrix`."""

    data: Any
    indices: Any
    indptr: Any
    _shape: Any

    def matrix(self) -> csr_matrix:
        parts = (_made(self.data), _made(self.indices), _made(self.indptr))
        found = csr_matrix(parts, shape=self._shape)
        found.check_format(full_check=True)
        return found


def _made(value: Any) -> Any:
    """What the collected fields stand for."""
    if isinstance(value, _ArrayFields):
        return value.array()
    return value.matrix() if isinstance(value, _CsrFields) else value


def _empty(*described: object) -> _ArrayFields:
    """For `numpy.core.multiarray._reconstruct`, which is followed by the array's fields."""
    del described
    return _ArrayFields()


def _bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2 to read."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes in {encoding!r}, which is refused")
    return text.encode("latin1")


_ADMITTED = {
    "_codecs.encode": _bytes,
    "__builtin__.list": list,  # what a defaultdict makes
    "collections.defaultdict": defaultdict,
    "numpy.ndarray": _ArrayFields,
    "numpy.dtype": _TypeFields,
    "numpy.core.multiarray._reconstruct": _empty,
    "numpy._core.multiarray._reconstruct": _empty,  # since NumPy 2
    "scipy.sparse.csr.csr_matrix": _CsrFields,
}
