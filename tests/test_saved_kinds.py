"""A network that is more than attention layers on one graph predicts from its file what was scored, too."""

from pathlib import Path

import ogb_files
import pytest
import qm9_files
import torch
from grid_tools import Silent
from torch import Tensor
from tracking_tools import with_store

from bench import best_models, cli, experiment_file, saved_model
from bench.config import Experiment
from bench.errors import UserError
from bench.folder import ResultsFolder
from bench.jobs import run_job
from bench.outcomes import Fitted
from bench.plan import cells, fit_jobs
from bench.plugins import DATASETS
from bench.rig import Place
from bench.runner import Grid, Unheard
from bench.saved_model import SavedModel
from bench.task import NodeData
from bench.tracking import mlflow_store
from bench.training import objective

pytestmark = pytest.mark.usefixtures("brought", "cpu")

GATED = {"ends": "gated"}


@pytest.fixture
def brought(no_data, tmp_path, monkeypatch) -> None:
    """A user's folder with small files in the layout of QM9, ogbn-proteins and ogbl-collab."""
    data = tmp_path / "data"
    qm9_files.write(data / "qm9")
    ogb_files.write_proteins(data)
    ogb_files.write_collab(data)
    monkeypatch.setenv("BENCH_DATA", str(data))


def experiment(dataset: str, architecture: dict, seeds: int = 1) -> Experiment:
    batches = {"batches": {"by": "links", "links": 64}} if dataset == "ogbl_collab" else {}
    asked = Experiment.model_validate(
        {
            "title": "one cell",
            "backends": ["scatter"],
            "operators": ["gatv2"],
            "datasets": [dataset],
            "devices": ["cpu"],
            "seeds": list(range(seeds)),
            "protocol": {"row_normalise": False, "features": "dense"},
            "architecture": {"hidden": 4, "heads": 2, **architecture},
            "training": {"max_epochs": 3, "stop_on": "loss", **batches},
            "timing": {"rounds": 0},
        }
    )
    assert list(experiment_file.problems(asked)) == []
    return asked


def trained(models: Path, dataset: str, architecture: dict) -> tuple[SavedModel, float]:
    """A network, read back from its file, and what its fit scored on the test nodes."""
    asked = experiment(dataset, architecture)
    models.mkdir()
    fitted = run_job(fit_jobs(asked, cells(asked), {})[0], Place("cpu:0", models=str(models)))
    assert isinstance(fitted, Fitted), fitted
    (path,) = models.glob(f"*{saved_model.SUFFIX}")
    return saved_model.load(path), fitted.test


def loaded(dataset: str) -> tuple[NodeData, Tensor]:
    """The data as they are, and what is tested."""
    plugin = DATASETS.get(dataset)
    data = plugin.load()
    return data, plugin.nodes(data, plugin.info.splits[0], 0).test


def score(dataset: str, logits: Tensor, true: Tensor) -> float:
    info = DATASETS.get(dataset).info
    return objective.score(logits, true, info.metric, info.unit)


def test_a_network_of_whole_graphs_foretells_the_numbers_that_were_scored(tmp_path):
    model, scored = trained(tmp_path / "models", "qm9-gap", {"layers": 3, **GATED})
    assert model.about.asks == ("x", "edge_index", "edge_type", "graph_of")
    data, tested = loaded("qm9-gap")
    edge_type = torch.cat([torch.full((graph.num_edges,), type_) for type_, graph in enumerate(data.relations)])
    numbers = model.logits(data.x, data.graph.edge_index, edge_type=edge_type, graph_of=data.graph_of)
    graphs = data.graph_of[tested].unique()
    true = torch.stack([data.y[data.graph_of == graph][0] for graph in graphs])
    assert score("qm9-gap", numbers[graphs], true) == pytest.approx(scored, rel=1e-4)


def test_a_network_with_linear_ends_scores_what_was_recorded(tmp_path):
    model, scored = trained(tmp_path / "models", "ogbn_proteins", {"ends": "linear"})
    data, tested = loaded("ogbn_proteins")
    logits = model.logits(data.x, data.graph.edge_index)
    assert score("ogbn_proteins", logits[tested], data.y[tested]) == pytest.approx(scored)


def test_a_network_of_links_gives_a_logit_of_each_pair_that_was_scored(tmp_path):
    model, scored = trained(tmp_path / "models", "ogbl_collab", {"decoder": {"width": 4, "layers": 2}})
    assert model.about.asks == ("x", "edge_index", "pairs")
    data, tested = loaded("ogbl_collab")
    logits = model.logits(data.x, data.graph.edge_index, pairs=tested[:2])
    assert score("ogbl_collab", logits, tested[2].float()) == pytest.approx(scored)


def test_what_a_network_misses_or_never_asked_for_is_said_in_a_line(tmp_path):
    model, _ = trained(tmp_path / "models", "qm9-gap", GATED)
    x, edge_index = torch.ones(2, model.about.features), torch.tensor([[0, 1], [1, 0]])
    zeros = torch.zeros(2, dtype=torch.int64)
    for given, said in (
        ({}, "predicts from x, edge_index, edge_type, graph_of; it was given x, edge_index"),
        ({"edge_type": zeros[:1], "graph_of": zeros}, r"edge_type has the shape \[1\]; it should be \[2\]"),
        (
            {"edge_type": zeros + 4, "graph_of": zeros},
            "edge_type has numbers from 4 to 4; they should lie between 0 and 3",
        ),
        ({"edge_type": zeros, "graph_of": zeros - 1}, "graph_of has numbers from -1 to -1"),
        ({"edge_type": zeros / 2, "graph_of": zeros}, r"edge_type holds torch.float32; it should be torch.int64"),
    ):
        with pytest.raises(UserError, match=said):
            model.logits(x, edge_index, **given)
    with pytest.raises(UserError, match="edge_index has numbers from 0 to 2; they should lie between 0 and 1"):
        model.logits(x, 2 * edge_index, edge_type=zeros, graph_of=zeros)
    with pytest.raises(UserError, match=r"x has the shape \[2, 14\]; it should be \[2, 15\]"):
        model.logits(x[:, 1:], edge_index, edge_type=zeros, graph_of=zeros)
    with pytest.raises(UserError, match="it was given edge_index"):
        model.predict({"edge_index": edge_index.numpy()})


def test_of_networks_that_are_scored_by_an_error_the_one_with_the_least_is_kept(tmp_path):
    asked, folder = experiment("qm9-gap", GATED, seeds=3), ResultsFolder(tmp_path / "results" / "numbers")
    folder.write_experiment(asked)
    assert Grid(asked, folder, Silent(), Unheard()).run() == 0
    fits = [record.outcome for record in folder.records() if isinstance(record.outcome, Fitted)]
    (path,) = best_models.paths(folder.path, folder.records()).values()
    assert saved_model.about(path).job.seed == min(fits, key=lambda fit: fit.validation).seed
    assert set((folder.path / "models").iterdir()) == {path}


def test_each_row_of_a_papers_table_keeps_its_own_network_and_mlflow_has_it_with_the_row(
    tmp_path, empty_store, monkeypatch
):
    import mlflow

    results = with_store(tmp_path / "results", empty_store)
    rows = [f"{part}/gatv2/qm9-gap/scatter" for part in ("gatv2-8-heads", "gatv2-1-head")]
    chosen = [word for row in rows for word in ("--only", row)]
    table = qm9_files.few_epochs(tmp_path)
    assert cli.main(["tables", table, *chosen, "--seeds", "2", "--results", str(results)]) == 0
    jobs = [saved_model.about(path).job for path in (results / "gatv2-table2/models").iterdir()]
    assert sorted(job.architecture.heads for job in jobs) == [1, 8]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store.default_uri(results))
    client = mlflow.MlflowClient()
    models = client.search_logged_models([client.get_experiment_by_name("gatv2-table2").experiment_id])
    named = {client.get_run(model.source_run_id).info.run_name: model.tags["job"] for model in models}
    heads = {job.id: job.architecture.heads for job in jobs}
    assert {row: heads[job] for row, job in named.items()} == dict(zip(rows, (8, 1), strict=True))


@pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's, about type hints of its own
@pytest.mark.parametrize(
    ("dataset", "architecture"),
    [("qm9-gap", GATED), ("ogbl_collab", {"decoder": {"width": 4, "layers": 2}})],
    ids=["graphs", "links"],
)
def test_mlflow_gives_back_a_network_whose_example_is_what_it_asks_for(dataset, architecture, tmp_path):
    import mlflow

    from bench.tracking import models

    model, _ = trained(tmp_path / "models", dataset, architecture)
    (path,) = (tmp_path / "models").iterdir()
    models._write(model.about, path, tmp_path / "model")
    found = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    assert tuple(found.metadata.get_input_schema().input_names()) == model.about.asks
    predicted = torch.as_tensor(found.predict(found.input_example))
    assert predicted.shape == (1,)
    assert torch.isfinite(predicted).all()
