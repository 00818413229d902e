"""An experiment: one TOML file, closed and frozen once read.

`Experiment` holds what a file may say. Reading a file, and saying what is wrong with one, is `bench.experiment_file`.
Units are in the names: `_s` seconds, `_epochs`, `_points` percentage points; probabilities are in [0, 1).
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

# As the file writes them: neither true nor "8" is one.
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True)]
Positive = Annotated[Number, Field(gt=0)]
Probability = Annotated[Number, Field(ge=0, lt=1)]
Seed = Annotated[Whole, Field(ge=0, lt=2**32)]
# A number beyond is a slip of the finger, and would be met as a loop without end or a list larger than memory.
Count = Annotated[Whole, Field(ge=1, le=10**9)]
Seconds = Annotated[Number, Field(gt=0, le=10**9)]
Many = Annotated[Whole, Field(ge=1, le=10**4)]
Setting = int | float | str | bool
Track = Literal["as_shipped", "same_input"]


class Frozen(BaseModel):
    """Immutable, and an unknown key is an error."""

    # A difference may be nan or inf; JSON has no name for them, Python's reader and writer do.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Asked(Frozen):
    """What a person asks for: besides, every number is finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class Protocol(Asked):
    """What is held equal around the layers."""

    split: str = "default"  # one of the splits that the data set offers
    row_normalise: bool = True  # each node's features sum to 1
    self_loops: bool = True  # each node hears itself
    features: Literal["sparse", "dense"] = "sparse"  # input path of the accuracy runs
    init: Literal["canonical", "native"] = "canonical"  # native: the library's own start weights
    dtype: Literal["float32", "float64"] = "float32"
    edge_noise: Annotated[Number, Field(ge=0, le=1)] = 0.0  # false edges per true one (GATv2 paper, Figure 4)
    validation_edges: bool = False  # of links: those that validate are edges, both ways, when the test is scored

    def without_noise(self) -> "Protocol":
        """What parity is checked under: false edges change no back end's mathematics."""
        return self.model_copy(update={"edge_noise": 0.0})


class LinkDecoder(Asked):
    """What scores a pair of nodes: linear maps, ReLU between, of the product of what the last layer says of both."""

    width: Count = 64  # of the last attention layer, and between the maps
    layers: Many = 3


class Architecture(Asked):
    """The layer stack: `layers` attention layers, an activation between them, dropout before each."""

    layers: Many = 2
    hidden: Count = 8  # channels per head
    heads: Count = 8
    output_heads: Count = 1  # averaged
    feature_dropout: Probability = 0.6  # on the input of every layer
    input_dropout: Probability | None = None  # on that of the first one, if otherwise
    attention_dropout: Probability = 0.6
    negative_slope: Positive = 0.2
    bias: bool = True
    share_weights: bool = False
    residual: bool | Literal["middle"] = False  # a projection of each layer's input; middle: not of the first and last

    activation: Literal["elu", "relu"] = "elu"
    # identity: a layer between the first and the last adds its input to its activated output. doubled: besides, that
    # output counts twice in training, as in the GATv2 authors' released code for sampled graphs; twice: always.
    # linear: a linear map of each layer's input, with bias, is added to its output before it is activated.
    # sum: what is activated after a layer is the sum of its output and all outputs before.
    # averaged: a layer's input, after dropout, is averaged with what it was at the layer before; averaged_by_two: that
    # of every second layer, with what it was two layers before.
    skip: Literal["none", "identity", "doubled", "twice", "linear", "sum", "averaged", "averaged_by_two"] = "none"
    layer_norm: bool = False  # of each layer's activated output, before dropout
    batch_norm: bool = False  # of each layer's output, before it is activated
    # linear: a linear map with ReLU comes before the first layer, one to the classes after the last, which is then as
    # the others are. gated: of numbers of whole graphs, as in `bench.training.readout`; all layers are as the first.
    ends: Literal["attention", "linear", "gated"] = "attention"
    decoder: LinkDecoder | None = None  # of data sets of links


class GraphBatches(Asked):
    """A step sees so many of the training graphs, whole; an epoch is a pass over all of them in random order."""

    by: Literal["whole graphs"] = "whole graphs"
    graphs: Count


class WalkBatches(Asked):
    """A step sees what so many random walks visit, from roots anywhere, and all edges between: GraphSAINT's walks."""

    by: Literal["random walks"] = "random walks"
    roots: Count
    length: Count  # edges of a walk
    steps: Count  # of an epoch


class NeighbourBatches(Asked):
    """A step sees so many training nodes, and for each layer so many of a node's neighbours, drawn once per step:
    GraphSAGE's sampling. Of a graph too large to be computed at once, `evaluated` nodes are drawn to validate, and as
    many to test, with neighbours drawn alike; they are the same in every epoch.
    """

    by: Literal["neighbours"] = "neighbours"
    targets: Count
    shuffle: bool = False  # they come in another order in each epoch
    fanout: Annotated[tuple[Count, ...], Field(min_length=1)]  # from the targets outwards
    steps: Count | None = None  # of an epoch, at most
    evaluated: Count | None = None  # nodes at most; all of them, on all edges, if absent
    # shared: every back end gets the very same parts; own: what its library's own sampler draws. What is
    # evaluated is shared always.
    sampler: Literal["shared", "own"] = "shared"


class LinkBatches(Asked):
    """A step sees so many training links in random order, and as many pairs of any nodes that stand for none; of the
    graph the whole, or with `fanout` so many neighbours of their nodes, as by `NeighbourBatches`.
    """

    by: Literal["links"] = "links"
    links: Count
    fanout: tuple[Count, ...] = ()
    steps: Count | None = None  # of an epoch, at most


Batches = Annotated[GraphBatches | WalkBatches | NeighbourBatches | LinkBatches, Field(discriminator="by")]


class Discard(Asked):
    """Runs that count as diverged, in the GATv2 authors' code: those that were discarded and run again."""

    above_loss: Positive  # no epoch's training loss was lower, up to half of the epochs or where patience ends
    before_epoch: Annotated[Whole, Field(ge=0, le=10**9)] = 0  # patience ended earlier


class RmsProp(Asked):
    """RMSProp as TensorFlow has it: mean squares start at 1."""

    decay: Probability = 0.9  # of the mean squares
    momentum: Probability = 0.0


class Training(Asked):
    """Adam, unless `rmsprop` is there. `stop_on` names the validation quantity that patience watches; accuracy is
    whatever is scored.
    """

    lr: Positive = 5e-3
    weight_decay: Annotated[Number, Field(ge=0)] = 5e-4
    max_epochs: Count = 1000
    patience_epochs: Count = 100
    min_epochs: Count = 1  # before which patience never ends
    # both: patience restarts when accuracy or loss is at least as good as ever, and the weights are
    # kept when both are (the GAT authors' rule); never: the last epoch counts.
    stop_on: Literal["both", "accuracy", "loss", "never"] = "both"
    batches: Batches | None = None  # one step an epoch, on all that trains, if absent
    clip_norm: Positive | None = None  # of the gradients of all layers together, and of the decoder's
    clip_each: Positive | None = None  # of each parameter's gradient on its own
    rmsprop: RmsProp | None = None
    validate_every_epochs: Count = 1  # each multiple, and the last epoch; only those can be kept
    validate_from_epoch: Count = 1
    discard: Discard | None = None

    @property
    def is_plain_adam(self) -> bool:
        """Whether a step is Adam's with the gradients as they are."""
        return self.clip_norm is None and self.clip_each is None and self.rmsprop is None

    def of_one_step(self) -> "Training":
        """What decides a single step; when training stops does not."""
        kept = {"lr", "weight_decay", "batches", "clip_norm", "clip_each", "rmsprop"}
        return Training(**{name: getattr(self, name) for name in kept})

    def validates(self, epoch: int) -> bool:
        """Whether an epoch is one after which is validated."""
        due = epoch >= self.validate_from_epoch and epoch % self.validate_every_epochs == 0
        return due or epoch == self.max_epochs


class FloatRange(Asked):
    """A number between `low` and `high`, of a setting that need not be whole."""

    low: Number
    high: Number
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low = {self.low} must be below high = {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range must start above 0, not at low = {self.low}")
        return self


class Choice(Asked):
    """One of the listed values."""

    choices: Annotated[tuple[Setting, ...], Field(min_length=2)]


def _dimension(given: object) -> str:
    """Which kind of dimension is meant, so that only its own mistakes are told."""
    choice = "choices" in given if isinstance(given, dict) else isinstance(given, Choice)
    return "choice" if choice else "range"


Dimension = Annotated[Annotated[FloatRange, Tag("range")] | Annotated[Choice, Tag("choice")], Discriminator(_dimension)]


class Tuning(Asked):
    """One Optuna study per operator and data set, shared by the back ends unless `scope` is "cell".

    Keys of `space` are dotted: `training.lr`, `architecture.hidden`. Trial 0 is the file's own settings.
    """

    trials: Annotated[Whole, Field(ge=0, le=10**6)] = 0
    seeds: tuple[Seed, ...] = ()
    scope: Literal["operator", "cell"] = "operator"
    max_epochs: Count | None = None  # per fit of a trial; the training's own if absent
    space: dict[str, Dimension] = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.trials and not self.seeds:
            raise ValueError("trials need seeds to be judged on: set tuning.seeds")
        if self.trials > 1 and not self.space:
            raise ValueError("more than one trial needs something to vary: set tuning.space")
        return self


class Timing(Asked):
    """How speed is measured: `rounds` fresh processes per cell, interleaved in random order.

    `fewer_rounds` says of whom fewer rounds are taken: of a back end, an operator, a data set, or of "2 threads". Where
    it names a cell more than once, the smallest number counts.
    """

    rounds: Annotated[Whole, Field(ge=0, le=10**4)] = 5
    fewer_rounds: dict[str, Count] = {}
    samples: Many = 15  # per round, track and phase
    min_sample_s: Seconds = 0.1  # steps per sample are calibrated to last this long
    max_phase_s: Seconds = 10.0  # fewer samples (at least 2) where a step is that slow
    tracks: Annotated[tuple[Track, ...], Field(min_length=1)] = ("as_shipped", "same_input")
    threads: Annotated[tuple[Many, ...], Field(min_length=1)] = (1,)
    self_test: str = ""  # back end measured twice under two names, which must come out equal
    ceilings: bool = False  # beside each round, what the machine can do at most: matrix product and copy
    parts: bool = False  # after each round, where a training step's time goes

    def rounds_of(self, names: Iterable[str], threads: int) -> int:
        """How often a cell is timed with so many threads; `names` are its back end, operator and data set."""
        return _fewest(self.rounds, self.fewer_rounds, (*names, thread_name(threads)))


class Budget(Asked):
    """What may be spent. A cell that would exceed it appears as not run, with the prediction."""

    cell_fit_s: Seconds = 3600.0  # all seeds of one cell
    study_s: Seconds = 3600.0  # one tuning study
    timing_s: Seconds | None = None  # all rounds of timing; what it does not allow is not run, but the first
    job_s: Seconds = 3600.0  # one job; killed beyond it
    memory_gib: Positive | None = None  # one job, enforced; the device's free memory, not enforced, if absent


class Statistics(Asked):
    """Margins and level of the verdicts."""

    confidence: Annotated[Number, Field(gt=0.5, lt=1)] = 0.95
    accuracy_margin_points: Positive = 1.0  # two back ends closer than this are equivalent
    time_margin: Annotated[Number, Field(gt=0, lt=1)] = 0.05  # ratio within 1 +- this is equal
    rivals: tuple[str, ...] = ()  # back ends against the best of which the others' times are held


Names = Annotated[tuple[str, ...], Field(min_length=1)]


class Experiment(Asked):
    """One TOML file; the product of its lists is the grid of cells.

    Without seeds nothing is trained: the experiment is about speed and memory alone. `fewer_seeds` says of which back
    end, operator or data set only the first so many are; where it names a cell more than once, the smallest number
    counts. Each setting of `sweep` is varied on its own, on the first data set, and timed.
    """

    title: str
    description: str = ""
    backends: Names
    operators: Names
    datasets: Names
    devices: Names
    seeds: tuple[Seed, ...]
    fewer_seeds: dict[str, Count] = {}
    protocol: Protocol = Protocol()
    architecture: Architecture = Architecture()
    training: Training = Training()
    tuning: Tuning = Tuning()
    timing: Timing = Timing()
    budget: Budget = Budget()
    statistics: Statistics = Statistics()
    sweep: dict[str, Annotated[tuple[Setting, ...], Field(min_length=1)]] = {}

    def seeds_of(self, names: Iterable[str]) -> tuple[Seed, ...]:
        """Those that a cell is trained with; `names` are its back end, operator and data set."""
        return self.seeds[: _fewest(len(self.seeds), self.fewer_seeds, names)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key in ("backends", "operators", "datasets", "devices", "seeds"):
            values = getattr(self, key)
            if len(set(values)) != len(values):
                raise ValueError(f"{key} names something twice: {list(values)}; leave one out")
        shared = sorted(set(self.seeds) & set(self.tuning.seeds))
        if shared and self.tuning.trials:
            raise ValueError(f"final seeds must differ from tuning.seeds; in both: {shared}")
        if self.sweep and not self.timing.rounds:
            raise ValueError("timing.rounds = 0 times nothing of what sweep varies; set it, or take [sweep] away")
        self._require_something_to_do()
        return self

    def _require_something_to_do(self) -> None:
        if self.seeds:
            return
        if self.tuning.trials:
            raise ValueError("without seeds nothing is trained, so there is nothing to tune: set tuning.trials = 0")
        if not self.timing.rounds:
            raise ValueError(
                "without seeds nothing is trained, and timing.rounds = 0 leaves nothing to be done: set one"
            )


def _fewest(most: int, fewer: Mapping[str, int], names: Iterable[str]) -> int:
    return min([most, *(fewer[name] for name in names if name in fewer)])


def thread_name(count: int) -> str:
    """ "2 threads"."""
    return f"{count} thread{'' if count == 1 else 's'}"
