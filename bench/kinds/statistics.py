"""What the data sets hold, counted from their verified files: subjects are data sets, columns what is counted.

`experiment` holds `datasets` and `counts`; what cannot be had here says so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Literal, get_args

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from bench import experiment_file, toml_file
from bench.config import Asked
from bench.kind import Line, Means, Sample
from bench.paper.table import Part
from bench.plugins import DATASETS
from bench.records import Record
from bench.task import DataUnavailable, NodeData, Nodes

Count = Literal[
    "nodes", "edges", "features", "classes", "training nodes", "validation nodes", "test nodes",
    "graphs", "training graphs", "validation graphs", "test graphs",
]  # fmt: skip
COUNTS: Mapping[Count, Callable[[NodeData, Nodes], int]] = {
    "nodes": lambda data, nodes: data.graph.num_nodes,
    "edges": lambda data, nodes: data.graph.num_edges // 2,  # undirected, without repetitions and self-loops
    "features": lambda data, nodes: data.x.shape[1],
    "classes": lambda data, nodes: data.classes,
    "training nodes": lambda data, nodes: len(nodes.train),
    "validation nodes": lambda data, nodes: len(nodes.validation),
    "test nodes": lambda data, nodes: len(nodes.test),
    "graphs": lambda data, nodes: _graphs(data, torch.arange(data.graph.num_nodes)),
    "training graphs": lambda data, nodes: _graphs(data, nodes.train),
    "validation graphs": lambda data, nodes: _graphs(data, nodes.validation),
    "test graphs": lambda data, nodes: _graphs(data, nodes.test),
}
assert set(COUNTS) == set(get_args(Count))


class Counted(Asked):
    """What is loaded and counted."""

    datasets: tuple[str, ...] = Field(min_length=1)
    counts: tuple[Count, ...] = Field(min_length=1)


class _Statistics:
    def problems(self, part: Part) -> Iterator[str]:
        """See `bench.kind.Kind`."""
        try:
            asked = Counted.model_validate(part.experiment)
        except ValidationError as error:
            yield from (f"experiment.{line}" for line in toml_file.lines(error, Counted))
            return
        yield from experiment_file.name_problems("experiment.datasets", asked.datasets, DATASETS)

    def lines(self, part: Part) -> list[Line]:
        """See `bench.kind.Kind`."""
        asked = Counted.model_validate(part.experiment)
        return [Line(part.name, dataset, count, "loader") for dataset in asked.datasets for count in asked.counts]

    def run(self, part: Part, lines: Sequence[Line], seeds: int, means: Means) -> int:
        """Bring the data, where they can be had."""
        for name in dict.fromkeys(line.subject for line in lines):
            _bring(name, means.display.say)
        _loaded.cache_clear()
        return 0

    def samples(self, part: Part, records: Sequence[Record]) -> Mapping[Line, Sample]:
        """See `bench.kind.Kind`."""
        return {line: _sample(line) for line in self.lines(part)}


@cache
def _bring(name: str, say: Callable[[str], None]) -> None:
    """Once for all columns that count the same data."""
    try:
        DATASETS.get(name).fetch(say)
    except DataUnavailable as reason:
        say(str(reason))


def _sample(line: Line) -> Sample:
    """Read only what is here: listing a table must not download."""
    dataset = DATASETS.get(line.subject)
    if lacking := [file.name for file in dataset.files() if file.state in ("absent", "altered")]:
        reason = f"{', '.join(lacking[:1])}: not here; `bench data {line.subject} --fetch` brings it"
        return Sample(barred=reason, missing=reason)
    try:
        data, nodes = _loaded(line.subject)
    except DataUnavailable as problem:
        reason = f"{problem}; `bench data {line.subject} --verify` says where, and what to do"
        return Sample(barred=reason, missing=reason)
    return Sample(values={0: COUNTS[line.column](data, nodes)}, differs=data.differs)  # type: ignore[index]


def _graphs(data: NodeData, nodes: Tensor) -> int:
    return 1 if data.graph_of is None else len(torch.unique(data.graph_of[nodes]))


@cache
def _loaded(name: str) -> tuple[NodeData, Nodes]:
    dataset = DATASETS.get(name)
    data = dataset.load()
    return data, dataset.nodes(data, "default", seed=0)


KIND = _Statistics()
