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
from bench.task import row_normalised, with_self_loops
from bench.training import network
from bench.training.readout import summed
from bench.training.train import Inputs, decoded, evaluate
from bench.work import FitJob
from implementations.contract import Graph

SUFFIX = ".pt"


@dataclass(frozen=True)
class About:
    """What a file says of itself."""

    job: FitJob
    features: int
    classes: int
    relations: int = 0  # types of edge that its layers tell apart; with self-loops, those are the first

    @property
    def edge_types(self) -> int:
        """Types of edge that whoever predicts has to name; self-loops are added here."""
        return max(0, self.relations - self.job.protocol.self_loops)

    @property
    def asks(self) -> tuple[str, ...]:
        """What `SavedModel.logits` has to be given."""
        architecture = self.job.architecture
        beside = {
            "edge_type": self.relations > 0,
            "graph_of": architecture.ends == "gated",
            "pairs": architecture.decoder is not None,
        }
        return ("x", "edge_index", *(name for name, is_asked in beside.items() if is_asked))


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A network with the weights of its best epoch, and what trained it."""

    about: About
    network: network.Network

    @property
    def job(self) -> FitJob:
        """The job that trained it."""
        return self.about.job

    def logits(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_type: Tensor | None = None,
        graph_of: Tensor | None = None,
        pairs: Tensor | None = None,
    ) -> Tensor:
        """In evaluation mode, on the CPU: [N, classes]; of pairs [n], a logit each; of graphs [G], a number each.

        Args:
            x: [N, F] features as the data set has them; normalised here if the protocol says so.
            edge_index: [2, E] sources and targets, each direction an edge of its own, without self-loops;
                they are added here if the protocol says so.
            edge_type: [E] from 0, in the data set's order; of networks that tell types of edge apart.
            graph_of: [N] from 0, the graph that each node lies in; of networks that foretell numbers of graphs.
            pairs: [2, n] nodes between which a link is asked for; of networks that were trained on links.

        Raises:
            UserError: something is missing that this network asks for, or given that it does not, or a shape or number
                cannot be right.
        """
        given = {"x": x, "edge_index": edge_index, "edge_type": edge_type, "graph_of": graph_of, "pairs": pairs}
        return self._predicted({name: tensor for name, tensor in given.items() if tensor is not None})

    def predict(self, model_input: Mapping[str, Any], params: object = None) -> Any:
        """What MLflow calls: arrays by name as in `logits`, an array of logits out."""
        del params
        return self._predicted({name: torch.as_tensor(array) for name, array in model_input.items()}).numpy()

    @torch.no_grad()
    def _predicted(self, given: Mapping[str, Tensor]) -> Tensor:
        self._require(given)
        x = given["x"].to(getattr(torch, self.job.protocol.dtype))
        inputs = Inputs(
            x=row_normalised(x) if self.job.protocol.row_normalise else x,
            prepared=self._prepared(x.shape[0], given["edge_index"], given.get("edge_type")),
            y=torch.empty(0),
            nodes=torch.empty(0),
        )
        output = evaluate(self.network, inputs)
        if "graph_of" in given:
            return summed(output, given["graph_of"])
        return decoded(self.network, output, given["pairs"]) if "pairs" in given else output

    def _require(self, given: Mapping[str, Tensor]) -> None:
        asks = self.about.asks
        if set(given) != set(asks):
            raise UserError(f"this network predicts from {', '.join(asks)}; it was given {', '.join(given)}")
        N, E, n = given["x"].shape[0], given["edge_index"].shape[-1], given.get("pairs", torch.empty(0)).shape[-1]
        _require_shape("x", given["x"], (N, self.about.features))
        expected = {
            "edge_index": ((2, E), N),
            "edge_type": ((E,), self.about.edge_types),
            "graph_of": ((N,), N),
            "pairs": ((2, n), N),
        }
        for name in asks[1:]:
            shape, end = expected[name]
            _require_shape(name, given[name], shape)
            _require_numbers(name, given[name], end)

    def _prepared(self, nodes: int, edge_index: Tensor, edge_type: Tensor | None) -> Any:
        """The graph in the back end's own form, or one for each type of edge."""
        types = range(0 if edge_type is None else self.about.edge_types)
        graph = Graph(nodes, edge_index)
        relations = tuple(Graph(nodes, edge_index[:, edge_type == type_]) for type_ in types)
        if self.job.protocol.self_loops:
            graph, relations = with_self_loops(graph, relations)
        return tuple(map(self._in_own_form, relations)) if relations else self._in_own_form(graph)

    def _in_own_form(self, graph: Graph) -> Any:
        return BACKENDS.get(self.job.backend).prepare(graph, torch.device("cpu"))


def _require_shape(name: str, given: Tensor, shape: tuple[int, ...]) -> None:
    if given.shape != shape:
        raise UserError(f"{name} has the shape {list(given.shape)}; it should be {list(shape)}")


def _require_numbers(name: str, given: Tensor, end: int) -> None:
    """Whole numbers from 0 to below `end`."""
    if given.dtype not in (torch.int64, torch.int32):
        raise UserError(f"{name} holds {given.dtype}; it should be torch.int64")
    if given.numel() and not (given.min() >= 0 and given.max() < end):
        raise UserError(f"{name} has numbers from {int(given.min())} to {int(given.max())}; "
                        f"they should lie between 0 and {end - 1}")  # fmt: skip


def save(folder: Path, about: About, model: network.Network) -> None:
    """Write a trained network under its job's id."""
    state = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    sizes = {"features": about.features, "classes": about.classes, "relations": about.relations}
    buffer = io.BytesIO()
    torch.save({"job": about.job.model_dump_json(), **sizes, "state": state}, buffer)
    write_atomically(path(folder, about.job.id), buffer.getvalue())


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
    job = found.job
    model = network.of(
        BACKENDS.get(job.backend), OPERATORS.get(job.operator), job.architecture,
        found.features, found.classes, found.relations, seed=None,
    )  # fmt: skip
    model.to(getattr(torch, job.protocol.dtype)).load_state_dict(state)
    return SavedModel(found, model)


def _read(path: Path) -> tuple[About, dict[str, Tensor]]:
    try:
        content = torch.load(path, weights_only=True)
        job = FitJob.model_validate_json(content["job"])
        # Without relations are the files of versions that kept no network with any.
        found = About(job, content["features"], content["classes"], content.get("relations", 0))
        return found, content["state"]
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - torch has none of its own for what it refuses to read
        raise UserError(f"{path}: not a network that a fit left here; delete it") from None


def _load_pyfunc(path: str) -> SavedModel:
    """MLflow's entry: `path` is the folder or the file that was given as `data_path`."""
    return load(Path(path))
