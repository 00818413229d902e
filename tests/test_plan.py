"""The plan is a pure function: which jobs there are, in which order, and what makes two of them the same."""

import pytest
import record_builders as build

from bench import plan
from bench.basis import basis
from bench.config import Architecture, Experiment, Protocol, Training
from bench.durations import roughly
from bench.work import CellKey


def grid(**changes: object) -> Experiment:
    asked = {
        "title": "t",
        "backends": ["scatter", "pyg", "dense"],
        "operators": ["gat", "gatv2"],
        "datasets": ["blocks"],
        "devices": ["cpu"],
        "seeds": [0, 1, 2],
        "timing": {"rounds": 4, "self_test": "pyg"},
    }
    return Experiment.model_validate(asked | changes)


def ids(jobs) -> list[str]:
    return [job.id for job in jobs]


def test_every_cell_is_timed_once_per_round_and_the_self_test_once_more():
    experiment = grid()
    cells = plan.cells(experiment)
    jobs = plan.speed_jobs(experiment, cells)
    per_round = len(cells) + 1
    for number in range(4):
        block = jobs[number * per_round : (number + 1) * per_round]
        assert {job.round for job in block} == {number}
        assert sorted(job.key for job in block if job.replica == 0) == sorted(cells)
        assert [job.key for job in block if job.replica == 1] == [CellKey("pyg", "gat", "blocks", "cpu")]


def test_rounds_run_in_orders_of_their_own():
    experiment = grid()
    jobs = plan.speed_jobs(experiment, plan.cells(experiment))
    orders = {tuple((job.key, job.replica) for job in jobs if job.round == number) for number in range(4)}
    assert len(orders) > 1


def test_more_rounds_seeds_or_trials_keep_what_is_there():
    cells = plan.cells(grid())
    before, after = grid(), grid(seeds=[0, 1, 2, 3], timing={"rounds": 6, "self_test": "pyg"})
    assert set(ids(plan.speed_jobs(before, cells))) < set(ids(plan.speed_jobs(after, cells)))
    assert set(ids(plan.fit_jobs(before, cells, {}))) < set(ids(plan.fit_jobs(after, cells, {})))


def test_a_changed_setting_is_another_job():
    cells = plan.cells(grid())
    first = set(ids(plan.fit_jobs(grid(), cells, {})))
    assert first.isdisjoint(ids(plan.fit_jobs(grid(training={"lr": 0.01}), cells, {})))
    assert first.isdisjoint(ids(plan.fit_jobs(grid(architecture={"heads": 4}), cells, {})))


def test_the_largest_job_comes_first():
    ordered = plan.largest_first(plan.parity_jobs(grid()))
    assert {job.backend for job in ordered[:2]} == {"dense"}


def test_one_study_serves_all_back_ends_unless_each_cell_has_its_own():
    space = {"training.lr": {"low": 1e-3, "high": 1e-1}}
    tuning = {"trials": 2, "seeds": [9], "space": space}
    experiment = grid(tuning=tuning)
    cells = plan.cells(experiment)
    assert len(plan.tune_jobs(experiment, cells)) == 2
    assert len(plan.tune_jobs(grid(tuning=tuning | {"scope": "cell"}), cells)) == len(cells)


def test_no_fit_is_planned_before_its_study_has_finished():
    space = {"training.lr": {"low": 1e-3, "high": 1e-1}}
    experiment = grid(tuning={"trials": 2, "seeds": [9], "space": space})
    assert plan.fit_jobs(experiment, plan.cells(experiment), {}) == []


def test_back_ends_share_seed_and_settings_of_their_fits():
    jobs = plan.fit_jobs(grid(), plan.cells(grid()), {})
    of = {name: [(j.operator, j.seed, j.training, j.architecture) for j in jobs if j.backend == name]
          for name in ("scatter", "pyg")}  # fmt: skip
    assert of["scatter"] == of["pyg"]


def test_a_cell_is_within_budget_or_says_what_it_would_take():
    experiment = grid(budget={"cell_fit_s": 60.0}, training={"max_epochs": 100})
    slow, fast = (CellKey(name, "gat", "blocks", "cpu") for name in ("dense", "scatter"))
    cost = plan.EpochCost({slow: 3.0, fast: 0.05})
    jobs = {job.key: job for job in plan.fit_jobs(experiment, [slow, fast], {})}
    assert plan.over_budget(experiment, jobs[fast], cost, {}) is None
    refused = plan.over_budget(experiment, jobs[slow], cost, {})
    assert "15 min" in refused  # 3 s x 100 epochs x 3 seeds
    assert "at most" in refused


def test_an_epoch_of_many_steps_costs_as_many():
    one = build.speed(build.key("pyg"), 0, {"same_input": 0.1})
    many = one.model_copy(update={"outcome": one.outcome.model_copy(update={"steps_per_epoch": 10})})
    experiment = build.experiment(architecture=one.job.architecture)
    step_s, epoch_s = (plan.EpochCost.of(experiment, [record]).epoch_s[one.key] for record in (one, many))
    assert epoch_s - step_s == pytest.approx(9 * 0.1)


def epochs_of_a_dear_cell(**changes: object) -> str:
    """What is said of them where another back end's fits of 201 epochs are on record, and how these were otherwise."""
    experiment = grid(datasets=["cora"], budget={"cell_fit_s": 60.0})
    slow, quick = CellKey("dense", "gat", "cora", "cpu"), build.key("pyg")
    (job, *_) = plan.fit_jobs(experiment, [slow], {})
    fits = [build.fit(quick, seed, 0.8, **({"basis": basis(*quick)} | changes)) for seed in range(3)]
    refused = plan.over_budget(experiment, job, plan.EpochCost({slow: 3.0}), {fit.id: fit for fit in fits})
    assert refused is not None
    return refused


def test_the_budget_learns_from_the_epochs_that_other_back_ends_took():
    assert "201 epochs (as the other back ends took" in epochs_of_a_dear_cell()


@pytest.mark.parametrize(
    "changes",
    [
        {"training": Training(max_epochs=300)},
        {"training": Training(lr=0.1), "tuned": {"training.lr": 0.1}},
        {"architecture": Architecture(heads=4)},
        {"protocol": Protocol(edge_noise=0.5)},
        {"basis": "another code"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_budget_learns_nothing_from_fits_of_other_settings_or_another_code(changes):
    assert "1000 epochs (at most" in epochs_of_a_dear_cell(**changes)


@pytest.mark.parametrize(
    ("most", "expected"), [(None, (140, "as in the study")), (140, (1000, "at most"))], ids=["at leisure", "cut short"]
)
def test_a_cell_with_a_study_of_its_own_learns_from_that_and_not_from_cells_that_were_tuned_otherwise(most, expected):
    tuning = {"trials": 3, "seeds": [90], "scope": "cell", "space": build.SPACE, "max_epochs": most}
    experiment = grid(datasets=["cora"], budget={"cell_fit_s": 60.0}, tuning=tuning)
    slow, quick = CellKey("dense", "gat", "cora", "cpu"), build.key("pyg")
    (study,) = plan.tune_jobs(experiment, [slow])
    tuned = build.record(study, build.study().outcome)
    (job, *_) = plan.fit_jobs(experiment, [slow], {tuned.id: tuned})
    others = build.fits(quick, [0.8], basis=basis(*quick), tuned={"training.lr": 0.05})
    assert plan.expected_epochs(experiment, job, {record.id: record for record in [tuned, *others]}) == expected


def test_durations_read_as_a_person_would_say_them():
    assert [roughly(seconds) for seconds in (45, 720, 12_000)] == ["45 s", "12 min", "3 h 20 min"]


def test_fewer_rounds_are_taken_of_what_the_file_names():
    fewer = {"dense": 2, "2 threads": 1}
    experiment = grid(timing={"rounds": 4, "threads": [1, 2], "fewer_rounds": fewer})
    jobs = plan.speed_jobs(experiment, plan.cells(experiment))
    of = {(name, threads): max(job.round for job in jobs if (job.backend, job.threads) == (name, threads)) + 1
          for name in ("pyg", "dense") for threads in (1, 2)}  # fmt: skip
    assert of == {("pyg", 1): 4, ("pyg", 2): 1, ("dense", 1): 2, ("dense", 2): 1}


def test_fewer_seeds_are_trained_of_what_the_file_names_and_the_others_count_what_is_asked_of_them():
    experiment = grid(seeds=[5, 3, 4], fewer_seeds={"dense": 2, "gatv2": 1})
    jobs = plan.fit_jobs(experiment, plan.cells(experiment), {})
    of = {name: [job.seed for job in jobs if (job.backend, job.operator) == name]
          for name in (("pyg", "gat"), ("dense", "gat"), ("dense", "gatv2"))}  # fmt: skip
    assert of == {("pyg", "gat"): [5, 3, 4], ("dense", "gat"): [5, 3], ("dense", "gatv2"): [5]}
    cost = plan.EpochCost(dict.fromkeys(plan.cells(experiment), 1.0))
    cells = {(cell.backend, cell.operator): cell for cell in plan.cells(experiment)}
    assert cost.fit_s(experiment, cells["dense", "gat"], epochs=10) == 20


def test_a_sweep_varies_one_setting_at_a_time_on_the_first_data_set():
    experiment = grid(datasets=["blocks", "cora"], sweep={"architecture.heads": [4, 8, 16]}, timing={"rounds": 1})
    jobs = plan.speed_jobs(experiment, plan.cells(experiment))
    heads = {(job.dataset, job.architecture.heads) for job in jobs}
    assert heads == {("blocks", 4), ("blocks", 8), ("blocks", 16), ("cora", 8)}
    assert len(set(ids(jobs))) == len(jobs)


def test_without_seeds_nothing_is_trained():
    experiment = grid(seeds=[])
    assert plan.fit_jobs(experiment, plan.cells(experiment), {}) == []
    assert plan.speed_jobs(experiment, plan.cells(experiment))
