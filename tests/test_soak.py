"""A soak: one experiment over and over in one process; what it holds of the machine does not grow beyond its records.

`make soak N=200` repeats the smoke experiment; without, a small one is repeated a few times.
"""

import gc
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from fault_tools import tiny

from bench import cli, experiment_file

pytestmark = [pytest.mark.faults, pytest.mark.slow]
SOAK = int(os.environ.get("SOAK") or 0)
REPETITIONS = SOAK or 4
MIB = 2**20


@dataclass(frozen=True)
class Held:
    """After a repetition."""

    memory_bytes: int
    files: int  # open ones of this process
    threads: int
    children: int
    temporary: int  # entries of the temporary folder
    disk_bytes: int  # of all results

    @classmethod
    def now(cls, results: Path) -> "Held":
        gc.collect()
        process = psutil.Process()
        return cls(
            process.memory_info().rss,
            process.num_fds(),
            process.num_threads(),
            len(process.children(recursive=True)),
            len(list(Path(tempfile.gettempdir()).iterdir())),
            sum(path.stat().st_size for path in results.rglob("*") if path.is_file()),
        )


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty temporary folder, for this process and its children."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))  # is kept, by intent
    return folder


def text_of(tmp_path: Path) -> str:
    if SOAK:
        return experiment_file.find("smoke").read_text()
    return tiny(tmp_path, ('"scatter"', '"pyg"'), ("trials = 3", "trials = 1")).read_text()


def test_what_a_process_holds_does_not_grow_beyond_its_records(tmp_path, temporary, capsys):
    results, text = tmp_path / "results", text_of(tmp_path)
    after: list[Held] = []
    for number in range(REPETITIONS):
        experiment = tmp_path / f"soak-{number:03d}.toml"
        experiment.write_text(text)
        assert cli.main(["run", str(experiment), "--results", str(results)]) == 0
        after.append(Held.now(results))
        shutil.rmtree(results / experiment.stem)  # the page over all experiments reads all records, which takes memory
        with capsys.disabled():
            sys.stdout.write(f"\n{number + 1}/{REPETITIONS}: {after[-1]}")
    warm = after[1:]  # the first loads libraries and makes the store
    assert {held.temporary for held in after} == {0}, list(temporary.iterdir())
    assert {held.children for held in after} == {0}
    assert len({held.threads for held in warm}) == 1
    assert warm[-1].files <= warm[0].files
    half = len(warm) // 2
    grown_bytes = statistics.median(held.memory_bytes for held in warm[half:]) - statistics.median(
        held.memory_bytes for held in warm[:half]
    )
    assert grown_bytes <= 8 * MIB + MIB * half / 4
    more_bytes = [held.disk_bytes - before.disk_bytes for before, held in pairwise(after)]
    assert more_bytes[-1] <= 1.2 * more_bytes[0], "each repetition takes more disk than the one before"
