"""Back ends of "another package", each with a fault of its own; announced by entry points, as a stranger's would be."""

import ctypes
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from implementations.backends.scatter import BACKEND as SCATTER


class Foreign:
    """Scatter under another name; what is not said here is scatter's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.packages = ("foreign",)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(SCATTER, attribute)


def tried(name: str) -> None:
    """Leave a file for each time, in the folder that TRIES names, if it names one."""
    if folder := os.environ.get("TRIES"):
        os.close(tempfile.mkstemp(prefix=f"{name}-", dir=folder)[0])


class Crashing(Foreign):
    def prepare(self, graph, device):
        os.abort()


class Hanging(Foreign):
    def prepare(self, graph, device):
        tried(self.name)
        time.sleep(600)


class Failing(Foreign):
    """Says what SAYS holds, if it is there."""

    def prepare(self, graph, device):
        tried(self.name)
        raise RuntimeError(os.environ.get("SAYS", "the library is out of sorts"))


class Throwing(Foreign):
    """Asks C++ for more memory than there is; nobody catches what that throws."""

    def prepare(self, graph, device):
        ctypes.CDLL("libstdc++.so.6")._Znwm(ctypes.c_size_t(2**62))


class Shot(Foreign):
    """Killed from outside: as often as there are files in the folder that SHOTS names, or always."""

    def prepare(self, graph, device):
        if (shots := os.environ.get("SHOTS")) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        elif left := list(Path(shots).iterdir()):
            left[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return SCATTER.prepare(graph, device)


SLEEP = ["sleep", "600"]
LEAVE = ["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"]


class Parent(Foreign):
    """Starts processes, writes their numbers to the file in CHILDREN, and hangs.

    One is a plain child, one has a session of its own, and one has also lost its parent, as daemons do.
    """

    def prepare(self, graph, device):
        children = [subprocess.Popen(SLEEP), subprocess.Popen(SLEEP, start_new_session=True)]
        orphan = subprocess.run(LEAVE, stdout=subprocess.PIPE, text=True, check=True).stdout
        Path(os.environ["CHILDREN"]).write_text(" ".join([*(str(child.pid) for child in children), orphan.strip()]))
        time.sleep(600)


class Meeting(Foreign):
    """Writes its cores to a file in the folder that MEETING names, and waits until as many lie there as COMPANY."""

    def prepare(self, graph, device):
        place, deadline = Path(os.environ["MEETING"]) / str(os.getpid()), time.monotonic() + 120
        if not place.exists():
            place.write_text(" ".join(map(str, sorted(os.sched_getaffinity(0)))))
        while len(list(place.parent.iterdir())) < int(os.environ["COMPANY"]):
            assert time.monotonic() < deadline, "nobody came"
            time.sleep(0.02)
        return SCATTER.prepare(graph, device)


class Littering(Foreign):
    """Leaves a file in the temporary folder, as PyG does, and writes its path to the file in LITTER."""

    def prepare(self, graph, device):
        with tempfile.NamedTemporaryFile(delete=False) as file, Path(os.environ["LITTER"]).open("a") as litter:
            litter.write(file.name + "\n")
        return SCATTER.prepare(graph, device)


class Hoarding(Foreign):
    """Predicts little and takes a gibibyte."""

    def memory_bytes(self, operator, config, num_nodes, num_edges):
        return 1

    def prepare(self, graph, device):
        torch.ones(2**28)
        return SCATTER.prepare(graph, device)


class Greedy(Foreign):
    def memory_bytes(self, operator, config, num_nodes, num_edges):
        return 2**60


class Absent(Foreign):
    def unsupported(self, operator, config, device):
        return "foreign cannot be imported; install it"


class Picky(Foreign):
    """Takes dense features only."""

    sparse_features = False


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
HOARDING = Hoarding("hoarding")
LITTERING = Littering("littering")
MEETING = Meeting("meeting")
PARENT = Parent("parent")
PICKY = Picky("picky")
SHOT = Shot("shot")
THROWING = Throwing("throwing")
ABSENT = Absent("absent")
WRONG = Wrong("wrong")
STRANGER = Foreign("stranger")
