"""What `bench compare` sets side by side: results folders, folders at a commit, or two commits in every experiment.

No git is asked: every record says at which commit it was made, and whether what was committed had been changed by then.
Of a commit its own code counts, and changed code only where there is nothing else; that there is any is said.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from bench.config import Experiment
from bench.errors import MOST_NAMED, UserError
from bench.folder import SNAPSHOT, ResultsFolder
from bench.records import Record

FEWEST_DIGITS = 4
SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Named:
    """A side as it was typed: `FOLDER`, `FOLDER@COMMIT` or `COMMIT`."""

    text: str
    folder: ResultsFolder | None
    commit: str | None  # as typed, abbreviated perhaps

    @classmethod
    def of(cls, text: str) -> Self:
        """Read a side; what is a folder as it stands is one, whatever its name looks like.

        Raises:
            UserError: there is no such folder, or what should be a commit is none.
        """
        if Path(text).is_dir():
            return cls(text, ResultsFolder(Path(text).absolute()), None)
        place, at, commit = text.rpartition("@")
        if at and place and Path(place).is_dir():
            return cls(text, ResultsFolder(Path(place).absolute()), commit)
        if re.fullmatch(r"[0-9a-fA-F]+", text):
            return cls(text, None, text)
        raise UserError(
            f"{place or text}: there is no such folder; name two experiments' folders, as in results/default, "
            "folders at a commit, as in results/default@0123abcd, or two commits"
        )

    def beside(self, other: "Named") -> "Named":
        """A commit beside a folder is one of that folder's."""
        return self if self.folder else replace(self, folder=other.folder)


@dataclass(frozen=True)
class Side:
    """What is asked, and the records that may answer it, oldest first."""

    experiment: Experiment
    records: tuple[Record, ...]
    remark: str = ""  # what of a commit's records was made with uncommitted changes

    @classmethod
    def at(cls, commit: str, experiment: Experiment, records: Iterable[Record]) -> Self:
        """What was recorded at a commit."""
        made = _made_at(commit, records)
        unchanged = tuple(record for record in made if record.environment.get("dirty") != "yes")
        if len(unchanged) == len(made):
            return cls(experiment, made)
        counts = "left out" if unchanged else "all that there is, so that the difference may be theirs"
        told = f"what was recorded at {commit[:SHOWN_DIGITS]} with uncommitted changes is {counts}"
        return cls(experiment, unchanged or made, told)


Pair = tuple[Side, Side]


def remarks(pair: Pair) -> tuple[str, ...]:
    """What a reader should know of the two sides, in sentences."""
    named = zip(("Before", "After"), pair, strict=True)
    return tuple(f"{name}: {side.remark}." for name, side in named if side.remark)


def pairs(before: Named, after: Named, results: Path) -> dict[str, Pair]:
    """What is to be compared, by the name of the second side's folder; of two commits, every experiment that has both.

    Args:
        before: the first side.
        after: the second.
        results: the folder of results folders, in which two commits are looked for.

    Raises:
        UserError: a folder holds no experiment or cannot be read; a commit is none, or may be several; no experiment
            has records of both.
    """
    if before.folder or after.folder:
        sides = [_side(one.beside(other)) for one, other in ((before, after), (after, before))]
        folder = after.folder or before.folder
        assert folder
        return {folder.name: (sides[0], sides[1])}
    return _of_two_commits((before, after), results)


def _side(named: Named) -> Side:
    assert named.folder
    experiment, records = named.folder.experiment(), named.folder.records()
    if named.commit is None:
        return Side(experiment, tuple(records))
    return Side.at(_whole(named.commit, records, named.text), experiment, records)


def _of_two_commits(both: Iterable[Named], results: Path) -> dict[str, Pair]:
    folders = [ResultsFolder(path.parent.absolute()) for path in sorted(results.glob(f"*/{SNAPSHOT}"))]
    asked = {folder: folder.asked() for folder in folders}
    grids = {folder.name: (found, folder.records()) for folder, found in asked.items() if isinstance(found, Experiment)}
    if not grids:
        raise UserError(f"{results}: no experiment was run here; let --results name the folder where results lie")
    everything = [record for _, records in grids.values() for record in records]
    commits = [_whole(named.commit or "", everything, str(results)) for named in both]
    found = {}
    for name, (experiment, records) in grids.items():
        first, second = (Side.at(commit, experiment, records) for commit in commits)
        if first.records and second.records:
            found[name] = first, second
    if not found:
        raise UserError(f"{results}: no experiment has records of both commits; {_what_has_which(commits, grids)}")
    return found


def _what_has_which(commits: Iterable[str], grids: dict[str, tuple[Experiment, list[Record]]]) -> str:
    """ "of 0123456789ab there are records of default, of 89abcdef0123 there are records of throughput"."""
    named = [
        (commit[:SHOWN_DIGITS], [name for name, (_, records) in grids.items() if _made_at(commit, records)])
        for commit in commits
    ]
    return ", ".join(f"of {commit} there are records of {' and '.join(names)}" for commit, names in named)


def _made_at(commit: str, records: Iterable[Record]) -> tuple[Record, ...]:
    return tuple(record for record in records if record.environment.get("commit") == commit)


def _whole(text: str, records: Iterable[Record], where: str) -> str:
    """The one commit of these records that begins so.

    Raises:
        UserError: it is too short or no commit at all, there is none, or there are several.
    """
    commits = _commits(records)
    if not re.fullmatch(rf"[0-9a-fA-F]{{{FEWEST_DIGITS},}}", text):
        raise UserError(
            f"{where}: a commit has {FEWEST_DIGITS} hexadecimal digits or more, not {text!r}; {_there_are(commits)}"
        )
    found = [commit for commit in commits if commit.startswith(text.lower())]
    if not found:
        raise UserError(f"{where}: nothing was recorded at a commit {text!r}; {_there_are(commits)}")
    if len(found) > 1:
        raise UserError(f"{where}: {text!r} begins several commits; write more digits: {_there_are(found)}")
    return found[0]


def _commits(records: Iterable[Record]) -> list[str]:
    """Oldest first; what was run without git has none."""
    named = (record.environment.get("commit", "") for record in sorted(records, key=lambda one: one.started_utc))
    return [commit for commit in dict.fromkeys(named) if re.fullmatch(r"[0-9a-f]+", commit)]


def _there_are(commits: list[str]) -> str:
    if not commits:
        return "no record says at which commit it was made"
    shown = ", ".join(commit[:SHOWN_DIGITS] for commit in commits[-MOST_NAMED:])
    more = len(commits) - MOST_NAMED
    return f"there are {shown}" + (f" and {more} older ones" if more > 0 else "")
