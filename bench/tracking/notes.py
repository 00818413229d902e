"""Descriptions of the MLflow runs of jobs, trials and reports: what a run is, and how to read what it holds."""

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from bench.outcomes import Attended, Fitted, NotDone, Outcome
from bench.records import Record
from bench.work import AttentionJob, FitJob, Job, LookupJob, ParityJob, SpeedJob, TuneJob

_RECORD = "`record.json`, under *Artifacts*, is all that is known of it."


def of_job(record: Record) -> str:
    """The description of a job's run."""
    lines = [_what(record.job), *_how_to_read(record), _RECORD]
    return f"{lines[0]}\n\n" + "\n".join(f"- {line}" for line in lines[1:])


def of_trial(job: TuneJob) -> str:
    """The description of a trial's run."""
    return (
        f"One trial of a tuning study: **{job.operator}** on **{job.dataset}** with the settings among the "
        f"parameters, trained with {_seeds(job.seeds)}.\n\n"
        "- `accuracy_validation_pct`: mean over these seeds of the best validation accuracy, in percent.\n"
        "- tags: `state` (`pruned`: given up, because the best trial was ahead; its mean is of fewer seeds) and "
        "`best`, which is `yes` for the one trial whose settings the fits have."
    )


def of_report(files: Sequence[Path]) -> str:
    """The description of the run that holds a report."""
    plots = sum(path.suffix == ".png" for path in files)
    named = [f"`{path.name}`" for path in files if path.suffix != ".png"] + [f"plots ({plots})"] * (plots > 0)
    return (
        "The experiment's report as it was when this run was written; it has no numbers of its own.\n\n"
        f"- under *Artifacts*, where MLflow shows each of them: {', '.join(named)}."
    )


def _what(job: Job) -> str:
    place = f"**{job.operator}** on **{job.dataset}**"
    match job:
        case FitJob():
            return f"**{job.backend}** trains {place} once, with seed {job.seed}, and then is tested once."
        case AttentionJob():
            return (
                f"**{job.backend}** trains {place} once, with seed {job.seed}; then each head's attention is examined."
            )
        case LookupJob():
            heads = f"{job.architecture.heads} head{'s' * (job.architecture.heads > 1)}"
            return (
                f"{place} with {heads}, protocol {job.protocol.name}: one network trained to look up, seed {job.seed}."
            )
        case SpeedJob():
            again = " It is the second half of the test of the timing by itself." if job.replica else ""
            return f"**{job.backend}** is timed on {place}: round {job.round}, a process of its own.{again}"
        case ParityJob():
            return f"**{job.backend}** is held to the float64 reference of {place}, before it is timed or ranked."
        case TuneJob():
            return f"One tuning study: {place}, {job.trials} trials at most, each a run below this one."
    assert_never(job)


def _how_to_read(record: Record) -> list[str]:
    if isinstance(record.outcome, NotDone):
        return ["There are no numbers: the tag `status` says what happened, and the tag `reason` why."]
    match record.job:
        case FitJob():
            return [*_reached(record.outcome), _CURVES]
        case AttentionJob():
            return [*_reached(record.outcome), _CURVES, _HEADS]
        case LookupJob():
            return [_LOOKED_UP, _CURVES, *([_HEADS_LISTED] if record.job.attention_graphs else [])]
        case SpeedJob():
            return [_STEPS, _TRACKS]
        case ParityJob():
            return [_CHECKS]
        case TuneJob():
            return [f"`accuracy_validation_pct`: the best trial's, mean over {_seeds(record.job.seeds)}.", _STUDY]
    assert_never(record.job)


def _reached(outcome: Outcome) -> list[str]:
    fitted = outcome.fitted if isinstance(outcome, Attended) else outcome
    if isinstance(fitted, Fitted) and fitted.is_error:
        return [f"`error_test`, `error_validation`: the lower the better. {_KEPT}"]
    return [f"`accuracy_test_pct`, `accuracy_validation_pct`: percent. {_KEPT}"]


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}, which no fit uses"


_KEPT = "They are of the weights after `best_epoch` of `epochs`, which the stopping rule kept."
_CURVES = "`curve/…`: losses and scores as training went on, under *Model metrics*."
_HEADS_LISTED = (
    "`attention.csv`: for each head Kendall's tau of two targets' rankings of their sources (1: all rank alike, which "
    "is static attention) and the entropy as a share of that of uniform attention."
)
_HEADS = f"`layer…/head…/…` and {_HEADS_LISTED}"
_LOOKED_UP = (
    "`accuracy_train_pct`, `accuracy_test_pct`: percent of lookups that are right, at the evaluation `best_step` of "
    "`steps`, whose test accuracy was highest."
)
_STEPS = (
    "`…/train_step_ms`, `…/eval_step_ms`: every sample, in ms, under *Model metrics*; the list shows the last one "
    "only. Medians over all rounds are at the cell. `…_warmup_ms` is counted nowhere."
)
_TRACKS = (
    "`as_shipped/…` and `same_input/…` are two input paths, never to be mixed; `…/peak_memory_mib` is beyond what was "
    "there before the model."
)
_CHECKS = (
    "`checks_failed` must be 0. `largest_share_of_tolerance`: how close it came, at most 1 if all passed. `checks.csv` "
    "has every comparison."
)
_STUDY = "`best.…`, among the parameters: the settings that the fits have. `trials.csv` lists all trials."
