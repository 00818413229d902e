"""How `bench` reaches what it compares: by name, from a folder of files or from another package's entry points."""

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from bench.device import Device
from bench.errors import UserError, unknown
from bench.task import Dataset
from implementations.contract import Backend, Operator

if TYPE_CHECKING:
    from bench.kind import Kind

T = TypeVar("T")


@dataclass(frozen=True)
class Plugins(Generic[T]):
    """One kind of plug-in. A built-in one is `<package>/<name>.py`; names starting with `_` are helpers.

    A file that exports `variant` besides makes plug-ins from parameters: `NAME-rest` is `variant("rest")`.
    """

    kind: str  # as a person calls it: "back end"
    package: str
    attribute: str | None  # what the file exports; None: the module itself
    group: str  # entry points of other packages

    @cached_property
    def _built_in(self) -> tuple[str, ...]:
        folder = importlib.import_module(self.package).__path__
        return tuple(sorted(m.name for m in pkgutil.iter_modules(folder) if not m.name.startswith("_")))

    @cached_property
    def _announced(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    def names(self) -> list[str]:
        """Every name, without importing any plug-in."""
        return sorted({*self._built_in, *self._announced})

    def get(self, name: str) -> T:
        """The plug-in itself; its file is imported now.

        Raises:
            UserError: there is none of that name; says the nearest.
        """
        if name in self._built_in:
            module = importlib.import_module(f"{self.package}.{name}")
            return cast(T, getattr(module, self.attribute) if self.attribute else module)
        if name in self._announced:
            return cast(T, self._announced[name].load())
        base, hyphen, parameters = name.partition("-")
        if hyphen and base in self._built_in:
            module = importlib.import_module(f"{self.package}.{base}")
            if hasattr(module, "variant"):
                return cast(T, module.variant(parameters))
        raise UserError(unknown(self.kind, name, self.names()))

    def problem(self, name: str) -> str | None:
        """Why there is no plug-in of that name, or None; imports one only if its name has parameters."""
        if name in self.names():
            return None
        try:
            self.get(name)
        except UserError as problem:
            return str(problem)
        return None


BACKENDS = Plugins[Backend]("back end", "implementations.backends", "BACKEND", "gat_bench.backends")
OPERATORS = Plugins[Operator]("operator", "implementations.operators", None, "gat_bench.operators")
DATASETS = Plugins[Dataset]("data set", "bench.datasets", "DATASET", "gat_bench.datasets")
DEVICES = Plugins[Device]("device", "bench.devices", "DEVICE", "gat_bench.devices")
EXPERIMENT_KINDS: "Plugins[Kind]" = Plugins("kind of experiment", "bench.kinds", "KIND", "gat_bench.kinds")
"""What the parts of a paper's table may run."""

KINDS: dict[str, Plugins[Any]] = {
    "backends": BACKENDS,
    "operators": OPERATORS,
    "datasets": DATASETS,
    "devices": DEVICES,
}
"""Key of an experiment file -> where its names are looked up."""
