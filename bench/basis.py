"""What decides a number besides the job's own settings: data, library versions, our code.

The digest is part of every job's identity, so a run after an upgrade or a change of the code repeats what the
change may have moved, and a table never mixes two versions. Of the plug-ins only a job's own count: whoever adds a back
end, an operator or a data set repeats nothing.

A run reads the code once, and its jobs are imported by processes that start later: each is told what was read (`Code`),
and runs no job of which the files on disk say something else by then.
"""

import hashlib
import os
import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bench.environment import ROOT, versions
from bench.plugins import BACKENDS, DATASETS, DEVICES, OPERATORS
from bench.sources import COMPILED, file_of, reached
from bench.work import AttentionJob, Job, LookupJob, TuneJob, digest
from implementations.contract import CONTRACT_VERSION, BuildsOn

# What of `bench` can move a number when it changes; the rest only plans, shows or stores.
MEASURING = (
    "training", "speed/timing.py", "speed/ceilings.py", "speed/anatomy.py", "tuning/search.py",
    "jobs.py", "rounds.py", "rig.py", "seeds.py", "task.py", "parity.py",
)  # fmt: skip
FOLLOWED = ("implementations", "bench/datasets", "bench/devices")
"""Where all counts that a job's code imports."""

# What a job is asked and answered with: a worker with another version of it would misunderstand.
SPOKEN = (
    "config.py", "study_config.py", "work.py", "outcomes.py", "basis.py", "saved_model.py",
    "workers/worker.py", "workers/pool.py", "workers/crew.py", "workers/dask_worker.py", "workers/workforce.py",
)  # fmt: skip
LOOKUP = (
    "studies/lookup.py", "studies/lookup_data.py", "studies/lookup_model.py", "studies/attention_facts.py", "seeds.py",
)  # fmt: skip
ATTENTION = ("studies/attention.py", "studies/attention_facts.py")


class Code(NamedTuple):
    """Files of ours, and what they held when they were first asked for."""

    files: tuple[str, ...]  # below the checkout
    digest: str

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "Code":
        """What they hold now.

        Raises:
            OSError: one cannot be read.
        """
        found, digest_ = sorted(paths), hashlib.sha256()
        files = tuple(str(path.relative_to(ROOT)) for path in found)
        for name, path in zip(files, found, strict=True):
            digest_.update(name.encode())
            digest_.update(path.read_bytes())
        return cls(files, digest_.hexdigest())

    def is_on_disk(self) -> bool:
        """Whether the files hold the same now."""
        try:
            return Code.of(ROOT / name for name in self.files) == self
        except OSError:
            return False


class Machine(NamedTuple):
    """Where a device's jobs are timed."""

    host: str
    architecture: str
    cores: int | None  # that may be used
    model: str  # of the slot that they are timed on


def basis(backend: str | None, operator: str, dataset: str, device: str) -> str:
    """Digest over the data set, the versions of what the back end uses, and the code that measures.

    None stands for whichever back end: the studies that all of them share.
    """
    # Asked at each call: unpinned data are known by their files, which a run may bring after its first question.
    return _basis(backend, operator, dataset, device, DATASETS.get(dataset).info.digest)


@cache
def _basis(backend: str | None, operator: str, dataset: str, device: str, data: str) -> str:
    packages = ("torch", *(BACKENDS.get(backend).packages if backend else ()))
    return digest(
        {
            "contract": CONTRACT_VERSION,
            "dataset": data,
            "versions": versions(packages),
            "code": _code(backend, operator, dataset, device).digest,
        }
    )


def code_behind(job: Job) -> tuple[Code, ...]:
    """All code that a job's basis was made of in this process."""
    if isinstance(job, LookupJob):
        return (_code_in(LOOKUP),)
    shared = isinstance(job, TuneJob) and job.shared
    own = _code(None if shared else job.backend, job.operator, job.dataset, job.device)
    return (own, _code_in(ATTENTION)) if isinstance(job, AttentionJob) else (own,)


@cache
def lookup_basis() -> str:
    """As `basis`, for DictionaryLookup: generated data, and neither a back end nor the loop of the fits."""
    return digest({"contract": CONTRACT_VERSION, "versions": versions(("torch",)), "code": code_digest(LOOKUP)})


def attention_basis(backend: str, operator: str, dataset: str, device: str) -> str:
    """As `basis`, and the code that examines attention."""
    return digest([basis(backend, operator, dataset, device), code_digest(ATTENTION)])


def speed_basis(backend: str, operator: str, dataset: str, device: str, machine: Machine) -> str:
    """As `basis`, and the machine: times made on two machines are never one measurement."""
    return digest([basis(backend, operator, dataset, device), list(machine)])


def this_machine(device: str) -> Machine:
    """The one that this process runs on; without a model where it has no such device."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    plugin = DEVICES.get(device)
    model = "" if plugin.unavailable() else plugin.model(plugin.slots()[0])
    return Machine(platform.node(), platform.machine(), len(allowed) or os.cpu_count(), model)


@cache
def build() -> dict[str, str]:
    """What two processes must have in common to share an experiment's jobs: our code, and the libraries it measures."""
    packages = {"torch", "numpy", "scipy", "optuna"}.union(*(BACKENDS.get(name).packages for name in BACKENDS.names()))
    # What follows a plus tells the kind of device that a wheel was built for; a worker's may be another.
    public = {name: version.partition("+")[0] for name, version in versions(tuple(sorted(packages))).items()}
    modules = (*MEASURING, "datasets", "devices", *LOOKUP, *ATTENTION, *SPOKEN)
    return {"code": code_digest(modules)[:12], **public}


def code_digest(modules: tuple[str, ...]) -> str:
    """Over these files and folders of `bench`, all of it if one is "", and `implementations`."""
    return _code_in(modules).digest


@cache
def _code_in(modules: tuple[str, ...]) -> Code:
    return Code.of({*_files(modules), *_sources(ROOT / "implementations")})


@cache
def _code(backend: str | None, operator: str, dataset: str, device: str) -> Code:
    return Code.of(code_of(backend, operator, dataset, device))


def code_of(backend: str | None, operator: str, dataset: str, device: str) -> frozenset[Path]:
    """The files that a job's outcome can hang on: those that measure, its own plug-ins', and what these import."""
    named = [
        *((BACKENDS.package, name) for name in _backends(backend)),
        (OPERATORS.package, operator),
        (DATASETS.package, dataset),
        (DEVICES.package, device),
    ]
    own = [file_of(f"{package}.{name.partition('-')[0]}") for package, name in named]
    return reached([*_files(MEASURING), *(path for path in own if path)], FOLLOWED)


def _backends(name: str | None) -> list[str]:
    """It and what it builds on, which it gets by name."""
    if name is None:
        return []
    found = BACKENDS.get(name)
    return [name, found.builds_on] if isinstance(found, BuildsOn) else [name]


def _files(modules: tuple[str, ...]) -> list[Path]:
    named = [ROOT / "bench" / name for name in modules]
    return [path for place in named for path in ([place] if place.is_file() else _sources(place))]


def _sources(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in {".py", *COMPILED}]
