"""Whether what disturbed runs leave agrees: records with records, with studies and with networks."""

from pathlib import Path

import optuna

from bench import best_models, records, saved_model
from bench.outcomes import Checked, Fitted, Timed, Tuned
from bench.tuning import study_store


def substance(folder: Path) -> dict[str, object]:
    """What a record says that must not depend on when, where and how often a run was disturbed."""
    final = [record for record in records.read(folder) if record.final]
    assert len({record.id for record in final}) == len(final), "a job is recorded twice"
    return {record.id: decided(record) for record in final}


def decided(record: records.Record) -> object:
    outcome = record.outcome
    match outcome:
        case Fitted():
            return (outcome.seed, outcome.test, outcome.validation, outcome.epochs)
        case Tuned():
            return (outcome.best, [trial.model_dump() for trial in outcome.trials])
        case Checked():
            return outcome.passed
        case Timed():
            return sorted(outcome.tracks)
        case _:
            return outcome.status


def studies_agree(folder: Path) -> None:
    """Each recorded study is in the Optuna store as it is on record; none has trials that never ended."""
    url = study_store.default_url(folder)
    recorded = [record.outcome for record in records.read(folder) if isinstance(record.outcome, Tuned)]
    assert sorted(optuna.get_all_study_names(url)) == sorted(tuned.study for tuned in recorded)
    for tuned in recorded:
        trials = optuna.load_study(study_name=tuned.study, storage=url).trials
        done = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
        assert [trial.params for trial in done] == [trial.settings for trial in tuned.trials]
        assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL"}


def networks_are_recorded(folder: Path) -> None:
    """Each cell has a network, and no file lies among them that is not a recorded fit's."""
    found = records.read(folder)
    fits = [record for record in found if isinstance(record.outcome, Fitted)]
    assert best_models.paths(folder, found).keys() == {record.key for record in fits}
    there = {path.name for path in (folder / best_models.FOLDER).iterdir()}
    assert there <= {f"{record.id}{saved_model.SUFFIX}" for record in fits}
