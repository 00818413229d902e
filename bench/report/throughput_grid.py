"""The table of throughput: a line for each back end, its ratios to the best rival, its distance from the floor."""

from collections.abc import Iterator

from bench.config import thread_name
from bench.report import throughput, wording
from bench.report.cells import Cell, step_medians
from bench.report.grids import CELL, Grid, slim
from bench.report.own_words import other_work
from bench.report.results import Results
from bench.report.throughput import Against, Floor
from bench.report.wording import TRACKS, Footnotes
from bench.summary import median
from bench.verdicts import Phase

PHASES: dict[Phase, str] = {"train": "training step", "evaluate": "evaluation"}


def is_asked(results: Results) -> bool:
    """Whether the experiment times anything, and says whom to hold the times against."""
    return bool(results.experiment.timing.rounds and results.experiment.statistics.rivals)


def grid(results: Results, notes: Footnotes) -> Grid:
    """Times with their ratio to the best rival; memory; the training step as a multiple of its floor."""
    tracks = results.experiment.timing.tracks
    return slim(
        f"Time in ms, and how many times faster than {best(results)} in the same rounds",
        (
            *CELL,
            "threads",
            "computes",
            *(f"{TRACKS[track]}: {name}" for track in tracks for name in PHASES.values()),
            *(f"{TRACKS[track]}: {name}" for track in tracks for name in ("MiB", "first step, s", "× floor")),
        ),
        tuple(
            (
                cell.key.operator,
                marked(cell, notes),
                *cell.key[2:],
                str(threads),
                throughput.part(cell, threads),
                *(_time(results, cell, track, threads, phase, notes) for track in tracks for phase in PHASES),
                *(text for track in tracks for text in _costs(results, cell, track, threads)),
            )
            for cell in results.cells
            for threads in results.experiment.timing.threads
        ),
        len(CELL) + 1,
    )


def floors(results: Results) -> Grid:
    """What lies under a training step at the first thread count: its work, the machine's floor, the time it took."""
    threads = results.experiment.timing.threads[0]
    found = [
        (cell, track, floor)
        for cell in results.cells
        for track in results.experiment.timing.tracks
        if (floor := throughput.floor_of(results, cell, track, threads, "train"))
    ]
    return slim(
        f"A training step and its floor, {thread_name(threads)}",
        (*CELL, "track", "million operations", "MB", "MB gathered", "floor, ms", "measured, ms", "step / floor"),
        tuple(
            (
                cell.key.operator,
                cell.key.backend,
                *cell.key[2:],
                TRACKS[track],
                wording.significant(floor.work.flops / 1e6),
                wording.significant(floor.work.bytes / 1e6),
                wording.significant(floor.work.gathered_bytes / 1e6),
                f"{wording.significant(1000 * floor.low_s)} to {wording.significant(1000 * floor.high_s)}",
                wording.significant(1000 * floor.measured_s),
                _multiples(floor),
            )
            for cell, track, floor in found
        ),
        len(CELL) + 1,
    )


def remarks(results: Results) -> Iterator[str]:
    """What a reader must know of this table."""
    yield (
        "× above 1 is that many times faster; in brackets its interval over rounds, where there are three. A back end "
        "computes its layers, under the runner's loop and torch's Adam, or owns the whole step: two things, compared "
        "with the same rivals and never with each other's name. First step: the longest of any round, with what the "
        "back end loads, sets up and compiles; of a process's two tracks the second finds some of it done."
    )
    for device in results.experiment.devices:
        tops = {threads: throughput.ceilings(results.cells, device, threads)
                for threads in results.experiment.timing.threads}  # fmt: skip
        said = [
            f"{top.gemm_flops_per_s / 1e9:.3g} GFLOP/s (float32 matrix product) and {top.copy_bytes_per_s / 1e9:.3g} "
            f"GB/s (copy, read and written) with {thread_name(threads)}"
            for threads, top in tops.items()
            if top
        ]
        if said:
            yield (
                f"The ceilings of this {device}, measured beside the rounds: {'; '.join(said)}. The floor is the least "
                "time in which a training step could be done below them, by a count of its operations and bytes: "
                "step / floor is given with every edge's neighbour fetched from memory, and with none."
            )


def best(results: Results) -> str:
    """Whom the times are held against, in words."""
    rivals = results.experiment.statistics.rivals
    return rivals[0] if len(rivals) == 1 else f"the better of {' and '.join(rivals)}"


def marked(cell: Cell, notes: Footnotes) -> str:
    """The name; with a note where another amount of work is done."""
    other = other_work(cell.key.backend)
    note = f"{cell.key.backend} does a different amount of work: {other}"
    return f"{cell.key.backend} {notes.mark(note)}" if other else cell.key.backend


def _time(results: Results, cell: Cell, track: str, threads: int, phase: Phase, notes: Footnotes) -> str:
    rounds = cell.rounds.get(threads, {})
    times = step_medians(rounds, track, phase)
    if not times:
        return _why_not(results, cell, track, threads, notes)
    same = next((timed.same_as[track] for timed in rounds.values() if track in timed.same_as), "")
    note = notes.mark(f"its input is that of the track {TRACKS[same]}, so it was measured once") if same else ""
    if same and throughput.is_one_track(results, cell, track):
        return f"{TRACKS[same]} {note}"
    against = throughput.against_rivals(results, cell, track, threads, phase)
    times_faster = f"({ratio(against)})" if against else ""
    return " ".join(filter(None, [wording.significant(1000 * median(list(times.values()))), times_faster, note]))


def _why_not(results: Results, cell: Cell, track: str, threads: int, notes: Footnotes) -> str:
    row = next(row for row in results.rows if row.key == cell.key)
    speed = next(speed for speed in row.speeds if (speed.track, speed.threads) == (track, threads))
    return wording.state(speed.state, notes)


def ratio(found: Against) -> str:
    """ "× 12.3 [8.80, 17.2]": how many times faster, with the interval over rounds."""
    times = f"× {wording.significant(found.ratio)}"
    if found.interval is None:
        return times
    return f"{times} [{wording.significant(found.interval.low)}, {wording.significant(found.interval.high)}]"


def _costs(results: Results, cell: Cell, track: str, threads: int) -> Iterator[str]:
    same = any(track in timed.same_as for timed in cell.rounds.get(threads, {}).values())
    if same:
        yield from ("", "", "")
        return
    first_s = throughput.first_step_s(cell, track, threads)
    yield wording.mebibytes(throughput.peak_bytes(cell, track, threads))
    yield "" if first_s is None else wording.significant(first_s)
    yield _multiples(throughput.floor_of(results, cell, track, threads, "train"))


def _multiples(found: Floor | None) -> str:
    if found is None:
        return ""
    return " to ".join(wording.significant(multiple) for multiple in found.multiples)
