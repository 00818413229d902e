"""Files with pinned digests: where they are looked for, how they are checked, how they are brought.

A file is looked for in the folder that the user names (`BENCH_DATA`), then in the cache (`BENCH_CACHE`, else
`gat-bench` in the user's cache folder); what is in neither is asked of the sources in order. Nothing is parsed, and
nothing gets its final name in the cache, before its SHA-256 is the pinned one; where none is known, the file is taken
unverified, and its own SHA-256 stands for it in records. `BENCH_DATA` is only ever read; an
altered file there is refused, never replaced by the cached one. An altered file in the cache is refused as well,
and never deleted: `FileStore.fetch` renames it to `<name>.rejected`, says so, and brings it anew.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from bench.errors import UserError, folder_of
from bench.folder import sweep, write_atomically
from bench.task import DataUnavailable, FileState

Report = Callable[[str], None]


class Source(Protocol):
    """Somewhere that files come from."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    def contents(self, names: Sequence[str], report: Report) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file it is asked for; whoever asks checks them.

        Raises:
            DataUnavailable: it cannot be reached, or has not got one of them.
        """
        ...


class NotBrought(DataUnavailable):
    """No source has a file; `reasons` says why, source by source."""

    def __init__(self, text: str, reasons: str) -> None:
        super().__init__(text)
        self.reasons = reasons


@dataclass(frozen=True, eq=False)
class FileStore:
    """Some files that belong together, usually those of one data set."""

    name: str  # of their folder in the cache, and of the data set
    pinned: Mapping[str, str | None]  # file name -> SHA-256; None: nobody has published it
    sources: tuple[Source, ...]
    folders: tuple[str, ...] = ()  # folders of BENCH_DATA that may hold the files; it may hold them itself, too

    def __post_init__(self) -> None:
        for name in (self.name, *self.pinned):
            if name in ("", ".", "..") or Path(name).name != name:
                raise ValueError(f"{name!r} is not a plain file name")

    @property
    def digest(self) -> str:
        """SHA-256 over names and pinned digests, as `sha256sum` lists them; what is not pinned has its file's own."""
        return sha256("".join(f"{self._digest(name)}  {name}\n" for name in sorted(self.pinned)).encode())

    @property
    def folder(self) -> Path:
        """The files' place in the cache."""
        return cache_folder() / self.name

    def states(self) -> list[FileState]:
        """State of each file; brings none."""
        return [self._state(name) for name in self.pinned]

    def fetch(self, report: Report) -> None:
        """Bring what is absent or altered.

        Raises:
            DataUnavailable: no source has a file, a file in `BENCH_DATA` is altered, or the cache cannot be written.
        """
        if all(state.state in ("verified", "unverified") for state in self.states()):
            return
        with self._writing():
            for state in self.states():  # anew: another process may have brought or mended them
                if state.state == "altered":
                    self._set_aside(state, report)
            self._bring(report)

    def read(self, names: Collection[str] | None = None) -> dict[str, bytes]:
        """Verified content of the named files, or of all; brings what is absent.

        Raises:
            DataUnavailable: a file is altered, or absent and no source has it.
        """
        if self._absent():
            with self._writing():
                self._bring(report=lambda _: None)
        return {name: self._verified(name) for name in names or self.pinned}

    def _bring(self, report: Report) -> None:
        failures = []
        for source in self.sources:
            try:
                self._bring_from(source, report)
            except DataUnavailable as failure:
                failures.append(f"{source.name}: {failure}")
        if missing := self._absent():
            raise self._not_brought(missing, failures)

    def _bring_from(self, source: Source, report: Report) -> None:
        if not (missing := self._absent()):
            return
        for name, content in source.contents(missing, report):
            if wrong := _mismatch(content, self.pinned[name]):
                raise DataUnavailable(f"{name} came with {wrong} and was not kept")
            write_atomically(self.folder / name, content)

    def _set_aside(self, state: FileState, report: Report) -> None:
        path = Path(state.place)
        if path.parent != self.folder:
            raise DataUnavailable(self._refusal(path, state.note))
        rejected = path.with_name(f"{path.name}.rejected")
        path.replace(rejected)
        report(f"{path}: {state.note}; set aside as {rejected.name}")

    def _state(self, name: str) -> FileState:
        path = self._find(name)
        if path is None:
            return FileState(name, "absent", str(self.folder / name))
        if self.pinned[name] is None:
            return FileState(name, "unverified", str(path))
        try:
            wrong = _mismatch(_content(path), self.pinned[name])
        except DataUnavailable as problem:
            wrong = str(problem)
        return FileState(name, "altered" if wrong else "verified", str(path), wrong)

    def _digest(self, name: str) -> str | None:
        pinned, path = self.pinned[name], self._find(name)
        if pinned is not None or path is None:
            return pinned
        return _own_digest(path, path.stat().st_mtime_ns)

    def _verified(self, name: str) -> bytes:
        path = self._find(name)
        if path is None:
            raise self._not_brought([name], [])
        content = _content(path)
        if wrong := _mismatch(content, self.pinned[name]):
            raise DataUnavailable(self._refusal(path, wrong))
        return content

    def _absent(self) -> list[str]:
        return [name for name in self.pinned if self._find(name) is None]

    def _find(self, name: str) -> Path | None:
        candidates = (folder / name for folder in self._places())
        return next((path for path in candidates if path.is_file()), None)

    def _places(self) -> list[Path]:
        named = named_folder()
        given = [] if named is None else [*(named / folder for folder in self.folders), named]
        return [*given, self.folder]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock"):
                sweep(self.folder, self.pinned)
                yield
        except OSError as problem:
            raise DataUnavailable(
                f"{self.folder}: cannot be written ({problem}); let BENCH_CACHE name another folder"
            ) from None

    def _refusal(self, path: Path, wrong: str) -> str:
        if path.parent == self.folder:
            cure = f"`bench data {self.name} --fetch` sets it aside and brings it anew"
        else:
            cure = "put the right file there, or let BENCH_DATA name another folder"
        return f"{path}: refused, {wrong}; {cure}"

    def _not_brought(self, missing: Sequence[str], failures: Sequence[str]) -> NotBrought:
        what = missing[0] if len(missing) == 1 else f"{missing[0]} and {len(missing) - 1} more"
        where = "; ".join([*(f"not in {place}" for place in self._places()), *failures])
        folders = "".join(f" or {folder}/" for folder in self.folders)
        text = (
            f"{self.name}: no source has {what} ({where}). Set BENCH_DATA to a folder that holds the files, "
            f"in itself{folders}, or run `bench data {self.name} --fetch` where the network is open"
        )
        return NotBrought(text, "; ".join(failures))


def sha256(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def cache_folder() -> Path:
    """`BENCH_CACHE`, else `gat-bench` in the user's cache folder."""
    if chosen := os.environ.get("BENCH_CACHE"):
        return folder_of("BENCH_CACHE", chosen)
    return folder_of("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "gat-bench"


def named_folder() -> Path | None:
    """The folder in `BENCH_DATA`, if it is set.

    Raises:
        UserError: it is set, but there is no such folder.
    """
    chosen = os.environ.get("BENCH_DATA")
    if not chosen:
        return None
    folder = folder_of("BENCH_DATA", chosen)
    if not folder.is_dir():
        raise UserError(f"BENCH_DATA={chosen}: there is no such folder; correct it or unset it")
    return folder


@cache
def _own_digest(path: Path, modified_ns: int) -> str:
    return sha256(_content(path))


def _mismatch(content: bytes, expected: str | None) -> str:
    if expected is None:
        return ""
    found = sha256(content)
    if found == expected:
        return ""
    return f"expected SHA-256 {expected}, found {found} in {len(content)} bytes"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise DataUnavailable(f"{path}: cannot be read ({problem.strerror})") from None
