"""Tuning with Optuna: one study, objective = mean validation accuracy over paired seeds.

Repeatable and resumable: the sampler is seeded anew for each trial by the number of trials finished before it, so
a study that was killed and taken up again proposes what it would have proposed. A killed trial becomes FAIL; TPE
and the pruner look at finished trials only. A seed's test nodes are not in reach: `evaluate` returns validation
accuracy. But where each seed draws a split of its own, a node that validates here may test a final seed.
"""

import random
import warnings
from collections.abc import Callable, Mapping

import optuna
from optuna.trial import TrialState

from bench import seeds
from bench.config import Choice, FloatRange, Setting
from bench.outcomes import Trial, Tuned
from bench.tuning import study_store
from bench.work import TuneJob, digest

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# Three seeds that all lose to the best trial give p = 1/8; Optuna's own 0.1 would never prune before the fourth.
PRUNE_BELOW_P = 0.15
Evaluate = Callable[[dict[str, Setting], int], tuple[float, int]]
"""Settings and seed -> best validation accuracy and the number of epochs it took."""


def tune(
    job: TuneJob,
    defaults: Mapping[str, Setting],
    storage_url: str,
    evaluate: Evaluate,
    on_trial: Callable[[int, float], None] = lambda number, value: None,
) -> Tuned:
    """Run what is missing of the job's study and return its best complete trial.

    Args:
        job: what to search, on which seeds, how many trials.
        defaults: the experiment's own value of every searched setting; trial 0.
        storage_url: any Optuna storage URL.
        evaluate: trains once.
        on_trial: called after each trial with its number and mean validation accuracy.

    Raises:
        StudyStoreUnavailable: the storage could not be read or written; what it holds is taken up again next time.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with study_store.naming_store(storage_url):
        return _tune(job, defaults, storage_url, evaluate, on_trial)


def _tune(
    job: TuneJob,
    defaults: Mapping[str, Setting],
    storage_url: str,
    evaluate: Evaluate,
    on_trial: Callable[[int, float], None],
) -> Tuned:
    with study_store.opened(storage_url) as storage:
        study = _study(job, storage)
        with study_store.holding(storage_url, study.study_name):
            _run(study, job, defaults, evaluate, on_trial)
        return _tuned(study, job)


def _run(
    study: optuna.Study,
    job: TuneJob,
    defaults: Mapping[str, Setting],
    evaluate: Evaluate,
    on_trial: Callable[[int, float], None],
) -> None:
    _fail_abandoned(study)
    while (done := len(_finished(study))) < job.trials:
        study.sampler = optuna.samplers.TPESampler(seed=seeds.derive("sampler", job.search, done) % 2**32)
        if done == 0 and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study.enqueue_trial(dict(defaults))
        study.optimize(lambda trial: _objective(trial, job, evaluate), n_trials=1, catch=(), gc_after_trial=False)
        last = _finished(study)[-1]
        on_trial(len(_finished(study)) - 1, last.value if last.value is not None else float("nan"))


def suggest(trial: optuna.Trial, space: Mapping[str, FloatRange | Choice]) -> dict[str, Setting]:
    """One value for every searched setting."""
    settings: dict[str, Setting] = {}
    for name, dimension in space.items():
        if isinstance(dimension, Choice):
            chosen = trial.suggest_categorical(name, list(dimension.choices))
            assert chosen is not None  # no choice is None: the file format has no such value
            settings[name] = chosen
        else:
            settings[name] = trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    return settings


def _study(job: TuneJob, storage: optuna.storages.RDBStorage) -> optuna.Study:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=PRUNE_BELOW_P)
    return optuna.create_study(
        study_name=_name(job),
        storage=storage,
        pruner=pruner,
        direction=study_store.DIRECTION,
        load_if_exists=True,
    )


def _name(job: TuneJob) -> str:
    where = "" if job.shared else f" {job.backend} {job.device}"
    return f"{job.operator} {job.dataset}{where} {job.id}"


def _fail_abandoned(study: optuna.Study) -> None:
    """Whoever ran a trial that still says RUNNING is dead: one job at a time runs a study (`study_store.holding`)."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)


def _objective(trial: optuna.Trial, job: TuneJob, evaluate: Evaluate) -> float:
    """Mean over the seeds; a pruned trial returns the mean so far and is marked incomplete."""
    settings = suggest(trial, job.space)
    order = list(job.seeds)
    random.Random(seeds.derive("order", digest(settings))).shuffle(order)
    values: dict[int, float] = {}
    epochs = 0
    for seed in order:
        values[seed], taken = evaluate(settings, seed)
        epochs += taken
        trial.report(values[seed], step=seed)
        if len(values) < len(order) and trial.should_prune():
            break
    trial.set_user_attr("values", {str(seed): value for seed, value in values.items()})
    trial.set_user_attr("epochs", epochs / len(values))
    return sum(values.values()) / len(values)


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=FINISHED)


def _tuned(study: optuna.Study, job: TuneJob) -> Tuned:
    trials = tuple(_trial(number, frozen, job) for number, frozen in enumerate(_finished(study)))
    complete = [trial for trial in trials if trial.state == "complete"]
    best = max(complete, key=lambda trial: (_mean(trial), -trial.number))
    return Tuned(
        best=best.settings,
        best_trial=best.number,
        validation=_mean(best),
        trials=trials,
        study=study.study_name,
    )


def _trial(number: int, frozen: optuna.trial.FrozenTrial, job: TuneJob) -> Trial:
    values = {int(seed): value for seed, value in frozen.user_attrs["values"].items()}
    return Trial(
        number=number,
        settings=frozen.params,
        state="complete" if len(values) == len(job.seeds) else "pruned",
        values=values,
        epochs=frozen.user_attrs["epochs"],
    )


def _mean(trial: Trial) -> float:
    return sum(trial.values.values()) / len(trial.values)
