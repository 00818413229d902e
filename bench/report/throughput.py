"""Speed for those who choose by it: each back end against the best rival, and against what the machine allows.

    ratio = min over rivals of  geometric mean over rounds of (the rival's median step time) / (own median step time)

so above 1 is faster than the better rival in the same rounds; its interval is the t-interval of the logarithm against
that rival. The better of each single round would be no rival at all: between equals, the luckier one of every round.
The floor is `bench.speed.floor`'s, at the ceilings measured beside the rounds.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.outcomes import Ceilings, Timed
from bench.plugins import DATASETS, OPERATORS
from bench.report.cells import Cell, step_medians
from bench.report.own_words import other_work, training_step
from bench.report.results import Results
from bench.report.sittings import only, side_by_side
from bench.speed import floor
from bench.summary import Interval, log_ratio_of_medians, median
from bench.training.network import layer_configs
from bench.verdicts import Phase


@dataclass(frozen=True)
class Against:
    """How many times faster than the best rival; the interval needs three rounds."""

    ratio: float
    interval: Interval | None
    rounds: int


@dataclass(frozen=True)
class Floor:
    """How long a step must take at least on this machine, and how long it took."""

    work: floor.Work
    low_s: float
    high_s: float
    measured_s: float

    @property
    def multiples(self) -> tuple[float, float]:
        """Measured over the higher and over the lower floor: the smaller number first."""
        return self.measured_s / self.high_s, self.measured_s / self.low_s


def against_rivals(results: Results, cell: Cell, track: str, threads: int, phase: Phase) -> Against | None:
    """A cell against the best of the experiment's rivals in the same rounds; None where either was not timed."""
    rivals = [
        other
        for other in results.cells
        if other.key[1:] == cell.key[1:] and other.key.backend in results.experiment.statistics.rivals
    ]
    found = [_against(results, cell, rival, track, threads, phase) for rival in rivals]
    return min(filter(None, found), key=lambda against: against.ratio, default=None)


def _against(results: Results, cell: Cell, rival: Cell, track: str, threads: int, phase: Phase) -> Against | None:
    both = [step_medians(one.rounds.get(threads, {}), track, phase) for one in (rival, cell)]
    together = side_by_side(*(one.begun.get((threads, 0), {}) for one in (rival, cell)))
    theirs, own = (only(together & both[0].keys() & both[1].keys(), times) for times in both)
    if not own:
        return None
    found = log_ratio_of_medians(theirs, own)
    if found is None:
        ratio = math.exp(statistics.mean(math.log(theirs[number] / own[number]) for number in own))
        return Against(ratio, None, len(own))
    confidence = results.experiment.statistics.confidence
    return Against(math.exp(found.difference), found.interval(confidence).exp(), len(own))


def peak_of_rivals(results: Results, cell: Cell, track: str, threads: int) -> float | None:
    """The smallest peak memory among the rivals, bytes."""
    peaks = [
        peak
        for other in results.cells
        if other.key[1:] == cell.key[1:] and other.key.backend in results.experiment.statistics.rivals
        if (peak := peak_bytes(other, track, threads)) is not None
    ]
    return min(peaks, default=None)


def peak_bytes(cell: Cell, track: str, threads: int) -> float | None:
    """Median over rounds of a training step's peak memory."""
    found = [timed.track(track) for timed in cell.rounds.get(threads, {}).values()]
    peaks = [float(timing.peak_bytes) for timing in found if timing and timing.peak_bytes is not None]
    return median(peaks) if peaks else None


def first_step_s(cell: Cell, track: str, threads: int) -> float | None:
    """The longest first step of any round: what is compiled or loaded once may be kept from then on."""
    found = [timed.track(track) for timed in cell.rounds.get(threads, {}).values()]
    return max((timing.first_step_s for timing in found if timing), default=None)


def part(cell: Cell, threads: int) -> str:
    """What of a training step is the back end's own: its layers, or the whole of it, or what it says itself."""
    tracks = [timing for timed in cell.rounds.get(threads, {}).values() for timing in timed.tracks.values()]
    if not tracks:
        return ""
    if not any(timing.whole_step for timing in tracks):
        return "layers"
    return training_step(cell.key.backend) or "whole step"


def is_one_track(results: Results, cell: Cell, track: str) -> bool:
    """Whether a track is none of its own for any back end, as where features are dense."""
    group = [timed for other in results.cells if other.key[1:] == cell.key[1:]
             for rounds in other.rounds.values() for timed in rounds.values()]  # fmt: skip
    return all(track in timed.same_as for timed in group)


def ceilings(cells: Sequence[Cell], device: str, threads: int) -> Ceilings | None:
    """Medians over all rounds on a device with so many threads."""
    found = [
        timed.ceilings
        for cell in cells
        if cell.key.device == device
        for timed in cell.rounds.get(threads, {}).values()
        if timed.ceilings
    ]
    if not found:
        return None
    return Ceilings(
        gemm_flops_per_s=median([one.gemm_flops_per_s for one in found]),
        copy_bytes_per_s=median([one.copy_bytes_per_s for one in found]),
        free_bytes=int(median([one.free_bytes for one in found])),
    )


def floor_of(results: Results, cell: Cell, track: str, threads: int, phase: Phase) -> Floor | None:
    """The floor under a cell's step; None without a timing, without ceilings, or in records that lack the sizes.

    Nor has it one where a training step leaves out some of the work that is counted.
    """
    if phase == "train" and other_work(cell.key.backend):
        return None
    top = ceilings(results.cells, cell.key.device, threads)
    times = step_medians(cell.rounds.get(threads, {}), track, phase)
    timed = next(iter(cell.rounds.get(threads, {}).values()), None)
    if top is None or not times or timed is None or not timed.stored_features:
        return None
    work = _work(results, cell, timed, phase)
    low_s, high_s = work.floor_s(top.gemm_flops_per_s, top.copy_bytes_per_s)
    return Floor(work, low_s, high_s, median(list(times.values())))


def _work(results: Results, cell: Cell, timed: Timed, phase: Phase) -> floor.Work:
    classes = DATASETS.get(cell.key.dataset).info.classes
    configs = layer_configs(results.experiment.architecture, timed.features, classes)
    size = floor.Size(timed.nodes, timed.edges, timed.stored_features)
    count = floor.training if phase == "train" else floor.evaluation
    return count(OPERATORS.get(cell.key.operator), configs, size)
