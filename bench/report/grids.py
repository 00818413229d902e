"""The tables that Markdown and HTML share: a caption, headers and text in cells, no markup."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.outcomes import Check, Checked
from bench.report import front, wording
from bench.report.aspects import Timing
from bench.report.results import Results
from bench.report.rows import Row, Speed
from bench.report.wording import TRACKS, Footnotes
from bench.verdicts import AccuracyVerdict, TimeVerdict
from bench.work import CellKey


@dataclass(frozen=True)
class Grid:
    """One table. The first `heads` columns say what a line is about."""

    caption: str
    headers: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    heads: int


def accuracy(results: Results, notes: Footnotes) -> Grid:
    """Parity, accuracy and what it was reached with."""
    return slim(
        "Test accuracy",
        (
            *CELL,
            "parity",
            "test accuracy, %",
            "against the baseline",
            "validation, %",
            "epochs",
            "parameters",
            "tuned settings",
        ),
        tuple((*_cell(row), *_accuracy(row, notes)) for row in results.rows),
        len(CELL),
    )


def speed(results: Results, notes: Footnotes) -> Grid:
    """Times, rates and memory, the two tracks side by side; parity too, where no table of accuracy shows it."""
    tracks = results.experiment.timing.tracks
    alone = not results.experiment.seeds
    names = ("train, ms", "train against the baseline", "evaluate, ms", "edges/s", "peak MiB")
    return slim(
        "Speed and memory: one training step, one evaluation",
        (
            *CELL,
            "threads",
            *(["parity"] if alone else []),
            "prepare, ms",
            *(f"{TRACKS[track]}: {name}" for track in tracks for name in names),
        ),
        tuple(
            (
                *_cell(row),
                str(threads),
                *([wording.parity(row.parity, notes)] if alone else []),
                _prepare(row, threads),
                *_speeds(row, threads, notes),
            )
            for row in results.rows
            for threads in results.experiment.timing.threads
        ),
        len(CELL) + 1,
    )


def memory(results: Results) -> Grid:
    """Peak memory of each track."""
    return slim(
        "Peak memory of a training step beyond what was resident before, MiB",
        (*CELL, "threads", *(TRACKS[track] for track in results.experiment.timing.tracks)),
        _by_track(results, lambda speed: wording.mebibytes(speed.timing.peak_bytes) if speed.timing else ""),
        len(CELL) + 1,
    )


def trade_off(results: Results) -> Grid:
    """Accuracy beside the rate of training, and who is on the Pareto front of both."""
    timing = results.experiment.timing
    places = [(track, threads) for track in timing.tracks for threads in timing.threads]
    words: dict[tuple[str, int], Mapping[CellKey, str]] = {place: front.words(results, *place) for place in places}
    return slim(
        "Test accuracy and edges per second of training; the front is by means alone",
        (
            *CELL,
            "threads",
            "accuracy, %",
            *(f"{TRACKS[track]}: {name}" for track in timing.tracks for name in ("edges/s", "on the front")),
        ),
        tuple(
            (
                *_cell(row),
                str(threads),
                f"{100 * row.accuracy.mean:.2f}" if row.accuracy else "",
                *(
                    text
                    for speed in row.speeds
                    if speed.threads == threads
                    for text in (_rate(speed.timing), words[speed.track, threads].get(row.key, ""))
                ),
            )
            for row in results.rows
            for threads in timing.threads
        ),
        len(CELL) + 1,
    )


def parity_worst(results: Results) -> Grid:
    """The worst difference of each cell from the reference, by precision."""
    return _parity(results, "Worst difference from the reference, relative to its scale", by_graph=False)


def parity(results: Results) -> Grid:
    """The same by graph."""
    return _parity(results, "Worst difference from the reference by graph", by_graph=True)


def comparisons(results: Results) -> Grid:
    """Every comparison of accuracies with its figures."""
    found = results.comparisons
    return Grid(
        "Accuracy, compared on the same seeds",
        ("compared", "on", "verdict", "points", "interval", "effect d_z", "p", "p, Holm", "p, signed rank", "p, TOST"),
        tuple(_accuracy_line(verdict) for verdict in (*found.accuracy, *found.operators)),
        2,
    )


def times(results: Results) -> Grid:
    """Every comparison of times that is judged, with its figures."""
    return Grid(
        "Time, compared in the same rounds",
        ("compared", "on", "track", "of", "threads", "verdict", "ratio", "interval", "p, Holm", "p, TOST"),
        tuple(_time_line(verdict) for verdict in results.comparisons.time if verdict.is_judged),
        5,
    )


def slim(caption: str, headers: tuple[str, ...], lines: tuple[tuple[str, ...], ...], heads: int) -> Grid:
    """A grid whose head columns that say the same on every line have moved into its caption."""
    same = [
        number
        for number in range(2, heads)  # operator and back end stay: they are what a reader looks for
        if len({line[number] for line in lines}) == 1
    ]
    said = "".join(f" · {headers[number]} {lines[0][number]}" for number in same)
    kept = [number for number in range(len(headers)) if number not in same]
    return Grid(
        caption + said,
        tuple(headers[number] for number in kept),
        tuple(tuple(line[number] for number in kept) for line in lines),
        heads - len(same),
    )


CELL = ("operator", "back end", "data set", "device")


def _cell(row: Row) -> tuple[str, ...]:
    return row.key.operator, row.key.backend, row.key.dataset, row.key.device


def _accuracy(row: Row, notes: Footnotes) -> tuple[str, ...]:
    found = row.accuracy
    numbers = (
        (f"{100 * found.validation_mean:.1f}", f"{found.epochs_mean:.0f}", f"{found.parameters:,}")
        if found
        else ("", "", "")
    )
    return (
        wording.parity(row.parity, notes),
        wording.accuracy(found, row.accuracy_state, notes),
        wording.against(row.accuracy_verdict, bool(found)),
        *numbers,
        wording.settings(row.tuned),
    )


def _speeds(row: Row, threads: int, notes: Footnotes) -> Iterator[str]:
    for speed in row.speeds:
        if speed.threads == threads:
            yield wording.step(speed, notes)
            yield wording.against(speed.verdict, bool(speed.timing))
            yield wording.milliseconds(speed.timing.evaluate) if speed.timing else ""
            yield _rate(speed.timing)
            yield wording.mebibytes(speed.timing.peak_bytes) if speed.timing else ""


def _by_track(results: Results, text: Callable[[Speed], str]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (*_cell(row), str(threads), *(text(speed) for speed in row.speeds if speed.threads == threads))
        for row in results.rows
        for threads in results.experiment.timing.threads
    )


def _prepare(row: Row, threads: int) -> str:
    return wording.significant(1000 * row.prepare_s[threads]) if threads in row.prepare_s else ""


def _rate(timing: Timing | None) -> str:
    per_s = timing.edges_per_s if timing else None
    return "" if per_s is None else f"{float(f'{per_s:.3g}'):,.0f}"


def _parity(results: Results, caption: str, by_graph: bool) -> Grid:
    return slim(
        caption,
        (*CELL, "precision", "graph", "check", "worst difference", "allowed", "checks", "passed"),
        tuple(
            (*_cell(row), *line)
            for row, cell in zip(results.rows, results.cells, strict=True)
            for line in (_worst(cell.parity, by_graph) if isinstance(cell.parity, Checked) else [_unchecked(row)])
        ),
        len(CELL),
    )


def _worst(checked: Checked, by_graph: bool) -> list[tuple[str, ...]]:
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in checked.checks:
        groups.setdefault((check.dtype, check.graph if by_graph else ""), []).append(check)
    return [_worst_line(checks) for checks in groups.values()]


def _worst_line(checks: Sequence[Check]) -> tuple[str, ...]:
    worst = max(checks, key=lambda check: check.share)
    failed = sum(not check.passed for check in checks)
    return (
        worst.dtype,
        worst.graph,
        worst.name,
        f"{worst.difference:.1e}",
        f"{worst.tolerance:.0e}",
        str(len(checks)),
        f"no: {failed} failed" if failed else "yes",
    )


def _unchecked(row: Row) -> tuple[str, ...]:
    return "", "", row.parity.reason, "", "", "", row.parity.words


def _accuracy_line(verdict: AccuracyVerdict) -> tuple[str, ...]:
    pair, finding = verdict.pair, verdict.finding
    opening = (f"{pair.first} – {pair.second}", pair.where, verdict.verdict)
    if finding.contrast is None:
        return (*opening, *[""] * 7)
    interval = finding.contrast.interval(finding.confidence)
    signed_rank = verdict.signed_rank_p
    return (
        *opening,
        f"{verdict.points:+.2f}",
        f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f}",
        f"{finding.contrast.effect:+.2f}",
        *(wording.p_value(p) for p in (finding.contrast.p(), finding.p_adjusted, signed_rank, finding.p_equivalence)),
    )


def _time_line(verdict: TimeVerdict) -> tuple[str, ...]:
    pair, timed, finding = verdict.pair, verdict.timed, verdict.finding
    opening = (
        f"{pair.first} / {pair.second}",
        pair.where,
        TRACKS[timed.track],
        timed.phase,
        str(timed.threads),
        verdict.verdict,
    )
    assert finding.contrast is not None
    interval = finding.contrast.interval(finding.confidence).exp()
    return (
        *opening,
        wording.significant(math.exp(finding.contrast.difference)),
        f"{wording.significant(interval.low)} to {wording.significant(interval.high)}",
        wording.p_value(finding.p_adjusted),
        wording.p_value(finding.p_equivalence),
    )
