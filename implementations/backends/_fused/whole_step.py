"""The whole training step as one call of the kernels, on the parameters of the network's own layers.

Adam's moments live here; parameters are changed in place, so checkpoints and evaluation work as for any module.
"""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from implementations.backends._fused.arena import Arena
from implementations.backends._fused.calls import Program
from implementations.backends._fused.inputs import restricted
from implementations.backends._fused.noise import new_key
from implementations.backends._fused.ordering import places
from implementations.backends._fused.ownership import Held, require_sound
from implementations.backends._fused.passes import Data, Net, Pass
from implementations.backends._fused.receptive import Field, receptive, whole
from implementations.backends._fused.structures import Edges, Rows, SparseFeatures
from implementations.backends._fused.weights import Weights
from implementations.contract import TrainingProblem

BETAS = (0.9, 0.999)


class WholeStep:
    """A `Trainer`; `prunes` computes only what the logits of the training nodes depend on.

    It is of the parameters as they lie in memory now: once one is another, or lies elsewhere, calls are RuntimeErrors.

    Raises:
        ValueError: see `require_sound`; or feature_dropout is not in [0, 1).
        TypeError: see `require_sound`.
    """

    def __init__(self, problem: TrainingProblem, *, is_v2: bool, prunes: bool) -> None:
        require_sound(problem)
        edges: Edges = problem.prepared
        self._held = Held(problem.layers)
        self._lr, self._steps = problem.lr, 0
        self._key = torch.zeros(1, dtype=torch.int64)
        self._clock = torch.zeros(2, dtype=torch.float64)
        self.net = Net(is_v2, _weights(problem), problem.feature_dropout, self._key, torch.get_num_threads())
        everything = whole(edges, len(problem.layers))
        field = receptive(edges, problem.nodes, len(problem.layers)) if prunes else everything
        place = torch.full((edges.num_nodes,), -1, dtype=torch.int64)
        place[field.nodes] = torch.arange(len(field.nodes))
        trained = _data(problem, field, problem.y[problem.nodes].contiguous(), place[problem.nodes])
        evaluated = _data(problem, everything) if prunes else Data(everything, trained.x, trained.sparse)
        self.training, self.evaluation = _planned(self.net, trained, evaluated)
        self._update = self._adam(problem.weight_decay)
        self._classes = problem.configs[-1].out_channels
        self._place = None if _is_given(everything, edges.num_nodes) else places(everything.nodes)

    def step(self) -> Tensor:
        """See `Trainer`."""
        self._begin()
        self.training.program.run()
        self._update.run()
        return self.training.loss[0].clone()

    def _begin(self) -> None:
        """A new step's dropout key and Adam's corrections."""
        self._held.require_the_same()
        self._steps += 1
        key = new_key()
        self._key[0] = key - 2**64 if key >= 2**63 else key
        self._clock[0] = self._lr / (1 - BETAS[0] ** self._steps)
        self._clock[1] = (1 - BETAS[1] ** self._steps) ** -0.5

    def logits(self) -> Tensor:
        """See `Trainer`."""
        self._held.require_the_same()
        self.evaluation.program.run()
        logits = self.evaluation.logits[:, : self._classes]
        return logits.clone() if self._place is None else logits[self._place]

    def parts(self, steps: int) -> Mapping[str, float]:
        """See `Trainer`."""
        found: dict[str, float] = defaultdict(float)
        for _ in range(steps):
            self._begin()
            for program in (self.training.program, self._update):
                for name, seconds in program.timed():
                    found[name] += seconds / steps
        return found

    def _adam(self, weight_decay: float) -> Program:
        program = Program(self.net.dtype, self.net.threads)
        self._moments = []
        for weights in self.net.weights:
            for weight in weights.by_name.values():
                first, second = torch.zeros(2, weight.parameter.numel(), dtype=self.net.dtype)
                self._moments += [first, second]
                weight.update(program, first, second, self._clock, weight_decay)
        return program


def _weights(problem: TrainingProblem) -> list[Weights]:
    found: list[Weights] = []
    previous = None
    for layer, config in zip(problem.layers, problem.configs, strict=True):
        rows = Rows.of(config, problem.x.dtype)
        found.append(Weights(layer, config, rows, previous))
        previous = rows
    return found


def _is_given(field: Field, num_nodes: int) -> bool:
    """Whether its nodes are all nodes in the graph's own order."""
    return torch.equal(field.nodes, torch.arange(num_nodes))


def _data(problem: TrainingProblem, field: Field, labels: Tensor | None = None, nodes: Tensor | None = None) -> Data:
    x = problem.x if _is_given(field, problem.x.shape[0]) else restricted(problem.x, field.nodes)
    sparse = {}
    if x.layout == torch.sparse_csr:
        first = field.layers[0]
        for rows in {first.num_nodes, first.num_targets}:
            part = x if rows == x.shape[0] else restricted(x, torch.arange(rows))
            sparse[rows] = SparseFeatures.of(part)
    return Data(field, x if sparse else x.contiguous(), sparse, labels, nodes)


def _planned(net: Net, *data: Data) -> list[Pass]:
    """Passes that share one block of memory, since they never run at the same time."""
    size = 0
    for each in data:
        measured = Arena(net.dtype)
        Pass(net, each, measured)
        size = max(size, measured.peak)
    block = torch.empty(size, dtype=net.dtype)
    return [Pass(net, each, Arena(net.dtype, block)) for each in data]
