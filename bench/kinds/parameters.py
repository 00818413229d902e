"""Parameters of the real modules, counted: subjects are operators, columns data sets. Nothing is trained.

`experiment` holds `backends`, `operators`, `datasets` and the `architecture`. The number of features and classes is all
that is asked of a data set, so it need not be here.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from pydantic import Field, ValidationError

from bench import experiment_file, toml_file
from bench.config import Architecture, Asked
from bench.kind import Line, Means, Sample
from bench.paper.table import Part
from bench.plugins import BACKENDS, DATASETS, OPERATORS
from bench.records import Record
from bench.training import network


class Counted(Asked):
    """What is built and counted."""

    backends: tuple[str, ...] = Field(min_length=1)
    operators: tuple[str, ...] = Field(min_length=1)
    datasets: tuple[str, ...] = Field(min_length=1)
    architecture: Architecture = Architecture()


class _Parameters:
    def problems(self, part: Part) -> Iterator[str]:
        """See `bench.kind.Kind`."""
        try:
            asked = Counted.model_validate(part.experiment)
        except ValidationError as error:
            yield from (f"experiment.{line}" for line in toml_file.lines(error, Counted))
            return
        for key, plugins in (("backends", BACKENDS), ("operators", OPERATORS), ("datasets", DATASETS)):
            yield from experiment_file.name_problems(f"experiment.{key}", getattr(asked, key), plugins)

    def lines(self, part: Part) -> list[Line]:
        """See `bench.kind.Kind`."""
        asked = Counted.model_validate(part.experiment)
        return [
            Line(part.name, operator, dataset, backend)
            for operator in asked.operators
            for dataset in asked.datasets
            for backend in asked.backends
        ]

    def run(self, part: Part, lines: Sequence[Line], seeds: int, means: Means) -> int:
        """Nothing: counting costs less than recording."""
        return 0

    def samples(self, part: Part, records: Sequence[Record]) -> Mapping[Line, Sample]:
        """See `bench.kind.Kind`."""
        asked = Counted.model_validate(part.experiment)
        return {line: _sample(line, asked.architecture) for line in self.lines(part)}


def _sample(line: Line, architecture: Architecture) -> Sample:
    backend, operator, info = BACKENDS.get(line.backend), OPERATORS.get(line.subject), DATASETS.get(line.column).info
    configs = network.layer_configs(architecture, info.features, info.classes)
    for config in configs:
        if reason := backend.unsupported(operator, config, torch.device("cpu")):
            return Sample(barred=reason, missing=reason)
    built = network.build(backend, operator, configs, architecture, seed=0)
    return Sample(values={0: network.count_parameters(built)})


KIND = _Parameters()
