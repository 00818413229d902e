"""What must run here, by what is installed: a back end's own word for it is what the tests are about."""

import importlib.util
import shutil

import pytest

LIBRARIES = {"pyg": "torch_geometric", "pyg_compile": "torch_geometric", "dgl": "dgl"}
COMPILED = ("fused", "fused_step", "fused_step_pruned", "pyg_compile", "scatter_compile")
OF_THE_PAPERS = ("gat", "gatv2")


def must_run(backend: str, operator: str = "gat") -> bool:
    """Whether there is everything that it needs on a CPU."""
    library = LIBRARIES.get(backend)
    has_library = library is None or importlib.util.find_spec(library) is not None
    has_compiler = backend not in COMPILED or shutil.which("g++") or shutil.which("clang++")
    return operator in OF_THE_PAPERS and has_library and bool(has_compiler)


def skip_for(reason: str | None, backend: str, operator: str = "gat") -> None:
    """Skip what cannot run here, with its reason; fail where it has no right to one."""
    if reason and must_run(backend, operator):
        pytest.fail(f"{backend} should run {operator} here, and says: {reason}")
    if reason:
        pytest.skip(reason)
