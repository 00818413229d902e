"""Numbers and footnotes as people read them, the same in every view."""

import re
from collections.abc import Iterator, Mapping, Sequence

from bench.config import Experiment
from bench.durations import duration
from bench.records import Record
from bench.report.aspects import Accuracy, State
from bench.report.results import Results, environment
from bench.report.rows import MIB, Speed
from bench.summary import Median, coverage
from bench.training import parts
from bench.verdicts import AccuracyVerdict, TimeVerdict

TRACKS = {"as_shipped": "as shipped", "same_input": "same input"}


class Footnotes:
    """Sentences too long for a table cell, numbered in the order in which they are first needed."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, sentence: str) -> str:
        """The reference to put into the cell: "[1]"."""
        number = self._numbers.setdefault(" ".join(sentence.split()), len(self._numbers) + 1)
        return f"[{number}]"

    def lines(self) -> list[str]:
        """All footnotes, numbered."""
        return [f"[{number}] {sentence}" for sentence, number in self._numbers.items()]


def how_to_read(results: Results) -> str:
    """What the numbers and words of a table mean, with this experiment's margins."""
    statistics = results.experiment.statistics
    level = f"{100 * statistics.confidence:g} %"
    accuracy = (
        "Accuracy is that of the test nodes in percent: mean ± standard deviation over n seeds, and in brackets the "
        f"{level} interval of the mean by Student's t, of two seeds none. "
    )
    if parts.has_own_sampler(results.experiment.training):
        accuracy += "Each back end was trained on what its own library's sampler drew. "
    times = (
        f"A time is the median over rounds of a round's median step, with its {level} interval over rounds"
        f"{_of_few_rounds(results)}. A verdict is against the baseline, the first listed back end that has results; "
        "after × stands the ratio of the times. Equivalent and equal mean shown to differ by less than the margin, "
        f"{statistics.accuracy_margin_points:g} percentage points of accuracy or {100 * statistics.time_margin:g} % of "
        "time; undecided means that it takes that many more seeds or rounds to say. As shipped is each library's own "
        "idiom, with features in the form that its users pass; same input gives every back end the same sparse input "
        "path: never compare a time of one with one of the other."
    )
    return (accuracy if results.experiment.seeds else "") + _of_parts(results.experiment) + times


def _of_few_rounds(results: Results) -> str:
    """What the interval of a median covers where the rounds are too few for what was asked."""
    counts = {len(rounds) for cell in results.cells for rounds in cell.rounds.values()}
    few = [n for n in sorted(counts) if n > 1 and coverage(n) < results.experiment.statistics.confidence]
    if not few:
        return ""
    said = joined([f"of {n} rounds {100 * coverage(n):.3g} %" for n in few])
    return f" (where there are too few for that, their range, which covers it with less: {said})"


def _of_parts(experiment: Experiment) -> str:
    """What is timed where a step sees a part of the graph."""
    if not experiment.training.batches or not experiment.timing.rounds:
        return ""
    if parts.has_own_sampler(experiment.training):
        return "A training step draws its part with the library's own sampler, and the drawing counts. "
    return "A training step is on drawn parts, the same for all and made ready before: drawing is not timed. "


def warnings(results: Results) -> Iterator[str]:
    """What a reader should know before believing the numbers."""
    tests = results.comparisons.self_tests
    if failed := [test for test in tests if not test.passed]:
        some = f"{len(failed)} of {len(tests)} self-tests did not come out equal, first: " if len(tests) > 1 else ""
        yield f"Warning: {some}{failed[0].sentence()}"
    cells: dict[str, list[str]] = {}
    for row in results.rows:
        for warning in row.warnings:
            cells.setdefault(warning, []).append(str(row.key))
    for warning, keys in cells.items():
        yield f"{', '.join(keys) if len(keys) <= 2 else f'{len(keys)} cells'}: {warning}"


def state(found: State, notes: Footnotes) -> str:
    """A state in few words, its reason in a footnote."""
    return f"{found.words} {notes.mark(found.sentence())}" if found.reason else found.words


def parity(found: State, notes: Footnotes) -> str:
    """Passed, or why not."""
    return found.words if found.status == "passed" else state(found, notes)


def accuracy(found: Accuracy | None, reached: State, notes: Footnotes) -> str:
    """`81.2 ± 0.6 [80.8, 81.6] n=10`, or why there is none."""
    if found is None:
        return state(reached, notes)
    spread = "" if found.std is None else f" ± {100 * found.std:.1f}"
    interval = f" [{100 * found.interval.low:.1f}, {100 * found.interval.high:.1f}]" if found.interval else ""
    partial = "" if reached.status == "done" else f" {notes.mark(reached.sentence())}"
    return f"{100 * found.mean:.1f}{spread}{interval} n={found.seeds}{partial}"


def step(speed: Speed, notes: Footnotes) -> str:
    """Training step in ms with its interval, or why there is none."""
    if speed.timing is None:
        return state(speed.state, notes)
    partial = "" if speed.state.status == "done" else f" {notes.mark(speed.state.sentence())}"
    return milliseconds(speed.timing.train) + partial


def milliseconds(found: Median) -> str:
    """`149 [148, 166]`."""
    if found.interval is None:
        return significant(1000 * found.value)
    low, high = significant(1000 * found.interval.low), significant(1000 * found.interval.high)
    return f"{significant(1000 * found.value)} [{low}, {high}]"


def mebibytes(count: float | None) -> str:
    """Whole MiB, or nothing."""
    return "" if count is None else f"{count / MIB:,.0f}"


def significant(value: float) -> str:
    """Three significant digits, without an exponent: 7,170 and 0.0209."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:#.3g}"


def joined(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def settings(tuned: Mapping[str, object]) -> str:
    """`training.lr = 0.01`, one after the other."""
    return ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}" for name, value in tuned.items()
    )


def against(verdict: AccuracyVerdict | TimeVerdict | None, has_result: bool) -> str:
    """The verdict in short; whoever has a result but no verdict is the baseline."""
    if verdict:
        return verdict.short()
    return "baseline" if has_result else ""


def p_value(p: float | None) -> str:
    """Two digits, nothing below 0.001."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:#.2g}"


def provenance(results: Results) -> str:
    """When, from what code and on what machine the numbers were made; says less where records say less."""
    timing, how = results.experiment.timing, ", ".join(results.experiment.devices)
    if timing.rounds:
        threads = ", ".join(map(str, timing.threads))
        how += f", timed with {threads} thread{'s' * (threads != '1')}"
    return made(results.counted(), how)


def made(records: Sequence[Record], how: str = "") -> str:
    """The same of any records; `how` says what they do not."""
    if not records:
        return "Nothing has been run yet."
    days = sorted({record.started_utc[:10] for record in records})
    found = environment(records)
    parts = [
        days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
        *_code(found),
        *_machine(found),
        how,
        f"{len(records)} jobs, {duration(sum(record.seconds for record in records))} of work",
    ]
    return " · ".join(part for part in parts if part)


def _code(found: Mapping[str, str]) -> Iterator[str]:
    if commit := found.get("commit"):
        changed = found.get("dirty", "no").lower() not in ("no", "false", "0", "unknown")
        named = re.sub(r"\b([0-9a-f]{12})[0-9a-f]+\b", r"\1", commit)
        several = "s" * (", " in commit)
        yield f"commit{several} {named}{' with uncommitted changes' if changed else ''}"
    versions = {name.removeprefix("version/"): found[name] for name in found if name.startswith("version/")}
    versions = {name: found[name] for name in ("python", "torch") if name in found} | versions
    if versions:
        yield ", ".join(f"{name} {version}" for name, version in versions.items())


def _machine(found: Mapping[str, str]) -> Iterator[str]:
    for name, unit in (("cpu", ""), ("device", ""), ("cores", " cores"), ("os", "")):
        if name in found:
            yield f"{found[name]}{unit}"
