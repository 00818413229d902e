"""The kernels under the address and undefined-behaviour sanitizers: no access out of bounds, no shift too far."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from implementations.backends._fused import library

ROOT = Path(__file__).resolve().parent.parent
COMPILER = shutil.which("g++")
FLAGS = [
    "-std=c++17",
    "-O1",
    "-g",
    "-fPIC",
    "-shared",
    "-pthread",
    "-Wno-psabi",
    "-fno-math-errno",
    "-fno-trapping-math",
]
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
TESTS = ("test_fused.py", "test_fused_tensors.py", "test_fused_step.py", "test_fused_ownership.py")
TOO_SMALL = """
import torch
from implementations.backends._fused.library import kernels
torch.empty(1)  # its own memory lies where the sanitizer watches
keep = torch.empty(16, dtype=torch.uint8)
kernels().fused_fill_bits(1, 2**31, 8 * 17, keep.data_ptr(), 1)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None, reason="the sanitizers need g++, and there is none"),
]


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """A copy of the implementations and of the kernels' tests, with kernels that watch themselves."""
    place = tmp_path_factory.mktemp("sanitized")
    shutil.copytree(
        ROOT / "implementations", place / "implementations", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    for name in ("fused_tools.py", *TESTS):
        shutil.copy(ROOT / "tests" / name, place)
    folder = place / "implementations" / "backends" / "_fused"
    sources = sorted(map(str, folder.glob("*.cpp")))
    told = f"-DFUSED_SOURCES={library.sources_digest()}"
    subprocess.run([COMPILER, *FLAGS, told, *SANITIZERS, *sources, "-o", str(folder / "_kernels.so")], check=True)
    return place


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    libraries = (
        subprocess.run(
            [COMPILER, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so", "libstdc++.so")
    )
    environment = os.environ | {
        "LD_PRELOAD": ":".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python and torch free little of their own at the end
        "PYTHONPATH": str(place),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments], cwd=place, env=environment, capture_output=True, text=True, check=False
    )


def test_the_kernels_tests_pass_under_the_sanitizers(sanitized):
    done = run(sanitized, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout


def test_the_sanitizers_would_see_an_access_out_of_bounds(sanitized):
    done = run(sanitized, "-c", TOO_SMALL)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
    assert "fill_bits" in done.stderr
