"""Of each cell the best trained network is kept, and whoever loads it gets the predictions that were scored."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from docs_tools import blocks
from grid_tools import Silent
from tracking_tools import with_store

from bench import best_models, saved_model, views
from bench.config import Experiment
from bench.errors import UserError
from bench.folder import ResultsFolder
from bench.outcomes import Fitted
from bench.rig import task_of
from bench.runner import Grid, Unheard
from bench.tracking import mlflow_store
from bench.work import CellKey, FitJob

SCATTER = CellKey("scatter", "gat", "blocks", "cpu")
DENSE = CellKey("dense", "gat", "blocks", "cpu")


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> ResultsFolder:
    """Two back ends and two seeds, trained; nobody changes it."""
    asked = Experiment.model_validate(
        {
            "title": "two cells",
            "backends": ["scatter", "dense"],
            "operators": ["gat"],
            "datasets": ["blocks"],
            "devices": ["cpu"],
            "seeds": [0, 1],
            "training": {"max_epochs": 5},
            "timing": {"rounds": 0},
        }
    )
    folder = ResultsFolder(tmp_path_factory.mktemp("ran") / "two-cells")
    folder.write_experiment(asked)
    assert Grid(asked, folder, Silent(), Unheard()).run() == 0
    return folder


def shown(block: str, function: str) -> Callable:
    """What the page on trained networks has a reader write."""
    page = Path(__file__).parent.parent / "docs/how-to/trained-network.md"
    names: dict = {}
    exec(compile("".join(blocks(page, f"python {block}")), "page", "exec"), names)
    return names[function]


def graph_and_test_nodes(job: FitJob):
    task = task_of(job.dataset, job.protocol.model_copy(update={"row_normalise": False}), job.seed)
    is_loop = task.graph.sources == task.graph.targets
    return task.x.to_dense(), task.graph.edge_index[:, ~is_loop], task.y, task.held_out


def best_fit(folder: ResultsFolder, cell: CellKey) -> Fitted:
    fits = [r.outcome for r in folder.records() if r.key == cell and isinstance(r.outcome, Fitted)]
    return max(fits, key=lambda fit: (fit.validation, -fit.seed))


def test_each_cell_keeps_the_network_with_the_best_validation_score(ran):
    kept = best_models.paths(ran.path, ran.records())
    assert kept.keys() == {SCATTER, DENSE}
    assert set((ran.path / "models").iterdir()) == set(kept.values())
    for cell, path in kept.items():
        assert saved_model.about(path).job.seed == best_fit(ran, cell).seed


@pytest.mark.parametrize("cell", [SCATTER, DENSE], ids=lambda cell: cell.backend)
def test_a_loaded_network_scores_on_the_test_nodes_what_was_recorded(ran, cell):
    model = saved_model.load(best_models.paths(ran.path, ran.records())[cell])
    x, edge_index, y, test_nodes = graph_and_test_nodes(model.job)
    predicted = model.logits(x, edge_index).argmax(1)
    accuracy = float((predicted == y)[test_nodes].double().mean())
    assert accuracy == pytest.approx(best_fit(ran, cell).test)


def test_a_network_that_was_trained_without_self_loops_predicts_without_them(small, cpu, tmp_path):
    from bench.jobs import run_job
    from bench.plan import cells, fit_jobs
    from bench.rig import Place

    asked = small.model_copy(update={"protocol": small.protocol.model_copy(update={"self_loops": False})})
    fitted = run_job(fit_jobs(asked, cells(asked), {})[0], Place(cpu.slots()[0], models=str(tmp_path)))
    (path,) = tmp_path.glob(f"*{saved_model.SUFFIX}")
    model = saved_model.load(path)
    x, edge_index, y, test_nodes = graph_and_test_nodes(model.job)
    predicted = model.logits(x, edge_index).argmax(1)
    assert float((predicted == y)[test_nodes].double().mean()) == pytest.approx(fitted.test)


def test_what_is_no_network_is_refused_in_a_sentence_and_none_of_its_code_runs(tmp_path):
    class Runs:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "x.pt"
    for content in (b"", b"rubbish", None):
        path.write_bytes(content) if content is not None else torch.save({"job": Runs()}, path)
        with pytest.raises(UserError, match="not a network that a fit left"):
            saved_model.load(path)
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_costs_the_network_and_not_the_result(small, cpu, tmp_path, monkeypatch):
    def fails(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_model, "write_atomically", fails)
    from bench.jobs import run_job
    from bench.plan import cells, fit_jobs
    from bench.rig import Place

    job = fit_jobs(small, cells(small), {})[0]
    outcome = run_job(job, Place(cpu.slots()[0], models=str(tmp_path)))
    assert isinstance(outcome, Fitted)


def test_the_page_s_way_to_a_file_gives_the_network_that_was_scored(ran):
    found = shown("file", "network")(ran.path, "scatter", "gat", "blocks")
    x, edge_index, y, test_nodes = graph_and_test_nodes(found.job)
    accuracy = float((found.logits(x, edge_index).argmax(1) == y)[test_nodes].double().mean())
    assert accuracy == pytest.approx(best_fit(ran, SCATTER).test)
    with pytest.raises(LookupError, match="keeps no network of pyg"):
        shown("file", "network")(ran.path, "pyg", "gat", "blocks")


def test_a_run_begins_by_removing_what_a_killed_one_left_beside_the_networks(ran, tmp_path):
    folder = ResultsFolder(shutil.copytree(ran.path, tmp_path / ran.name))
    kept = set((folder.path / "models").iterdir())
    for name in ("0123456789abcdef.pt", ".0123456789abcdef.pt.k3x_9a"):
        (folder.path / "models" / name).touch()
    assert Grid(folder.experiment(), folder, Silent(), Unheard()).run() == 0
    assert set((folder.path / "models").iterdir()) == kept


@pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's, about type hints of its own
def test_mlflow_loads_the_best_network_of_a_cell_and_syncing_again_adds_none(ran, empty_store, tmp_path, monkeypatch):
    import mlflow

    results = with_store(tmp_path / "results", empty_store)
    folder = ResultsFolder(shutil.copytree(ran.path, results / ran.name))
    views.sync(None, folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store.default_uri(results))
    experiment = mlflow.MlflowClient().get_experiment_by_name(ran.name).experiment_id
    first = mlflow.MlflowClient().search_logged_models([experiment])
    views.sync(None, folder)
    models = mlflow.MlflowClient().search_logged_models([experiment])
    assert sorted(model.model_id for model in models) == sorted(model.model_id for model in first)
    assert sorted(model.name for model in models) == [str(DENSE), str(SCATTER)]
    logged = {model.name: model for model in models}
    found = logged[str(SCATTER)]
    assert mlflow.MlflowClient().get_run(found.source_run_id).data.tags["cell"] == str(SCATTER)

    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)  # which the page's way sets
    model = shown("mlflow", "predictor")(mlflow_store.default_uri(results), ran.name, str(SCATTER))
    assert model.metadata.get_input_schema().input_names() == ["x", "edge_index"]
    job = saved_model.about(best_models.paths(folder.path, folder.records())[SCATTER]).job
    x, edge_index, y, test_nodes = graph_and_test_nodes(job)
    assert model.input_example["x"].shape == (2, x.shape[1])
    logits = torch.as_tensor(model.predict({"x": x.numpy(), "edge_index": edge_index.numpy()}))
    accuracy = float((logits.argmax(1) == y)[test_nodes].double().mean())
    assert accuracy == pytest.approx(best_fit(ran, SCATTER).test)
