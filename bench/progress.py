"""What the terminal shows while jobs run: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from bench.config import Setting
from bench.durations import roughly
from bench.outcomes import Attended, Checked, Fitted, LookedUp, NotDone, Outcome, Timed, Tuned
from bench.work import AttentionJob, FitJob, Job, LookupJob, SpeedJob

MS = 1000.0


class Display(Protocol):
    """What the runner tells a person."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def say(self, text: str) -> None:
        """A lasting line."""
        ...

    def update(self, done: int, total: int, left_s: float | None, at_work: Mapping[str, str]) -> None:
        """How far it is, the seconds left if they can be told, and slot -> what runs there."""
        ...


def display() -> Display:
    """Live on a terminal, plain elsewhere."""
    console = Console(stderr=True)
    return LiveDisplay(console) if console.is_terminal else PlainDisplay()


class PlainDisplay:
    """One line per finished job; a sign of life at most every half minute."""

    EVERY_S = 30.0

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def say(self, text: str) -> None:
        """See `Display`."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def update(self, done: int, total: int, left_s: float | None, at_work: Mapping[str, str]) -> None:
        """See `Display`."""
        now_s = time.monotonic()
        if now_s - self._last_s >= self.EVERY_S:
            self._last_s = now_s
            reached = ", ".join(filter(None, [f"{done}/{total}", _left(left_s)]))
            self.say(f"  ... {reached}; at work: {'; '.join(at_work.values()) or 'nothing'}")


class LiveDisplay:
    """A bar, the time left, and one line per slot."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("[bold]jobs"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._task = self._progress.add_task("jobs", total=None, left="")
        self._live = Live(self._progress, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """See `Display`."""
        self._console.print(Text(text))

    def update(self, done: int, total: int, left_s: float | None, at_work: Mapping[str, str]) -> None:
        """See `Display`."""
        self._progress.update(self._task, completed=done, total=total, left=_left(left_s))
        lines = [Text(f"  {slot}  {text}", style="dim") for slot, text in sorted(at_work.items())]
        self._live.update(Group(self._progress, *lines))


def title(job: Job) -> str:
    """What a person calls a job: "fit  pyg · gat · cora · cpu  seed 3"."""
    extra = ""
    if isinstance(job, FitJob | LookupJob | AttentionJob):
        extra = f"  seed {job.seed}"
    elif isinstance(job, SpeedJob):
        again = " (again)" if job.replica else ""
        extra = f"  round {job.round + 1}{again}" + (f", {job.threads} threads" if job.threads > 1 else "")
    return f"{job.phase:6} {job.key}{extra}"


def news(outcome: Outcome) -> str:
    """The latest numbers, in a few words."""
    match outcome:
        case Checked():
            return f"passed {len(outcome.checks)} checks" if outcome.passed else f"FAILED: {outcome.failure()}"
        case Timed():
            return ", ".join(
                f"{name.replace('_', ' ')}: train {MS * min(track.train.seconds):.1f} ms, "
                f"eval {MS * min(track.evaluate.seconds):.1f} ms"
                for name, track in outcome.tracks.items()
            )
        case Tuned():
            chosen = ", ".join(f"{name} = {_short(value)}" for name, value in outcome.best.items())
            return f"validation {100 * outcome.validation:.2f} % with {chosen}"
        case Fitted():
            reached = f"error {outcome.test:.2f}" if outcome.is_error else f"{100 * outcome.test:.2f} %"
            return f"test {reached}, epoch {outcome.best_epoch} of {outcome.epochs}"
        case LookedUp():
            return (
                f"train {100 * outcome.train:.1f} %, test {100 * outcome.test:.1f} %, "
                f"step {outcome.best_step} of {outcome.steps} ({outcome.stopped})"
            )
        case Attended():
            taus = [head.tau for head in outcome.attention.heads]
            return f"{news(outcome.fitted)}; Kendall's tau {min(taus):.3f} to {max(taus):.3f}"
        case NotDone():
            return f"{outcome.status.replace('_', ' ')}: {outcome.reason}"


def _short(value: Setting) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _left(left_s: float | None) -> str:
    return "" if left_s is None else f"about {roughly(left_s)} left"
