"""How a training step grows: log-log slopes over nodes, mean degree and the settings of the sweep.

    t = a x^b        b by least squares on the logarithms of the medians over rounds

Nodes vary over data sets of equal mean degree, the mean degree over data sets of equal size, a setting over its values
on the first data set. What a series holds besides stays as the experiment says.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench import settings
from bench.config import Architecture, Experiment, Setting
from bench.outcomes import Timed
from bench.plugins import BACKENDS, DATASETS, OPERATORS
from bench.records import latest
from bench.report import throughput
from bench.report.asked import is_timed_as_asked
from bench.report.results import Results
from bench.summary import FEWEST, Slope, median, power_law
from bench.task import DatasetInfo
from bench.training.network import layer_configs
from bench.work import CellKey, SpeedJob

NODES, DEGREE = "nodes", "mean degree"
TRACK = "as_shipped"


@dataclass(frozen=True)
class Series:
    """One back end's training step over one variable: medians over rounds."""

    variable: str  # "nodes", "mean degree", "architecture.heads"
    operator: str
    backend: str
    seconds: Mapping[float, float]

    def slope(self, confidence: float) -> Slope | None:
        """The exponent of growth."""
        return power_law(list(self.seconds), list(self.seconds.values()), confidence)


def series(results: Results) -> list[Series]:
    """All series with two points at least, with the experiment's first thread count and device."""
    times = _times(results)
    found = []
    for variable, points in _variables(results.experiment).items():
        for operator in results.experiment.operators:
            for backend in results.experiment.backends:
                seconds = {
                    x: times[operator, backend, dataset, architecture]
                    for x, (dataset, architecture) in sorted(points.items())
                    if (operator, backend, dataset, architecture) in times
                }
                if len(seconds) > 1:
                    found.append(Series(variable, operator, backend, seconds))
    return found


def memory_end(results: Results, operator: str, backend: str) -> tuple[int, int] | None:
    """Nodes at which a back end's predicted memory passes what was free, and those bytes; None if nothing says.

    The mean degree and the features are those of the first data set.
    """
    top = throughput.ceilings(results.cells, results.experiment.devices[0], results.experiment.timing.threads[0])
    if top is None or backend not in BACKENDS.names():
        return None
    info = DATASETS.get(results.experiment.datasets[0]).info
    configs = layer_configs(results.experiment.architecture, info.features, info.classes)
    plugin, kind = BACKENDS.get(backend), OPERATORS.get(operator)

    def fits(nodes: int) -> bool:
        edges = nodes + nodes * info.edges // info.nodes
        return sum(plugin.memory_bytes(kind, config, nodes, edges) for config in configs) <= top.free_bytes

    low, high = 1, 2
    while fits(high) and high < 2**40:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return high, top.free_bytes


Point = tuple[str, Architecture]
"""A data set and an architecture."""


def _variables(experiment: Experiment) -> dict[str, dict[float, Point]]:
    """Variable -> its value -> where that was measured."""
    infos = [DATASETS.get(name).info for name in experiment.datasets]
    base = experiment.architecture
    found: dict[str, dict[float, Point]] = {
        NODES: {info.nodes: (info.name, base) for info in _alike(infos, _degree)},
        DEGREE: {_degree(info): (info.name, base) for info in _alike(infos, lambda info: info.nodes)},
    }
    for (name, value), architecture in settings.varied(experiment).items():
        now = settings.current([name], base, experiment.training)[name]
        if all(map(_has_logarithm, (now, *experiment.sweep[name]))):
            of_setting = found.setdefault(name, {float(now): (experiment.datasets[0], base)})
            of_setting[float(value)] = (experiment.datasets[0], architecture)
    return {variable: points for variable, points in found.items() if len(points) > 1}


def _has_logarithm(value: Setting) -> bool:
    """Whether a setting's value is a place on a log axis, as neither 0 nor a flag nor an unset one is."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _alike(infos: Sequence[DatasetInfo], what: Callable[[DatasetInfo], float]) -> list[DatasetInfo]:
    """The data sets that are like the first in one respect; none if they are too few to tell a slope."""
    group = [info for info in infos if what(info) == what(infos[0])]
    return group if len(group) >= FEWEST else []


def _degree(info: DatasetInfo) -> float:
    return info.edges / info.nodes


def _times(results: Results) -> dict[tuple[str, str, str, Architecture], float]:
    """Median over rounds of every architecture that was timed, on cells that may be ranked."""
    experiment = results.experiment
    able = {cell.key for cell in results.cells if cell.withheld() is None}
    timed = [
        (record.job, record.outcome)
        for record in latest(list(results.records)).values()
        if isinstance(record.job, SpeedJob) and isinstance(record.outcome, Timed)
        if record.job.key in able and is_timed_as_asked(experiment, record.job)
    ]
    newest = {job.key: job.basis for job, _ in timed}  # versions, code and machine: two are never one measurement
    at = experiment.devices[0], experiment.timing.threads[0], 0
    found: dict[tuple[CellKey, Architecture], list[float]] = defaultdict(list)
    for job, outcome in timed:
        timing = outcome.track(TRACK)
        if timing and (job.device, job.threads, job.replica) == at and job.basis == newest[job.key]:
            found[job.key, job.architecture].append(median(timing.train.seconds))
    return {
        (key.operator, key.backend, key.dataset, architecture): median(seconds)
        for (key, architecture), seconds in found.items()
    }
