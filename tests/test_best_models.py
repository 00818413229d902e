"""Which networks a folder keeps: the best, and those whose fit may be at work."""

from pathlib import Path

from record_builders import fit, key, not_done

from bench import best_models
from bench.records import Record

CELL, OTHER = key("pyg"), key("dgl")


def left(results: Path, *records: Record) -> None:
    """As workers leave the networks of fits."""
    (results / "models").mkdir(exist_ok=True)
    for record in records:
        (results / "models" / f"{record.id}.pt").touch()


def prune(results: Path, records: list[Record]) -> None:
    best_models.prune(results, records)


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


def test_of_equally_good_networks_the_lowest_seed_s_is_kept(tmp_path):
    second, first = fit(CELL, 1, 0.8), fit(CELL, 0, 0.8)
    left(tmp_path, second, first)
    prune(tmp_path, [second, first])
    assert kept(tmp_path) == names(first)
