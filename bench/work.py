"""Jobs: the units of work. A job holds exactly what decides its outcome, so its content is its identity."""

import hashlib
import json
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from bench.config import Architecture, Choice, FloatRange, Frozen, Protocol, Setting, Timing, Training
from bench.study_config import LookupArchitecture, LookupProtocol, LookupTraining


class CellKey(NamedTuple):
    """What a row of a table is about."""

    backend: str
    operator: str
    dataset: str
    device: str

    def __str__(self) -> str:
        return " · ".join(self)


class _Work(Frozen):
    backend: str
    operator: str
    dataset: str
    device: str
    # Digest of everything outside the job that decides its outcome: data, library versions, code.
    basis: str

    @property
    def key(self) -> CellKey:
        """The cell that the job belongs to."""
        return CellKey(self.backend, self.operator, self.dataset, self.device)

    @property
    def id(self) -> str:
        """First 16 hex digits of the SHA-256 of the job's content."""
        return digest(self.model_dump(mode="json"))

    @property
    def question(self) -> str:
        """What is asked, by whatever state of data, versions and code: the id without the basis."""
        return self.model_copy(update={"basis": ""}).id


class _Job(_Work):
    protocol: Protocol
    architecture: Architecture


class ParityJob(_Job):
    """Hold one back end to the float64 reference of one operator."""

    phase: Literal["parity"] = "parity"


class SpeedJob(_Job):
    """One round of timing in a fresh process. `replica` 1 is the second half of the A/A self-test."""

    phase: Literal["speed"] = "speed"
    training: Training
    timing: Timing
    threads: int
    round: int
    replica: int = 0


class TuneJob(_Job):
    """One Optuna study. `backend` and `device` say where it runs; under a shared scope they are no
    part of its identity."""

    phase: Literal["tune"] = "tune"
    training: Training
    trials: int
    seeds: tuple[int, ...]
    space: dict[str, FloatRange | Choice]
    shared: bool

    @property
    def id(self) -> str:
        """As for every job, but whichever back end happens to run a shared study has no part in it."""
        return digest(self._content())

    @property
    def search(self) -> str:
        """What is searched, by whatever code: a change that leaves training as it was proposes the same trials."""
        return self.question

    def _content(self) -> dict[str, Any]:
        content = self.model_dump(mode="json")
        return content | {"backend": "", "device": ""} if self.shared else content


class FitJob(_Job):
    """Train once with one seed, then read the test nodes once."""

    phase: Literal["fit"] = "fit"
    training: Training
    seed: int
    tuned: dict[str, Setting] = {}  # what the study changed; already applied


class LookupJob(_Work):
    """Train one model on DictionaryLookup graphs of `size` keys; `dataset` names the size, for people."""

    phase: Literal["lookup"] = "lookup"
    size: int
    protocol: LookupProtocol
    architecture: LookupArchitecture
    training: LookupTraining
    seed: int
    attention_graphs: int = 0  # test graphs whose attention is examined

    @property
    def key(self) -> CellKey:
        """One curve's point: heads and protocol tell apart what operator and size do not."""
        heads = f"{self.architecture.heads} head{'s' * (self.architecture.heads > 1)}"
        return CellKey(
            self.backend, f"{self.operator} ({heads})", f"{self.dataset} ({self.protocol.name})", self.device
        )


class AttentionJob(_Job):
    """Train once as a fit does, then examine how the first to the last layer attend."""

    phase: Literal["attention"] = "attention"
    training: Training
    seed: int
    min_degree: int  # targets with fewer edges have too little to choose from


GridJob = ParityJob | SpeedJob | TuneJob | FitJob
"""What an experiment with a grid of cells asks for; the others belong to studies."""

Job = Annotated[GridJob | LookupJob | AttentionJob, Field(discriminator="phase")]


def digest(content: Any) -> str:
    """First 16 hex digits of the SHA-256 of canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
