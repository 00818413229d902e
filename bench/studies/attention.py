"""How a network that was trained on one graph attends: the scores of its layers, from their operator and weights."""

import torch
from torch import Tensor, nn

from bench.outcomes import Attention, HeadAttention
from bench.studies import attention_facts
from bench.training.network import Network
from bench.training.train import Inputs
from implementations.contract import Backend, Graph, LayerConfig, Operator
from implementations.name_table import parameters_by_name


def examine(
    backend: Backend,
    operator: Operator,
    configs: list[LayerConfig],
    model: Network,
    inputs: Inputs,
    graph: Graph,
    min_degree: int,
) -> Attention:
    """Every head of every layer over all edges.

    Args:
        backend: whose layers the network has.
        operator: what they compute.
        configs: one for each layer.
        model: trained.
        inputs: what it was trained on.
        graph: on the CPU, with the self-loops that the layers saw.
        min_degree: targets with fewer edges are left out of the entropies.
    """
    heads: list[HeadAttention] = []
    layers = zip(configs, model.layers, _layer_inputs(model, inputs), strict=True)
    for number, (config, layer, x) in enumerate(layers, 1):
        with torch.no_grad():
            coefficients = backend.attention(layer, x, inputs.prepared).cpu().double()
            scores = _scores(backend, operator, config, layer, x, graph)
        heads += attention_facts.of_graph(number, scores, coefficients, graph, min_degree)
    degree = torch.bincount(graph.targets, minlength=graph.num_nodes)
    return Attention(heads=tuple(heads), targets=int((degree >= min_degree).sum()))


def _layer_inputs(model: Network, inputs: Inputs) -> list[Tensor]:
    """What each layer is given in evaluation mode."""
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for layer in model.layers]
    try:
        model.eval()
        with torch.no_grad():
            model(inputs.x, inputs.prepared)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _scores(
    backend: Backend, operator: Operator, config: LayerConfig, layer: nn.Module, x: Tensor, graph: Graph
) -> Tensor:
    """[E, H] before the softmax, in float64, so that no two are equal by rounding."""
    own = parameters_by_name(layer, backend.names(operator, config))
    shapes = operator.shapes(config)
    params = {name: value.detach().cpu().double().reshape(shapes[name]) for name, value in own.items()}
    terms = operator.terms(config, params, x.cpu().double())
    return operator.score(config, params, terms.source[graph.sources] + terms.target[graph.targets])
