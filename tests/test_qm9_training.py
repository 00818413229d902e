"""Numbers of whole graphs: network, read-out and optimizer against hand computation, and GATv2's Table 2 end to end."""

import json
import math
from pathlib import Path

import pytest
import qm9_files
import torch
from torch import nn

from bench import cli, experiment_file
from bench.config import Architecture, Experiment, Protocol, RmsProp, Training
from bench.folder import ResultsFolder
from bench.plugins import BACKENDS
from bench.rig import task_of
from bench.training import network, objective, parts
from bench.training.network import Between
from bench.training.optimizer import optimizer
from bench.training.readout import GatedEnds, of_graphs
from bench.training.relational import Relational
from bench.training.train import Autograd, Inputs, Material, asked, evaluate
from implementations.contract import Graph
from implementations.operators import gat, gatv2

PROTOCOL = Protocol(row_normalise=False, features="dense")
SMALL = Architecture(
    layers=3, hidden=2, heads=2, bias=False, skip="averaged", ends="gated", feature_dropout=0.0, attention_dropout=0.0
)


pytestmark = pytest.mark.usefixtures("no_data")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    qm9_files.write(tmp_path / "data" / "qm9")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "qm9"


def small(backend: str, operator=gatv2, features: int = 15, relations: int = 5) -> network.Network:
    configs = network.layer_configs(SMALL, features, 1)
    ends = GatedEnds(features, SMALL.heads * SMALL.hidden, seed=0)
    return network.build(BACKENDS.get(backend), operator, configs, SMALL, 0, ends, relations)


def inputs(backend: str, part: parts.Part) -> Inputs:
    prepared = tuple(BACKENDS.get(backend).prepare(graph, torch.device("cpu")) for graph in part.relations)
    return Inputs(part.x, prepared, part.y, part.nodes, "mae", 1.0, part.graph_of)


def test_a_graphs_number_is_the_gated_sum_over_its_nodes():
    ends = GatedEnds(features=1, width=2, seed=None)
    with torch.no_grad():
        ends.gate.weight.copy_(torch.tensor([[1.0, 0.0, 2.0]]))
        ends.gate.bias.fill_(-1.0)
        ends.number.weight.copy_(torch.tensor([[3.0, -1.0]]))
        ends.number.bias.fill_(0.5)
    h, x = torch.tensor([[1.0, 2.0], [0.0, 1.0], [2.0, 0.0]]), torch.tensor([[0.0], [1.0], [-1.0]])
    found, y = of_graphs(ends.last(h, x), torch.tensor([4.0, 4.0, 7.0]), torch.tensor([0, 0, 1]))
    gates = [1 / (1 + math.exp(-z)) for z in (1 - 1, 0 + 2 - 1, 2 - 2 - 1)]
    numbers = [3 - 2 + 0.5, -1 + 0.5, 6 + 0.5]
    weighed = [gate * number for gate, number in zip(gates, numbers, strict=True)]
    assert found.tolist() == pytest.approx([weighed[0] + weighed[1], weighed[2]])
    assert y.tolist() == [4.0, 7.0]


def test_tanh_of_a_linear_map_comes_before_the_first_layer_and_after_it_alone():
    ends = GatedEnds(features=2, width=2, seed=0)
    x = torch.tensor([[0.5, -1.0]])
    assert torch.equal(ends.first(x), torch.tanh(x @ ends.into.weight.T))
    assert torch.equal(ends.followed(x, 0), torch.tanh(x @ ends.then.weight.T))
    assert torch.equal(ends.followed(x, 1), x)


@pytest.mark.parametrize(
    ("skip", "entering"),
    [
        ("none", [1.0, 10.0, 100.0, 1000.0]),
        ("averaged", [1.0, 5.5, 55.0, 550.0]),
        ("averaged_by_two", [1.0, 10.0, 50.5, 1000.0]),
    ],
)
def test_a_layers_input_is_averaged_with_an_earlier_one_before_it_was_averaged_itself(skip, entering):
    between, before, found = Between(Architecture(skip=skip)), None, []
    for position, value in enumerate((1.0, 10.0, 100.0, 1000.0)):
        x, before = between.averaged(torch.tensor(value), position, before)
        found.append(float(x))
    assert found == entering


@pytest.mark.parametrize("name", ["scatter", "pyg"])
def test_a_layer_over_relations_is_the_sum_of_one_for_each(name):
    backend, config = BACKENDS.get(name), network.layer_configs(SMALL, 3, 1)[1]
    edges = [torch.tensor([[0, 1], [1, 2]]), torch.empty(2, 0, dtype=torch.int64), torch.tensor([[2, 1], [0, 0]])]
    prepared = [backend.prepare(Graph(3, edge_index), torch.device("cpu")) for edge_index in edges]
    layers = [backend.layer(gat, config) for _ in edges]
    x = torch.randn(3, config.in_channels, generator=torch.Generator().manual_seed(0))
    expected = sum(layer(x, graph) for layer, graph in zip(layers, prepared, strict=True))
    torch.testing.assert_close(Relational(layers)(x, prepared), expected)


def test_start_weights_are_those_of_the_seed_on_every_back_end_and_others_for_each_relation(folder):
    task = task_of("qm9", PROTOCOL, seed=0)
    part = parts.around(task, task.split.validation)
    outputs = [evaluate(small(name), inputs(name, part)) for name in ("scatter", "pyg")]
    torch.testing.assert_close(*outputs)
    first, second, *_ = small("scatter").layers[0].layers
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_what_is_said_of_a_molecule_does_not_depend_on_those_beside_it(folder):
    task, model = task_of("qm9", PROTOCOL, seed=0), small("scatter")

    def said(nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        given = inputs("scatter", parts.around(task, nodes))
        return asked(model, evaluate(model, given), given.y, given.nodes, given.graph_of)

    together, y = said(task.split.validation)
    numbers = task.graph_of[task.split.validation]
    alone = [said((task.graph_of == number).nonzero().squeeze(-1)) for number in numbers.unique()]
    torch.testing.assert_close(together, torch.cat([found for found, _ in alone]))
    assert torch.equal(y, torch.cat([true for _, true in alone]))
    assert len(together.unique()) == len(together) == 6


def test_the_loss_is_half_the_mean_square_and_the_score_the_mean_error_in_units():
    found, y = torch.tensor([1.0, 4.0]), torch.tensor([2.0, 1.0])
    assert float(objective.loss(found, y, "mae")) == pytest.approx((1 + 9) / 4)
    assert objective.score(found, y, "mae", unit=0.5) == pytest.approx(4.0)


def test_rmsprop_starts_with_mean_squares_of_one_as_tensorflows():
    weight = nn.Parameter(torch.tensor([1.0]))
    made = optimizer([weight], Training(lr=0.1, weight_decay=0.0, rmsprop=RmsProp(decay=0.9, momentum=0.5)))
    mean, momentum, expected = 1.0, 0.0, 1.0
    for gradient in (2.0, -1.0, 3.0):
        weight.grad = torch.tensor([gradient])
        made.step()
        mean = 0.9 * mean + 0.1 * gradient**2
        momentum = 0.5 * momentum + 0.1 * gradient / math.sqrt(mean)
        expected -= momentum
        assert weight.item() == pytest.approx(expected, rel=1e-6)


def norms(model: nn.Module, batch: Inputs, limit: float | None) -> torch.Tensor:
    Autograd(model, Material([batch], batch), Training(lr=1e-9, clip_each=limit)).step()
    return torch.stack([parameter.grad.norm() for parameter in model.parameters()])


def test_each_parameters_gradient_is_clipped_on_its_own(folder):
    task, model = task_of("qm9", PROTOCOL, seed=0), small("scatter")
    batch = inputs("scatter", parts.around(task, task.split.train))
    with torch.no_grad():
        model.ends.number.weight.mul_(1000)
    free, clipped = (norms(model, batch, limit) for limit in (None, 1.0))
    assert (free > 1).sum() > 1
    assert (free < 1).sum() > 1
    torch.testing.assert_close(clipped, free.clamp(max=1.0), rtol=1e-3, atol=1e-3)


def problems(**changes) -> list[str]:
    asked_for = {
        "title": "t",
        "backends": ["scatter"],
        "operators": ["gatv2"],
        "datasets": ["qm9-gap"],
        "devices": ["cpu"],
        "seeds": [0],
        "architecture": {"ends": "gated"},
        "training": {"stop_on": "loss"},
        "timing": {"rounds": 0},
    }
    return list(experiment_file.problems(Experiment.model_validate(asked_for | changes)))


def test_what_does_not_fit_numbers_of_whole_graphs_is_refused_in_one_line():
    assert problems() == []
    for changes, said in (
        ({"architecture": {}}, "architecture.ends: qm9-gap is about numbers of whole graphs, so it must be 'gated'"),
        ({"datasets": ["ppi"]}, "architecture.ends: ppi is about nodes or links, so it cannot be 'gated'"),
        ({"training": {}}, "training.stop_on: qm9-gap is scored by an error, so it must be 'loss' or 'never'"),
        ({"timing": {"rounds": 1}}, "timing.rounds: qm9-gap is about numbers of whole graphs, so it must be 0"),
        ({"protocol": {"edge_noise": 0.1}}, "protocol.edge_noise: qm9-gap is about numbers of whole graphs, so it"),
    ):
        (line,) = problems(**changes)
        assert line.startswith(said)


def run(tmp_path: Path, *options: str) -> dict[str, dict[str, object]]:
    results = ["--results", str(tmp_path / "results"), "--mlflow", "off"]
    assert cli.main(["tables", qm9_files.few_epochs(tmp_path), *options, *results]) == 0
    found = json.loads((tmp_path / "results" / "gatv2-table2" / "table.json").read_text())
    return {row["row"]: row for row in found["rows"]}


def test_table_2_on_a_small_set_is_run_and_never_held_against_the_published_numbers(folder, tmp_path):
    name = "gatv2-8-heads/gatv2/qm9-gap/scatter"
    row = run(tmp_path, "--only", name, "--seeds", "1")[name]
    assert (row["verdict"], row["seeds"]) == ("protocol differs", 1)
    assert "a softmax of its own" in row["verdict_detail"]
    assert "these files hold 24 + 6 + 6 molecules" in row["verdict_detail"]
    (fit,) = [
        record.outcome
        for record in ResultsFolder(tmp_path / "results" / "gatv2-table2").records()
        if record.outcome.kind == "fit"
    ]
    assert fit.is_error
    assert row["ours"] == pytest.approx(fit.test)
    assert fit.curves["train_loss"][-1] < fit.curves["train_loss"][0]
    assert fit.validation == pytest.approx(fit.curves["validation_mae"][fit.best_epoch - 1], rel=1e-5)
    assert "2.29 ± 0.15 (n=5)" in (tmp_path / "results" / "gatv2-table2" / "table.md").read_text()


def test_without_the_files_each_row_says_how_to_bring_them(tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # where nobody answers
    rows = run(tmp_path, "--only", "gat-1-head/gat/qm9-mu/scatter")
    for name in ("gat-1-head/gat/qm9-mu/scatter", "dpgat-8-heads/dpgat/qm9-omega/scatter"):
        assert rows[name]["verdict"] == "not run"
        assert "bench data qm9 --fetch" in rows[name]["verdict_detail"]
    assert len([row for row in rows.values() if row["verdict"] == "not run"]) > 6 * 13
