"""Who runs the jobs: the slots of this machine, or a Dask cluster."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.basis import Machine
from bench.crew import Crew, Finished
from bench.plugins import DEVICES
from bench.work import Job


@dataclass(frozen=True)
class Terms:
    """Under which limits jobs run, and where their studies are kept."""

    limit_s: float
    storage_url: str = ""
    memory_bytes: int | None = None
    models: str = ""  # folder on this machine for the networks that fits train; a cluster keeps none


class Workforce(Protocol):
    """What the runner asks of whoever runs its jobs; `bench.crew` and `bench.cluster` do it."""

    at_work: dict[str, str]
    """Where -> what runs there now."""

    def machine(self, device: str) -> Machine:
        """Which machine times a device's jobs."""
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


def engage(
    terms: Terms,
    datasets: Sequence[str] = (),
    cluster: str = "",
    most: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Workforce:
    """This machine, or the Dask cluster at an address.

    Args:
        terms: limits of every job.
        datasets: what the jobs read; a cluster's workers are asked for it.
        cluster: address of a Dask scheduler, empty for this machine.
        most: jobs at once per kind of device; one per slot if None.
        say: gets a sentence for each thing a person should know of a worker.

    Raises:
        UserError: no cluster can be used.
    """
    if cluster:
        from bench.cluster import Cluster  # Dask, which one machine does without

        return Cluster(cluster, terms, datasets, most, say)

    def slots(device: str) -> Sequence[str]:
        """A device that is absent gets one slot, on which its jobs say why."""
        plugin = DEVICES.get(device)
        return plugin.slots()[:most] if plugin.unavailable() is None else (f"{device}:0",)

    return Crew(slots, terms.limit_s, terms.storage_url, terms.memory_bytes, terms.models)
