"""How MLflow's pages present an experiment: names, links, saved views and the texts that tell how to read it.

MLflow 3.17 opens an experiment on an empty page about traces, shows no metric column and ten runs in its charts. A
saved view, which is an experiment tag, brings columns, order and filter; a link that names it opens the runs that way.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard
from urllib.parse import quote

from bench.config import Experiment
from bench.study_config import Study
from bench.tracking import charts
from bench.work import CellKey

KIND_TAG = "gat_bench"
"""Experiment tag that marks ours: `cells` or `jobs`."""

CELLS = "cells"
JOBS = "jobs"
TRIALS = "trials"

NOTE_TAG = "mlflow.note.content"
_NAME_COLUMN = "attributes.`Run Name`"
_VIEW_TAG = "mlflow.sharedViewState."
_MACHINE_LEARNING = "workflowType=machine_learning"


@dataclass(frozen=True)
class JobsPage:
    """The MLflow experiment that a cell's jobs are in.

    Attributes:
        experiment_id: MLflow's number of it.
        mine: Search that only the results folder's own runs meet; empty where there are no others.
    """

    experiment_id: str
    mine: str = ""

    def link(self, search: str) -> str:
        """Where a browser finds those that `search` finds."""
        return _filtered(self.experiment_id, " and ".join(filter(None, (search, self.mine))))


def jobs_name(name: str) -> str:
    """The MLflow experiment that holds the jobs of experiment `name`."""
    return f"{name} · jobs"


def link(experiment_id: str, view: str) -> str:
    """Where a browser finds an experiment's runs under a saved view, relative to the server's address."""
    return f"#/experiments/{experiment_id}/runs?{_MACHINE_LEARNING}&viewStateShareKey={_view_id(view)}"


def has_view(tags: Mapping[str, str], view: str) -> bool:
    """Whether an experiment with these tags has the saved view."""
    return _VIEW_TAG + _view_id(view) in tags


def charts_link(experiment_id: str, view: str) -> str:
    """The same, opened on the charts of the view."""
    return f"{link(experiment_id, view)}&compareRunsMode=CHART"


def cells_tags(name: str, experiment: Experiment | Study, jobs_id: str, created_ms: int) -> dict[str, str]:
    """Tags of the experiment that people compare."""
    return {
        KIND_TAG: CELLS,
        "mlflow.experimentKind": "custom_model_development",
        NOTE_TAG: _cells_note(name, experiment, jobs_id),
        **_saved(_cells_view(experiment), created_ms),
    }


def table_tags(name: str, title: str, description: str, jobs_id: str, created_ms: int) -> dict[str, str]:
    """Tags of the experiment that holds a paper's table, one run per row."""
    report = _filtered(jobs_id, "tags.level = 'report'")
    note = (
        f"**{title}** · [the jobs behind it]({link(jobs_id, JOBS)}) · [table and page]({report})\n\n{description}\n\n"
        f"`{name}` has one run per row: what was published, what came out here, and the verdict."
    )
    return {
        KIND_TAG: CELLS,
        "mlflow.experimentKind": "custom_model_development",
        NOTE_TAG: note,
        **_saved(_View(CELLS, "Published and ours", _TABLE_COLUMNS, order="tags.`order`"), created_ms),
    }


def jobs_tags(name: str, created_ms: int, asked: Experiment | Study | None = None) -> dict[str, str]:
    """Tags of the experiment that holds jobs and trials, and of what was asked the settings that were tuned."""
    return {
        KIND_TAG: JOBS,
        "mlflow.experimentKind": "custom_model_development",
        NOTE_TAG: _jobs_note(name),
        **_saved(_jobs_view(), created_ms),
        **(_saved(_trials_view(sorted(asked.tuning.space)), created_ms) if _is_tuned(asked) else {}),
    }


MODEL_NOTE = (
    "under *Models*, the network of the seed that validated best: `mlflow.pyfunc.load_model('models:/ID')` takes "
    "features `x` [N, F], `edge_index` [2, E] and whatever else its signature names, and gives logits."
)


def cell_note(key: CellKey, experiment: Experiment | Study, jobs: JobsPage) -> str:
    """The description of a cell's run."""
    its_own = jobs.link(f"tags.cell = '{key}'")
    if not isinstance(experiment, Experiment):
        return f"**{key.operator}** on **{key.dataset}**, device {key.device}. [Its jobs]({its_own}), one per seed."
    tracks = " and ".join(f"`{track}/…`" for track in experiment.timing.tracks)
    study = jobs.link(f"params.operator = '{key.operator}' and params.dataset = '{key.dataset}'")
    return (
        f"**{key.backend}** runs **{key.operator}** on **{key.dataset}**, device {key.device}. "
        f"[Its jobs]({its_own}): one run per seed, timing round and parity check, with curves and samples. "
        f"[All jobs of {key.operator} on {key.dataset}]({study}), with the tuning study.\n\n"
        "- `accuracy_test_pct_…`: test accuracy in percent over the final seeds: mean, standard deviation, and the "
        f"{experiment.statistics.confidence:.0%} interval (low, high).\n"
        f"- {tracks}: speed of one input path each, never to be mixed: median step times with intervals, edges and "
        "nodes per second, peak memory beyond what was there before the model.\n"
        "- tags: `status`, the verdicts against the baseline, versions and commit (`env.…`). A number that is absent "
        "has its reason in the tags `accuracy`, `speed` or `parity`.\n"
        f"- {MODEL_NOTE}"
    )


@dataclass(frozen=True)
class _View:
    id: str
    title: str
    columns: Mapping[str, int]  # column -> width in pixels, in their order
    name_px: int = 190  # of the column with the runs' names, which stands before them
    filter: str = ""
    order: str = ""  # newest first if empty
    ascending: bool = True
    groups: tuple[tuple[str, str], ...] = ()  # "tag" or "param", and its name; numbers of a group are means
    cards: tuple[charts.Card, ...] = ()
    cards_title: str = ""


def _saved(view: _View, created_ms: int) -> dict[str, str]:
    state = {
        "selectedColumns": list(view.columns),
        "columnOrder": [_NAME_COLUMN, *view.columns],
        "columnWidths": {_NAME_COLUMN: view.name_px, **view.columns},
        "runsHiddenMode": "SHOW_ALL",
        **({"searchFilter": view.filter} if view.filter else {}),
        **({"orderByKey": view.order, "orderByAsc": view.ascending} if view.order else {}),
        **({"groupBy": _grouping(view.groups)} if view.groups else {}),
        **(charts.state(view.cards_title, view.cards) if view.cards else {}),
    }
    envelope = {"name": view.title, "createdAt": created_ms, "state": json.dumps(state)}
    return {_VIEW_TAG + _view_id(view.id): json.dumps(envelope)}


def _grouping(groups: Sequence[tuple[str, str]]) -> dict[str, object]:
    keys = [{"mode": mode, "groupByData": name} for mode, name in groups]
    return {"aggregateFunction": "average", "groupByKeys": keys}


def _view_id(view: str) -> str:
    return f"gat-bench-{view}"


def _cell_columns(experiment: Experiment | Study) -> dict[str, int]:
    """The run's name, which MLflow shows first, has back end, operator, data set and device."""
    if not isinstance(experiment, Experiment):
        return _STUDY_COLUMNS[experiment.kind]
    speeds = ("train_step_ms_median", "eval_step_ms_median", "edges_per_s", "peak_memory_mib")
    return {
        "tags.`status`": 90,
        "metrics.`accuracy_test_pct_mean`": 185,
        "metrics.`accuracy_test_pct_std`": 175,
        **{f"metrics.`{track}/{speed}`": 250 for track in experiment.timing.tracks for speed in speeds},
        "tags.`verdict`": 600,
    }


_TABLE_COLUMNS = {
    "params.`published`": 110,
    "metrics.`ours`": 90,
    "metrics.`ours_std`": 90,
    "metrics.`prediction_low`": 120,
    "metrics.`prediction_high`": 120,
    "tags.`verdict`": 250,
    "metrics.`seeds`": 70,
    "params.`protocol`": 400,
}
_STUDY_COLUMNS = {
    "lookup": {
        "tags.`status`": 90,
        "tags.`protocol`": 90,
        "metrics.`keys`": 70,
        "metrics.`accuracy_train_pct_mean`": 185,
        "metrics.`published_train_pct`": 160,
        "metrics.`accuracy_test_pct_mean`": 185,
        "metrics.`published_test_pct`": 160,
        "metrics.`seconds`": 90,
    },
    "attention": {
        "tags.`status`": 90,
        "tags.`verdict`": 90,
        "metrics.`kendall_tau_mean`": 150,
        "metrics.`entropy_share_of_uniform_mean`": 230,
        "metrics.`accuracy_test_pct_mean`": 185,
    },
}
_JOB_COLUMNS = {
    "params.`phase`": 80,
    "tags.`status`": 110,
    "metrics.`accuracy_test_pct`": 150,
    "metrics.`accuracy_validation_pct`": 185,
    "metrics.`epochs`": 90,
    "metrics.`seconds`": 90,
    "tags.`reason`": 600,
}
_TRIAL_COLUMNS = {
    "params.`operator`": 90,
    "params.`dataset`": 90,
    "params.`trial`": 60,
    "metrics.`accuracy_validation_pct`": 185,
    "metrics.`seeds`": 70,
    "tags.`state`": 90,
    "tags.`best`": 60,
}


def _cells_view(experiment: Experiment | Study) -> _View:
    drawn: tuple[charts.Card, ...] = ()
    if isinstance(experiment, Experiment):
        drawn = tuple(
            charts.scatter(f"{track}/edges_per_s", "accuracy_test_pct_mean") for track in experiment.timing.tracks
        )
    return _View(
        CELLS,
        "Back ends compared",
        _cell_columns(experiment),
        order="tags.`order`",
        cards=drawn,
        cards_title="Accuracy against throughput: right and up is better",
    )


def _jobs_view() -> _View:
    # MLflow loads 100 runs at once and takes means of what it has: the order keeps a cell's jobs together. They are
    # grouped by phase, too, since the seconds of a fit and of a timing round have no mean.
    return _View(
        JOBS,
        "Jobs",
        _JOB_COLUMNS,
        name_px=420,  # of a group's, too, which names the cell
        filter="tags.level = 'job'",
        order="tags.`order`",
        groups=(("tag", "cell"), ("param", "phase")),
    )


def _is_tuned(asked: Experiment | Study | None) -> TypeGuard[Experiment]:
    return isinstance(asked, Experiment) and asked.tuning.trials > 0


def _trials_view(settings: Sequence[str]) -> _View:
    # In any other than MLflow's own order, trials are listed one by one instead of folded under their study.
    drawn = charts.parallel(["operator", *settings], ["accuracy_validation_pct"])
    return _View(
        TRIALS,
        "Trials of the tuning studies",
        _TRIAL_COLUMNS,
        filter="tags.level = 'trial'",
        order="metrics.`accuracy_validation_pct`",
        ascending=False,
        cards=(drawn,),
        cards_title="The settings that were tried, and what they reached",
    )


def _cells_note(name: str, experiment: Experiment | Study, jobs_id: str) -> str:
    report = _filtered(jobs_id, "tags.level = 'report'")
    trials = f"[trials]({link(jobs_id, TRIALS)}), [as parallel coordinates]({charts_link(jobs_id, TRIALS)}) · "
    return (
        f"**{experiment.title}** · [jobs: seeds, timing rounds, parity, tuning]({link(jobs_id, JOBS)}) · "
        f"{trials if _is_tuned(experiment) else ''}[table, plots and page]({report})\n\n"
        f"{experiment.description}\n\n"
        f"`{name}` has one run per cell: a back end running an operator on a data set on a device. Compare like with "
        "like: filter by `params.operator` and `params.dataset`, or select runs and press *Compare*. Grouping by "
        "`backend` alone would average over data sets. Accuracies are percent. Where several results folders write "
        "to one server, the tag `owner.folder` says whose a run is."
    )


def _jobs_note(name: str) -> str:
    return (
        f"The single jobs behind experiment `{name}`: fits (one per seed, with curves by epoch), timing rounds (every "
        "sample), parity checks, tuning studies with one run per trial, and the report's files. Each holds its "
        "`record.json`, the line of `records.jsonl` that it was made from.\n\n"
        "They are grouped by cell and phase. A group's numbers are means of the runs that are loaded, 100 at a time, "
        f"and of all thread counts; compare back ends by the cells, in `{name}`."
    )


def _filtered(experiment_id: str, search: str) -> str:
    return f"#/experiments/{experiment_id}/runs?{_MACHINE_LEARNING}&searchFilter={quote(search, safe='')}"
