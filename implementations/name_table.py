"""A layer's own parameters under their canonical names, so that every back end starts from the same values.

A name table is what `Backend.names` answers: canonical name -> the layer's own.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from implementations.contract import Params


class NameTableError(ValueError):
    """A name table does not cover exactly the layer's parameters, or a shape cannot be the same one."""


def parameters_by_name(layer: nn.Module, names: Mapping[str, str]) -> dict[str, nn.Parameter]:
    """The layer's own parameters under their canonical names.

    Raises:
        NameTableError: when a parameter has no canonical name, or a name no parameter.
    """
    own = dict(layer.named_parameters())
    unnamed = sorted(own.keys() - set(names.values()))
    absent = sorted(set(names.values()) - own.keys())
    if unnamed or absent or len(set(names.values())) != len(names):
        raise NameTableError(
            f"the name table must cover exactly the parameters of {type(layer).__name__}: "
            f"without a canonical name {unnamed}, named but absent {absent}"
        )
    return {canonical: own[own_name] for canonical, own_name in names.items()}


def load(layer: nn.Module, names: Mapping[str, str], params: Params) -> None:
    """Copy canonical values into the layer's own parameters, reshaping but never transposing.

    Raises:
        NameTableError: when names, parameters and values do not match one to one.
    """
    own = parameters_by_name(layer, names)
    if own.keys() != params.keys():
        raise NameTableError(f"values for {sorted(params)} do not fit parameters {sorted(own)}")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.numel() != params[name].numel():
                raise NameTableError(f"{name}: {tuple(params[name].shape)} cannot become {tuple(parameter.shape)}")
            parameter.copy_(params[name].reshape(parameter.shape))


def gradients(layer: nn.Module, names: Mapping[str, str], params: Params) -> dict[str, Tensor]:
    """Gradients of the layer's parameters in canonical shapes; zeros where none reached one."""
    return {
        name: (torch.zeros_like(own) if own.grad is None else own.grad).reshape(params[name].shape)
        for name, own in parameters_by_name(layer, names).items()
    }
