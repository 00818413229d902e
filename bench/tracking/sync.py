"""Which MLflow runs to write, change or replace, so that a store says what the records say.

A job's run is written once, from nothing to its end; if it is incomplete or its job was done again, it is replaced. A
cell's run changes while results arrive, and goes when the cell is no longer asked for. Runs that another live process
is writing are left to it. What is in the store is looked up before it is written, and remembered, so that a repeated
call costs nothing.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from bench.owner import Owner
from bench.tracking.runs import Content

FINISHED, FAILED, KILLED, RUNNING = "FINISHED", "FAILED", "KILLED", "RUNNING"


@dataclass(frozen=True)
class StoredRun:
    """A run as the store has it."""

    id: str
    experiment_id: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    has_dataset: bool


class Store(Protocol):
    """What is asked of a store; `bench.tracking.client` does it with MLflow."""

    def find(self, experiment_id: str, search: str) -> Iterable[StoredRun]:
        """The results folder's runs that match, trials and other levels included; deleted ones are not found."""
        ...

    def write(self, experiment_id: str, content: Content, status: str) -> str:
        """A new run with everything that belongs to it, owned by this process; its status is set last."""
        ...

    def change(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str | None]) -> None:
        """Set metrics and tags; a tag that is None is deleted."""
        ...

    def set_status(self, run_id: str, status: str, end_ms: int) -> None:
        """Set a run's status, and its end unless it is RUNNING."""
        ...

    def keep_model(self, run: StoredRun, path: Path) -> None:
        """See to exactly this trained network being logged with a run."""
        ...

    def discard(self, run: StoredRun) -> None:
        """Delete a run and its children; one that was running ends as KILLED."""
        ...


@dataclass
class Hands:
    """Which process a run of the results folder belongs to.

    Of a process on another host nobody here knows whether it lives. Whoever is `alone`, because he holds the folder,
    knows that it does not.
    """

    alone: bool = False
    hosts: set[str] = field(default_factory=set)  # other ones, to which something was left

    def are_others(self, run: StoredRun) -> bool:
        """Whether another process is writing the run, or may be."""
        owner = Owner.from_tags(run.tags)
        if run.status != RUNNING or owner is None or owner.is_this_process() or owner.dead():
            return False
        if owner.is_elsewhere():
            if self.alone:
                return False
            self.hosts.add(owner.host)
        return True


@dataclass
class Jobs:
    """The runs of jobs, and of the report."""

    store: Store
    hands: Hands
    _written: dict[tuple[str, str], str] = field(default_factory=dict)

    def sync(self, experiment_id: str, search: str, record: str, content: Callable[[], Content]) -> None:
        """See to exactly one complete run that `search` finds and whose tag `record` is `record`."""
        if self._written.get((experiment_id, search)) == record:
            return
        found = list(self.store.find(experiment_id, search))
        if any(map(self.hands.are_others, found)):
            return
        complete = [run for run in found if run.tags.get("record") == record and run.status in (FINISHED, FAILED)]
        for run in found:
            if run not in complete[:1]:
                self.store.discard(run)
        if not complete:
            wanted = content()
            self.store.write(experiment_id, wanted, final_status(wanted))
        self._written[experiment_id, search] = record


@dataclass
class _Cell:
    run: StoredRun
    content: Content


@dataclass
class Cells:
    """The runs of cells."""

    store: Store
    owner: Owner
    hands: Hands
    _written: dict[tuple[str, str], _Cell] = field(default_factory=dict)

    def sync(self, experiment_id: str, contents: Sequence[Content], *, live: bool) -> None:
        """See to exactly one run per cell, RUNNING while `live`, and otherwise to none of any other cell."""
        for content in contents:
            place = experiment_id, content.tags["cell"]
            # Forgotten until it is written, so that after a failure it is looked up again.
            known = self._written.pop(place, None)
            run = known.run if known else self._take_over(*place)
            if run is None or not self.hands.are_others(run):
                status = RUNNING if live else final_status(content)
                written = self._update(experiment_id, run, content, status)
                if content.model and not live:  # while it runs, a better one may come
                    self.store.keep_model(written, content.model)
                self._written[place] = _Cell(written, content)
        if not live:
            self._discard_all_but(experiment_id, {content.tags["cell"] for content in contents})

    def finish(self, experiment_id: str, *, interrupted: bool) -> None:
        """End the cells that this process left running."""
        for (place, _), cell in self._written.items():
            if place == experiment_id and cell.run.status == RUNNING:
                status = KILLED if interrupted else final_status(cell.content)
                self.store.set_status(cell.run.id, status, cell.content.end_ms)
                cell.run = replace(cell.run, status=status)

    def _discard_all_but(self, experiment_id: str, cells: Container[str]) -> None:
        """Delete the runs of cells that are no longer asked for; their jobs' runs stay, as their records do."""
        for run in list(self.store.find(experiment_id, "tags.level = 'cell'")):
            cell = run.tags.get("cell", "")
            if cell not in cells and not self.hands.are_others(run):
                self.store.discard(run)
                self._written.pop((experiment_id, cell), None)

    def _take_over(self, experiment_id: str, cell: str) -> StoredRun | None:
        """The cell's run as it is in the store; surplus ones are deleted."""
        found = self.store.find(experiment_id, f"tags.level = 'cell' and tags.cell = '{cell}'")
        kept_first = sorted(found, key=self.hands.are_others, reverse=True)
        for surplus in kept_first[1:]:
            if not self.hands.are_others(surplus):
                self.store.discard(surplus)
        return kept_first[0] if kept_first else None

    def _update(self, experiment_id: str, run: StoredRun | None, content: Content, status: str) -> StoredRun:
        metrics = {point.name: point.value for point in content.points}
        if run is None or not _can_become(run, content, metrics):
            if run is not None:
                self.store.discard(run)
            run_id = self.store.write(experiment_id, content, status)
        else:
            run_id = run.id
            self._change(run, content, metrics, status)
        return StoredRun(
            run_id,
            experiment_id,
            status,
            content.params,
            {**content.tags, **self.owner.tags()},
            metrics,
            content.dataset is not None,
        )

    def _change(self, run: StoredRun, content: Content, metrics: Mapping[str, float], status: str) -> None:
        new_metrics = {name: value for name, value in metrics.items() if run.metrics.get(name) != value}
        owned = {**content.tags, **(self.owner.tags() if status == RUNNING else {})}
        new_tags: dict[str, str | None] = {name: text for name, text in owned.items() if run.tags.get(name) != text}
        new_tags |= {name: None for name in run.tags if name not in content.tags and _is_ours(name)}
        if new_metrics or new_tags:
            self.store.change(run.id, new_metrics, new_tags)
        if status != run.status or (new_metrics and status != RUNNING):
            self.store.set_status(run.id, status, content.end_ms)


def final_status(content: Content) -> str:
    """How a run ends that nobody interrupts."""
    return FAILED if content.failed else FINISHED


def _can_become(run: StoredRun, content: Content, metrics: Mapping[str, float]) -> bool:
    """Whether changing the run is enough: parameters cannot be changed, and metrics cannot be deleted."""
    return (
        run.params == content.params
        and run.metrics.keys() <= metrics.keys()
        and (run.has_dataset or content.dataset is None)
    )


def _is_ours(tag: str) -> bool:
    return not tag.startswith(("mlflow.", "owner."))
