"""torch.compile around the network of another back end's layers; its layers themselves stay as they are.

The forward pass of the network and its backward are compiled together when a training step or an evaluation first
runs; Adam stays torch's. What is compiled is kept where torch keeps it: in TORCHINDUCTOR_CACHE_DIR, else in the
system's folder for temporary files.
"""

import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from implementations.contract import (
    TRAINING_STEP,
    Backend,
    Fact,
    Graph,
    LayerConfig,
    Operator,
    Semantics,
    Trainer,
    TrainingProblem,
)

COMPILERS = ("g++", "clang++", "c++")


class Compiled:
    """A back end as another has it, with the network under torch.compile while it is trained."""

    sparse_features = True
    shipped_features: Literal["dense", "sparse"] = "dense"

    def __init__(self, of: str) -> None:
        self._inner = cast(Backend, importlib.import_module(f"implementations.backends.{of}").BACKEND)
        self.name, self.builds_on = f"{of}_compile", of
        self.packages = ("torch", *self._inner.packages)
        step = Fact(
            "nothing: torch compiles what it is given",
            "network compiled, forward and backward; Adam as torch has it",
        )
        self.semantics: Semantics = {**self._inner.semantics, TRAINING_STEP: step}

    def unsupported(self, operator: Operator, config: LayerConfig, device: torch.device) -> str | None:
        return self._inner.unsupported(operator, config, device) or _why_not(device)

    def memory_bytes(self, operator: Operator, config: LayerConfig, num_nodes: int, num_edges: int) -> int:
        return self._inner.memory_bytes(operator, config, num_nodes, num_edges)

    def prepare(self, graph: Graph, device: torch.device) -> Any:
        return self._inner.prepare(graph, device)

    def layer(self, operator: Operator, config: LayerConfig) -> nn.Module:
        return self._inner.layer(operator, config)

    def names(self, operator: Operator, config: LayerConfig) -> Mapping[str, str]:
        return self._inner.names(operator, config)

    def attention(self, layer: nn.Module, x: Tensor, prepared: Any) -> Tensor:
        return self._inner.attention(layer, x, prepared)

    def dropout(self, x: Tensor, probability: float) -> Tensor:
        return self._inner.dropout(x, probability)

    def whole_step(self, operator: Operator, problem: TrainingProblem) -> Trainer:
        return _Trainer(problem, self.dropout)


class _Stack(nn.Module):
    """The network of a training problem; see `TrainingProblem`."""

    def __init__(self, problem: TrainingProblem, dropout: Callable[[Tensor, float], Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(problem.layers)
        self.feature_dropout = problem.feature_dropout
        self.dropout = dropout

    def forward(self, x: Tensor, prepared: Any) -> Tensor:
        for position, layer in enumerate(self.layers):
            if self.training and self.feature_dropout > 0.0:
                x = self.dropout(x, self.feature_dropout)
            x = layer(x, prepared)
            if position < len(self.layers) - 1:
                x = F.elu(x)
        return x


class _Trainer:
    """Training through the compiled network."""

    def __init__(self, problem: TrainingProblem, dropout: Callable[[Tensor, float], Tensor]) -> None:
        self._problem = problem
        self._stack = _Stack(problem, dropout)
        self._compiled = torch.compile(self._stack)
        parameters = self._stack.parameters()
        self._adam = torch.optim.Adam(parameters, lr=problem.lr, weight_decay=problem.weight_decay, fused=True)

    def step(self) -> Tensor:
        problem = self._problem
        self._stack.train()
        self._adam.zero_grad(set_to_none=True)
        logits = self._compiled(problem.x, problem.prepared)
        loss = F.cross_entropy(logits[problem.nodes], problem.y[problem.nodes])
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        return loss.detach()

    def logits(self) -> Tensor:
        self._stack.eval()
        with torch.no_grad():
            output: Tensor = self._compiled(self._problem.x, self._problem.prepared)
        return output

    def parts(self, steps: int) -> None:
        pass


def _why_not(device: torch.device) -> str | None:
    """What torch.compile lacks here, as a sentence, or None."""
    if device.type == "cuda":
        return None if importlib.util.find_spec("triton") else "torch.compile needs Triton on this device"
    named = os.environ.get("CXX")
    if any(shutil.which(name) for name in ([named] if named else COMPILERS)):
        return None
    looked_for = named or ", ".join(COMPILERS)
    return f"torch.compile needs a C++ compiler at run time, and there is none ({looked_for}); install one"
