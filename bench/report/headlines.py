"""The verdicts in few words: what an overview of all experiments opens with.

Nothing is judged here. Pairs that had the same verdict at the same place become one sentence, and of the times only
the fastest back end's verdicts are told: the rest stand in the tables.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean

from bench.config import thread_name
from bench.judging import Pair
from bench.report import wording
from bench.report.own_words import other_work
from bench.report.results import Results
from bench.report.wording import TRACKS, joined
from bench.summary import median
from bench.verdicts import AccuracyVerdict, TimeVerdict


def headlines(results: Results) -> list[str]:
    """Accuracy of back ends, the fastest back end, accuracy of operators; nothing where nothing was compared."""
    found = results.comparisons
    return [*_accuracies(found.accuracy), *_steps(results), *_operators(found.operators), *distrust(results)]


def _accuracies(verdicts: Sequence[AccuracyVerdict]) -> Iterator[str]:
    for where in dict.fromkeys(verdict.pair.where for verdict in verdicts):
        here = [verdict for verdict in verdicts if verdict.pair.where == where]
        words = {verdict.word for verdict in here}
        if words == {"equivalent"}:
            yield f"{joined(_names(here))} are equivalent in accuracy on {where}{_interim(here)}."
            continue
        yield from (
            f"{_more_accurate(verdict)} on {where}{_interim([verdict])}."
            for verdict in here
            if verdict.word in ("better", "worse")
        )
        if alike := [verdict for verdict in here if verdict.word == "equivalent"]:
            pairs = ", ".join(_both(verdict.pair) for verdict in alike)
            yield f"Equivalent in accuracy on {where}{_interim(alike)}: {pairs}."
        undecided = [verdict.pair for verdict in here if verdict.word == "undecided"]
        if open_pairs := [_both(pair) for pair in undecided if not pair.barred]:
            yield f"Not yet told apart in accuracy on {where}: {', '.join(open_pairs)}."
        if barred := [pair for pair in undecided if pair.barred]:
            reasons = joined(list(dict.fromkeys(pair.barred for pair in barred)))
            yield f"Not judged in accuracy on {where}, since {reasons}: {', '.join(map(_both, barred))}."


def _operators(verdicts: Sequence[AccuracyVerdict]) -> Iterator[str]:
    """One sentence for all places where two operators had the same verdict."""
    groups: dict[str, list[str]] = {}
    for verdict in verdicts:
        pair = verdict.pair
        reason = f" ({pair.barred})" if pair.barred else _interim([verdict])
        groups.setdefault(verdict.relation, []).append(f"{pair.where}{reason}")
    for relation, places in groups.items():
        yield f"{relation}: {'; '.join(places)}."


def _steps(results: Results) -> Iterator[str]:
    """For each track at the first thread count: the fastest back end's training step against each other's.

    Who does another amount of work stands in the tables, with a note, and is not told of beside the others.
    """
    threads = results.experiment.timing.threads[0]
    verdicts = [
        verdict
        for verdict in results.comparisons.time
        if verdict.timed.phase == "train" and verdict.timed.threads == threads
        if not any(map(other_work, _sides(verdict.pair)))
    ]
    for where in dict.fromkeys(verdict.pair.where for verdict in verdicts):
        for track in results.experiment.timing.tracks:
            if here := _on(track, [verdict for verdict in verdicts if verdict.pair.where == where]):
                place = f"{where} ({TRACKS[track]}, {thread_name(threads)})"
                yield f"Training step on {place}: {_of_fastest(here)}."


def _on(track: str, verdicts: Sequence[TimeVerdict]) -> list[TimeVerdict]:
    """A track's verdicts; on two that both share their measurement with another track, there is one on that track."""
    own = [verdict for verdict in verdicts if verdict.timed.track == track]
    names = {name for verdict in own for name in _sides(verdict.pair)}
    told = [_sides(verdict.pair) for verdict in own]
    shared = [verdict for verdict in verdicts if _sides(verdict.pair) not in told]
    return [*own, *(verdict for verdict in shared if names.issuperset(_sides(verdict.pair)))]


def _of_fastest(verdicts: Sequence[TimeVerdict]) -> str:
    """The verdict on the fastest against each of the others."""
    fastest = _fastest(verdicts)
    found: dict[str, list[tuple[str, TimeVerdict]]] = defaultdict(list)
    for verdict in verdicts:
        if fastest in _sides(verdict.pair):
            found[_word(verdict, fastest)].append((_other(verdict.pair, fastest), verdict))
    others = {word: joined([other for other, _ in pairs]) for word, pairs in found.items()}
    faster = [f"{_times(verdict, fastest)} faster than {other}" for other, verdict in found["faster"]]
    slower = [f"{_times(verdict, other)} slower than {other}" for other, verdict in found["slower"]]
    parts = [
        f"{fastest} is {joined(faster)}" if faster else "",
        f"{fastest} and {others['equal']} take equally long" if "equal" in others else "",
        f"{fastest} is not yet told apart from {others['undecided']}" if "undecided" in others else "",
        f"{fastest} was not timed side by side with {others['apart']}" if "apart" in others else "",
        f"{fastest} is {joined(slower)}" if slower else "",
    ]
    return "; ".join(part for part in parts if part)


def _fastest(verdicts: Sequence[TimeVerdict]) -> str:
    """Whom the fewest verdicts call slower and the most faster; of several, who takes the least time beside the others.

    There may be nobody whom none calls slower: each pair is judged by the rounds that the two share.
    """

    def rank(name: str) -> tuple[int, int, float]:
        own = [verdict for verdict in verdicts if name in _sides(verdict.pair)]
        words = [_word(verdict, name) for verdict in own]
        return words.count("slower"), -words.count("faster"), fmean(_log_ratio(verdict, name) for verdict in own)

    return min(dict.fromkeys(name for verdict in verdicts for name in _sides(verdict.pair)), key=rank)


def _word(verdict: TimeVerdict, name: str) -> str:
    """The verdict on one of the two, or that there is none since they were timed apart."""
    if verdict.pair.barred:
        return "apart"
    turned = {"faster": "slower", "slower": "faster"}
    return verdict.word if verdict.pair.first == name else turned.get(verdict.word, verdict.word)


def _log_ratio(verdict: TimeVerdict, name: str) -> float:
    """Of one's time to the other's: as the verdict has it, or else that of the medians."""
    pair = verdict.pair
    medians = [median(list(values.values())) for values in (pair.first_values, pair.second_values)]
    ratio = math.log(verdict.ratio or medians[0] / medians[1])
    return ratio if pair.first == name else -ratio


def _times(verdict: TimeVerdict, fastest: str) -> str:
    """How many times the other's time is the fastest's: "17.0 × [15.5, 18.6]"."""
    interval = verdict.ratio_interval
    assert verdict.ratio
    assert interval
    found = [verdict.ratio, interval.low, interval.high]
    if verdict.pair.first == fastest:
        found = [1 / found[0], 1 / found[2], 1 / found[1]]
    ratio, low, high = map(wording.significant, found)
    return f"{ratio}\u00a0× [{low}, {high}]"


def distrust(results: Results) -> Iterator[str]:
    """Whether the times may be believed, where the same back end was measured twice."""
    tests = results.comparisons.self_tests
    if failed := sum(not test.passed for test in tests):
        yield (
            f"Times are not to be trusted to {100 * results.experiment.statistics.time_margin:g} %: the same back end "
            f"measured twice was not shown to be equal in {failed} of {len(tests)} self-tests. "
            "Differences far beyond that stand, each with its own interval."
        )


def _more_accurate(verdict: AccuracyVerdict) -> str:
    first, second = verdict.pair.first, verdict.pair.second
    better, other = (first, second) if verdict.word == "better" else (second, first)
    return f"{better} is more accurate than {other} by {abs(verdict.points or 0.0):.2f} points"


def _interim(verdicts: Sequence[AccuracyVerdict]) -> str:
    """That not all planned seeds are in: of several verdicts, what the one with the fewest says."""
    early = [verdict for verdict in verdicts if verdict.interim]
    return f" ({min(early, key=lambda verdict: verdict.finding.n).interim})" if early else ""


def _names(verdicts: Sequence[AccuracyVerdict]) -> list[str]:
    """In the file's order: the earlier of a pair is its second."""
    return list(dict.fromkeys(name for verdict in verdicts for name in (verdict.pair.second, verdict.pair.first)))


def _both(pair: Pair) -> str:
    return f"{pair.second} and {pair.first}"


def _sides(pair: Pair) -> tuple[str, str]:
    return pair.first, pair.second


def _other(pair: Pair, name: str) -> str:
    return pair.second if pair.first == name else pair.first
