"""Shared by all tests: a small experiment, and the environment that child processes see."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# One thread, as jobs run: small operations on many threads spend their time waiting for each other.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"

import pytest  # noqa: E402
import torch  # noqa: E402

from bench.config import Experiment  # noqa: E402
from bench.device import Device  # noqa: E402
from bench.plugins import BACKENDS, DEVICES  # noqa: E402

torch.set_num_threads(1)
# What a shell starts in the background ignores Ctrl-C, and so would what the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).parent))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for a browser is one of the tests that `make test-browser` runs."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="session", autouse=True)
def _own_locks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests that run side by side take no slots from each other."""
    os.environ["BENCH_LOCKS"] = str(tmp_path_factory.mktemp("locks"))


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test writes into the checkout's results."""
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    for name in ("BENCH_CLUSTER", "BENCH_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that has no data sets yet."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_DATA", raising=False)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store: its tables take seconds to create, so that is done once."""
    from tracking_tools import new_store  # imports MLflow, which most tests do without

    return new_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another package with back ends is installed: here, and in the children."""
    place = str(Path(__file__).parent / "foreign")
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([place, os.environ.get("PYTHONPATH", "")]))
    for name in ("_announced", "_built_in"):
        BACKENDS.__dict__.pop(name, None)
    yield
    for name in ("_announced", "_built_in"):
        BACKENDS.__dict__.pop(name, None)


@pytest.fixture
def cpu() -> Iterator[Device]:
    """The CPU as a device; whatever a test pins or fixes is undone."""
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    yield DEVICES.get("cpu")
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(threads)


@pytest.fixture
def small() -> Experiment:
    """Two back ends on the generated graph; seconds to run."""
    return Experiment.model_validate(
        {
            "title": "small",
            "backends": ["scatter", "dense"],
            "operators": ["gat"],
            "datasets": ["blocks"],
            "devices": ["cpu"],
            "seeds": [0, 1],
            "training": {"max_epochs": 5},
            "timing": {"rounds": 0, "samples": 2, "min_sample_s": 0.001, "max_phase_s": 0.2},
        }
    )


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch):
    """Parts of kind `told` bring these values."""
    from told_tools import Told

    from bench.plugins import EXPERIMENT_KINDS

    def tell(values, barred=()):
        kind = Told(values, barred)
        monkeypatch.setitem(EXPERIMENT_KINDS.__dict__, "_built_in", ("grid", "told"))
        monkeypatch.setattr(type(EXPERIMENT_KINDS), "get", lambda self, name: kind)
        return kind

    return tell


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()
