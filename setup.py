"""The compiled kernels of the back end `fused`; everything else is in pyproject.toml."""

import hashlib
from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("implementations/backends/_fused")
sources = sorted(map(str, FOLDER.glob("*.cpp")))
headers = sorted(map(str, FOLDER.glob("*.h")))
texts = b"".join(path.read_bytes() for path in sorted([*FOLDER.glob("*.cpp"), *FOLDER.glob("*.h")]))
digest = int(hashlib.sha256(texts).hexdigest()[:15], 16)
# Not -ffast-math: scores that are infinite or not a number must stay so. Products are added unrounded: GCC does so
# unasked, Clang only within a statement.
flags = [
    *("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
    *("-fvisibility=default", "-pthread", "-Wno-psabi"),
]

setup(
    ext_modules=[
        Extension(
            "implementations.backends._fused._kernels",
            sources,
            depends=headers,
            language="c++",
            extra_compile_args=flags,
            define_macros=[("FUSED_SOURCES", str(digest))],
            extra_link_args=["-pthread"],
            optional=True,  # without a compiler the back end says so, and everything else works
        )
    ]
)
