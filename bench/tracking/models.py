"""Trained networks as MLflow models: `mlflow.pyfunc.load_model` gives back something that predicts on a graph."""

import logging
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus

from bench import saved_model
from bench.environment import versions
from bench.errors import UserError
from bench.plugins import BACKENDS
from bench.saved_model import About

logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # it tells of each model that it looks at the example


def keep(client: MlflowClient, experiment_id: str, run_id: str, path: Path) -> None:
    """See to exactly the network in `path` being logged with a run."""
    logged = _of_run(client, experiment_id, run_id)
    whole = [
        model for model in logged if model.tags.get("job") == path.stem and model.status == LoggedModelStatus.READY
    ]
    for model in logged:
        if model not in whole[:1]:
            client.delete_logged_model(model.model_id)
    if not whole:
        with suppress(UserError):  # a damaged file costs the model, not the view
            _log(client, experiment_id, run_id, path, saved_model.about(path))


def remove(client: MlflowClient, experiment_id: str, run_id: str) -> None:
    """Delete whatever networks were logged with a run."""
    for model in _of_run(client, experiment_id, run_id):
        client.delete_logged_model(model.model_id)


def _of_run(client: MlflowClient, experiment_id: str, run_id: str) -> list[Any]:
    return list(client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"))


def _log(client: MlflowClient, experiment_id: str, run_id: str, path: Path, about: About) -> None:
    tags = {"cell": str(about.job.key), "job": about.job.id, "seed": str(about.job.seed)}
    kind = f"{about.job.operator}, {about.job.backend}"
    entry = client.create_logged_model(experiment_id, str(about.job.key), run_id, tags, model_type=kind)
    with tempfile.TemporaryDirectory() as folder:
        _write(about, path, Path(folder, "model"))
        client.log_model_artifacts(entry.model_id, folder + "/model")
    client.finalize_logged_model(entry.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(entry.model_id, 0)])


def _write(about: About, path: Path, folder: Path) -> None:
    """MLflow's own form of a model: signature, input example, requirements, and the file itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, about type hints of its own
        import mlflow.pyfunc  # takes a second, which only those pay who have a model to log
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        specs = {name: TensorSpec(array.dtype, _shape(name, array), name) for name, array in _example(about).items()}
        logits = (-1,) if {"graph_of", "pairs"} & specs.keys() else (-1, about.classes)
        packages = versions(("torch", *BACKENDS.get(about.job.backend).packages))
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=saved_model.__name__,
            data_path=str(path),
            signature=ModelSignature(Schema(list(specs.values())), Schema([TensorSpec(specs["x"].type, logits)])),
            input_example=_example(about),
            pip_requirements=[f"{name}=={version.partition('+')[0]}" for name, version in packages.items()],
        )


def _example(about: About) -> dict[str, Any]:
    """Two nodes of one graph, an edge each way, and whatever else this network asks for."""
    arrays = {
        "x": np.ones((2, about.features), about.job.protocol.dtype),
        "edge_index": np.array([[0, 1], [1, 0]]),
        "edge_type": np.array([0, 0]),
        "graph_of": np.array([0, 0]),
        "pairs": np.array([[0], [1]]),
    }
    return {name: arrays[name] for name in about.asks}


def _shape(name: str, array: Any) -> tuple[int, ...]:
    """That of an example with any number of nodes, edges and pairs."""
    if array.ndim == 1:
        return (-1,)
    return (-1, array.shape[1]) if name == "x" else (2, -1)
