"""Is a back end's own training step the step that its layers define? Without dropout, the two must go the same way.

Both start from the same weights and take `ADAM_STEPS` steps: one through the back end's `whole_step`, one through its
layers, autograd and torch's Adam. Compared are each step's loss, the logits at the end and, in float64, the parameters.

With dropout there is no other to go beside: whoever draws the masks draws them in an order of their own. But a seed
repeats them, so the step's loss is an ordinary function of the parameters, and Adam's first step says the sign of every
derivative that it took: theta_1 = theta_0 - lr g / (|g| + eps). The signs are held to those of difference quotients.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from implementations.adversarial import ADVERSARIAL, inputs
from implementations.contract import Backend, Graph, LayerConfig, Operator, Trainer, TrainingProblem
from implementations.dropout_gradient import REPEATED, SEED, slope
from implementations.features import is_sparse
from implementations.name_table import load
from implementations.parity import ADAM_STEPS, GRADIENT_TOLERANCE, LR, TOLERANCE, Comparison, judge

WEIGHT_DECAY = 5e-4
P = 0.6
ENTRIES = 6  # of each parameter, of which the step's sign is checked: a difference quotient each
STEEP = 1e-5  # of derivatives below it, rounding decides the quotient's sign


def compare_whole_step(
    backend: Backend,
    operator: Operator,
    configs: Sequence[LayerConfig],
    graph: Graph,
    x: Tensor,
    y: Tensor,
    nodes: Tensor,
    dtype: torch.dtype,
    device: torch.device,
) -> list[Comparison]:
    """Hold a back end's training step to its own layers; nothing is found where it has no step of its own.

    Args:
        backend: what is checked.
        operator: of its layers.
        configs: the network, first to last; attention dropout is taken as 0.
        graph: on the CPU, with the self-loops that the caller wants.
        x: [N, F] on the CPU, dense or sparse CSR; given to the back end in the form that it is shipped for.
        y: [N] labels.
        nodes: [n] those that are trained on.
        dtype: in which the back end computes.
        device: on which it computes.
    """
    configs = [replace(config, attention_dropout=0.0) for config in configs]
    problem = _problem(backend, operator, configs, graph, x, y, nodes, dtype, device)
    truth = replace(problem, layers=[layer.to(device, dtype) for layer in _layers(backend, operator, configs)])
    trainer = backend.whole_step(operator, problem)
    if trainer is None:
        return []
    losses = torch.stack([trainer.step().detach() for _ in range(ADAM_STEPS)])
    true_losses, true_logits = _through_autograd(truth)
    found = [
        judge(f"losses of {ADAM_STEPS} own steps", losses, true_losses, GRADIENT_TOLERANCE[dtype]),
        judge(f"logits after {ADAM_STEPS} own steps", trainer.logits(), true_logits, GRADIENT_TOLERANCE[dtype]),
    ]
    # Adam divides a gradient by its own size, so in float32 a parameter whose gradient is all rounding goes anywhere.
    return [*found, *(_parameters(problem, truth) if dtype == torch.float64 else [])]


def compare_dropped_step(backend: Backend, operator: Operator, device: torch.device) -> list[Comparison]:
    """Hold a back end's training step under dropout to its own losses, in float64; sizes are our own.

    Nothing is found where it has no step of its own.
    """
    graph = ADVERSARIAL["directed edges"]()
    configs = [LayerConfig(6, 4, 2, attention_dropout=P), LayerConfig(8, 3, 1, concat=False, attention_dropout=P)]
    x, y = inputs(graph, configs[0].in_channels, configs[-1].out_features)
    nodes = torch.arange(0, graph.num_nodes, 2)
    problem = _problem(backend, operator, configs, graph, x, y, nodes, torch.float64, device)
    problem = replace(problem, feature_dropout=P, weight_decay=0.0)
    trainer = backend.whole_step(operator, problem)
    if trainer is None:
        return []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        return list(_of_dropped_steps(trainer, _parameters_by_position(problem)))


def _of_dropped_steps(trainer: Trainer, parameters: Mapping[str, Tensor]) -> Iterator[Comparison]:
    start = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def loss() -> Tensor:
        """Of the parameters as they are now; the step's own change of them is taken back."""
        now = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        torch.manual_seed(SEED)
        found = trainer.step().detach().clone()
        _set(parameters, now)
        return found

    torch.manual_seed(SEED)
    first = trainer.step().detach().clone()
    moved = {name: start[name] - parameter.detach() for name, parameter in parameters.items()}
    _set(parameters, start)
    repeated = judge(f"own step: {REPEATED}", loss(), first.cpu(), TOLERANCE[torch.float64])
    yield repeated
    if repeated.passed:  # of another function at each call there is no difference to take
        for name, parameter in parameters.items():
            yield _signs(f"{name}: signs of its own step under dropout", parameter, moved[name], loss)


def _signs(name: str, parameter: Tensor, moved: Tensor, loss: Callable[[], Tensor]) -> Comparison:
    """The share of some entries that went another way than down."""
    entries = torch.randperm(parameter.numel(), generator=torch.Generator().manual_seed(SEED))[:ENTRIES].tolist()
    slopes = torch.tensor([slope(parameter, _unit(parameter, entry), loss) for entry in entries])
    steep = slopes.abs() > STEEP
    wrong = (moved.flatten().cpu()[entries].sign() != slopes.sign()) & steep
    share = float(wrong.double().mean())
    return Comparison(name, share, 0.0, share == 0.0, f"of {int(steep.sum())} entries on which the loss depends")


def _unit(like: Tensor, entry: int) -> Tensor:
    direction = torch.zeros(like.numel(), dtype=like.dtype)
    direction[entry] = 1.0
    return direction.view(like.shape).to(like.device)


def _set(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])


def _parameters_by_position(problem: TrainingProblem) -> dict[str, Tensor]:
    return {
        f"layer {position}: {name}": parameter
        for position, layer in enumerate(problem.layers, 1)
        for name, parameter in layer.named_parameters()
    }


def _problem(
    backend: Backend,
    operator: Operator,
    configs: Sequence[LayerConfig],
    graph: Graph,
    x: Tensor,
    y: Tensor,
    nodes: Tensor,
    dtype: torch.dtype,
    device: torch.device,
) -> TrainingProblem:
    return TrainingProblem(
        layers=[layer.to(device, dtype) for layer in _layers(backend, operator, configs)],
        configs=configs,
        feature_dropout=0.0,
        x=_as_shipped(backend, x).to(device, dtype),
        prepared=backend.prepare(graph.to(device), device),
        y=y.to(device),
        nodes=nodes.to(device),
        lr=LR,
        weight_decay=WEIGHT_DECAY,
    )


def _layers(backend: Backend, operator: Operator, configs: Sequence[LayerConfig]) -> list[nn.Module]:
    """Fresh layers with start weights that depend on their position alone."""
    layers = [backend.layer(operator, config) for config in configs]
    for seed, (layer, config) in enumerate(zip(layers, configs, strict=True)):
        start = operator.init(config, torch.Generator().manual_seed(seed))
        load(layer, backend.names(operator, config), start)
    return layers


def _as_shipped(backend: Backend, x: Tensor) -> Tensor:
    return x.to_dense() if is_sparse(x) and backend.shipped_features == "dense" else x


def _through_autograd(problem: TrainingProblem) -> tuple[Tensor, Tensor]:
    """Losses of the steps and logits after them, in float64 on the CPU."""
    parameters = [parameter for layer in problem.layers for parameter in layer.parameters()]
    adam = torch.optim.Adam(parameters, lr=problem.lr, weight_decay=problem.weight_decay)
    losses = []
    for _ in range(ADAM_STEPS):
        adam.zero_grad()
        loss = F.cross_entropy(_forward(problem)[problem.nodes], problem.y[problem.nodes])
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        losses.append(loss.detach())
    with torch.no_grad():
        return torch.stack(losses).cpu().double(), _forward(problem).cpu().double()


def _forward(problem: TrainingProblem) -> Tensor:
    x = problem.x
    for position, layer in enumerate(problem.layers):
        x = layer(x, problem.prepared)
        x = x if position == len(problem.layers) - 1 else F.elu(x)
    return x


def _parameters(problem: TrainingProblem, truth: TrainingProblem) -> list[Comparison]:
    return [
        judge(
            f"layer {position + 1}: {name} after {ADAM_STEPS} own steps",
            own,
            other.detach().cpu(),
            TOLERANCE[own.dtype],
        )
        for position, (layer, true_layer) in enumerate(zip(problem.layers, truth.layers, strict=True))
        for (name, own), (_, other) in zip(layer.named_parameters(), true_layer.named_parameters(), strict=True)
    ]
