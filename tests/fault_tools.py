"""For tests of what machines and people do to a run."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import records

ROOT = Path(__file__).resolve().parent.parent
FOREIGN = Path(__file__).parent / "foreign"
BENCH = (sys.executable, "-m", "bench")

TINY = """
title = "tiny"
backends = ["scatter"]
operators = ["gat"]
datasets = ["blocks"]
devices = ["cpu"]
seeds = [0, 1, 2]
[training]
max_epochs = 30
[tuning]
trials = 3
seeds = [100, 101]
space = { "training.lr" = { low = 1e-3, high = 1e-1, log = true } }
[timing]
rounds = 1
samples = 2
min_sample_s = 0.01
max_phase_s = 0.5
"""


def tiny(folder: Path, *changes: tuple[str, str]) -> Path:
    """An experiment of some seconds: parity, one round, a study of three trials, three fits."""
    text = TINY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def bench(*arguments: object, prefix: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return subprocess.run(
        [*prefix, *BENCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
        check=False,
    )


def succeeds(*arguments: object, **environment: str) -> str:
    done = bench(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_a_users_error(done: subprocess.CompletedProcess[str]) -> bool:
    """Exit code 2, and the last line says what; no traceback."""
    return (
        done.returncode == 2 and done.stderr.splitlines()[-1].startswith("bench: ") and "Traceback" not in done.stderr
    )


def ids(folder: Path) -> list[str]:
    return [record.id for record in records.read(folder)]


class SmallDisk:
    """A file system of its own for some commands, in a namespace of its own: no privileges are needed.

    Paths mean it only within `prefix`; `seen` is how this process reads it.
    """

    def __init__(self, place: Path, size: str) -> None:
        place.mkdir()
        self.place = place
        mount = f'mount -t tmpfs -o size={size} small "{place}" && echo mounted && exec sleep 600'
        self._holder = subprocess.Popen(["unshare", "-rm", "sh", "-c", mount], stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "mounted\n":
            self.close()
            pytest.skip("this machine lets nobody mount a file system in a namespace")
        target = ("--target", str(self._holder.pid))
        self.prefix = ("nsenter", *target, "--user", "--mount", "--preserve-credentials")

    def seen(self, path: Path) -> Path:
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def fill(self, but_kib: int) -> None:
        """Leave so much room."""
        ballast = self.place / "ballast"
        script = f'head -c {but_kib}k /dev/zero > "{ballast}.2"; cat /dev/zero > "{ballast}"; rm "{ballast}.2"'
        subprocess.run([*self.prefix, "sh", "-c", script], stderr=subprocess.DEVNULL, check=False)

    def make_room(self) -> None:
        subprocess.run([*self.prefix, "rm", str(self.place / "ballast")], check=True)

    def remount(self, option: str) -> None:
        subprocess.run([*self.prefix, "mount", "-o", f"remount,{option}", str(self.place)], check=True)

    def bench(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return bench(*arguments, prefix=self.prefix)

    def close(self) -> None:
        self._holder.kill()
        self._holder.communicate()


def small_disk(place: Path, size: str) -> Iterator[SmallDisk]:
    disk = SmallDisk(place, size)
    yield disk
    disk.close()
