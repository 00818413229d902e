"""Which training the whole step may own, and what it asks of a problem: the kernels write where its numbers point."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from implementations.backends._fused.layers import FusedLayer
from implementations.contract import Operator, TrainingProblem


def can_own(operator: Operator, problem: TrainingProblem) -> bool:
    """Whether the network is plain, and Adam may write to all memory of its parameters.

    Heads are concatenated in every layer but the last, and averaged there. No parameter is frozen, computed from
    others, shared by two layers, of another shape than the configuration says, or apart in its memory. Nobody looks on
    or changes anything: no hooks, of modules or of gradients, and no decisions of dropout that were set beforehand.
    """
    *hidden, last = problem.configs
    if last.concat or not all(config.concat for config in hidden):
        return False
    pairs = zip(problem.layers, problem.configs, strict=True)
    places = [parameter.data_ptr() for layer in problem.layers for parameter in layer.parameters()]
    is_shared = len(set(places)) < len(places)
    return not is_shared and all(_is_plain(layer, operator.shapes(config)) for layer, config in pairs)


def _is_plain(layer: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    own = dict(layer.named_parameters())
    has_the_form = {name: tuple(each.shape) for name, each in own.items()} == shapes
    computes_as_ours = type(layer) is FusedLayer and layer.noise is None and not _is_hooked(layer)
    return has_the_form and computes_as_ours and all(_is_free(each) and _is_dense(each) for each in own.values())


def _is_hooked(layer: nn.Module) -> bool:
    """Torch has no public word for it."""
    return any((layer._forward_pre_hooks, layer._forward_hooks, layer._backward_pre_hooks, layer._backward_hooks))


def _is_free(parameter: Tensor) -> bool:
    """Whether it has a gradient, and nobody who is told of it."""
    return parameter.requires_grad and not parameter._backward_hooks and not parameter._post_accumulate_grad_hooks


def _is_dense(parameter: Tensor) -> bool:
    """Whether it fills its memory, each number in a place of its own, in any order: then a copy is laid out alike."""
    return torch.empty_like(parameter, device="meta").stride() == parameter.stride()


class Held:
    """The parameters that a step was made for: the kernels go by their addresses, and others may take their places."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        self._found = [
            (layer._parameters, name, parameter, parameter.data_ptr(), number)
            for number, layer in enumerate(layers, 1)
            for name, parameter in layer.named_parameters()
        ]

    def require_the_same(self) -> None:
        """Refuse to go on with memory that no layer uses any more.

        Raises:
            RuntimeError: a layer has another parameter by now, or the same in another place.
        """
        for own, name, parameter, place, number in self._found:
            if own.get(name) is not parameter or parameter.data_ptr() != place:
                raise RuntimeError(
                    f"{name} of layer {number} was replaced or moved after this trainer was made, which works on its "
                    "old memory: make a new trainer, or change values in place (load_state_dict without assign does)"
                )


def require_sound(problem: TrainingProblem) -> None:
    """Refuse what would have the kernels read or write beyond what is theirs.

    Raises:
        ValueError: x, y, nodes or a layer's input has another shape than graph and layers have, a training node comes
            twice or is none of the graph's, or a label is no class.
        TypeError: features and parameters differ in dtype, or nodes or labels are not int64.
    """
    _require_one_dtype(problem)
    _require_integers(problem)
    _require_shapes(problem)
    _require_nodes(problem)
    _require_labels(problem)


def _require_one_dtype(problem: TrainingProblem) -> None:
    dtypes = {parameter.dtype for layer in problem.layers for parameter in layer.parameters()}
    if dtypes != {problem.x.dtype}:
        raise TypeError(f"features are {problem.x.dtype} and parameters {', '.join(map(str, dtypes))}")


def _require_integers(problem: TrainingProblem) -> None:
    """Others would go by address, and the kernels take eight bytes of them for one number."""
    for name, given in (("y", problem.y), ("nodes", problem.nodes)):
        if given.dtype != torch.int64:
            raise TypeError(f"{name} is {given.dtype}, and the kernels read int64: {name}.long()")


def _require_shapes(problem: TrainingProblem) -> None:
    N, first = problem.prepared.num_nodes, problem.configs[0]
    if tuple(problem.x.shape) != (N, first.in_channels):
        has = f"the graph and the first layer have {(N, first.in_channels)}"
        raise ValueError(f"x has shape {tuple(problem.x.shape)} where {has}")
    if tuple(problem.y.shape) != (N,):
        raise ValueError(f"y has shape {tuple(problem.y.shape)} where the graph has {(N,)}, a label for each node")
    if problem.nodes.dim() != 1:
        raise ValueError(f"nodes has shape {tuple(problem.nodes.shape)} and should have [n], the numbers of n nodes")
    for number, (before, after) in enumerate(pairwise(problem.configs), 2):
        if after.in_channels != before.out_features:
            gives = f"layer {number - 1} gives {before.out_features}"
            raise ValueError(f"layer {number} takes {after.in_channels} features, and {gives}")


def _require_nodes(problem: TrainingProblem) -> None:
    nodes, N = problem.nodes, problem.prepared.num_nodes
    if len(nodes) and not 0 <= nodes.min() <= nodes.max() < N:  # -1 would be the last one once more
        raise ValueError(
            f"training nodes are {int(nodes.min())} to {int(nodes.max())}, and the graph has the nodes 0 to {N - 1}"
        )
    if len(torch.unique(nodes)) < len(nodes):
        raise ValueError("a training node comes twice")


def _require_labels(problem: TrainingProblem) -> None:
    labels, classes = problem.y[problem.nodes], problem.configs[-1].out_channels
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels are {int(labels.min())} to {int(labels.max())}, and there are {classes} classes")
