"""Is the gradient under dropout that of what was computed? A backward pass that draws a mask of its own is not.

While a seed holds the random numbers fast, a layer in training is an ordinary function f of x and its parameters. What
autograd says of it is held to central differences along a random direction d, one for x and one for each parameter v:

    < gradient of f, d >  =  (f(v + h d) - f(v - h d)) / 2h  +  O(h^2)
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from implementations.adversarial import ADVERSARIAL, inputs
from implementations.contract import Backend, LayerConfig, Operator
from implementations.dropout_check import DEFAULT_PROBABILITY
from implementations.name_table import load, parameters_by_name
from implementations.parity import TOLERANCE, Comparison, judge, weights

SEED = 7
H = 1e-6
# Values of order 1 in float64 leave some nine digits of a difference quotient. Where masks differ, the first is wrong.
OF_A_DIFFERENCE = 1e-6
REPEATED = "the same seed repeats its masks"


def compare_dropout_gradient(
    backend: Backend, operator: Operator, config: LayerConfig, device: torch.device
) -> list[Comparison]:
    """Repetition of the masks under a seed, then the gradients of x and of every parameter under them; in float64.

    Slope, bias, weight sharing, residual and rate (0.6 where it is 0) are the configuration's; sizes are our own.
    A difference is relative to the longest of the gradients.
    """
    config = replace(
        config,
        in_channels=6,
        out_channels=4,
        heads=3,
        attention_dropout=config.attention_dropout or DEFAULT_PROBABILITY,
    )
    graph = ADVERSARIAL["directed edges"]()
    x, _ = inputs(graph, config.in_channels, 1)
    layer = backend.layer(operator, config).to(device, torch.float64).train()
    names = backend.names(operator, config)
    load(layer, names, weights(operator, config, x))
    prepared = backend.prepare(graph.to(device), device)
    leaf = x.to(device, copy=True).requires_grad_()
    contrast = torch.randn(graph.num_nodes, config.out_features, dtype=x.dtype, generator=_generator()).to(device)

    def output() -> Tensor:
        torch.manual_seed(SEED)
        out: Tensor = layer(leaf, prepared)
        return out

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        repeated = judge(REPEATED, output(), output().detach().cpu(), TOLERANCE[torch.float64])
        if not repeated.passed:
            return [repeated]  # of another function at each call there is no difference to take
        variables = {"x": leaf, **parameters_by_name(layer, names)}
        return [repeated, *_of_each(variables, lambda: (output() * contrast).sum())]


def _of_each(variables: Mapping[str, Tensor], value: Callable[[], Tensor]) -> Iterator[Comparison]:
    gradients = torch.autograd.grad(value(), list(variables.values()), allow_unused=True, materialize_grads=True)
    longest = max(float(gradient.norm()) for gradient in gradients)
    generator = _generator()
    for (name, variable), gradient in zip(variables.items(), gradients, strict=True):
        direction = torch.randn(variable.shape, dtype=variable.dtype, generator=generator).to(variable.device)
        along = float((gradient * direction).sum())
        difference = abs(along - slope(variable, direction, value)) / longest
        name = f"gradient of {name} under dropout"
        yield Comparison(name, difference, OF_A_DIFFERENCE, difference <= OF_A_DIFFERENCE)  # false for nan


def slope(variable: Tensor, direction: Tensor, value: Callable[[], Tensor]) -> float:
    """The central difference quotient of `value` as `variable` moves along a direction; it is moved back."""
    start = variable.detach().clone()
    values = []
    for step in (H, -H):
        with torch.no_grad():
            variable.copy_(start + step * direction)
        values.append(float(value().detach()))
    with torch.no_grad():
        variable.copy_(start)
    return (values[0] - values[1]) / (2 * H)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)
