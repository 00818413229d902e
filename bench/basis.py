"""What decides a number besides the job's own settings: data, library versions, our code.

The digest is part of every job's identity, so a run after an upgrade or a change of the code repeats what the
change may have moved, and a table never mixes two versions.
"""

import hashlib
import os
import platform
from functools import cache
from pathlib import Path

from bench.environment import ROOT, versions
from bench.plugins import BACKENDS, DATASETS
from bench.work import digest
from implementations.contract import CONTRACT_VERSION, BuildsOn

# What of `bench` can move a number when it changes; the rest only plans, shows or stores.
MEASURING = (
    "training", "speed/timing.py", "speed/ceilings.py", "speed/anatomy.py", "tuning/search.py", "datasets", "devices",
    "jobs.py", "rounds.py", "rig.py", "seeds.py", "task.py", "parity.py",
)  # fmt: skip
SOURCES = {".py", ".cpp", ".h"}

# What a job is asked and answered with: a worker with another version of it would misunderstand.
SPOKEN = (
    "config.py", "study_config.py", "work.py", "outcomes.py",
    "workers/worker.py", "workers/pool.py", "workers/crew.py", "workers/dask_worker.py",
)  # fmt: skip
Machine = tuple[str, str, int | None]
"""Name, architecture and cores."""

LOOKUP = ("lookup.py", "lookup_data.py", "lookup_model.py", "attention_facts.py", "seeds.py")
ATTENTION = ("attention_study.py", "attention_facts.py")


@cache
def basis(backend: str | None, dataset: str) -> str:
    """Digest over the data set, the versions of what the back end uses, and the code that measures.

    None stands for whichever back end: the studies that all of them share.
    """
    packages = ("torch", *(BACKENDS.get(backend).packages if backend else ()))
    return digest(
        {
            "contract": CONTRACT_VERSION,
            "dataset": DATASETS.get(dataset).info.digest,
            "versions": versions(packages),
            "code": code_digest(MEASURING, without=files_of_others(backend)),
        }
    )


@cache
def lookup_basis() -> str:
    """As `basis`, for DictionaryLookup: generated data, and neither a back end nor the loop of the fits."""
    return digest({"contract": CONTRACT_VERSION, "versions": versions(("torch",)), "code": code_digest(LOOKUP)})


@cache
def attention_basis(backend: str, dataset: str) -> str:
    """As `basis`, and the code that examines attention."""
    return digest([basis(backend, dataset), code_digest(ATTENTION)])


@cache
def speed_basis(backend: str, dataset: str, machine: Machine) -> str:
    """As `basis`, and the machine: times made on two machines are never one measurement."""
    return digest([basis(backend, dataset), list(machine)])


def this_machine() -> Machine:
    """The one that this process runs on."""
    return platform.node(), platform.machine(), os.cpu_count()


@cache
def build() -> dict[str, str]:
    """What two processes must have in common to share an experiment's jobs: our code, and the libraries it measures."""
    packages = {"torch", "numpy", "scipy", "optuna"}.union(*(BACKENDS.get(name).packages for name in BACKENDS.names()))
    # What follows a plus tells the kind of device that a wheel was built for; a worker's may be another.
    public = {name: version.partition("+")[0] for name, version in versions(tuple(sorted(packages))).items()}
    return {"code": code_digest((*MEASURING, *LOOKUP, *ATTENTION, *SPOKEN))[:12], **public}


@cache
def code_digest(modules: tuple[str, ...], without: frozenset[Path] = frozenset()) -> str:
    """Over these files and folders of `bench`, all of it if one is "", and `implementations`, but for some files."""
    digest_ = hashlib.sha256()
    for path in sorted(set(_files(modules)) - without):
        digest_.update(str(path.relative_to(ROOT)).encode())
        digest_.update(path.read_bytes())
    return digest_.hexdigest()


def files_of_others(backend: str | None) -> frozenset[Path]:
    """Files of other back ends: what they share lies in modules whose names begin with _, so they move no number."""
    own = set()
    if backend:
        found = BACKENDS.get(backend)
        own = {backend.partition("-")[0], found.builds_on if isinstance(found, BuildsOn) else ""}
    return frozenset(ROOT / "implementations/backends" / f"{name}.py" for name in BACKENDS.names() if name not in own)


def _files(modules: tuple[str, ...]) -> list[Path]:
    bench = [ROOT / "bench" / name for name in modules]
    folders = [ROOT / "implementations", *(path for path in bench if path.is_dir())]
    files = [path for path in bench if path.is_file()]
    for folder in folders:
        files += [path for path in folder.rglob("*") if path.suffix in SOURCES]
    return files
