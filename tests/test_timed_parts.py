"""Steps on sampled parts are timed: the same parts for every back end, or what its own sampler draws."""

import importlib.util
from typing import Any

import pytest

from bench.config import Experiment
from bench.jobs import run_job
from bench.outcomes import NotDone, Timed
from bench.plan import cells, speed_jobs
from bench.report import wording
from bench.report.results import Results
from bench.rig import Place
from bench.rounds import MOST_PARTS

TARGETS = 10


def asked(sampler: str = "shared", **changes: Any) -> Experiment:
    batches = {"by": "neighbours", "targets": TARGETS, "fanout": [4, 3], "shuffle": True, "sampler": sampler}
    return Experiment.model_validate(
        {
            "title": "timed on parts",
            "backends": ["scatter", "pyg", "dgl", "fused_step"],
            "operators": ["gatv2"],
            "datasets": ["blocks"],
            "devices": ["cpu"],
            "seeds": [],
            "training": {"batches": batches},
            "timing": {"rounds": 2, "samples": 2, "min_sample_s": 0.001, "max_phase_s": 0.2},
        }
        | changes
    )


def timed(experiment: Experiment, place: Place) -> dict[tuple[str, int], Timed | NotDone]:
    """What came of every round, by back end and round."""
    return {(job.backend, job.round): run_job(job, place) for job in speed_jobs(experiment, cells(experiment))}


def test_every_back_end_is_timed_on_the_same_parts_and_in_each_round_on_others(cpu):
    found = timed(asked(), Place(cpu.slots()[0]))
    for round_ in (0, 1):
        sizes = {(one.nodes, one.edges) for (_, number), one in found.items() if number == round_}
        assert len(sizes) == 1, sizes
    assert len({(one.nodes, one.edges) for one in found.values()}) == 2
    whole = timed(asked(training={}, backends=["scatter"]), Place(cpu.slots()[0]))["scatter", 0]
    assert all(one.nodes < whole.nodes and one.edges < whole.edges for one in found.values())


def test_no_sample_ends_before_every_part_was_seen_equally_often(cpu):
    found = timed(asked(), Place(cpu.slots()[0]))
    for one in found.values():
        assert one.steps_per_epoch >= MOST_PARTS
        assert all(track.train.steps % MOST_PARTS == 0 for track in one.tracks.values())
        assert not any(track.whole_step for track in one.tracks.values())  # its layers are what sees parts


def test_a_librarys_own_sampler_draws_within_the_step_and_who_has_none_says_so(cpu):
    found = timed(asked("own"), Place(cpu.slots()[0]))
    assert "scatter has no sampler of its own" in found["scatter", 0].reason
    for name, libraries in (("pyg", ("pyg_lib", "torch_sparse")), ("dgl", ("dgl",))):
        if any(map(importlib.util.find_spec, libraries)):
            assert found[name, 0].tracks


@pytest.mark.parametrize(("sampler", "said"), [("shared", "drawing is not timed"), ("own", "the drawing counts")])
def test_a_table_of_such_times_says_what_was_timed(sampler, said):
    assert said in wording.how_to_read(Results.of(asked(sampler), []))
