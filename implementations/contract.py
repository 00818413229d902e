"""What a back end and an operator promise, and the few values they exchange.

Everything here is structural: another package satisfies `Backend` or `Operator` without importing it,
and proves that it does with `python -m implementations.conformance`.

Symbols: N nodes, E edges, F input features, H heads, C channels per head; node j is a source, i a target.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

CONTRACT_VERSION = 2

Params = Mapping[str, Tensor]
"""Canonical parameter name -> value in its canonical shape."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A directed multigraph, structure only.

    Edge k runs from the source `edge_index[0, k]` to the target `edge_index[1, k]`. Repeated edges are
    distinct edges, each with a term of its own in the softmax; a node without incoming edges aggregates
    zero. No back end adds, removes or merges edges: `with_self_loops` is called by whoever wants them.
    """

    num_nodes: int
    edge_index: Tensor  # [2, E] int64

    @property
    def num_edges(self) -> int:
        """E, repeated edges counted each time."""
        return int(self.edge_index.shape[1])

    @property
    def sources(self) -> Tensor:
        """[E] where each edge comes from."""
        return self.edge_index[0]

    @property
    def targets(self) -> Tensor:
        """[E] where each edge goes to."""
        return self.edge_index[1]

    def with_self_loops(self) -> "Graph":
        """The same graph with one self-loop on every node that has none."""
        looped = torch.zeros(self.num_nodes, dtype=torch.bool, device=self.edge_index.device)
        looped[self.sources[self.sources == self.targets]] = True
        missing = (~looped).nonzero().squeeze(-1)
        loops = missing.expand(2, -1)
        return Graph(self.num_nodes, torch.cat([self.edge_index, loops], dim=1))

    def to(self, device: torch.device) -> "Graph":
        """The same graph with its edges on another device."""
        return Graph(self.num_nodes, self.edge_index.to(device))


@dataclass(frozen=True)
class LayerConfig:
    """One attention layer, the same for every back end.

    Raises:
        ValueError: attention_dropout is no probability, or 1, after which nothing would be left to divide by.
    """

    in_channels: int  # F
    out_channels: int  # C, per head
    heads: int  # H
    concat: bool = True  # heads side by side [N, H*C]; otherwise their mean [N, C]
    bias: bool = True
    negative_slope: float = 0.2  # of the LeakyReLU inside the score
    share_weights: bool = False  # GATv2: one weight for sources and targets
    attention_dropout: float = 0.0  # probability, on the coefficients, in training only
    residual: bool = False  # adds a linear projection of the layer's input, without bias

    def __post_init__(self) -> None:
        if not 0 <= self.attention_dropout < 1:
            raise ValueError(f"attention_dropout is {self.attention_dropout} and should be at least 0 and less than 1")

    @property
    def out_features(self) -> int:
        """Width of the layer's output: H*C when heads are concatenated, C when averaged."""
        return self.heads * self.out_channels if self.concat else self.out_channels


class Terms(NamedTuple):
    """What an operator computes once per node, before it looks at pairs."""

    source: Tensor  # [N, H, K] a node's part in a pair's score when it is the source
    target: Tensor  # [N, H, K] ... when it is the target
    values: Tensor  # [N, H, C] what a source sends


class Attended(NamedTuple):
    """What the reference says of a block of targets."""

    aggregated: Tensor  # [T, H, C] before heads are merged, without bias and residual
    attention: Tensor  # [T, S, H] coefficient of *one* edge from s to t; zero where there is none


class Operator(Protocol):
    """The mathematics of an attention layer. A module with these six names qualifies."""

    @property
    def name(self) -> str:
        """What a person calls it: `gat`."""
        ...

    def shapes(self, config: LayerConfig) -> dict[str, tuple[int, ...]]:
        """Canonical parameter names and shapes, in a fixed order."""
        ...

    def init(self, config: LayerConfig, generator: torch.Generator) -> dict[str, Tensor]:
        """Start values, float32, drawn in the order of `shapes`."""
        ...

    def terms(self, config: LayerConfig, params: Params, x: Tensor) -> Terms:
        """The per-node terms, from x [N, F], dense or sparse CSR."""
        ...

    def score(self, config: LayerConfig, params: Params, pair: Tensor) -> Tensor:
        """Unnormalised score [..., H] from `source[j] + target[i]`, [..., H, K]."""
        ...

    def reference(
        self, config: LayerConfig, params: Params, target_x: Tensor, source_x: Tensor, count: Tensor
    ) -> Attended:
        """The paper's equation, dense: target_x [T, F], source_x [S, F], count [T, S] edges of each pair.

        Written to be read and to be right in float64; independent of `terms` and `score`, so that the
        back ends built on those are checked against something else.
        """
        ...


@dataclass(frozen=True)
class Fact:
    """One question of semantics: what the library does if nothing is said, and what runs here."""

    native: str
    here: str


Semantics = Mapping[str, Fact]
"""Topic (one of `SEMANTIC_TOPICS`) -> fact."""

SEMANTIC_TOPICS = (
    "self-loops",
    "bias sites",
    "initialisation",
    "dropout sites",
    "weight sharing",
    "duplicate edges",
)
# Further topics, for a back end of which they are true; every table of throughput says them beside its name.
TRAINING_STEP = "training step"  # what it takes over, where that is neither its layers nor the whole step
AMOUNT_OF_WORK = "amount of work"  # in which way it does another amount of work than the rest


@dataclass(frozen=True, eq=False)
class TrainingProblem:
    """A network and what it is trained on, on the device: what a whole training step is about.

    x_0 = x;  x_{k+1} = ELU(layer_k(dropout(x_k)));  logits = layer_L(dropout(x_L))
    loss = mean cross-entropy of the logits of `nodes`;  Adam, weight decay added to the gradient
    """

    layers: Sequence[nn.Module]  # the back end's own, first to last
    configs: Sequence[LayerConfig]
    feature_dropout: float  # on the input of every layer, in training
    x: Tensor  # [N, F], dense or sparse CSR
    prepared: Any
    y: Tensor  # [N] int64
    nodes: Tensor  # [n] int64, those whose loss is minimised
    lr: float
    weight_decay: float


class Trainer(Protocol):
    """Something that trains a network, one full-batch step after another."""

    def step(self) -> Tensor:
        """Forward, loss, backward, Adam, in place; the loss before the update, a scalar."""
        ...

    def logits(self) -> Tensor:
        """Forward in evaluation mode with the parameters as they are now, without gradients: [N, classes]."""
        ...

    def parts(self, steps: int) -> Mapping[str, float] | None:
        """What a step is made of, by name: mean seconds over so many further steps.

        None where a profiler of torch's operations sees as much.
        """
        ...


class Backend(Protocol):
    """One way of computing operators. Structural: no base class, no registration."""

    @property
    def name(self) -> str:
        """What a person calls it; equal to the file's name for built-in back ends."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions that decide its numbers; their versions are part of every record."""
        ...

    @property
    def sparse_features(self) -> bool:
        """Whether layers take x as a sparse CSR tensor too."""
        ...

    @property
    def shipped_features(self) -> Literal["dense", "sparse"]:
        """The form of x in which its own users and examples run it: the input of the track "as shipped"."""
        ...

    @property
    def semantics(self) -> Semantics:
        """What the library does by itself and what runs here, by topic."""
        ...

    def unsupported(self, operator: Operator, config: LayerConfig, device: torch.device) -> str | None:
        """Why this combination cannot run, as a sentence for the table, or None."""
        ...

    def memory_bytes(self, operator: Operator, config: LayerConfig, num_nodes: int, num_edges: int) -> int:
        """Predicted peak of one training step of one layer in float32, beyond its input."""
        ...

    def prepare(self, graph: Graph, device: torch.device) -> Any:
        """The graph in this library's own form; runs once and is timed on its own."""
        ...

    def layer(self, operator: Operator, config: LayerConfig) -> nn.Module:
        """A module whose call (x [N, F], prepared) gives [N, config.out_features].

        Its random numbers follow from `torch.manual_seed`: the same seed draws the same masks.
        """
        ...

    def names(self, operator: Operator, config: LayerConfig) -> Mapping[str, str]:
        """Canonical parameter name -> the layer's own; one entry for every parameter."""
        ...

    def attention(self, layer: nn.Module, x: Tensor, prepared: Any) -> Tensor:
        """Coefficients [E, H] in the order of `graph.edge_index`, in evaluation mode."""
        ...

    def dropout(self, x: Tensor, probability: float) -> Tensor:
        """Dropout of a layer's input [N, F], as this library's users drop features; asked for in training only.

        Each entry is zero with `probability`, else divided by 1 - `probability`. Of a sparse x, stored entries only.
        """
        ...

    def whole_step(self, operator: Operator, problem: TrainingProblem) -> Trainer | None:
        """The whole training step as this back end does it by itself, on the layers' own parameters.

        None for most: then the runner's loop goes through autograd and torch's Adam.
        """
        ...


class Drawn(NamedTuple):
    """A part of a graph around some targets, as a library's own sampler draws it."""

    nodes: Tensor  # [n] numbers in the whole graph, each once; the targets first, in their order
    edges: Sequence[Tensor]  # [2, m] sources and targets as places in `nodes`: of each layer, or one for all layers


class DrawsBlocks(Protocol):
    """A sampler on one graph."""

    def __call__(self, targets: Tensor, at_once: int) -> Iterator[Drawn]:
        """One pass over the targets in their order, so many at a time."""
        ...


@runtime_checkable
class Sampling(Protocol):
    """What a back end has besides, if its library samples neighbours itself (Hamilton et al. 2017)."""

    def unsampled(self) -> str | None:
        """Why it cannot sample here, as a sentence for the table, or None."""
        ...

    def sampler(self, starts: Tensor, neighbours: Tensor, fanout: Sequence[int], seed: int) -> DrawsBlocks:
        """The library's own sampler of incoming edges, without replacement.

        Args:
            starts: [N + 1] int64, where the sources of each node's incoming edges begin in `neighbours`.
            neighbours: [E] integers, without self-loops.
            fanout: edges at most into each node, from the targets outwards: of the last layer first.
            seed: of the library's random numbers.
        """
        ...


@runtime_checkable
class BuildsOn(Protocol):
    """What a back end says besides, if it runs another one's layers: a change of those changes its results, too."""

    @property
    def builds_on(self) -> str:
        """The other's name."""
        ...


def message_passing_bytes(config: LayerConfig, num_nodes: int, num_edges: int) -> int:
    """An answer to `Backend.memory_bytes` for layers that keep a term of C channels for every edge and head."""
    # Gathered terms, their LeakyReLU and product, gathered values, messages, and as many gradients.
    per_edge = 10 * config.heads * config.out_channels + 8 * config.heads
    per_node = 6 * config.heads * config.out_channels
    return 4 * (num_edges * per_edge + num_nodes * per_node)
