"""What the runner asks of whoever runs its jobs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.basis import Machine
from bench.work import Job
from bench.workers.crew import Finished


@dataclass(frozen=True)
class Terms:
    """Under which limits jobs run, and where their studies are kept."""

    limit_s: float
    storage_url: str = ""
    memory_bytes: int | None = None
    models: str = ""  # folder on the runner's machine for the networks that fits train


class Workforce(Protocol):
    """What the runner asks of whoever runs its jobs; `bench.workers.crew` and `bench.workers.cluster` do it."""

    at_work: dict[str, str]
    """Where -> what runs there now."""

    def reach(self) -> None:
        """Make sure that it is there, before anything is done for it.

        Raises:
            UserError: it is not.
        """
        ...

    def machine(self, device: str) -> Machine:
        """Which machine times a device's jobs."""
        ...

    def offers(self, device: str) -> bool:
        """Whether a device's jobs can be given to somebody, who may still say that it is absent."""
        ...

    def size(self, device: str) -> int:
        """How many jobs of a device run at once."""
        ...

    def alone(self, jobs: Sequence[Job], title: Callable[[Job], str]) -> Iterator[Finished | None]:
        """One after the other, each in a fresh process, alone on the machine; None while nothing finishes."""
        ...

    def together(self, jobs: Sequence[Job], title: Callable[[Job], str]) -> Iterator[Finished | None]:
        """Side by side, as they finish; None while nothing does. Leaving the loop early ends what is at work."""
        ...

    def close(self) -> None:
        """End the processes that wait for another job."""
        ...
