"""The compiled kernels, and the structs of `types.h` as ctypes sees them."""

import ctypes
import hashlib
import shutil
from ctypes import c_double, c_int64, c_uint32, c_uint64, c_void_p
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch
from torch import Tensor

FOLDER = Path(__file__).parent
COMPILERS = ("g++", "clang++", "c++")
WIDTH = {torch.float32: 8, torch.float64: 4}
"""Numbers in a register."""


class Edges(ctypes.Structure):
    """`fused::Edges`."""

    _fields_ = (
        ("targets", c_int64),
        ("sources", c_int64),
        ("count", c_int64),
        ("target_rows", c_void_p),
        ("source_of", c_void_p),
        ("source_rows", c_void_p),
        ("target_of", c_void_p),
        ("position_of", c_void_p),
    )


class Shape(ctypes.Structure):
    """`fused::Shape`."""

    _fields_ = (
        ("heads", c_int64),
        ("channels", c_int64),
        ("heads_in_lanes", c_int64),
        ("row", c_int64),
        ("stat_row", c_int64),
    )


class Noise(ctypes.Structure):
    """`fused::Noise`."""

    _fields_ = (("keep", c_void_p), ("scale", c_double))


class Attention(ctypes.Structure):
    """`fused::Attention`."""

    _fields_ = (
        ("edges", Edges),
        ("shape", Shape),
        ("noise", Noise),
        ("slope", c_double),
        ("threads", c_int64),
        ("training", c_int64),
        ("source", c_void_p),
        ("target", c_void_p),
        ("a_source", c_void_p),
        ("a_target", c_void_p),
        ("source_score", c_void_p),
        ("stats", c_void_p),
        ("out", c_void_p),
        ("positive", c_void_p),
        ("score", c_void_p),
        ("sign", c_void_p),
        ("grad_out", c_void_p),
        ("grad_score", c_void_p),
        ("grad_source", c_void_p),
        ("grad_target", c_void_p),
        ("grad_a", c_void_p),
        ("partial", c_void_p),
    )


class Sparse(ctypes.Structure):
    """`fused::Sparse`."""

    _fields_ = (
        ("rows", c_int64),
        ("count", c_int64),
        ("bands", c_int64),
        ("row_starts", c_void_p),
        ("columns", c_void_p),
        ("places", c_void_p),
    )


_SIGNATURES = {
    "fused_sources": (),
    "fused_use_wide": (c_int64,),
    "fused_stats": (c_int64,),
    "fused_parts": (),
    "fused_sort": (c_void_p, c_int64, c_int64, c_void_p, c_void_p),
    "fused_sort32": (c_void_p, c_int64, c_int64, c_void_p, c_void_p),
    "fused_attend": (c_void_p, c_int64, c_int64, c_int64),
    "fused_to_canonical": (c_void_p, c_void_p, c_int64, c_void_p, c_int64, c_int64),
    "fused_from_canonical": (c_void_p, c_void_p, c_int64, c_void_p, c_int64, c_int64),
    "fused_run": (c_void_p, c_int64, c_int64, c_int64),
    "fused_run_timed": (c_void_p, c_int64, c_int64, c_int64, c_void_p),
    "fused_fill_bits": (c_uint64, c_uint32, c_int64, c_void_p, c_int64),
}


def missing() -> str | None:
    """Why there are no kernels, as a sentence, or None."""
    if _file() is None:
        return f"the kernels were not compiled at set-up; {_what_to_do()}"
    try:
        kernels()
    except (OSError, AttributeError) as problem:  # the latter: some other library
        return f"the compiled kernels cannot be loaded ({problem}); remove .venv/ready and run make setup"
    return None


def _what_to_do() -> str:
    """Set-up goes on without kernels and keeps to itself why there are none."""
    compiler = next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        return "there is no C++ compiler: install one (g++ or clang++), remove .venv/ready and run make setup"
    return (
        f"{compiler} is here, so it came later or failed: remove .venv/ready and run make setup; if that changes "
        "nothing, `.venv/bin/python -m pip install --verbose --no-deps --editable .` shows why"
    )


@cache
def kernels() -> ctypes.CDLL:
    """The library; every function that returns something returns an int64.

    Raises:
        OSError: it is not there, does not fit this machine, or was compiled from other sources.
        AttributeError: it lacks a function.
    """
    library = ctypes.CDLL(str(_file()))
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, c_int64
    if library.fused_sources() != sources_digest():  # its structs may be others
        raise OSError("they were compiled from other sources")
    return library


def use_wide(wanted: bool) -> bool:
    """Whether the AVX2 kernels are in use from now on; without them every processor runs the plain ones."""
    return bool(kernels().fused_use_wide(int(wanted)))


def release_scratch() -> None:
    """Hand freed memory back to the system, where the C library holds on to it (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Unplaced(Tensor):
    """A tensor of calls that are never made, only measured: its place is not decided yet."""


def address(tensor: Tensor | None) -> int | None:
    """Where a contiguous tensor's values begin.

    Raises:
        ValueError: its values do not lie side by side.
        TypeError: they do not lie in a CPU's memory; those of a tensor for tracing lie nowhere.
    """
    if tensor is None:
        return None
    if not tensor.is_contiguous():
        raise ValueError("the kernels read contiguous memory")
    place = tensor.data_ptr()
    if (not tensor.is_cpu or (place == 0 and tensor.numel())) and not isinstance(tensor, Unplaced):
        raise TypeError(f"the kernels read a CPU's memory, and a {type(tensor).__name__} on {tensor.device} has none")
    return place


def width(dtype: torch.dtype) -> int:
    """Numbers of the type in a register.

    Raises:
        TypeError: it is none of the kernels' types.
    """
    if dtype not in WIDTH:
        raise TypeError(f"the kernels compute in float32 and float64, not in {dtype}")
    return WIDTH[dtype]


def is_double(dtype: torch.dtype) -> int:
    """How the kernels are told of the type.

    Raises:
        TypeError: it is none of theirs.
    """
    width(dtype)
    return int(dtype == torch.float64)


def _file() -> Path | None:
    """The one for this Python, whatever lies beside it."""
    return next((path for suffix in EXTENSION_SUFFIXES if (path := FOLDER / f"_kernels{suffix}").exists()), None)


def sources_digest() -> int:
    """Of the sources beside this file, as `setup.py` gives it to the compiler."""
    digest = hashlib.sha256()
    for path in sorted([*FOLDER.glob("*.cpp"), *FOLDER.glob("*.h")]):
        digest.update(path.read_bytes())
    return int(digest.hexdigest()[:15], 16)
