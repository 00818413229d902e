"""Studies are paired, pruned, repeatable, and go on where they were killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from bench.config import Architecture, FloatRange, Protocol, Training
from bench.tuning.search import tune
from bench.work import TuneJob

SEEDS = (10, 11, 12, 13)


def job(trials: int = 6, shared: bool = True, backend: str = "scatter") -> TuneJob:
    return TuneJob(
        backend=backend,
        operator="gat",
        dataset="blocks",
        device="cpu",
        protocol=Protocol(),
        architecture=Architecture(),
        basis="b",
        training=Training(),
        trials=trials,
        seeds=SEEDS,
        space={"training.lr": FloatRange(low=1e-3, high=1e-1, log=True)},
        shared=shared,
    )


TOGETHER = """
import sys
from bench.tuning.search import tune
from test_tuning import Hill, job
study = job(trials=1).model_copy(update={"operator": sys.argv[2]})
tune(study, {"training.lr": 0.005}, sys.argv[1], Hill())
"""


KILLED = """
import sys
from test_tuning import Hill, search
search(sys.argv[1], Hill(die_at=int(sys.argv[2])))
"""


class Hill:
    """Validation accuracy that is best at lr = 0.01; counts what it is asked, and kills its process at `die_at`."""

    def __init__(self, die_at: int | None = None) -> None:
        self.asked: list[tuple[float, int]] = []
        self.die_at = die_at

    def __call__(self, settings, seed):
        if len(self.asked) == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)  # of an exception Optuna would make a trial that failed
        self.asked.append((settings["training.lr"], seed))
        return 0.9 - 40 * abs(settings["training.lr"] - 0.01) ** 1.2 + seed / 1e4, 7


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'optuna.db'}"


def search(storage, evaluate, **changes):
    return tune(job(**changes), {"training.lr": 0.005}, storage, evaluate)


def killed(storage: str, die_at: int) -> None:
    """The same search in a process that does not live to see its end."""
    command = [sys.executable, "-c", KILLED, storage, str(die_at)]
    assert subprocess.run(command, cwd=Path(__file__).parent, check=False).returncode == -signal.SIGKILL


def states(storage: str) -> list[str]:
    (study,) = optuna.get_all_study_names(storage)
    return [trial.state.name for trial in optuna.load_study(study_name=study, storage=storage).trials]


def test_the_files_own_settings_are_trial_0_and_the_best_complete_trial_wins(storage):
    tuned = search(storage, Hill())
    assert tuned.trials[0].settings == {"training.lr": 0.005}
    complete = [trial for trial in tuned.trials if trial.state == "complete"]
    assert tuned.validation == max(sum(trial.values.values()) / len(SEEDS) for trial in complete)
    assert tuned.best == tuned.trials[tuned.best_trial].settings


def test_every_complete_trial_saw_every_seed_and_a_pruned_one_cannot_win(storage):
    tuned = search(storage, Hill(), trials=10)
    assert {trial.state for trial in tuned.trials} == {"complete", "pruned"}
    for trial in tuned.trials:
        assert (set(trial.values) == set(SEEDS)) == (trial.state == "complete")


def test_a_study_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    whole = search(f"sqlite:///{tmp_path / 'whole.db'}", Hill())
    broken = f"sqlite:///{tmp_path / 'broken.db'}"
    for die_at in (1, 6, 3):
        killed(broken, die_at)
    assert search(broken, Hill()).model_dump() == whole.model_dump()


def test_a_change_of_code_or_libraries_leaves_the_proposals_as_they_were(storage):
    searches = [
        tune(job().model_copy(update={"basis": basis}), {"training.lr": 0.005}, storage, Hill()) for basis in "ab"
    ]
    assert searches[0].study != searches[1].study
    assert searches[0].trials == searches[1].trials


def test_a_trial_whose_process_was_killed_runs_no_more_once_the_study_goes_on(storage):
    killed(storage, die_at=2)
    assert states(storage) == ["RUNNING"]
    search(storage, Hill())
    assert states(storage) == ["FAIL"] + 6 * ["COMPLETE"]


def test_a_finished_study_evaluates_nothing_again(storage):
    first = search(storage, Hill())
    again = Hill()
    assert search(storage, again) == first
    assert again.asked == []


def test_studies_that_start_together_in_a_new_store_do_not_break_each_other(storage):
    command = [sys.executable, "-c", TOGETHER, storage]
    processes = [subprocess.Popen([*command, name], cwd=Path(__file__).parent, text=True) for name in ("gat", "gatv2")]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(optuna.get_all_study_names(storage)) == 2


def test_a_shared_study_is_the_same_job_whichever_back_end_runs_it():
    assert job(backend="pyg").id == job(backend="scatter").id
    assert job(backend="pyg", shared=False).id != job(backend="scatter", shared=False).id
