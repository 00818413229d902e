"""A trained network in one file: what a fit leaves, and what predicts on a graph from it.

MLflow loads one through `_load_pyfunc` (`mlflow.pyfunc.load_model`), everybody else through `load`.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import UserError
from bench.folder import write_atomically
from bench.plugins import BACKENDS, OPERATORS
from bench.task import row_normalised
from bench.training import network
from bench.training.train import Inputs, evaluate
from bench.work import FitJob
from implementations.contract import Graph

SUFFIX = ".pt"


@dataclass(frozen=True)
class About:
    """What a file says of itself."""

    job: FitJob
    features: int
    classes: int


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A network with the weights of its best epoch, and the job that trained it."""

    job: FitJob
    network: network.Network

    def logits(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """[N, classes] in evaluation mode, on the CPU.

        Args:
            x: [N, F] features as the data set has them; normalised here if the protocol says so.
            edge_index: [2, E] sources and targets, each direction an edge of its own, without self-loops;
                they are added here if the protocol says so.
        """
        backend = BACKENDS.get(self.job.backend)
        graph = Graph(x.shape[0], edge_index)
        if self.job.protocol.self_loops:
            graph = graph.with_self_loops()
        x = x.to(getattr(torch, self.job.protocol.dtype))
        inputs = Inputs(
            x=row_normalised(x) if self.job.protocol.row_normalise else x,
            prepared=backend.prepare(graph, torch.device("cpu")),
            y=torch.empty(0),
            nodes=torch.empty(0),
        )
        return evaluate(self.network, inputs)

    def predict(self, model_input: Mapping[str, Any], params: object = None) -> Any:
        """What MLflow calls: arrays `x` and `edge_index` as in `logits`, an array of logits out."""
        del params
        x, edge_index = (torch.as_tensor(model_input[name]) for name in ("x", "edge_index"))
        return self.logits(x, edge_index).numpy()


def save(folder: Path, job: FitJob, features: int, classes: int, model: network.Network) -> None:
    """Write a trained network under its job's id."""
    state = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    content = {"job": job.model_dump_json(), "features": features, "classes": classes, "state": state}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path(folder, job.id), buffer.getvalue())


def path(folder: Path, job_id: str) -> Path:
    """Where a job's network lies in a folder of them."""
    return folder / f"{job_id}{SUFFIX}"


def about(path: Path) -> About:
    """Which job left a file, and the sizes of its network.

    Raises:
        UserError: it is not what `save` wrote.
    """
    return _read(path)[0]


def load(path: Path) -> SavedModel:
    """Read what `save` wrote; no code in the file is run.

    Raises:
        UserError: it is something else.
        ImportError: the library of its back end is not installed.
    """
    found, state = _read(path)
    job, backend = found.job, BACKENDS.get(found.job.backend)
    configs = network.layer_configs(job.architecture, found.features, found.classes)
    model = network.build(backend, OPERATORS.get(job.operator), configs, job.architecture, None)
    model.to(getattr(torch, job.protocol.dtype)).load_state_dict(state)
    return SavedModel(job, model)


def _read(path: Path) -> tuple[About, dict[str, Tensor]]:
    try:
        content = torch.load(path, weights_only=True)
        job = FitJob.model_validate_json(content["job"])
        return About(job, content["features"], content["classes"]), content["state"]
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - torch has none of its own for what it refuses to read
        raise UserError(f"{path}: not a network that a fit left here; delete it") from None


def _load_pyfunc(path: str) -> SavedModel:
    """MLflow's entry: `path` is the folder or the file that was given as `data_path`."""
    return load(Path(path))
