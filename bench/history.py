"""What a folder has recorded of its jobs, kept while a run adds to it: which stand, and which count in views."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bench import records
from bench.outcomes import NotDone
from bench.records import Record
from bench.work import Job, SpeedJob

AnyJob = TypeVar("AnyJob", bound=Job)


class History:
    """The records of one folder, which the caller holds exclusively, during one run.

    Args:
        folder: where the records file lies.
        found: what it holds, oldest first.
        retry: whether a job that ended without a result is run again.
        retime: whether all times are made again: rounds of two sittings are not compared.
    """

    def __init__(self, folder: Path, found: Sequence[Record], *, retry: bool = False, retime: bool = False) -> None:
        self._folder = folder
        self._retry = retry
        self._again = {record.id for record in found if retime and isinstance(record.job, SpeedJob)}
        self._latest = records.latest(found)
        self._basis = {record.job.question: record.job.basis for record in found}  # of the newest
        self._tried: set[str] = set()

    @property
    def latest(self) -> Mapping[str, Record]:
        """The newest record of each id."""
        return self._latest

    def of(self, jobs: Iterable[Job]) -> list[Record]:
        """The newest record of each job that has one."""
        return [self._latest[job.id] for job in jobs if job.id in self._latest]

    def missing(self, jobs: Iterable[AnyJob]) -> list[AnyJob]:
        """Those without a record that stands."""
        return [job for job in jobs if not self.stands(job.id)]

    def stands(self, id_: str) -> bool:
        """Whether a job needs no running: tried in this run, or recorded by an earlier one for good."""
        if id_ in self._tried:
            return True
        record = self._latest.get(id_)
        if record is None or not record.final or id_ in self._again:
            return False
        return not (self._retry and isinstance(record.outcome, NotDone))

    def add(self, record: Record) -> bool:
        """What came of a job that this run tried; it is on disk when this returns.

        Returns:
            False where it is the failure that is on record, and shown, already; then nothing is written. A time that
            was asked for again is: how long a failure took tells what was timed together (`bench.report.sittings`).

        Raises:
            OSError: it cannot be written.
        """
        self._tried.add(record.id)
        known = self._latest.get(record.id)
        is_same = known and isinstance(known.outcome, NotDone) and known.outcome == record.outcome
        if known and is_same and self._is_newest(known) and record.id not in self._again:
            return False
        self._append(record)
        return True

    def recall(self, jobs: Iterable[Job]) -> None:
        """In views the newest basis counts: where an older one is that of now again, repeat what it answered.

        By question: an answer may have been given in another cell's name, and a cell is asked the same phase in many
        ways.
        """
        for job in jobs:
            known = self._latest.get(job.id)
            if known and self.stands(job.id) and not self._is_newest(known):
                self._append(known)

    def _is_newest(self, record: Record) -> bool:
        """Whether of all records that answer a job's question the newest is of this one's basis."""
        return self._basis[record.job.question] == record.job.basis

    def _append(self, record: Record) -> None:
        records.append(self._folder, record)
        self._latest[record.id] = record
        self._basis[record.job.question] = record.job.basis
