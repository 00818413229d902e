"""`bench run`: a whole experiment, from its file to its table."""

import argparse
import os
from collections import Counter
from pathlib import Path

from bench import experiment_file, guess, lacking, plan, study_jobs, study_run
from bench.cli import DONE, FAILED, add_json, add_mlflow, add_results, say, say_json
from bench.config import Experiment
from bench.durations import roughly
from bench.errors import UserError
from bench.folder import ResultsFolder
from bench.options import Options, add_options
from bench.progress import PlainDisplay, display
from bench.runner import Grid, Unheard
from bench.study_config import Study
from bench.tracking import mlflow_store
from bench.views import LiveTracking, live_tracking, plain, renew_index, write_views


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench run`."""
    parser.add_argument(
        "experiment",
        nargs="?",
        default="default",
        help="name of an experiment (see `bench list`) or path to a .toml file",
    )
    add_results(parser)
    add_json(parser)
    add_options(parser)
    parser.add_argument(
        "--retime",
        action="store_true",
        help="make all times again, side by side, as after a back end was added; the earlier ones stay in the records",
    )
    parser.add_argument("--dry-run", action="store_true", help="print cells, jobs and the expected time, and stop")
    add_mlflow(parser, off=True)


def execute(arguments: argparse.Namespace) -> int:
    """Run what is missing, rewrite the views, print the table."""
    if arguments.mlflow != "off":
        mlflow_store.require_settings()
    path = experiment_file.find(arguments.experiment)
    experiment = experiment_file.read_any(path)
    folder = ResultsFolder(arguments.results.absolute() / path.stem)
    if arguments.retime and (not isinstance(experiment, Experiment) or not experiment.timing.rounds):
        raise UserError(f"--retime: {path.stem} times nothing; leave the option out")
    if not isinstance(experiment, Experiment):
        return _study(experiment, folder, arguments)
    if arguments.dry_run:
        _dry_run(experiment, folder, arguments)
        return DONE
    with folder.exclusive():
        errors = _run(experiment, folder, arguments)
    return FAILED if errors else DONE


def _run(experiment: Experiment, folder: ResultsFolder, arguments: argparse.Namespace) -> int:
    from bench.report import table  # SciPy and pandas, which a dry run and a mistake need not wait for

    folder.write_experiment(experiment)
    with live_tracking(arguments.mlflow, folder, experiment) as tracking:
        with display() as shown:
            grid = Grid(experiment, folder, shown, tracking, Options.chosen(arguments, folder))
            if not arguments.json:
                say(f"{experiment.title}: {_overview(experiment)}; {_expectation(grid)}")
            errors = grid.run()
        write_views(folder)
    if arguments.json:
        say_json({**plain(folder), "mlflow_trouble": tracking.trouble})
    else:
        say("")
        say(table.terminal(experiment, folder.records()))
        say(_where(folder, tracking))
    renew_index(folder.path.parent)  # last: what another experiment's folder is in for must not hide this one's table
    return errors


def _study(study: Study, folder: ResultsFolder, arguments: argparse.Namespace) -> int:
    from bench.report.studies import views as study_views

    if arguments.dry_run:
        _dry_study(study, folder, arguments)
        return DONE
    errors = study_run.run(study, folder, Options.chosen(arguments, folder), arguments.mlflow)
    if arguments.json:
        say_json(plain(folder))
    else:
        say(study_views.terminal(study, folder.records()))
        say(f"The rest is in {Path(os.path.relpath(folder.path))}/: table.md, table.csv, plots/, records.jsonl.")
    renew_index(folder.path.parent)
    return FAILED if errors else DONE


def _dry_run(experiment: Experiment, folder: ResultsFolder, arguments: argparse.Namespace) -> None:
    nobody = LiveTracking("off", folder, experiment)
    grid = Grid(experiment, folder, PlainDisplay(), nobody, Options.chosen(arguments, folder))
    cells = plan.cells(experiment)
    phases = {
        phase: {"jobs": len(jobs), "recorded": len(jobs) - len(grid.history.missing(jobs))}
        for phase, jobs in grid.forecast.phases.items()
    }
    missed = [] if arguments.cluster else list(lacking.of_experiment(experiment))
    if arguments.json:
        told = {"left_s": grid.left_s(), "measured": grid.is_measured(), "lacking": missed}
        say_json({"cells": [cell._asdict() for cell in cells], "phases": phases, **told})
        return
    for cell in cells:
        say(f"  {cell}")
    for phase, count in phases.items():
        say(f"{phase:7} {count['jobs']:4} jobs, {count['recorded']} recorded")
    say("\n".join([*missed, _expectation(grid)]))


def _dry_study(study: Study, folder: ResultsFolder, arguments: argparse.Namespace) -> None:
    run = study_run.StudyRun(study, folder, PlainDisplay(), Unheard(), Options.chosen(arguments, folder))
    jobs = study_jobs.jobs(study)
    todo = run.history.missing(jobs)
    missed = [] if arguments.cluster else list(lacking.of_study(study))
    recorded, left_s, measured = len(jobs) - len(todo), run.expected_s(todo), run.is_told(todo)
    if arguments.json:
        told = {"left_s": left_s, "measured": measured, "lacking": missed}
        say_json({"jobs": len(jobs), "recorded": recorded, **told})
        return
    basis = "from what is recorded" if measured else "a rough guess, as if none were done early"
    left = f"about {roughly(left_s)} to go ({basis})"
    say("\n".join([f"{len(jobs)} jobs, {recorded} recorded", *missed, left]))


def _overview(experiment: Experiment) -> str:
    seeds = sorted({len(experiment.seeds_of(cell)) for cell in plan.cells(experiment)})
    trained = f"{' or '.join(map(str, seeds))} seeds" if experiment.seeds else "speed alone"
    counts = Counter(cell.dataset for cell in plan.cells(experiment))
    return f"{counts.total()} cells ({', '.join(experiment.backends)} × {', '.join(experiment.operators)} on " + (
        f"{', '.join(experiment.datasets)}), {trained}"
    )


def _expectation(grid: Grid) -> str:
    basis = "from what is recorded" if grid.is_measured() else f"a rough guess; {guess.EXPERIENCE}"
    return f"about {roughly(grid.left_s())} to go ({basis})"


def _where(folder: ResultsFolder, tracking: LiveTracking) -> str:
    shown = Path(os.path.relpath(folder.path))
    lines = [
        f"The rest is in {shown}/: report.html, table.md, table.csv, plots/, records.jsonl.\n"
        f"{shown.parent}/index.html shows all experiments.",
        "`make ui` opens MLflow.",
    ]
    if tracking.trouble:
        lines[1] = f"MLflow is behind. {tracking.trouble}. `bench mlflow sync` fills it from the records."
    return "\n".join([*lines, *tracking.notices])
