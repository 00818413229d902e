"""What one experiment's records come to, worked out once and shared by every view."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from bench.config import Experiment
from bench.records import Record
from bench.report.cells import Cell, gather
from bench.report.comparisons import Comparisons, compare
from bench.report.rows import Row, rows_of
from bench.summary import FEWEST
from bench.verdicts import TimeVerdict


@dataclass(frozen=True)
class Results:
    """Rows, cells and comparisons of one experiment."""

    experiment: Experiment
    cells: tuple[Cell, ...]
    comparisons: Comparisons
    rows: tuple[Row, ...]
    records: tuple[Record, ...]  # all that there are, those of other settings included

    @classmethod
    def of(cls, experiment: Experiment, records: Sequence[Record]) -> Self:
        """Work everything out; a pure function of its arguments."""
        cells = gather(experiment, records)
        comparisons = compare(experiment, cells)
        return cls(
            experiment, tuple(cells), comparisons, tuple(rows_of(experiment, cells, comparisons)), tuple(records)
        )

    def counted(self) -> list[Record]:
        """The records that the rows rest on, oldest first."""
        found = {record.id: record for cell in self.cells for record in (*cell.records, cell.study) if record}
        return sorted(found.values(), key=lambda record: (record.started_utc, record.id))

    def environment(self) -> dict[str, str]:
        """What the records say of where they were made."""
        return environment(self.counted())

    def verdicts(self) -> dict[str, list[str]]:
        """Verdicts as sentences, by what they are about; of times, those against the baseline."""
        found = self.comparisons
        kinds = {
            "Accuracy of back ends": [verdict.sentence() for verdict in found.accuracy],
            "Training time": _of_times([verdict for verdict in found.time if verdict.timed.phase == "train"]),
            "Evaluation time": _of_times([verdict for verdict in found.time if verdict.timed.phase == "evaluate"]),
            "Accuracy of operators": [verdict.sentence() for verdict in found.operators],
            "Self-test: the same back end twice": [test.sentence() for test in found.self_tests],
        }
        return {kind: sentences for kind, sentences in kinds.items() if sentences}


def _of_times(verdicts: Sequence[TimeVerdict]) -> list[str]:
    """Against the first back end that was timed: the others stand in a table. What is not judged is counted."""
    baselines: dict[str, str] = {}
    for verdict in verdicts:
        baselines.setdefault(verdict.pair.where, verdict.pair.second)
    told = [
        verdict.sentence()
        for verdict in verdicts
        if verdict.is_judged and verdict.pair.second == baselines[verdict.pair.where]
    ]
    if few := sum(not verdict.is_judged for verdict in verdicts):
        told.append(
            f"Not judged: {few} of {len(verdicts)} comparisons, which have fewer than {FEWEST} rounds. "
            "So few agree by chance too often."
        )
    return told


def environment(records: Sequence[Record]) -> dict[str, str]:
    """What records say of where they were made; what differs between them in short, oldest first."""
    values: dict[str, dict[str, None]] = {}
    for record in records:
        for name, value in record.environment.items():
            values.setdefault(name, {})[value] = None
    return {name: _joint(list(values[name])) for name in sorted(values)}


def only_commit(found: Mapping[str, str]) -> str:
    """The commit of an `environment`, if all was made from one that is known; of several, none makes it all again."""
    commit = found.get("commit", "")
    return commit if re.fullmatch(r"[0-9a-f]+", commit) else ""


def _joint(values: Sequence[str]) -> str:
    if len(values) <= 3:
        return ", ".join(values)
    if all(map(_is_number, values)):
        return f"{min(values, key=float)} to {max(values, key=float)} ({len(values)} values)"
    return f"{values[0]}, {values[1]} and {len(values) - 2} more"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
