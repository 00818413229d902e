"""The table of where a training step's time goes, by the parts that were timed after each round."""

from collections import defaultdict
from collections.abc import Iterator

from bench.config import thread_name
from bench.report.cells import Cell
from bench.report.grids import CELL, Grid, slim
from bench.report.results import Results
from bench.report.wording import TRACKS, Footnotes

MOST = 7
"""So many parts are named; what the others take together is said, too."""


def is_asked(results: Results) -> bool:
    """Whether the experiment has the parts of a step timed."""
    return results.experiment.timing.parts


def grid(results: Results, notes: Footnotes) -> Grid:
    """Of each track, the parts in percent of all parts, the longest first."""
    tracks, threads = results.experiment.timing.tracks, results.experiment.timing.threads[0]
    return slim(
        f"Where a training step's time goes, in percent of its parts, {thread_name(threads)}",
        (*CELL, *(TRACKS[track] for track in tracks)),
        tuple(
            (cell.key.operator, cell.key.backend, *cell.key[2:], *(_named(cell, track, threads) for track in tracks))
            for cell in results.cells
        ),
        len(CELL),
    )


def remarks(results: Results) -> Iterator[str]:
    """What a reader must know of this table."""
    yield (
        "The parts of a step: of a back end that owns the whole step, its own calls; of the others, the operations of "
        "torch, each without those that it calls in turn. They are timed after the samples, since watching costs time."
    )


def shares(cell: Cell, track: str, threads: int) -> dict[str, float]:
    """Part -> its share of the sum of all parts, in [0, 1], as the mean over rounds; the largest first."""
    found: dict[str, float] = defaultdict(float)
    rounds = [
        timing.parts_s
        for timed in cell.rounds.get(threads, {}).values()
        if track not in timed.same_as and (timing := timed.track(track)) and timing.parts_s
    ]
    for parts_s in rounds:
        whole_s = sum(parts_s.values())
        for name, seconds in parts_s.items():
            found[name] += seconds / whole_s / len(rounds)
    return dict(sorted(found.items(), key=lambda part: -part[1]))


def _named(cell: Cell, track: str, threads: int) -> str:
    found = list(shares(cell, track, threads).items())
    text = ", ".join(f"{name} {100 * share:.0f}" for name, share in found[:MOST])
    rest = sum(share for _, share in found[MOST:])
    return f"{text}, {len(found) - MOST} more {100 * rest:.0f}" if rest else text
