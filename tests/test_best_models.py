"""Which networks a folder keeps: the best of those that are there and that answer what was asked last."""

from pathlib import Path

import pytest
from record_builders import fit, fit_job, key, not_done

from bench import best_models
from bench.config import Training
from bench.records import Record

CELL, OTHER = key("pyg"), key("dgl")
OTHERWISE = [{"basis": "newer code"}, {"training": Training(max_epochs=7)}, {"tuned": {"training.lr": 0.3}}]


def left(results: Path, *records: Record) -> None:
    """As workers leave the networks of fits."""
    (results / "models").mkdir(exist_ok=True)
    for record in records:
        (results / "models" / f"{record.id}.pt").touch()


def prune(results: Path, records: list[Record]) -> None:
    best_models.prune(results, records, records[-1].job, is_alone=True)


def kept(results: Path) -> set[str]:
    return {path.name for path in (results / "models").iterdir()}


def names(*records: Record) -> set[str]:
    return {f"{record.id}.pt" for record in records}


def test_a_network_whose_fit_is_not_recorded_yet_outlasts_the_recording_of_another(tmp_path):
    best, worse, unrecorded = fit(CELL, 0, 0.9), fit(CELL, 1, 0.8), fit(CELL, 2, 0.7)
    left(tmp_path, best, worse, unrecorded)
    prune(tmp_path, [best, worse])
    assert kept(tmp_path) == names(best, unrecorded)


def test_a_network_of_a_fit_that_failed_before_and_is_at_work_again_outlasts_it_too(tmp_path):
    again, other = fit(CELL, 0, 0.7), fit(CELL, 1, 0.8)
    left(tmp_path, again, other)
    prune(tmp_path, [not_done(again.job, "error", "killed"), other])
    assert kept(tmp_path) == names(again, other)


def test_another_cell_s_networks_are_let_alone(tmp_path):
    theirs, ours = fit(OTHER, 0, 0.7), fit(CELL, 0, 0.9)
    left(tmp_path, theirs, ours)
    prune(tmp_path, [theirs, ours])
    assert best_models.paths(tmp_path, [theirs, ours]).keys() == {CELL, OTHER}


def test_what_a_killed_run_did_not_record_or_not_write_to_its_end_is_swept(tmp_path):
    recorded, unrecorded, failed = fit(CELL, 0, 0.9), fit(CELL, 1, 0.8), fit(CELL, 2, 0.8)
    left(tmp_path, recorded, unrecorded, failed)
    (tmp_path / "models" / f".{unrecorded.id}.pt.x7_a").touch()
    best_models.sweep(tmp_path, [recorded, not_done(failed.job, "timeout", "killed after its limit")])
    assert kept(tmp_path) == names(recorded)


def test_a_fit_that_left_no_network_is_no_rival_of_those_that_did(tmp_path):
    without, good, worse = fit(CELL, 0, 0.9), fit(CELL, 1, 0.8), fit(CELL, 2, 0.7)
    left(tmp_path, good, worse)
    prune(tmp_path, [good, worse, without])
    assert kept(tmp_path) == names(good)
    assert {path.name for path in best_models.paths(tmp_path, [good, worse, without]).values()} == names(good)


@pytest.mark.parametrize("change", OTHERWISE, ids=lambda change: next(iter(change)))
def test_what_was_trained_otherwise_gives_way_however_well_it_validated(tmp_path, change):
    old, worse, new = fit(CELL, 0, 0.9), fit(CELL, 0, 0.7, **change), fit(CELL, 1, 0.8, **change)
    left(tmp_path, old, worse, new)
    prune(tmp_path, [old, worse, new])
    assert kept(tmp_path) == names(new)


def test_what_was_trained_otherwise_stays_until_something_takes_its_place_but_is_not_shown(tmp_path):
    old, without = fit(CELL, 0, 0.9), fit(CELL, 0, 0.8, basis="newer code")
    failed = not_done(fit_job(CELL, 0, basis="newer code"), "diverged", "the loss was nan in epoch 17")
    left(tmp_path, old)
    for newest in (without, failed):
        prune(tmp_path, [old, newest])
        assert kept(tmp_path) == names(old)
        assert best_models.paths(tmp_path, [old, newest]) == {}


def test_where_an_older_basis_is_that_of_now_again_its_networks_count_again(tmp_path):
    old, new = fit(CELL, 0, 0.8), fit(CELL, 0, 0.9, basis="newer code")
    left(tmp_path, old, new)
    assert {path.name for path in best_models.paths(tmp_path, [old, new, old]).values()} == names(old)


def test_of_equally_good_networks_the_lowest_seed_s_is_kept(tmp_path):
    second, first = fit(CELL, 1, 0.8), fit(CELL, 0, 0.8)
    left(tmp_path, second, first)
    prune(tmp_path, [second, first])
    assert kept(tmp_path) == names(first)
