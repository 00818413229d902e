"""Dictionaries of arrays as `torch.save` writes them, and nothing else.

Such a file is a pickle in a zip archive, or before torch 1.6 the fourth of several. `torch.load` would run whatever the
pickle says, or with `weights_only` refuse the protocols from 3 on, in which OGB has some of its arrays.
"""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.datasets import _unpickle, _zipped
from bench.task import DataUnavailable

BEFORE = 3  # a magic number, the version of the format, and sizes of integers


def arrays(content: bytes, name: str) -> Mapping[str, npt.NDArray[Any]]:
    """What a file holds, by key.

    Raises:
        DataUnavailable: it is something else, or names what arrays have no need of.
    """
    try:
        found = _pickled(content)
    except (DataUnavailable, zipfile.BadZipFile, ValueError, TypeError) as problem:
        raise DataUnavailable(f"{name}: not arrays saved by torch: {problem}") from None
    if not isinstance(found, dict) or not all(isinstance(value, np.ndarray) for value in found.values()):
        raise DataUnavailable(f"{name}: not arrays by name, but {type(found).__name__}")
    return found


def _pickled(content: bytes) -> Any:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return _unpickle.load(content, skip=BEFORE)
    with _zipped.opened(content) as archive:
        path = next((path for path in archive.namelist() if path.endswith("/data.pkl")), None)
        if path is None:
            raise DataUnavailable("there is no data.pkl in the archive")
        return _unpickle.load(_zipped.member(archive, path, len(content)))  # torch compresses nothing
