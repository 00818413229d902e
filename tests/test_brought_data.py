"""Data without published digests that the run itself brings: what it records is of them, and is never repeated."""

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import ppi_files
import pytest
from fault_tools import ROOT
from grid_tools import Notes, Silent, changed, timed
from study_texts import ATTENTION, read

from bench import study_run
from bench.config import Protocol
from bench.datasets import ppi
from bench.datasets._download import UpstreamArchive
from bench.folder import ResultsFolder
from bench.outcomes import Attended
from bench.runner import Grid

ANEW = """
import sys
from bench import basis
print(getattr(basis, sys.argv[1])("scatter", "gat", "ppi", "cpu", *map(basis.this_machine, sys.argv[2:])))
"""


@pytest.fixture(autouse=True)
def _archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_data: None) -> None:
    """This process gets PPI from an archive, every other one out of the cache."""
    ppi_files.write(tmp_path / "graphs")
    path = tmp_path / "ppi.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((tmp_path / "graphs").iterdir()):
            archive.write(file, file.name)
    store = replace(ppi.DATASET.store, sources=(UpstreamArchive(path.as_uri()),))
    monkeypatch.setattr(ppi, "DATASET", replace(ppi.DATASET, store=store))


def of_another_process(what: str, *device: str) -> str:
    """The basis by which a later run looks for what is recorded."""
    found = subprocess.run([sys.executable, "-c", ANEW, what, *device], cwd=ROOT, capture_output=True, check=True)
    return found.stdout.decode().strip()


def test_a_grid_records_by_the_data_that_it_brought_and_ends_with_nothing_left(small, tmp_path):
    protocol = {"row_normalise": False}
    asked = timed(changed(small, backends=["scatter"], datasets=["ppi"], seeds=[0], protocol=protocol))
    grid = Grid(asked, ResultsFolder(tmp_path / "grid"), Silent(), Notes())
    assert grid.run() == 0
    found = {record.job.phase: record.job.basis for record in grid.folder.records()}
    known = of_another_process("basis")
    assert found == {"parity": known, "fit": known, "speed": of_another_process("speed_basis", "cpu")}
    assert grid.left_s() == 0


def test_a_study_records_by_the_data_that_it_brought(tmp_path):
    study = read(tmp_path, ATTENTION)
    graph = study.graph.model_copy(update={"dataset": "ppi", "protocol": Protocol(row_normalise=False)})
    asked = study.model_copy(update={"graph": graph, "models": study.models[:1], "operators": ("gat",)})
    folder = ResultsFolder(tmp_path / "study")
    assert study_run.StudyRun(asked, folder, Silent(), Notes()).run() == 0
    (found,) = (record for record in folder.records() if record.job.phase == "attention")
    assert isinstance(found.outcome, Attended)
    assert found.job.basis == of_another_process("attention_basis")
