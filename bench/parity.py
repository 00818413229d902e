"""The parity gate: what a back end must agree on with the float64 reference before it is timed or ranked.

Every layer of the experiment's own network on the experiment's own data, and small layers on adversarial graphs;
in float64 and in the timed dtype; checks that dropout drops what it should and that gradients are taken under the
masks that were drawn; and a back end's own training step against the same steps through autograd.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from bench import seeds
from bench.outcomes import Check, Checked
from bench.task import NodeTask
from bench.training import parts
from implementations.adversarial import ADVERSARIAL, inputs
from implementations.contract import Backend, Graph, LayerConfig, Operator
from implementations.dropout_check import compare_dropout
from implementations.dropout_gradient import compare_dropout_gradient
from implementations.parity import Comparison, compare
from implementations.step_check import compare_dropped_step, compare_whole_step


def check(
    backend: Backend,
    operator: Operator,
    configs: list[LayerConfig],
    task: NodeTask,
    dataset: str,
    dtypes: list[torch.dtype],
    device: torch.device,
) -> Checked:
    """Hold one back end to the reference of one operator; see the module's docstring."""
    checks = [
        *_on_data(backend, operator, configs, task, dataset, dtypes, device),
        *_on_adversarial(backend, operator, configs, dtypes, device),
        *_dropout(backend, operator, configs[0], dtypes, device),
        *_whole_step(backend, operator, configs, task, dataset, dtypes, device),
    ]
    return Checked(passed=all(check.passed for check in checks), checks=tuple(checks))


def _on_data(
    backend: Backend,
    operator: Operator,
    configs: list[LayerConfig],
    task: NodeTask,
    dataset: str,
    dtypes: list[torch.dtype],
    device: torch.device,
) -> Iterator[Check]:
    graph, first_x, where = _part(task, dataset)
    for position, config in enumerate(configs):
        x, y = _layer_inputs(graph, first_x, config, position)
        for dtype in dtypes:
            found = compare(backend, operator, config, graph, x, y, dtype, device)
            yield from _checks(found, f"{where}, layer {position + 1}", dtype)


def _on_adversarial(
    backend: Backend,
    operator: Operator,
    configs: list[LayerConfig],
    dtypes: list[torch.dtype],
    device: torch.device,
) -> Iterator[Check]:
    for name, build in ADVERSARIAL.items():
        for concat in (True, False):
            config = replace(configs[0], in_channels=12, out_channels=5, heads=3, concat=concat)
            x, y = inputs(build(), config.in_channels, config.out_features)
            where = name if concat else f"{name}, heads averaged"
            for dtype in dtypes:
                found = compare(backend, operator, config, build(), x, y, dtype, device)
                yield from _checks(found, where, dtype)


def _dropout(
    backend: Backend, operator: Operator, config: LayerConfig, dtypes: list[torch.dtype], device: torch.device
) -> Iterator[Check]:
    yield from _checks(compare_dropout(backend, operator, config, device, dtypes[-1]), "dropout", dtypes[-1])
    if torch.float64 in dtypes:  # difference quotients need it
        yield from _checks(compare_dropout_gradient(backend, operator, config, device), "dropout", torch.float64)


def _whole_step(
    backend: Backend,
    operator: Operator,
    configs: list[LayerConfig],
    task: NodeTask,
    dataset: str,
    dtypes: list[torch.dtype],
    device: torch.device,
) -> Iterator[Check]:
    """A training step of the back end's own is what is timed, so it must be what the layers compute."""
    graph, x, where = _part(task, dataset)
    if x.shape[1] != configs[0].in_channels:
        return  # no network of the back end's own: something comes before the first layer
    generator = seeds.generator("parity", "whole step")
    y = torch.randint(configs[-1].out_features, (graph.num_nodes,), generator=generator)
    nodes = torch.randperm(graph.num_nodes, generator=generator)[: graph.num_nodes // 4 + 1].sort().values
    for dtype in dtypes:
        found = compare_whole_step(backend, operator, configs, graph, x, y, nodes, dtype, device)
        yield from _checks(found, where, dtype)
    if torch.float64 in dtypes:
        yield from _checks(compare_dropped_step(backend, operator, device), "dropout", torch.float64)


def _checks(found: list[Comparison], where: str, dtype: torch.dtype) -> Iterator[Check]:
    for comparison in found:
        yield Check(
            name=comparison.name,
            graph=where,
            dtype=str(dtype).removeprefix("torch."),
            difference=comparison.difference,
            tolerance=comparison.tolerance,
            passed=comparison.passed,
            note=comparison.note,
        )


# The reference is cached by the identity of what it is given, so back ends and dtypes must be given the same objects.
@lru_cache(maxsize=8)
def _layer_inputs(graph: Graph, first_x: Tensor, config: LayerConfig, position: int) -> tuple[Tensor, Tensor]:
    generator = seeds.generator("parity", position)
    y = torch.randint(config.out_features, (graph.num_nodes,), generator=generator)
    if position == 0 and first_x.shape[1] == config.in_channels:  # else something comes before the first layer
        return first_x, y
    x = torch.randn(graph.num_nodes, config.in_channels, generator=generator, dtype=torch.float64)
    return x, y


@lru_cache(maxsize=4)
def _part(task: NodeTask, dataset: str) -> tuple[Graph, Tensor, str]:
    """The whole graph, or its hubs."""
    if task.graph.num_nodes <= parts.MOST_NODES:
        return task.graph, task.x, dataset
    graph, x = parts.hubs(task.graph, task.x)
    return graph, x, f"{dataset}, the {graph.num_nodes} nodes with the most incoming edges"
