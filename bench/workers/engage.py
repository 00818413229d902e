"""Who runs the jobs: the slots of this machine, or a Dask cluster."""

from collections.abc import Callable, Sequence

from bench.plugins import DEVICES
from bench.workers.crew import Crew
from bench.workers.workforce import Terms, Workforce


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
        from bench.workers.cluster import Cluster  # Dask, which one machine does without

        return Cluster(cluster, terms, datasets, most, say)

    def slots(device: str) -> Sequence[str]:
        """A device that is absent gets one slot, on which its jobs say why."""
        plugin = DEVICES.get(device)
        return plugin.slots()[:most] if plugin.unavailable() is None else (f"{device}:0",)

    return Crew(slots, terms.limit_s, terms.storage_url, terms.memory_bytes, terms.models, is_shared=True)
