"""Pickles of arrays, sparse matrices and adjacency lists, and of nothing else.

A pickle is a program: it may call anything it can name. This reader knows the names that the Planetoid files use,
written by Python 2 with a NumPy and a SciPy whose modules have moved since, and those of arrays that torch saved;
every other name is refused.
"""

import io
import pickle
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
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
    except _NO_ARRAYS as problem:
        raise DataUnavailable(f"not a pickle of arrays: {problem}") from None
    return value.matrix() if isinstance(value, _CsrFields) else value


# What a torn or hostile pickle makes of the names that it may call.
_NO_ARRAYS = (
    pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError,
    MemoryError,
)  # fmt: skip


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is refused") from None


@dataclass(init=False)
class _CsrFields:
    """Takes the attributes of a pickled `csr_matrix`, so that none of SciPy's code runs on them unchecked."""

    data: Any
    indices: Any
    indptr: Any
    _shape: Any

    def matrix(self) -> csr_matrix:
        return csr_matrix((self.data, self.indices, self.indptr), shape=self._shape)


def _bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2 to read."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes in {encoding!r}, which is refused")
    return text.encode("latin1")


_ARRAY = np.empty(0).__reduce__()[0]
_ADMITTED = {
    "_codecs.encode": _bytes,
    "__builtin__.list": list,  # what a defaultdict makes
    "collections.defaultdict": defaultdict,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray._reconstruct": _ARRAY,
    "numpy._core.multiarray._reconstruct": _ARRAY,  # since NumPy 2
    "scipy.sparse.csr.csr_matrix": _CsrFields,
}
