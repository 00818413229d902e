"""Shared by all tests: a small experiment, and the environment that child processes see."""

import sys
from pathlib import Path

import pytest

from bench.config import Experiment

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test writes into the checkout's results."""
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))


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
