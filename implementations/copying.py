"""What lets a back end's own layer be used as any module of torch: copied, saved whole, parametrized, compiled."""

import copy
import importlib
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

import torch
from torch import Tensor, nn

P = ParamSpec("P")
R = TypeVar("R")

_APART: dict[Callable[..., Any], Callable[..., Any]] = {}


def in_use(module: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Its parameters of these names, as they count now.

    One that `torch.nn.utils.parametrize` or `prune` has taken over goes by another name among the parameters; under
    its own there is what is made of it, which may be computed anew at each reading.
    """
    return {name: getattr(module, name) for name in names}


def untraced(function: Callable[P, R]) -> Callable[P, R]:
    """What to call in its place, so that torch.compile leaves it alone: a graph ends before it, another begins after.

    `torch.compiler.disable` makes that, and imports the compiler: seconds that only those who compile should wait.
    """
    if "torch._dynamo" not in sys.modules:
        return function
    if function not in _APART:
        said = "it calls what cannot be traced"
        _APART[function] = torch.compiler.disable(function, reason=said)  # type: ignore[no-untyped-call]
    return _APART[function]


class Copyable(nn.Module):
    """Goes with the name of its operator, which is a module of Python, and without what it makes again when needed."""

    made_again: ClassVar[tuple[str, ...]] = ()  # attributes that a copy begins without

    def __getstate__(self) -> dict[str, Any]:
        """The attributes, as `copy.deepcopy`, `pickle` and `torch.save` take them."""
        state = self.__dict__ | dict.fromkeys(self.made_again)
        operator = state.get("operator")
        return state | {"operator": operator.__name__} if isinstance(operator, ModuleType) else state

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy. Torch gives parametrized modules one of its own otherwise, which knows nothing of all this."""
        twin = memo[id(self)] = self.__new__(type(self))
        twin.__setstate__(copy.deepcopy(Copyable.__getstate__(self), memo))
        return twin

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The attributes back; the operator is imported by its name."""
        if isinstance(operator := state.get("operator"), str):
            state = state | {"operator": importlib.import_module(operator)}
        super().__setstate__(state)  # type: ignore[no-untyped-call]
