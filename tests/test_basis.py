"""What makes a recorded number stale: its data, its libraries, the code it hangs on; of a time also the machine."""

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import record_builders as build

from bench import basis, plan, saved_model
from bench.work import FitJob
from bench.workers.dask_worker import Introduction
from bench.workers.worker import Done
from bench.workers.workforce import Terms

CELL = ("pyg", "gat", "blocks", "cpu")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a process keeps of the digests, before and after."""
    kept = (basis._basis, basis._code)
    for each in kept:
        each.cache_clear()
    yield
    for each in kept:
        each.cache_clear()


def test_another_version_of_a_library_makes_a_number_stale(monkeypatch):
    before = basis.basis(*CELL)
    monkeypatch.setattr(basis, "versions", lambda packages: dict.fromkeys(packages, "another"))
    basis._basis.cache_clear()
    assert basis.basis(*CELL) != before


def test_only_the_libraries_of_its_own_back_end_count(monkeypatch):
    asked = []
    monkeypatch.setattr(basis, "versions", lambda packages: asked.append(packages) or {})
    basis.basis(*CELL)
    basis.basis("scatter", *CELL[1:])
    assert ("torch-geometric" in asked[0], "torch-geometric" in asked[1]) == (True, False)


def test_other_data_make_a_number_stale(monkeypatch):
    before = basis.basis(*CELL)
    other = SimpleNamespace(info=SimpleNamespace(digest="of other files"))
    named = SimpleNamespace(get=lambda name: other, package=basis.DATASETS.package)
    monkeypatch.setattr(basis, "DATASETS", named)
    assert basis.basis(*CELL) != before


def test_a_changed_byte_and_a_renamed_file_of_its_code_make_a_number_stale(monkeypatch, tmp_path):
    def digest() -> str:
        monkeypatch.setattr(basis, "code_of", lambda *cell: frozenset(tmp_path.iterdir()))
        basis._basis.cache_clear()
        basis._code.cache_clear()
        return basis.basis(*CELL)

    monkeypatch.setattr(basis, "ROOT", tmp_path)
    (tmp_path / "code.py").write_text("x = 1\n")
    first = digest()
    (tmp_path / "code.py").write_text("x = 2\n")
    second = digest()
    (tmp_path / "code.py").rename(tmp_path / "other.py")
    assert len({first, second, digest()}) == 3


def test_code_that_was_read_is_on_disk_until_a_file_of_it_is_changed_or_gone(monkeypatch, tmp_path):
    monkeypatch.setattr(basis, "ROOT", tmp_path)
    files = [tmp_path / name for name in ("one.py", "two.py")]
    for file in files:
        file.write_text("x = 1\n")
    read = basis.Code.of(files)
    (tmp_path / "three.py").write_text("x = 1\n")
    assert read.is_on_disk()
    files[1].write_text("x = 2\n")
    assert not read.is_on_disk()
    files[1].unlink()
    assert not read.is_on_disk()


def test_a_job_goes_with_the_code_that_its_basis_was_made_of_whatever_is_on_disk_by_now(monkeypatch, tmp_path):
    monkeypatch.setattr(basis, "ROOT", tmp_path)
    monkeypatch.setattr(basis, "code_of", lambda *cell: [tmp_path / "code.py"])
    (tmp_path / "code.py").write_text("x = 1\n")
    experiment = build.experiment(seeds=(0,))
    (job, *_) = plan.fit_jobs(experiment, plan.cells(experiment), {})
    assert all(code.is_on_disk() for code in basis.code_behind(job))
    (tmp_path / "code.py").write_text("x = 2\n")
    assert not any(code.is_on_disk() for code in basis.code_behind(job))


def test_times_of_two_machines_are_never_one_measurement():
    one = basis.this_machine("cpu")
    assert one.model == basis.DEVICES.get("cpu").describe()["device"]
    others = [{"host": "another"}, {"architecture": "another"}, {"cores": 99}, {"model": "another GPU in the same box"}]
    machines = [one, *(one._replace(**other) for other in others)]
    assert len({basis.speed_basis(*CELL, machine) for machine in machines}) == 5


@pytest.mark.parametrize("told", [Terms, FitJob, Done, Introduction, saved_model.save], ids=lambda told: told.__name__)
def test_a_worker_with_another_version_of_what_it_is_told_or_tells_has_another_build(told):
    assert Path(inspect.getfile(told)) in basis._files(basis.SPOKEN)


@pytest.mark.parametrize("place", range(4))
def test_back_end_operator_data_set_and_device_have_code_of_their_own(place):
    other = ("scatter", "gatv2", "cora_linqs", "cuda")
    cell = [*CELL[:place], other[place], *CELL[place + 1 :]]
    assert basis.code_of(*cell) != basis.code_of(*CELL)


def test_what_decides_a_jobs_result_is_its_own_plugins_and_what_they_import_or_build_on():
    names = {path.stem for path in basis.code_of("pyg_compile", "gat", "powerlaw_mapped-n9-d2", "cpu")}
    assert {"pyg_compile", "_compiled", "pyg", "gat", "_softmax", "cpu", "parity", "train", "contract"} <= names
    assert {"powerlaw_mapped", "_powerlaw_files", "powerlaw"} <= names
    assert names.isdisjoint({"scatter", "dgl", "fused", "gatv2", "cora_linqs", "cuda", "conformance", "report"})
    assert {"gat.h", "pool.cpp"} <= {path.name for path in basis.code_of("fused", "gat", "blocks", "cpu")}
    assert "pyg" not in {path.stem for path in basis.code_of(None, "gat", "blocks", "cpu")}


IMPORTED = """
import sys
from pathlib import Path
from bench import basis, jobs, rounds
from bench.environment import ROOT
from bench.plugins import BACKENDS, DATASETS, DEVICES, OPERATORS
cell = ("fused_step", "gatv2", "blocks", "cpu")
for plugins, name in zip((BACKENDS, OPERATORS, DATASETS, DEVICES), cell, strict=True):
    plugins.get(name)
files = {Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)}
ours = {path for path in files if any(path.is_relative_to(ROOT / folder) for folder in basis.FOLLOWED)}
left_out = ours - basis.code_of(*cell)
print(sorted(str(path.relative_to(ROOT)) for path in left_out if path.name != "__init__.py"))
"""


def test_nothing_that_a_jobs_process_imports_is_left_out_of_what_decides_its_result():
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
