"""Whether a Dask worker may share a run's jobs."""

import platform

from bench import sqlite_file
from bench.basis import build
from bench.workers.dask_worker import Introduction


def unfit(found: Introduction | Exception, storage_url: str) -> str:
    """Why a worker cannot share this run's jobs, or nothing."""
    if isinstance(found, ImportError):
        return f"it has no gat-bench of this version ({found}); set up the same commit there"
    if not isinstance(found, Introduction):
        return f"it could not introduce itself ({found!r}); set up the same commit there"
    if other := [name for name in build() if found.build.get(name) != build()[name]]:
        name = other[0]
        return f"it has {name} {found.build.get(name)}, this run {build()[name]}; set up the same commit there"
    if sqlite_file.path_of(storage_url) and found.host != platform.node():
        return "studies are kept in a file, which another machine cannot share; --storage postgresql://... can be"
    return ""
