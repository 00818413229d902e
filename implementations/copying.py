"""Modules that can be copied, pickled and saved whole though they hold an operator, which is a module of Python."""

import importlib
from types import ModuleType
from typing import Any, ClassVar

from torch import nn


class Copyable(nn.Module):
    """Goes with its operator's name, and without what it makes again when that is needed."""

    made_again: ClassVar[tuple[str, ...]] = ()  # attributes that a copy begins without

    def __getstate__(self) -> dict[str, Any]:
        """The attributes, as `copy.deepcopy`, `pickle` and `torch.save` take them."""
        state = self.__dict__ | dict.fromkeys(self.made_again)
        operator = state.get("operator")
        return state | {"operator": operator.__name__} if isinstance(operator, ModuleType) else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The attributes back; the operator is imported by its name."""
        if isinstance(operator := state.get("operator"), str):
            state = state | {"operator": importlib.import_module(operator)}
        super().__setstate__(state)  # type: ignore[no-untyped-call]
