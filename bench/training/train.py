"""The training step, and fitting with early stopping on validation. The test nodes are not in reach here."""

import itertools
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bench.config import Training
from bench.training import objective
from bench.training.network import Network
from bench.training.optimizer import optimizer
from bench.training.parts import Batches
from bench.training.readout import of_graphs
from implementations.contract import Trainer, TrainingProblem


class Diverged(Exception):
    """The training loss is no longer a number."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """A graph with its features and labels, on the device, and which of its nodes count."""

    x: Tensor
    prepared: Any  # the graph in the back end's own form; of several relations, one for each
    y: Tensor
    nodes: Tensor  # or links
    metric: str = ""  # what is scored, as in `bench.task.DatasetInfo`
    unit: float = 1.0
    graph_of: Tensor | None = None  # as in `bench.training.parts.Part`


@dataclass(frozen=True, eq=False)
class Material:
    """What training sees besides the model."""

    batches: Batches[Inputs]
    validation: Inputs

    def whole(self) -> Inputs | None:
        """The one graph that is learned from, if it is also validated on, and nodes are what counts."""
        if len(self.batches) != 1 or has_links(self.validation.nodes):
            return None
        (only,) = self.batches
        return only if only.prepared is self.validation.prepared else None


@dataclass
class Curves:
    """One value per epoch; losses and scores are those of `bench.training.objective`."""

    train_loss: list[float] = field(default_factory=list)  # mean over the epoch's steps, before each update
    validation_loss: list[float] = field(default_factory=list)  # nan where nothing was validated
    validation_score: list[float] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Fit:
    """The weights that the stopping rule kept."""

    state: dict[str, Tensor]
    epochs: int
    best_epoch: int
    validation: float
    curves: Curves


def trainer(network: Network, material: Material, training: Training) -> Trainer:
    """Who trains the network: its back end, where that owns the whole step, or else autograd and torch's Adam.

    A whole step is that of a node classification on one graph (`TrainingProblem`), by Adam.
    """
    whole = material.whole()
    if whole is None or objective.has_many_labels(whole.y) or not training.is_plain_adam:
        return Autograd(network, material, training)
    problem = TrainingProblem(
        layers=list(network.layers),
        configs=network.configs,
        feature_dropout=network.feature_dropout,
        x=whole.x,
        prepared=whole.prepared,
        y=whole.y,
        nodes=whole.nodes,
        lr=training.lr,
        weight_decay=training.weight_decay,
    )
    return network.whole_step(problem) or Autograd(network, material, training)


def has_links(nodes: Tensor) -> bool:
    """Whether these are links [3, n] instead of node numbers [n]."""
    return nodes.dim() == 2


def asked(
    model: nn.Module, output: Tensor, y: Tensor, nodes: Tensor, graph_of: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Logits and labels of what counts, from a network's output for all nodes."""
    if graph_of is not None:
        return of_graphs(output, y, graph_of)
    if has_links(nodes):
        return decoded(model, output, nodes), nodes[2].to(output.dtype)
    return output[nodes], y[nodes]


def decoded(model: nn.Module, output: Tensor, pairs: Tensor) -> Tensor:
    """A logit of each pair of nodes, [n], from a network's output for all nodes; pairs are columns of [2, n]."""
    logits: Tensor = model.get_submodule("decoder")(output, pairs)
    return logits


class Autograd:
    """Training through autograd."""

    def __init__(self, model: nn.Module, material: Material, training: Training) -> None:
        self.model, self.validation, self.training = model, material.validation, training
        self.batches = itertools.chain.from_iterable(itertools.repeat(material.batches))
        self.optimizer = optimizer(model.parameters(), training)

    def step(self) -> Tensor:
        """Forward, loss on what trains in the next batch, backward, optimizer. Returns the loss."""
        batch = next(self.batches)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        output = self.model(batch.x, batch.prepared)
        loss = objective.loss(*asked(self.model, output, batch.y, batch.nodes, batch.graph_of), batch.metric)
        loss.backward()  # type: ignore[no-untyped-call]
        self._clip()
        self.optimizer.step()
        return loss.detach()

    def _clip(self) -> None:
        if self.training.clip_each is not None:
            for parameter in self.model.parameters():
                nn.utils.clip_grad_norm_(parameter, self.training.clip_each)
        if self.training.clip_norm is not None:
            self._clip_together(self.training.clip_norm)

    def _clip_together(self, norm: float) -> None:
        named = list(self.model.named_parameters())
        decodes = [parameter for name, parameter in named if name.startswith("decoder.")]
        attends = [parameter for name, parameter in named if not name.startswith("decoder.")]
        for parameters in filter(None, (attends, decodes)):
            nn.utils.clip_grad_norm_(parameters, norm)

    def logits(self) -> Tensor:
        """Forward in evaluation mode on what validates, without gradients: [N, classes]."""
        return evaluate(self.model, self.validation)

    def parts(self, steps: int) -> None:
        """See `Trainer`: a profiler sees them."""


def evaluate(model: nn.Module, inputs: Inputs) -> Tensor:
    """Logits in evaluation mode, without gradients: [N, classes]."""
    model.eval()
    with torch.no_grad():
        output: Tensor = model(inputs.x, inputs.prepared)
    return output


def fit(
    model: nn.Module,
    trainer: Trainer,
    material: Material,
    training: Training,
    on_epoch: Callable[[int, float], None] = lambda epoch, score: None,
) -> Fit:
    """Train `model` with its `trainer` until the stopping rule says so, and keep what it says to keep.

    Raises:
        Diverged: the loss became infinite or not a number, or the run is one that `training.discard` takes for such.
    """
    rule = StoppingRule(training)
    curves = Curves()
    kept = model.state_dict()
    for epoch in range(1, training.max_epochs + 1):
        loss = statistics.fmean(float(trainer.step()) for _ in range(len(material.batches)))
        if not math.isfinite(loss):
            raise Diverged(f"the training loss became {loss} in epoch {epoch}")
        validates = training.validates(epoch)
        validation_loss, score = _validate(model, trainer, material.validation) if validates else (math.nan, math.nan)
        curves.train_loss.append(loss)
        curves.validation_loss.append(validation_loss)
        curves.validation_score.append(score)
        if validates:
            on_epoch(epoch, score)
        if validates and rule.keeps(epoch, score, validation_loss):
            kept = {name: value.clone() for name, value in model.state_dict().items()}
        _require_learning(training, epoch, min(curves.train_loss))
        if validates and epoch >= training.min_epochs and rule.patience_is_over(epoch):
            break
    _require_end(training, epoch, min(curves.train_loss))
    best = rule.kept_epoch
    return Fit(kept, epoch, best, curves.validation_score[best - 1], curves)


def _require_learning(training: Training, epoch: int, lowest_loss: float) -> None:
    """Halfway, whoever has not learned anything yet is given up."""
    if training.discard and epoch > training.max_epochs // 2 and lowest_loss > training.discard.above_loss:
        raise Diverged(
            f"the training loss was never below {lowest_loss:.3g} in {epoch} epochs; "
            f"training.discard asks for {training.discard.above_loss:g}"
        )


def _require_end(training: Training, epoch: int, lowest_loss: float) -> None:
    if training.discard is None or epoch == training.max_epochs:
        return
    if lowest_loss > training.discard.above_loss or epoch < training.discard.before_epoch:
        raise Diverged(
            f"it stopped after {epoch} epochs with a lowest training loss of {lowest_loss:.3g}; "
            f"training.discard asks for {training.discard.above_loss:g} and {training.discard.before_epoch} epochs"
        )


class StoppingRule:
    """Which weights to keep and when to stop; a tie counts as an improvement.

    both: patience restarts when accuracy or loss improves, weights are kept when both do (the GAT authors' code);
    accuracy, loss: that quantity alone; never: the last epoch, whatever it brought. Accuracy is whatever is scored.
    """

    def __init__(self, training: Training) -> None:
        self.stop_on = training.stop_on
        self.patience_epochs = training.patience_epochs
        self.best_accuracy, self.lowest_loss = -math.inf, math.inf
        self.improved_epoch = 0
        self.kept_epoch = 1

    def keeps(self, epoch: int, accuracy: float, loss: float) -> bool:
        """Whether this epoch's weights replace the kept ones."""
        better_accuracy, lower_loss = accuracy >= self.best_accuracy, loss <= self.lowest_loss
        self.best_accuracy = max(self.best_accuracy, accuracy)
        self.lowest_loss = min(self.lowest_loss, loss)
        improves, keeps = {
            "both": (better_accuracy or lower_loss, better_accuracy and lower_loss),
            "accuracy": (better_accuracy, better_accuracy),
            "loss": (lower_loss, lower_loss),
            "never": (True, True),
        }[self.stop_on]
        if improves:
            self.improved_epoch = epoch
        if keeps:
            self.kept_epoch = epoch
        return keeps

    def patience_is_over(self, epoch: int) -> bool:
        """Whether the last improvement is `patience_epochs` ago."""
        return epoch - self.improved_epoch >= self.patience_epochs


def _validate(model: nn.Module, trainer: Trainer, validation: Inputs) -> tuple[float, float]:
    """Loss and score on the validation nodes."""
    with torch.no_grad():
        logits, y = asked(model, trainer.logits(), validation.y, validation.nodes, validation.graph_of)
    score = objective.score(logits, y, validation.metric, validation.unit)
    return float(objective.loss(logits, y, validation.metric)), score
