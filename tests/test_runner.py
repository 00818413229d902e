"""The grid: every cell gets what it asks for, nothing is done twice, and what was done counts again."""

from grid_tools import Notes, Silent, changed, run, timed
from record_builders import otherwise

from bench import records
from bench.config import Experiment
from bench.folder import ResultsFolder
from bench.outcomes import Checked, Fitted, Timed, Tuned
from bench.report.cells import gather
from bench.report.results import Results
from bench.report.rows import rows
from bench.report.sittings import APART
from bench.runner import Grid


def accuracies(experiment: Experiment, found: list[records.Record]) -> dict[int, float]:
    """By seed, of the experiment's only cell."""
    (cell,) = gather(experiment, found)
    return dict(cell.accuracies)


def test_a_grid_ends_with_parity_speed_study_and_fits_for_every_cell(small, tmp_path):
    tuning = {"trials": 2, "seeds": [50, 51], "space": {"training.lr": {"low": 1e-3, "high": 1e-1, "log": True}}}
    errors, found, notes = run(timed(changed(small, tuning=tuning), self_test="scatter"), tmp_path)
    kinds = [type(record.outcome) for record in found]
    assert errors == 0
    assert {kind: kinds.count(kind) for kind in kinds} == {Checked: 2, Timed: 3, Tuned: 1, Fitted: 4}
    assert sorted(record.job.replica for record in found if isinstance(record.outcome, Timed)) == [0, 0, 1]
    assert notes.ids == [record.id for record in found]


def test_an_experiment_without_seeds_checks_and_times_with_the_ceilings_beside(small, tmp_path):
    timing = small.timing.model_dump() | {"rounds": 1, "ceilings": True, "parts": True}
    datasets = ["powerlaw-n60-d4-f6-c3"]
    protocol = {"row_normalise": False}
    asked = changed(small, seeds=[], datasets=datasets, timing=timing, protocol=protocol)
    errors, found, _ = run(asked, tmp_path)
    outcomes = [record.outcome for record in found if isinstance(record.outcome, Timed)]
    assert errors == 0
    assert {type(record.outcome) for record in found} == {Checked, Timed}
    assert {outcome.stored_features for outcome in outcomes} == {60 * 6}
    # Dense features leave one input: the second track is the first.
    assert [(list(outcome.tracks), outcome.same_as) for outcome in outcomes] == [
        (["as_shipped"], {"same_input": "as_shipped"})
    ] * 2
    assert all(outcome.ceilings.gemm_flops_per_s > 0 for outcome in outcomes)
    assert all(outcome.tracks["as_shipped"].parts_s for outcome in outcomes)


def test_a_second_run_repeats_nothing(small, tmp_path):
    _, first, _ = run(small, tmp_path)
    errors, second, notes = run(small, tmp_path)
    assert errors == 0
    assert second == first
    assert notes.ids == []


def test_a_back_end_that_joins_is_held_against_the_others_times_once_all_are_made_again(small, tmp_path):
    alone = changed(timed(small, rounds=2), backends=["scatter"], seeds=[])
    both = changed(alone, backends=["scatter", "fused"])

    def barred(found: list[records.Record]) -> set[str]:
        return {verdict.pair.barred for verdict in Results.of(both, found).comparisons.time}

    run(alone, tmp_path)
    _, joined, _ = run(both, tmp_path)
    assert barred(joined) == {APART}
    _, again, notes = run(both, tmp_path, retime=True)
    assert barred(again) == {""}
    assert len(notes.ids) == 4
    assert again[: len(joined)] == joined
    assert run(both, tmp_path)[2].ids == []


def test_of_a_finished_grid_nothing_is_expected_to_be_left(small, tmp_path):
    run(small, tmp_path)
    grid = Grid(small, ResultsFolder(tmp_path / "grid"), Silent(), Notes())
    assert [grid.history.missing(jobs) for jobs in grid.forecast.phases.values()] == [[], [], [], []]
    assert grid.left_s() == 0


def test_more_seeds_add_only_the_missing_jobs(small, tmp_path):
    _, first, _ = run(small, tmp_path)
    _, second, _notes = run(changed(small, seeds=[0, 1, 2]), tmp_path)
    assert second[: len(first)] == first
    assert [record.outcome.seed for record in second[len(first) :]] == [2, 2]


def test_results_of_an_earlier_code_count_again_when_it_is_the_code_of_now_again(small, tmp_path):
    experiment = changed(small, backends=["scatter"], seeds=[0])
    _, found, _ = run(experiment, tmp_path)
    (parity,) = (record for record in found if isinstance(record.outcome, Checked))
    broken = parity.job.model_copy(update={"basis": "a mistake, since mended"})
    failed = parity.outcome.model_copy(update={"passed": False})
    records.append(tmp_path / "grid", parity.model_copy(update={"id": broken.id, "job": broken, "outcome": failed}))
    (row,) = rows(experiment, records.read(tmp_path / "grid"))
    assert row.parity.status == "failed"
    errors, after, notes = run(experiment, tmp_path)
    (row,) = rows(experiment, after)
    assert (errors, notes.ids, row.parity.status, row.status) == (0, [], "passed", "done")
    assert run(experiment, tmp_path)[1] == after


def test_a_study_that_one_back_end_ran_for_all_is_recorded_once_whoever_asks(small, tmp_path):
    tuning = {"trials": 1, "seeds": [50], "space": {"training.lr": {"low": 1e-3, "high": 1e-1}}}
    for backend in ("scatter", "dense", "scatter", "dense"):
        experiment = changed(small, backends=[backend], seeds=[0], tuning=tuning)
        _, found, _ = run(experiment, tmp_path)
    kinds = [type(record.outcome) for record in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {Checked: 2, Tuned: 1, Fitted: 2}


def test_whatever_a_cell_was_asked_counts_again_and_not_only_the_first_of_it(small, tmp_path):
    parts = [changed(small, backends=["scatter"], training={"max_epochs": epochs}) for epochs in (3, 5)]
    found = [run(part, tmp_path)[1] for part in parts][-1]
    before = [accuracies(part, found) for part in parts]
    for record in found:
        if isinstance(record.outcome, Fitted):
            records.append(tmp_path / "grid", otherwise(record, test=0.0))
    assert [set(accuracies(part, records.read(tmp_path / "grid")).values()) for part in parts] == [{0.0}] * 2
    found = [run(part, tmp_path)[1] for part in parts][-1]
    assert [accuracies(part, found) for part in parts] == before
    assert [run(part, tmp_path)[1] for part in parts] == [found, found]


def test_answers_of_a_cell_that_is_over_its_budget_by_now_count_again_too(small, tmp_path):
    asked = changed(timed(small), backends=["scatter"])
    _, found, _ = run(asked, tmp_path)
    before = accuracies(asked, found)
    for record in found:
        if isinstance(record.outcome, Fitted):
            records.append(tmp_path / "grid", otherwise(record, test=0.0))
    _, found, _ = run(changed(asked, budget={"cell_fit_s": 1e-6}), tmp_path)
    assert accuracies(asked, found) == before


def test_the_same_seed_trains_to_the_same_accuracy_whenever_it_is_run(small, tmp_path):
    _, first, _ = run(small, tmp_path / "a")
    _, second, _ = run(small, tmp_path / "b", parallel=1)
    accuracies = [{r.id: r.outcome.test for r in found if isinstance(r.outcome, Fitted)} for found in (first, second)]
    assert accuracies[0] == accuracies[1] != {}
