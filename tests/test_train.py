"""Training stops and keeps weights by the declared rule."""

import math

import pytest
import torch
from torch import nn

from bench.config import Architecture, Discard, RmsProp, Training
from bench.training import objective, train
from bench.training.network import Between, Ends, Network, TorchLinear
from bench.training.train import Autograd, Diverged, Fit, Inputs, Material, StoppingRule
from implementations.contract import TrainingProblem
from implementations.features import dropout

# Validation accuracy and loss by epoch: accuracy peaks in epoch 2, loss is lowest in epoch 4.
HISTORY = [(0.5, 1.0), (0.7, 0.9), (0.6, 0.8), (0.6, 0.7), (0.6, 0.75), (0.6, 0.76), (0.6, 0.77)]


def play(stop_on: str, patience_epochs: int = 3) -> tuple[int, int]:
    """The kept epoch, and the epoch in which training stops."""
    rule = StoppingRule(Training(stop_on=stop_on, patience_epochs=patience_epochs))
    for epoch, (accuracy, loss) in enumerate(HISTORY, 1):
        rule.keeps(epoch, accuracy, loss)
        if rule.patience_is_over(epoch):
            return rule.kept_epoch, epoch
    return rule.kept_epoch, len(HISTORY)


@pytest.mark.parametrize(
    ("stop_on", "kept", "stopped"),
    [("both", 2, 7), ("accuracy", 2, 5), ("loss", 4, 7), ("never", 7, 7)],
)
def test_the_rule_decides_what_is_kept_and_when_to_stop(stop_on, kept, stopped):
    assert play(stop_on) == (kept, stopped)


def test_a_tie_counts_as_an_improvement():
    rule = StoppingRule(Training(stop_on="accuracy"))
    assert rule.keeps(1, 0.5, 1.0)
    assert rule.keeps(2, 0.5, 1.0)
    assert rule.kept_epoch == 2


class Scaled(nn.Module):
    """Logits are the features times a trained number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: torch.Tensor, prepared: object) -> torch.Tensor:
        return x * self.scale


def inputs(x: torch.Tensor) -> Material:
    """The first half trains and the second validates, both of one graph."""
    train, validation = torch.arange(len(x)).chunk(2)
    y = torch.zeros(len(x), dtype=torch.int64)
    return Material([Inputs(x, None, y, train)], Inputs(x, None, y, validation))


def fit(model: nn.Module, data: Material, training: Training) -> Fit:
    return train.fit(model, Autograd(model, data, training), data, training)


def test_fitting_lowers_the_loss_and_keeps_one_curve_value_per_epoch():
    fitted = fit(Scaled(), inputs(torch.tensor([[1.0, -1.0]] * 6)), Training(max_epochs=20, lr=0.1))
    assert fitted.epochs == len(fitted.curves.train_loss) == len(fitted.curves.validation_score) == 20
    assert fitted.curves.train_loss[-1] < fitted.curves.train_loss[0]
    assert fitted.validation == 1.0


def test_the_kept_weights_are_those_of_the_best_epoch():
    model = Scaled()
    data = inputs(torch.tensor([[1.0, -1.0]] * 3 + [[-1.0, 1.0]] * 3))  # what training learns is wrong in validation
    fitted = fit(model, data, Training(max_epochs=10, lr=0.1, stop_on="loss"))
    assert fitted.best_epoch == 1
    assert float(fitted.state["scale"]) < float(model.scale.detach())


def test_a_loss_that_is_no_number_is_named_with_its_epoch():
    with pytest.raises(Diverged, match="nan in epoch 1"):
        fit(Scaled(), inputs(torch.full((4, 2), float("nan"))), Training(max_epochs=3))


def test_evaluation_leaves_no_gradient_and_no_training_mode():
    model = Scaled()
    assert not Autograd(model, inputs(torch.ones(4, 2)), Training()).logits().requires_grad
    assert not model.training


class Counting:
    """A back end's own trainer, which remembers what it was asked to train."""

    def __init__(self, problem: TrainingProblem) -> None:
        self.problem, self.steps = problem, 0

    def step(self) -> torch.Tensor:
        self.steps += 1
        return torch.tensor(1 / self.steps)

    def logits(self) -> torch.Tensor:
        return self.problem.x

    def parts(self, steps: int) -> dict[str, float]:
        return {"counting": 0.001, "waiting": 0.002}


def test_a_back_end_that_owns_the_whole_step_trains_the_network_itself():
    data, training = inputs(torch.ones(6, 2)), Training(max_epochs=3, lr=0.25, stop_on="never")
    model = Network([Scaled()], [], 0.5, dropout, Counting)
    trainer = train.trainer(model, data, training)
    assert isinstance(trainer, Counting)
    assert (trainer.problem.lr, trainer.problem.feature_dropout) == (0.25, 0.5)
    assert train.fit(model, trainer, data, training).curves.train_loss == pytest.approx([1, 1 / 2, 1 / 3])
    assert trainer.steps == 3


@pytest.mark.parametrize(("probability", "training"), [(0.0, True), (0.5, False)])
def test_nothing_is_dropped_in_evaluation_or_with_probability_zero(probability, training):
    x = torch.ones(6, 2)
    model = Network([Scaled(), Scaled()], [], probability, dropout, lambda problem: None).train(training)
    with torch.no_grad():
        torch.testing.assert_close(model(x, None), model.layers[1](model.layers[0](x, None), None))


def test_without_one_the_network_trains_through_autograd():
    data = inputs(torch.ones(6, 2))
    assert isinstance(
        train.trainer(Network([Scaled()], [], 0.5, dropout, lambda problem: None), data, Training()), Autograd
    )


@pytest.mark.parametrize("changed", [{"clip_norm": 1.0}, {"clip_each": 1.0}, {"rmsprop": RmsProp()}])
def test_a_step_that_is_not_plain_adams_goes_through_autograd_on_every_back_end(changed):
    model = Network([Scaled()], [], 0.5, dropout, Counting)
    assert isinstance(train.trainer(model, inputs(torch.ones(6, 2)), Training(**changed)), Autograd)


def labelled(x: torch.Tensor, *, whole: bool) -> Material:
    """Two labels a node, each as the sign of its feature says; validated on the same graph or on another."""
    nodes, prepared = torch.arange(len(x)), object()
    batch = Inputs(x, prepared, (x > 0).float(), nodes)
    return Material([batch], Inputs(x, prepared if whole else object(), (x > 0).float(), nodes))


def test_many_labels_are_learned_one_by_one_and_scored_together():
    x = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    fitted = fit(Scaled(), labelled(x, whole=True), Training(max_epochs=30, lr=0.1, stop_on="never"))
    assert fitted.curves.train_loss[0] == pytest.approx(math.log(1 + math.exp(-0.1)))  # each logit is 0.1 and right
    assert fitted.curves.train_loss[-1] < 0.5 * fitted.curves.train_loss[0]
    assert fitted.validation == 1.0


def test_micro_f1_counts_over_all_nodes_and_labels():
    logits = torch.tensor([[1.0, 1.0, -1.0], [-1.0, 1.0, -1.0]])
    y = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])  # 2 right of 3 predicted, of 3 given
    assert objective.score(logits, y) == pytest.approx(2 / 3)
    assert objective.score(-torch.ones(2, 3), torch.zeros(2, 3)) == 0.0
    assert objective.score(logits[:, :2], torch.tensor([0, 1])) == 1.0


@pytest.mark.parametrize("material", [labelled(torch.ones(4, 2), whole=True), labelled(torch.ones(4, 2), whole=False)])
def test_a_whole_step_is_not_asked_for_what_it_does_not_promise(material):
    model = Network([Scaled()], [], 0.0, dropout, Counting)
    assert isinstance(train.trainer(model, material, Training()), Autograd)


def test_an_epoch_is_a_step_on_each_batch_and_its_loss_their_mean():
    model, nodes = Scaled(), torch.arange(2)
    batches = [Inputs(x, None, torch.zeros(2, dtype=torch.int64), nodes) for x in (torch.ones(2, 2), -torch.ones(2, 3))]
    material = Material(batches, batches[0])
    fitted = fit(model, material, Training(max_epochs=2, stop_on="never"))
    assert fitted.epochs == 2
    assert fitted.curves.train_loss[0] == pytest.approx((math.log(2) + math.log(3)) / 2)


def deaf(epochs: int) -> Material:
    """Features that cannot tell the classes apart: the loss stays at log 2."""
    return inputs(torch.zeros(epochs, 2))


def test_a_run_that_learned_nothing_by_half_time_counts_as_diverged():
    asked = Training(max_epochs=10, stop_on="never", discard=Discard(above_loss=0.6))
    with pytest.raises(Diverged, match=r"never below 0\.693 in 6 epochs"):
        fit(Scaled(), deaf(4), asked)
    assert fit(Scaled(), deaf(4), asked.model_copy(update={"discard": Discard(above_loss=0.7)})).epochs == 10


def test_a_run_that_stopped_too_early_counts_as_diverged():
    worse = inputs(torch.tensor([[1.0, -1.0]] * 3 + [[-1.0, 1.0]] * 3))
    asked = Training(max_epochs=50, lr=0.1, stop_on="loss", patience_epochs=3)
    assert fit(Scaled(), worse, asked).epochs == 4
    with pytest.raises(Diverged, match="stopped after 4 epochs"):
        fit(Scaled(), worse, asked.model_copy(update={"discard": Discard(above_loss=9, before_epoch=5)}))


class Shifted(nn.Module):
    """A layer that adds one."""

    def forward(self, x: torch.Tensor, prepared: object) -> torch.Tensor:
        return x + 1


def deep(skip: str, *, layer_norm: bool = False) -> Network:
    between = Between(Architecture(activation="relu", skip=skip, layer_norm=layer_norm), [3, 3])
    return Network([Shifted(), Shifted(), Shifted()], [], 0.0, dropout, lambda problem: None, between)


@pytest.mark.parametrize(
    ("skip", "training", "expected"),
    [
        ("none", True, [2.0, 2.5, 5.0]),  # relu(h + 1) + 1, with h = relu(x + 1) = 0, 0.5, 3
        ("identity", True, [2.0, 3.0, 8.0]),  # relu(h + 1) + h + 1
        ("identity", False, [2.0, 3.0, 8.0]),
        ("doubled", True, [3.0, 4.5, 12.0]),  # 2 relu(h + 1) + h + 1
        ("doubled", False, [2.0, 3.0, 8.0]),
    ],
)
def test_a_skip_connection_leads_over_the_layers_between_the_first_and_the_last(skip, training, expected):
    x = torch.tensor([[-5.0, -0.5, 2.0]])
    assert deep(skip).train(training)(x, None).tolist() == [expected]


def test_a_linear_skip_is_added_to_every_layer_before_it_is_activated():
    first, last = TorchLinear(3, 3, torch.Generator().manual_seed(0)), TorchLinear(3, 2, None)
    asked = Between(Architecture(activation="relu", skip="linear"), [3], [first, last])
    model = Network([Shifted(), nn.Linear(3, 2)], [], 0.0, dropout, lambda problem: None, asked)
    model.layers[1].forward = lambda x, prepared: x[:, :2]
    x = torch.tensor([[-5.0, -0.5, 2.0]])
    hidden = torch.relu(x + 1 + first(x))
    torch.testing.assert_close(model(x, None), hidden[:, :2] + last(hidden))


def test_validation_is_as_rare_as_asked_and_only_what_was_validated_is_kept():
    asked = Training(max_epochs=11, stop_on="accuracy", validate_from_epoch=4, validate_every_epochs=3)
    found = fit(Scaled(), deaf(4), asked)
    validated = [epoch for epoch, score in enumerate(found.curves.validation_score, 1) if not math.isnan(score)]
    assert validated == [6, 9, 11]
    assert found.best_epoch in validated


def test_outputs_add_up_between_linear_ends():
    asked = Architecture(activation="relu", skip="sum", batch_norm=True, ends="linear")
    ends = Ends(4, 3, 2, seed=0)
    model = Network([Shifted(), Shifted()], [], 0.0, dropout, lambda problem: None, Between(asked, [3, 3]), ends=ends)
    x = torch.randn(5, 4)
    first = torch.relu(ends.into(x)) + 1

    def normed(h):
        return nn.functional.batch_norm(h, None, None, training=True)

    second = torch.relu(normed(first)) + 1 + first
    torch.testing.assert_close(model.train()(x, None), ends.out(torch.relu(normed(second))))


def test_patience_does_not_end_before_the_least_number_of_epochs():
    worse = inputs(torch.tensor([[1.0, -1.0]] * 3 + [[-1.0, 1.0]] * 3))
    asked = Training(max_epochs=50, lr=0.1, stop_on="loss", patience_epochs=3, min_epochs=20)
    assert fit(Scaled(), worse, asked).epochs == 20


def test_roc_auc_is_the_mean_share_of_pairs_that_are_ranked_rightly_over_labels_that_tell():
    logits = torch.tensor([[0.1, 5.0, 1.0], [0.4, 5.0, 2.0], [0.35, 2.0, 3.0], [0.8, 1.0, 4.0]])
    y = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    # Of the first label's 4 pairs 3 are right; of the second's 3, two and a tie; all nodes have the third.
    assert objective.score(logits, y, "roc_auc") == pytest.approx((3 / 4 + 2.5 / 3) / 2)


def test_layer_norm_comes_after_activation_and_skip():
    x = torch.tensor([[-5.0, -0.5, 2.0]])
    first = nn.functional.layer_norm(torch.relu(x + 1), [3])
    second = nn.functional.layer_norm(torch.relu(first + 1) + first, [3])
    torch.testing.assert_close(deep("identity", layer_norm=True)(x, None), second + 1)


def test_the_first_layers_input_may_be_dropped_otherwise():
    asked = Between(Architecture(input_dropout=0.0))
    model = Network([Shifted(), Shifted()], [], 0.5, dropout, lambda problem: None, asked)
    torch.manual_seed(0)
    x = torch.ones(50, 2)
    assert model.train()(x, None).unique().tolist() == [1.0, 5.0]  # the second layer's alone: 0 or 2 (1 + 1), and 1
