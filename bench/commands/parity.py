"""`bench parity`: back ends against the float64 reference, and how their semantics differ."""

import argparse
import contextlib
from collections.abc import Mapping

from tabulate import tabulate

from bench import experiment_file, plan
from bench.cli import DONE, FAILED, say
from bench.config import Experiment, Statistics, Timing, Tuning
from bench.outcomes import Checked, NotDone
from bench.progress import display, title
from bench.report.wording import Footnotes
from bench.views import semantics
from bench.work import CellKey
from bench.workers.engage import engage
from bench.workers.worker import Done
from bench.workers.workforce import Terms
from implementations.contract import SEMANTIC_TOPICS


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench parity`."""
    parser.add_argument("experiment", nargs="?", default="default", help="whose back ends, operators, data and network")
    for kind in ("backends", "operators", "datasets", "devices"):
        parser.add_argument(f"--{kind}", nargs="+", metavar="NAME", help=f"instead of the experiment's {kind}")
    parser.add_argument("--verbose", action="store_true", help="print every comparison, not the worst of each kind")


def execute(arguments: argparse.Namespace) -> int:
    """Check, print, and fail if any back end failed. Records nothing: every run checks for itself."""
    experiment = _chosen(arguments)
    outcomes = _check(experiment)
    notes = Footnotes()
    say(tabulate([_row(cell, done, notes) for cell, done in outcomes.items()], _HEADERS, tablefmt="simple"))
    for note in notes.lines():
        say(note)
    if arguments.verbose:
        say("\n" + tabulate(_comparisons(outcomes), _COMPARISON_HEADERS, tablefmt="simple"))
    say("\nSemantics: what each library does by itself -> what runs here\n")
    say(_semantics(experiment))
    failed = [done for done in outcomes.values() if _is_failure(done)]
    return FAILED if failed else DONE


_HEADERS = ["back end", "operator", "data", "device", "parity", "worst float64", "worst timed dtype", "checks"]
_COMPARISON_HEADERS = ["cell", "graph", "dtype", "compared", "difference", "allowed", "passed", "note"]
_UNUSED = {"fewer_seeds": {}, "tuning": Tuning(), "timing": Timing(rounds=0), "statistics": Statistics(), "sweep": {}}
"""What an experiment says of other things than parity, unsaid: it may name what is not checked here."""


def _chosen(arguments: argparse.Namespace) -> Experiment:
    experiment = experiment_file.read(experiment_file.find(arguments.experiment))
    kinds = ("backends", "operators", "datasets", "devices")
    changed = {kind: tuple(getattr(arguments, kind)) for kind in kinds if getattr(arguments, kind)}
    protocol = experiment.protocol.without_noise()
    if "datasets" in changed:  # of which each has splits of its own; parity asks for none
        protocol = protocol.model_copy(update={"split": "default"})
    asked = experiment.model_copy(update=_UNUSED | {"protocol": protocol} | changed)
    return experiment_file.checked(asked, "the command line")


def _check(experiment: Experiment) -> Mapping[CellKey, Done]:
    crew = engage(Terms(limit_s=experiment.budget.job_s))
    jobs = plan.parity_jobs(experiment)
    outcomes: dict[CellKey, Done] = {}
    with contextlib.closing(crew), display() as shown:
        for item in crew.together(jobs, title):
            if item is not None:
                outcomes[item[0].key] = item[1]
            shown.update(len(outcomes), len(jobs), None, dict(crew.at_work))
    return {job.key: outcomes[job.key] for job in jobs}


def _row(cell: CellKey, done: Done, notes: Footnotes) -> list[str]:
    """Narrow enough for a terminal: what failed and why stands under the table."""
    outcome = done.outcome
    if isinstance(outcome, Checked):
        verdict = "passed" if outcome.passed else f"FAILED {notes.mark(f'{cell}: {outcome.failure()}')}"
        return [*cell, verdict, _worst(outcome, "float64"), _worst(outcome, ""), str(len(outcome.checks))]
    assert isinstance(outcome, NotDone)
    return [*cell, f"{outcome.status.replace('_', ' ')} {notes.mark(f'{cell}: {outcome.reason}')}", "", "", ""]


def _worst(outcome: Checked, dtype: str) -> str:
    """Largest difference in float64, or in whichever other dtype was checked."""
    chosen = [check for check in outcome.checks if (check.dtype == "float64") == bool(dtype)]
    if not chosen:
        return "not checked"
    worst = max(chosen, key=lambda check: check.share)
    return f"{worst.difference:.1e} of {worst.tolerance:.0e}"


def _comparisons(outcomes: Mapping[CellKey, Done]) -> list[list[str]]:
    return [
        [
            str(cell),
            check.graph,
            check.dtype,
            check.name,
            f"{check.difference:.1e}",
            f"{check.tolerance:.0e}",
            "yes" if check.passed else "NO",
            check.note,
        ]
        for cell, done in outcomes.items()
        if isinstance(done.outcome, Checked)
        for check in done.outcome.checks
    ]


def _semantics(experiment: Experiment) -> str:
    """Topic by topic: back ends that say the same share a line; those that differ stand apart."""
    facts = semantics(experiment)
    lines = []
    for topic in SEMANTIC_TOPICS:
        natives = {name: facts[name][topic][0] for name in facts}
        agreement = "all alike" if len(set(natives.values())) == 1 else "they differ by nature"
        lines.append(f"{topic} ({agreement})")
        lines += [f"  {name:8} {native}\n  {'':8} -> {facts[name][topic][1]}" for name, native in natives.items()]
    return "\n".join(lines)


def _is_failure(done: Done) -> bool:
    outcome = done.outcome
    if isinstance(outcome, Checked):
        return not outcome.passed
    return isinstance(outcome, NotDone) and outcome.status != "unsupported"
