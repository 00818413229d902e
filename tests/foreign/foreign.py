"""Back ends of "another package", each with a fault of its own; announced by entry points, as a stranger's would be."""

import os
import time
from typing import Any

from torch import nn

from implementations.backends.scatter import BACKEND as SCATTER


class Foreign:
    """Scatter under another name; what is not said here is scatter's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.packages = ("foreign",)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(SCATTER, attribute)


class Crashing(Foreign):
    def prepare(self, graph, device):
        os.abort()


class Hanging(Foreign):
    def prepare(self, graph, device):
        time.sleep(600)


class Failing(Foreign):
    def prepare(self, graph, device):
        raise RuntimeError("the library is out of sorts")


class Greedy(Foreign):
    def memory_bytes(self, operator, config, num_nodes, num_edges):
        return 2**60


class Absent(Foreign):
    def unsupported(self, operator, config, device):
        return "foreign cannot be imported; install it"


class Twice(nn.Module):
    """Twice what is right."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x, prepared):
        return 2 * self.layer(x, prepared)


class Wrong(Foreign):
    def layer(self, operator, config):
        return Twice(SCATTER.layer(operator, config))

    def names(self, operator, config):
        return {name: f"layer.{own}" for name, own in SCATTER.names(operator, config).items()}

    def attention(self, layer, x, prepared):
        return SCATTER.attention(layer.layer, x, prepared)


CRASHING = Crashing("crashing")
HANGING = Hanging("hanging")
FAILING = Failing("failing")
GREEDY = Greedy("greedy")
ABSENT = Absent("absent")
WRONG = Wrong("wrong")
STRANGER = Foreign("stranger")
