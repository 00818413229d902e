"""Studies: experiments with a protocol of their own, each one TOML file whose first key is `kind`.

`lookup` is figure 3 of Brody, Alon and Yahav 2022, `attention` their figure 1. The defaults of `LookupTraining` are
the published settings, so whatever a file sets otherwise is a deviation that the table states.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bench.config import (
    Architecture,
    Asked,
    Count,
    Number,
    Positive,
    Probability,
    Protocol,
    Seconds,
    Seed,
    Training,
    Whole,
)

Fraction = Annotated[Number, Field(gt=0, lt=1)]
Percent = Annotated[Number, Field(ge=0, le=100)]


class LookupArchitecture(Asked):
    """Embeddings of key and value are added; ReLU; one attention layer; a linear map to the values, without bias."""

    features: Count = 128  # all heads together
    heads: Count = 1
    negative_slope: Positive = 0.2
    bias: bool = False  # of the attention layer
    share_weights: bool = True  # GATv2
    self_loops: bool = False

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.features % self.heads:
            raise ValueError(f"features = {self.features} must be a multiple of heads = {self.heads}")
        return self


class LayerHabits(Asked):
    """What the released code does differently from one operator to the other."""

    bias: bool = False
    share_weights: bool = True
    self_loops: bool = False


class LookupProtocol(Asked):
    """How the graphs are split and what is counted."""

    name: str
    # graphs: at random; pairs: test graphs are all those with a (key, value) pair that training never shows.
    split: Literal["graphs", "pairs"] = "graphs"
    output_dropout: Probability = 0.0  # after the attention layer, in evaluation too, as in the released code
    clip_norm: Positive | None = None


class StudyProtocol(LookupProtocol):
    """A protocol as a file has it: with the habits of each operator's layer, by name; `LayerHabits()` for others."""

    layer: dict[str, LayerHabits] = {}

    def plain(self) -> LookupProtocol:
        """Without the layers, which go into the architecture."""
        return LookupProtocol.model_validate(self.model_dump(exclude={"layer"}))


class LookupTraining(Asked):
    """Adam; the learning rate is halved, and training ends, when test accuracy no longer rises."""

    lr: Positive = 1e-3
    batch_graphs: Count = 1024
    max_graphs: Count = 32000  # all permutations, if fewer
    train_fraction: Fraction = 0.8
    evaluate_every_epochs: Count = 100
    evaluate_every_steps: Count | None = None  # instead of epochs
    max_epochs: Count = 50000
    max_steps: Count | None = None  # if that is less
    plateau_factor: Fraction = 0.5
    plateau_evaluations: Count = 10
    patience_evaluations: Count = 20

    def deviations(self) -> Iterator[str]:
        """Where this is not as published, as words for the table."""
        published = LookupTraining()
        for name, value in self:
            if value != getattr(published, name) and name not in ("evaluate_every_steps", "max_steps"):
                yield f"{name} {value:g} instead of {getattr(published, name):g}"
        if self.evaluate_every_steps:
            steps, epochs = self.evaluate_every_steps, published.evaluate_every_epochs
            yield f"evaluated every {steps} steps instead of {epochs} epochs"
        if self.max_steps:
            yield f"at most {self.max_steps} steps instead of {published.max_epochs} epochs"


class LookupModel(Asked):
    """One curve of the figure."""

    name: str
    operator: str
    heads: Count = 1


class PublishedCurve(Asked):
    """Accuracies in percent as read off the figure, one per entry of `sizes`."""

    model: str
    subset: Literal["train", "test"]
    sizes: tuple[Count, ...]
    values: tuple[Percent, ...]

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        if len(self.sizes) != len(self.values):
            raise ValueError(f"{len(self.values)} values must be as many as there are sizes, {len(self.sizes)}")
        return self


class Published(Asked):
    """Where the published points come from, and how far they can be trusted."""

    source: str
    runs: Count
    error_points: Percent  # of reading them off a picture
    curves: tuple[PublishedCurve, ...]


class _Study(Asked):
    title: str
    description: str = ""
    device: str = "cpu"
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    job_s: Seconds = 3600.0  # one job; killed beyond it


class LookupStudy(_Study):
    """Accuracy on DictionaryLookup against the number of keys."""

    kind: Literal["lookup"]
    sizes: Annotated[tuple[Annotated[Whole, Field(ge=2, le=10**4)], ...], Field(min_length=1)]
    models: Annotated[tuple[LookupModel, ...], Field(min_length=1)]
    protocols: Annotated[tuple[StudyProtocol, ...], Field(min_length=1)]
    training: LookupTraining = LookupTraining()
    published: Published | None = None

    @property
    def datasets(self) -> tuple[str, ...]:
        """None: its graphs are generated."""
        return ()


class AttentionLookup(Asked):
    """The part on DictionaryLookup."""

    size: Annotated[Whole, Field(ge=2, le=10**4)] = 10
    protocol: StudyProtocol = StudyProtocol(name="paper")
    training: LookupTraining = LookupTraining()
    graphs: Count = 500  # test graphs that are looked at


class AttentionGraph(Asked):
    """The part on one graph, trained as a fit is."""

    backend: str
    dataset: str
    protocol: Protocol = Protocol()
    architecture: Architecture = Architecture()
    training: Training = Training()
    min_degree: Annotated[Whole, Field(ge=2, le=10**4)] = 5  # with the self-loop


class AttentionStudy(_Study):
    """Static against dynamic attention."""

    kind: Literal["attention"]
    models: Annotated[tuple[LookupModel, ...], Field(min_length=1)]  # on DictionaryLookup
    operators: Annotated[tuple[str, ...], Field(min_length=1)]  # on the graph
    lookup: AttentionLookup = AttentionLookup()
    graph: AttentionGraph

    @property
    def datasets(self) -> tuple[str, ...]:
        """What its jobs read, besides graphs that are generated."""
        return (self.graph.dataset,)


Study = LookupStudy | AttentionStudy
SCHEMAS: dict[str, type[LookupStudy] | type[AttentionStudy]] = {"lookup": LookupStudy, "attention": AttentionStudy}
