"""What a job can end in: a tagged union, so that a reader of records must handle "not done" to type-check.

Times are seconds per step, accuracies fractions in [0, 1]; only reports multiply by 100.
"""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bench.config import Frozen, Setting


def seven_digits(value: float) -> float:
    """As much as is stored of a number: more than a timer or a float32 loss has, and half the size on disk."""
    return float(f"{value:.7g}")


class Check(Frozen):
    """One comparison of a back end with the reference."""

    name: str  # what was compared: "output", "gradient of weight", "attention dropout rate"
    graph: str
    dtype: str
    difference: float  # largest, relative to the scale of the reference; nan if nothing came out
    tolerance: float
    passed: bool
    note: str = ""

    @property
    def share(self) -> float:
        """The difference as a share of what is allowed; infinite where nothing is, or where nothing came out."""
        if math.isnan(self.difference):
            return math.inf
        if self.tolerance == 0:
            return 0.0 if self.difference == 0 else math.inf
        return self.difference / self.tolerance


class Checked(Frozen):
    """Parity: passed only if every check did."""

    kind: Literal["parity"] = "parity"
    passed: bool
    checks: tuple[Check, ...]

    def failure(self) -> str:
        """The first failed check as a sentence, or nothing."""
        failed = [check for check in self.checks if not check.passed]
        if not failed:
            return ""
        first = failed[0]
        return (
            f"{first.name} on {first.graph} in {first.dtype}: off by {first.difference:.1e}, "
            f"allowed {first.tolerance:.0e}{' (' + first.note + ')' if first.note else ''}; "
            f"{len(failed)} of {len(self.checks)} checks failed"
        )


class Samples(Frozen):
    """Raw timings of one phase: each value is the mean of `steps` consecutive steps."""

    steps: int
    seconds: tuple[float, ...]
    warmup: tuple[float, ...]


class TrackTiming(Frozen):
    """One track of one round."""

    train: Samples  # forward, loss, backward, Adam
    evaluate: Samples  # forward in evaluation mode
    first_step_s: float
    peak_bytes: int | None  # beyond what was resident before the model was built
    whole_step: bool = False  # the back end's own training step, not the runner's over its layers
    parts_s: dict[str, float] = {}  # what a training step is made of, if that was asked; see `bench.speed.anatomy`


class Ceilings(Frozen):
    """What the machine reached at most, in the same process just before; see `bench.speed.ceilings`."""

    gemm_flops_per_s: float  # float32
    copy_bytes_per_s: float  # read and written
    free_bytes: int  # what a job could still have allocated


class Timed(Frozen):
    """One round of speed."""

    kind: Literal["speed"] = "speed"
    tracks: dict[str, TrackTiming]
    prepare_s: float  # graph conversion; of one part, where a step sees a part
    nodes: int  # that a step sees: of parts, the mean
    edges: int  # with self-loops
    threads: int
    # Tracks that the back end cannot take, with the reason.
    without: dict[str, str] = {}
    # Track -> the track that was measured instead, since its input is the very same.
    same_as: dict[str, str] = {}
    features: int = 0
    stored_features: int = 0  # entries of x that are stored: N x F, or the non-zeros; 0 where nobody noted it
    ceilings: Ceilings | None = None
    steps_per_epoch: int = 1

    def track(self, name: str) -> TrackTiming | None:
        """What was measured of a track, if anything was."""
        return self.tracks.get(self.same_as.get(name, name))


class Trial(Frozen):
    """One point of the search space; `values` maps a seed to its best validation accuracy.

    One that was killed is none: it has no number, and its study proposes the point again.
    """

    number: int
    settings: dict[str, Setting]
    state: Literal["complete", "pruned"]
    values: dict[int, float]
    epochs: float  # mean over seeds


class Tuned(Frozen):
    """The best complete trial of a study."""

    kind: Literal["tune"] = "tune"
    best: dict[str, Setting]
    best_trial: int
    validation: float
    trials: tuple[Trial, ...]
    study: str  # name of the Optuna study in the storage


class Fitted(Frozen):
    """One trained model. Curves hold one value per epoch."""

    kind: Literal["fit"] = "fit"
    seed: int
    epochs: int
    best_epoch: int
    validation: float
    test: float
    parameters: int
    curves: dict[str, tuple[float, ...]]
    differs: str = ""  # in what the data were not those that the data set's name stands for
    sampler: str = ""  # the library whose own sampler drew what training saw; empty: the one that all share
    peak_bytes: int | None = None  # beyond what was there when the job began, which an earlier one's data may have been
    is_error: bool = False  # validation and test are errors, the lower the better, instead of fractions


class HeadAttention(Frozen):
    """How one head ranks: the order of two sources, as different targets see it. Shares are in [0, 1]."""

    layer: int
    head: int
    source_pairs: int  # pairs of sources that at least two targets share, each graph's counted
    tau: float  # Kendall's tau of two targets' rankings of the sources they share, mean; 1: all rank alike
    unanimous: float  # share of those pairs that all their targets put in the same order
    entropy: float  # of the coefficients, mean over targets, over the logarithm of their number: 1 is uniform
    favourites: float | None = None  # different first-ranked sources in a lookup, over its number of targets, mean


class HeatMap(Frozen):
    """Coefficients of one head on one graph, a row for each target; a target's own self-loop is left out."""

    layer: int
    head: int
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    coefficients: tuple[tuple[float, ...], ...]


class Attention(Frozen):
    """Static or dynamic: what every head does, and an example of each on DictionaryLookup."""

    heads: tuple[HeadAttention, ...]
    targets: int  # whose entropy was looked at, per head
    maps: tuple[HeatMap, ...] = ()


class LookedUp(Frozen):
    """One model trained on DictionaryLookup. Curves hold one value per evaluation."""

    kind: Literal["lookup"] = "lookup"
    seed: int
    train: float
    test: float
    steps: int
    best_step: int
    stopped: Literal["solved", "patience", "steps"]
    train_graphs: int
    test_graphs: int
    parameters: int
    evaluate_every_steps: int
    curves: dict[str, tuple[float, ...]]
    attention: Attention | None = None


class Attended(Frozen):
    """One model trained on one graph, and how it attends."""

    kind: Literal["attention"] = "attention"
    fitted: Fitted
    attention: Attention


FAILED = ("out_of_memory", "timeout", "diverged", "error")
"""Statuses of what was tried and came to nothing; the others were not tried."""


def failed_on(failures: int, results: int) -> str:
    """That some seeds came to nothing, so that what there is speaks of the others; nothing where none did."""
    return f"failed on {failures} of {failures + results} seeds" if failures else ""


def _spelt_out(text: str) -> str:
    """What no UTF-8 has, as a path may whose bytes are none, becomes an escape: JSON could not hold it."""
    return text.encode("utf-8", "backslashreplace").decode()


Told = Annotated[str, AfterValidator(_spelt_out)]
"""What somebody else said."""


class NotDone(Frozen):
    """Why there is no result. These are results too: the table shows the sentence."""

    kind: Literal["not_done"] = "not_done"
    status: Literal["unsupported", "parity", "budget", "out_of_memory", "timeout", "diverged", "error"]
    reason: Told
    detail: Told = ""  # traceback, for `error`


Outcome = Annotated[Checked | Timed | Tuned | Fitted | LookedUp | Attended | NotDone, Field(discriminator="kind")]
