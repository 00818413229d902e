"""What `bench data` does: say which data sets are here, bring them, verify them. Prints nothing itself."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.plugins import DATASETS
from bench.task import Dataset, DatasetInfo, DataUnavailable, FileState, NodeData, Nodes

Report = Callable[[str], None]
WORST_FIRST = ("altered", "absent", "unverified", "verified")


@dataclass(frozen=True)
class DataRow:
    """One data set, as a table shows it."""

    name: str
    title: str
    nodes: int
    edges: int
    features: int
    classes: int
    splits: tuple[str, ...]
    state: str  # "verified", "unverified", "generated", "absent", "altered"
    place: str
    note: str = ""
    problem: str = ""  # why fetching or verifying failed; exit status 2 if any row has one


def bring(names: Iterable[str], report: Report) -> None:
    """Download what a run reads once, where a person can see it; what cannot be had, its jobs will say."""
    for name in names:
        with contextlib.suppress(DataUnavailable):
            DATASETS.get(name).fetch(report)


def data_rows(
    datasets: Iterable[Dataset], *, report: Report, fetch: bool = False, verify: bool = False
) -> list[DataRow]:
    """A row for each data set; the failure of one does not keep the others from being done.

    Args:
        datasets: Which are meant.
        fetch: Bring what is absent or altered.
        verify: Load each, and compare it with what is said of it.
        report: Gets a line for each thing that is brought or set aside.
    """
    return [_row(dataset, fetch, verify, report) for dataset in datasets]


def _row(dataset: Dataset, fetch: bool, verify: bool, report: Report) -> DataRow:
    problem = ""
    try:
        if fetch:
            dataset.fetch(report)
        if verify:
            problem = "; ".join(_faults(dataset))
    except DataUnavailable as failure:
        problem = str(failure)
    info = dataset.info
    state, place, note = _summary(dataset.files())
    return DataRow(
        name=info.name,
        title=info.title,
        nodes=info.nodes,
        edges=info.edges,
        features=info.features,
        classes=info.classes,
        splits=info.splits,
        state=state,
        place=place,
        note=note,
        problem=problem,
    )


def _summary(files: Sequence[FileState]) -> tuple[str, str, str]:
    """State, place and note of a data set: those of the files in the worst state."""
    if not files:
        return "generated", "", ""
    state = next(state for state in WORST_FIRST if any(file.state == state for file in files))
    meant = [file for file in files if file.state == state]
    place = ", ".join(dict.fromkeys(str(Path(file.place).parent) for file in meant))
    if state in ("verified", "unverified"):
        return state, place, ""
    notes = "".join(f"; {file.name}: {file.note}" for file in meant if file.note)
    return state, place, f"{len(meant)} of {len(files)} files{notes}"


def _faults(dataset: Dataset) -> Iterator[str]:
    """What differs between a data set and what is said of it; brings nothing."""
    unfit = [file for file in dataset.files() if file.state in ("altered", "absent")]
    if unfit:
        yield from (f"{file.place}: {' '.join([file.state, file.note]).strip()}" for file in unfit)
        yield f"`bench data {dataset.info.name} --fetch` brings what is lacking"
        return
    try:
        data = dataset.load()
        splits = {split: dataset.nodes(data, split, seed=0) for split in dataset.info.splits}
    except DataUnavailable as failure:
        folders = ", ".join(dict.fromkeys(str(Path(file.place).parent) for file in dataset.files()))
        cure = f"put the right file there, or take it away and `bench data {dataset.info.name} --fetch` brings it"
        raise DataUnavailable(f"{failure} (in {folders}); {cure}") from None
    yield from _wrong_counts(dataset.info, data)
    for split, nodes in splits.items():
        yield from _wrong_nodes(split, nodes, data.graph.num_nodes)


def _wrong_counts(info: DatasetInfo, data: NodeData) -> Iterator[str]:
    counts = {
        "nodes": (info.nodes, data.graph.num_nodes),
        "edges": (info.edges, data.graph.num_edges),
        "rows of features": (info.nodes, data.x.shape[0]),
        "features": (info.features, data.x.shape[1]),
        "labels": (info.nodes, len(data.y)),
        "classes": (info.classes, data.classes),
        "graphs": (info.graphs, 1 if data.graph_of is None else len(torch.unique(data.graph_of))),
    }
    for what, (expected, found) in counts.items():
        if expected not in (found, 0):
            yield f"{info.name}: {expected} {what} expected, {found} found"


def _wrong_nodes(split: str, nodes: Nodes, num_nodes: int) -> Iterator[str]:
    if nodes.train.dim() == 2:
        yield from _wrong_links(split, nodes, num_nodes)
        return
    for part in (nodes.train, nodes.validation, nodes.test):
        if not len(part) or part.min() < 0 or part.max() >= num_nodes or len(set(part.tolist())) < len(part):
            yield f"split {split}: a part is empty, repeats a node, or names one that does not exist"
    for part in (nodes.validation, nodes.test):
        if torch.isin(part, nodes.train).any():
            yield f"split {split}: a training node is validated or tested on"


def _wrong_links(split: str, nodes: Nodes, num_nodes: int) -> Iterator[str]:
    for links in (nodes.train, nodes.validation, nodes.test):
        if not links.numel() or links[:2].min() < 0 or links[:2].max() >= num_nodes:
            yield f"split {split}: a part is empty, or a link leads to a node that does not exist"
