"""Node classification by the grid of `bench run`: subjects are operators, columns data sets, values test accuracies.

Of nodes with many labels the values are micro-F1. Either is in the part's unit. Of numbers of whole graphs they are
errors in the data set's unit.

`experiment` holds what an experiment file would say (`operators`, `datasets`, `protocol`, `training`, ...); nothing is
timed. With `vary` there is one experiment for each value of a setting, all on one data set; the values are the columns.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from bench import experiment_file, toml_file
from bench.config import Experiment, Setting
from bench.errors import UserError
from bench.kind import Line, Means, Sample
from bench.outcomes import Fitted, NotDone
from bench.paper.table import Part
from bench.plugins import BACKENDS, DATASETS, OPERATORS
from bench.records import Record
from bench.report import aspects
from bench.report.cells import Cell, gather
from bench.runner import Grid, Unheard
from bench.work import FitJob

FIXED = {"devices": ("cpu",), "timing": {"rounds": 0}, "seeds": (0,)}
UNITS = {"%": 100.0, "fraction": 1.0, "error": 1.0}
FINAL_SEEDS = range(1000)
"""Seeds of final runs; those of tuning lie above."""


@dataclass(frozen=True)
class _Slice:
    """One experiment of a part, and what its columns are called."""

    experiment: Experiment
    value: str = ""  # of the varied setting

    def line(self, part: Part, operator: str, dataset: str, backend: str) -> Line:
        return Line(part.name, operator, self.value or dataset, backend)


class _Grid:
    def problems(self, part: Part) -> Iterator[str]:
        """See `bench.kind.Kind`."""
        try:
            slices = _slices(part)
        except ValidationError as error:
            yield from dict.fromkeys(_placed(part, line) for line in toml_file.lines(error, Experiment))
        except UserError as problem:
            yield str(problem)
        else:
            yield from dict.fromkeys(text for found in slices for text in _problems(part, found.experiment))

    def lines(self, part: Part) -> list[Line]:
        """See `bench.kind.Kind`."""
        return [
            found.line(part, operator, dataset, backend)
            for found in _slices(part)
            for dataset in found.experiment.datasets
            for operator in found.experiment.operators
            for backend in found.experiment.backends
        ]

    def run(self, part: Part, lines: Sequence[Line], seeds: int, means: Means) -> int:
        """See `bench.kind.Kind`."""
        return sum(
            Grid(experiment, means.folder, means.display, Unheard(), means.options, is_alone=False).run()
            for found in _slices(part)
            for experiment in _asked(part, found, set(lines), seeds)
        )

    def samples(self, part: Part, records: Sequence[Record]) -> Mapping[Line, Sample]:
        """See `bench.kind.Kind`."""
        lacking = cache(_lacking)  # files are looked at once for all rows, and only where nothing is recorded
        return {
            found.line(part, cell.key.operator, cell.key.dataset, cell.key.backend): (
                _sample(cell, UNITS[part.unit]) if cell.records else Sample(missing=lacking(cell.key.dataset))
            )
            for found in _slices(part)
            for cell in gather(found.experiment.model_copy(update={"seeds": tuple(FINAL_SEEDS)}), records)
        }


def _slices(part: Part) -> list[_Slice]:
    here = [name for name in part.lead if name in BACKENDS.names()]
    named = part.experiment.get("backends", [])
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise UserError(f"experiment.backends: should be a list of names (the file says {named!r})")
    backends = tuple(dict.fromkeys([*here, *named]))
    content = FIXED | part.experiment | {"title": part.name, "backends": backends}
    if part.vary is None:
        return [_Slice(Experiment.model_validate(content))]
    return [
        _Slice(Experiment.model_validate(_with(content, part.vary.setting, value)), str(value))
        for value in part.vary.values
    ]


def _with(content: Mapping[str, Any], setting: str, value: Setting) -> dict[str, Any]:
    """The content with one dotted setting in place."""
    section, dot, name = setting.partition(".")
    if not dot:
        raise UserError(f"vary.setting: {setting!r} is no setting; write it as `protocol.edge_noise`")
    table = content.get(section, {})
    if not isinstance(table, dict):
        raise UserError(f"experiment.{section}: should be a table (the file says {table!r})")
    return {**content, section: {**table, name: value}}


def _placed(part: Part, line: str) -> str:
    """The line with the place where the file says it: of a varied setting that is in `vary`."""
    if part.vary is None or not line.startswith(f"{part.vary.setting}: "):
        return f"experiment.{line}"
    return f"vary.{'setting' if 'there is no key' in line else 'values'}: {line}"


def _problems(part: Part, experiment: Experiment) -> Iterator[str]:
    yield from (f"experiment.{line}" for line in experiment_file.problems(experiment))
    if part.vary and len(experiment.datasets) > 1:
        count = len(experiment.datasets)
        yield f"vary: its values are the columns, so there is room for one data set, not {count}; name one"
    if len(experiment.devices) > 1:
        yield f"experiment.devices: a row is about one device, not {len(experiment.devices)}; name one"
    known = set(experiment.operators) <= set(OPERATORS.names())  # else that has been said
    if known and (strangers := set(part.published) - set(experiment.operators)):
        yield f"published: {', '.join(sorted(strangers))} is not among the operators; name it there, or leave it out"
    if min(experiment.tuning.seeds, default=FINAL_SEEDS.stop) < FINAL_SEEDS.stop:
        yield f"experiment.tuning.seeds: take seeds from {FINAL_SEEDS.stop} on, which no final run uses"


def _asked(part: Part, found: _Slice, lines: set[Line], seeds: int) -> Iterator[Experiment]:
    """As few grids as hold these lines and no others: for each back end, data sets with the same operators."""
    experiment = found.experiment
    for backend in experiment.backends:
        grids: dict[tuple[str, ...], list[str]] = {}
        for dataset in experiment.datasets:
            operators = [name for name in experiment.operators if found.line(part, name, dataset, backend) in lines]
            grids.setdefault(tuple(operators), []).append(dataset)
        for operators_, datasets in grids.items():
            if operators_:
                grid = {"backends": (backend,), "operators": operators_, "datasets": tuple(datasets)}
                yield experiment.model_copy(update=grid | {"seeds": tuple(range(seeds))})


def _lacking(dataset: str) -> str:
    """What to do for a data set that is not here yet, or nothing."""
    lacking = [file.name for file in DATASETS.get(dataset).files() if file.state in ("absent", "altered")]
    files_of = dataset.partition("-")[0]  # variants of a data set share its files
    return f"{lacking[0]}: not here; `bench data {files_of} --fetch` brings it" if lacking else ""


def _sample(cell: Cell, unit: float) -> Sample:
    withheld, study = cell.withheld(), cell.study.outcome if cell.study else None
    failed = [cell.fit_failures[seed] for seed in sorted(cell.fit_failures)]
    reasons = [found for found in (withheld, study, *failed) if isinstance(found, NotDone)]
    work = [record for record in cell.records if isinstance(record.job, FitJob)] + ([cell.study] if cell.study else [])
    return Sample(
        values={seed: unit * accuracy for seed, accuracy in sorted(cell.accuracies.items())},
        failures=Counter(outcome.status for outcome in failed),
        retried=cell.retried,
        seconds=sum(record.seconds for record in work),
        barred=_said(withheld) if withheld else "",
        missing=_said(reasons[0]) if reasons and not cell.fits else "",
        note=_tuning(cell),
        differs=next((fit.differs for fit in cell.fits.values() if fit.differs), ""),
        fits=[record for record in work if isinstance(record.outcome, Fitted)],
    )


def _tuning(cell: Cell) -> str:
    """What the study did, and the point that won."""
    chosen = ", ".join(f"{name} = {value}" for name, value in cell.tuned.items())
    return "; ".join(filter(None, [aspects.tuning(cell), chosen]))


def _said(reason: NotDone) -> str:
    return aspects.State(reason.status, reason.reason).sentence()


KIND = _Grid()
