"""Promises kept by agreeing with what was computed otherwise: the reference, difference quotients, autograd."""

import torch

from implementations.adversarial import ADVERSARIAL, inputs
from implementations.contract import Backend, LayerConfig, Operator
from implementations.dropout_check import compare_dropout
from implementations.dropout_gradient import compare_dropout_gradient
from implementations.parity import compare
from implementations.promise import BASE, CONFIGS, dtypes, figures, options, require, supported
from implementations.step_check import compare_dropped_step, compare_whole_step

# Every graph meets the first configurations; these two meet all of them.
EVERY_CONFIG_ON = ("isolated nodes", "duplicate edges")


def agrees_with_the_reference_in_float64(backend: Backend, operator: Operator, device: torch.device) -> None:
    """Outputs, attention, gradients and five Adam steps, over graphs and options."""
    if torch.float64 in dtypes(device):
        _agrees(backend, operator, device, torch.float64)


def agrees_with_the_reference_in_float32(backend: Backend, operator: Operator, device: torch.device) -> None:
    """The same to the accuracy of the dtype that is timed."""
    _agrees(backend, operator, device, torch.float32)


def drops_coefficients_and_features_in_training(backend: Backend, operator: Operator, device: torch.device) -> None:
    """Dropout at the right site, at the right rate, each edge and head on its own."""
    if backend.unsupported(operator, BASE, device) is None:
        for found in compare_dropout(backend, operator, BASE, device):
            require(found.passed, f"dropout: not so: {found.name} ({figures(found)})")


def differentiates_under_the_masks_it_drew(backend: Backend, operator: Operator, device: torch.device) -> None:
    """A seed repeats the masks, and gradients are those of what was computed under them."""
    if torch.float64 not in dtypes(device):
        return
    for config in supported(backend, operator, device):
        for found in compare_dropout_gradient(backend, operator, config, device):
            require(found.passed, f"{options(config)}: not so under dropout: {found.name} ({figures(found)})")


def trains_as_its_layers_define(backend: Backend, operator: Operator, device: torch.device) -> None:
    """A training step of its own goes where autograd and Adam go, and under dropout down its own loss."""
    if backend.unsupported(operator, BASE, device) is not None:
        return
    configs = [BASE, LayerConfig(BASE.out_features, 4, 1, concat=False)]
    graph = ADVERSARIAL["duplicate edges"]()
    x, y = inputs(graph, BASE.in_channels, 4)
    nodes = torch.arange(20)
    for dtype in dtypes(device):
        for found in compare_whole_step(backend, operator, configs, graph, x, y, nodes, dtype, device):
            require(found.passed, f"its own training step is another: {found.name} ({figures(found)})")
    for found in compare_dropped_step(backend, operator, device) if torch.float64 in dtypes(device) else ():
        require(found.passed, f"its own training step errs: {found.name} ({figures(found)})")


def _agrees(backend: Backend, operator: Operator, device: torch.device, dtype: torch.dtype) -> None:
    for graph_name, build in ADVERSARIAL.items():
        configs = CONFIGS if graph_name in EVERY_CONFIG_ON else CONFIGS[:2]
        for config in configs:
            if backend.unsupported(operator, config, device) is None:
                x, y = inputs(build(), config.in_channels, config.out_features)
                for found in compare(backend, operator, config, build(), x, y, dtype, device):
                    where = f"{graph_name}, {options(config)}"
                    require(found.passed, f"{where}: {found.name} differs from the reference ({figures(found)})")
