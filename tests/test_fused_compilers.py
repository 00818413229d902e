"""The kernels as Clang makes them, built as set-up does: they compute what the installed ones do."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from fused_tools import CPU, NEEDS_KERNELS, OPERATORS, features, layer_of, problem, random_graph, trained
from torch import Tensor

from implementations.backends import fused
from implementations.backends._fused import library
from implementations.contract import LayerConfig

ROOT = Path(__file__).resolve().parent.parent
CLANG = shutil.which("clang++")

pytestmark = [
    NEEDS_KERNELS,
    pytest.mark.slow,
    pytest.mark.skipif(CLANG is None, reason="there is no clang++ on the PATH"),
]


@pytest.fixture(scope="module")
def of_clang(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("clang")
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "implementations", place / "implementations", ignore=ignored)
    shutil.copy(ROOT / "setup.py", place)
    told = os.environ | {"CC": str(CLANG), "CXX": str(CLANG)}
    build = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(build, cwd=place, env=told, capture_output=True, text=True, check=True)
    folder = place / "implementations" / "backends" / "_fused"
    assert list(folder.glob("_kernels*.so")), done.stdout[-3000:] + done.stderr[-3000:]  # it does without them
    return folder


@contextmanager
def kernels_in(folder: Path, monkeypatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(library, "FOLDER", folder)
        library.kernels.cache_clear()
        try:
            yield
        finally:
            library.kernels.cache_clear()


def computed(operator, dtype: torch.dtype) -> list[Tensor]:
    """A network trained by whole steps under dropout, and a layer with its gradients."""
    losses, _, trainer = trained(problem(operator, dtype=dtype), operator=operator)
    layer = layer_of(fused.BACKEND, operator, LayerConfig(12, 8, 8), dtype)
    out = layer(features(9, 12, dtype), fused.BACKEND.prepare(random_graph(), CPU))
    out.square().sum().backward()
    return [losses, trainer.logits(), out.detach(), *(parameter.grad for parameter in layer.parameters())]


@OPERATORS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("wide", [True, False], ids=["avx2", "plain"])
def test_kernels_that_clang_compiled_compute_what_the_installed_ones_do(operator, dtype, wide, of_clang, monkeypatch):
    can_be_wide, expected = library.use_wide(True), computed(operator, dtype)
    with kernels_in(of_clang, monkeypatch):
        assert library.missing() is None
        assert library.use_wide(wide) == (wide and can_be_wide)
        found = computed(operator, dtype)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4 if dtype == torch.float32 else 1e-9, atol=1e-5)
