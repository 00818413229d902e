"""Where a number was made: versions, machine, commit. Every record carries this."""

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent


def describe(packages: tuple[str, ...] = ()) -> dict[str, str]:
    """Flat, all strings: `commit`, `dirty`, `python`, `os`, `host`, `cores`, `load`, ..., and `version/<package>`."""
    return {
        **_commit(),
        "python": platform.python_version(),
        "os": platform.platform(),
        "host": platform.node(),
        "cores": str(os.cpu_count()),
        "malloc_trim_threshold": os.environ.get("MALLOC_TRIM_THRESHOLD_", "default"),
        "memory_gib": f"{psutil.virtual_memory().total / 2**30:.1f}",
        "load": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown",
        **{f"version/{name}": version for name, version in versions(packages).items()},
    }


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Installed version of each distribution, `absent` where there is none."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


@cache
def _commit() -> dict[str, str]:
    """Commit and whether tracked files were changed; `unknown` outside a checkout or without git."""
    try:
        commit = _git("rev-parse", "HEAD")
        dirty = "yes" if _git("status", "--porcelain", "--untracked-files=no") else "no"
    except (OSError, subprocess.SubprocessError):
        return {"commit": "unknown", "dirty": "unknown"}
    return {"commit": commit, "dirty": dirty}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
