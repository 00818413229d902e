"""What the records hold about each cell of an experiment: the ground on which every view stands.

Only what answers the experiment as it is asked now counts: two configurations are two experiments, and their seeds must
not be pooled. A cell whose parity was not shown is not ranked, whatever else was measured.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.config import Experiment, Setting
from bench.outcomes import FAILED, Checked, Fitted, NotDone, Samples, Timed, failed_on
from bench.records import Record
from bench.report import asked
from bench.report.sittings import Beginning, Begun, beginning, sittings_of
from bench.summary import median
from bench.verdicts import Phase
from bench.work import CellKey, FitJob, ParityJob, SpeedJob

Rounds = Mapping[int, Timed]
"""What was timed, by round."""


@dataclass(frozen=True)
class Cell:
    """One cell. A failure is no result: it stands beside them, by seed or by thread count."""

    key: CellKey
    records: Sequence[Record]  # what counts: the newest configuration, the newest attempt of each job
    parity: Checked | NotDone | None
    study: Record | None  # of the Optuna study behind its settings
    tuned: Mapping[str, Setting]
    fits: Mapping[int, Fitted]
    fit_failures: Mapping[int, NotDone]
    rounds: Mapping[int, Rounds]  # by thread count
    repeated: Mapping[int, Rounds]  # the second half of the A/A self-test
    begun: Mapping[tuple[int, int], Begun]  # by thread count and half
    speed_failures: Mapping[int, Sequence[NotDone]]
    failures: Mapping[str, int]  # how often each status came up, superseded attempts included
    retried: int

    @property
    def accuracies(self) -> dict[int, float]:
        """Test accuracy by seed."""
        return {seed: fit.test for seed, fit in self.fits.items()}

    def failed(self) -> str:
        """That the training of some seeds came to nothing, or nothing."""
        return failed_on(sum(failure.status in FAILED for failure in self.fit_failures.values()), len(self.fits))

    def withheld(self) -> NotDone | None:
        """Why nothing of this cell may be ranked, or None."""
        if isinstance(self.parity, NotDone):
            return self.parity
        if self.parity and not self.parity.passed:
            return NotDone(status="parity", reason=self.parity.failure())
        return None


def step_medians(rounds: Rounds, track: str, phase: Phase) -> dict[int, float]:
    """Median step time (s) of each round that has the track."""
    return {number: median(seconds) for number, seconds in step_samples(rounds, track, phase).items()}


def step_samples(rounds: Rounds, track: str, phase: Phase) -> dict[int, tuple[float, ...]]:
    """All samples (s per step) of each round that has the track."""
    return {number: found.seconds for number, found in _samples(rounds, track, phase).items()}


def step_warmups(rounds: Rounds, track: str, phase: Phase) -> list[tuple[float, ...]]:
    """The warm-up's samples (s per step) of each round that has the track, without the very first call."""
    return [found.warmup[1:] for found in _samples(rounds, track, phase).values()]


def _samples(rounds: Rounds, track: str, phase: Phase) -> dict[int, Samples]:
    timings = {number: found for number, timed in rounds.items() if (found := timed.track(track))}
    return {number: timing.train if phase == "train" else timing.evaluate for number, timing in timings.items()}


def gather(experiment: Experiment, records: Sequence[Record]) -> list[Cell]:
    """A cell for each point of the grid, in the order data set, operator, device, back end."""
    of_cell: dict[CellKey, list[Record]] = defaultdict(list)
    for record in records:
        of_cell[record.key].append(record)
    grid = itertools.product(experiment.datasets, experiment.operators, experiment.devices, experiment.backends)
    keys = [CellKey(backend, operator, dataset, device) for dataset, operator, device, backend in grid]
    sittings = sittings_of(records)
    studies = [asked.study(experiment, key, records) for key in keys]
    return [_cell(experiment, key, of_cell[key], study, sittings) for key, study in zip(keys, studies, strict=True)]


def _cell(
    experiment: Experiment, key: CellKey, records: Sequence[Record], study: Record | None, sittings: Sequence[str]
) -> Cell:
    attempts = asked.answers(experiment, records, asked.best(study))
    kept = asked.newest(attempts)
    fits = [(record.job, record.outcome) for record in kept if isinstance(record.job, FitJob)]
    cell = Cell(
        key=key,
        records=kept,
        parity=_parity(kept),
        study=study,
        tuned=fits[-1][0].tuned if fits else asked.best(study) or {},
        fits={job.seed: outcome for job, outcome in fits if isinstance(outcome, Fitted)},
        fit_failures={job.seed: outcome for job, outcome in fits if isinstance(outcome, NotDone)},
        rounds=_rounds(kept, replica=0),
        repeated=_rounds(kept, replica=1),
        begun=_begun(kept, sittings),
        speed_failures=_speed_failures(kept),
        failures=Counter(record.outcome.status for record in kept if isinstance(record.outcome, NotDone)),
        retried=sum(map(_is_failed_attempt, attempts)) - sum(map(_is_failed_attempt, kept)),
    )
    return replace(cell, fits={}, rounds={}, repeated={}) if cell.withheld() else cell


def _parity(records: Sequence[Record]) -> Checked | NotDone | None:
    for record in records:
        if isinstance(record.job, ParityJob) and isinstance(record.outcome, Checked | NotDone):
            return record.outcome
    return None


def _rounds(records: Sequence[Record], replica: int) -> dict[int, dict[int, Timed]]:
    rounds: dict[int, dict[int, Timed]] = defaultdict(dict)
    for record in records:
        job, outcome = record.job, record.outcome
        if isinstance(job, SpeedJob) and job.replica == replica and isinstance(outcome, Timed):
            rounds[job.threads][job.round] = outcome
    return {threads: dict(sorted(by_round.items())) for threads, by_round in rounds.items()}


def _begun(records: Sequence[Record], sittings: Sequence[str]) -> dict[tuple[int, int], dict[int, Beginning]]:
    found: dict[tuple[int, int], dict[int, Beginning]] = defaultdict(dict)
    for record in records:
        if isinstance(record.job, SpeedJob):
            found[record.job.threads, record.job.replica][record.job.round] = beginning(record, sittings)
    return dict(found)


def _speed_failures(records: Sequence[Record]) -> dict[int, list[NotDone]]:
    failures: dict[int, list[NotDone]] = defaultdict(list)
    for record in records:
        job, outcome = record.job, record.outcome
        if isinstance(job, SpeedJob) and job.replica == 0 and isinstance(outcome, NotDone):
            failures[job.threads].append(outcome)
    return dict(failures)


def _is_failed_attempt(record: Record) -> bool:
    # A skip is decided anew by every run: that is no second attempt.
    return isinstance(record.outcome, NotDone) and record.outcome.status not in ("parity", "budget")
