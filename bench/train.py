"""The training step, and fitting with early stopping on validation. The test nodes are not in reach here."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.config import Training
from bench.network import Network
from bench.task import Split
from implementations.contract import Trainer, TrainingProblem


class Diverged(Exception):
    """The training loss is no longer a number."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a step needs besides the model, on the device."""

    x: Tensor
    prepared: Any
    y: Tensor
    split: Split


@dataclass
class Curves:
    """One value per epoch; losses are mean cross-entropies, accuracy a fraction."""

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Fit:
    """The weights that the stopping rule kept."""

    state: dict[str, Tensor]
    epochs: int
    best_epoch: int
    validation: float
    curves: Curves


def trainer(network: Network, inputs: Inputs, training: Training) -> Trainer:
    """Who trains the network: its back end, where that owns the whole step, or else autograd and torch's Adam."""
    problem = TrainingProblem(
        layers=list(network.layers),
        configs=network.configs,
        feature_dropout=network.feature_dropout,
        x=inputs.x,
        prepared=inputs.prepared,
        y=inputs.y,
        nodes=inputs.split.train,
        lr=training.lr,
        weight_decay=training.weight_decay,
    )
    return network.whole_step(problem) or Autograd(network, inputs, training)


class Autograd:
    """Training through autograd; Adam with L2 on every parameter, as the GAT authors' code has it."""

    def __init__(self, model: nn.Module, inputs: Inputs, training: Training) -> None:
        self.model, self.inputs = model, inputs
        # Fused: one pass over each parameter, where the default makes a tensor of every intermediate.
        self.adam = torch.optim.Adam(model.parameters(), lr=training.lr, weight_decay=training.weight_decay, fused=True)

    def step(self) -> Tensor:
        """Forward, loss on the training nodes, backward, Adam. Returns the loss."""
        self.model.train()
        self.adam.zero_grad(set_to_none=True)
        nodes = self.inputs.split.train
        loss = F.cross_entropy(self.model(self.inputs.x, self.inputs.prepared)[nodes], self.inputs.y[nodes])
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        return loss.detach()

    def logits(self) -> Tensor:
        """Forward in evaluation mode, without gradients: [N, classes]."""
        self.model.eval()
        with torch.no_grad():
            output: Tensor = self.model(self.inputs.x, self.inputs.prepared)
        return output

    def parts(self, steps: int) -> None:
        """See `Trainer`: a profiler sees them."""


def fit(
    model: nn.Module,
    trainer: Trainer,
    inputs: Inputs,
    training: Training,
    on_epoch: Callable[[int, float], None] = lambda epoch, accuracy: None,
) -> Fit:
    """Train `model` with its `trainer` until the stopping rule says so, and keep what it says to keep.

    Raises:
        Diverged: the loss became infinite or not a number.
    """
    rule = StoppingRule(training)
    curves = Curves()
    kept = model.state_dict()
    for epoch in range(1, training.max_epochs + 1):
        loss = float(trainer.step())
        if not math.isfinite(loss):
            raise Diverged(f"the training loss became {loss} in epoch {epoch}")
        validation_loss, accuracy = _validate(trainer, inputs)
        curves.train_loss.append(loss)
        curves.validation_loss.append(validation_loss)
        curves.validation_accuracy.append(accuracy)
        on_epoch(epoch, accuracy)
        if rule.keeps(epoch, accuracy, validation_loss):
            kept = {name: value.clone() for name, value in model.state_dict().items()}
        if rule.patience_is_over(epoch):
            break
    best = rule.kept_epoch
    return Fit(kept, epoch, best, curves.validation_accuracy[best - 1], curves)


class StoppingRule:
    """Which weights to keep and when to stop; a tie counts as an improvement.

    both: patience restarts when accuracy or loss improves, weights are kept when both do (the GAT authors' code);
    accuracy, loss: that quantity alone; never: the last epoch, whatever it brought.
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


def _validate(trainer: Trainer, inputs: Inputs) -> tuple[float, float]:
    """Mean cross-entropy and accuracy on the validation nodes."""
    nodes = inputs.split.validation
    output, y = trainer.logits()[nodes], inputs.y[nodes]
    loss = F.cross_entropy(output, y)
    hits = (output.argmax(-1) == y).sum()
    loss_value, hit_count = torch.stack([loss, hits.to(loss.dtype)]).tolist()  # one read from the device
    return loss_value, hit_count / len(nodes)
