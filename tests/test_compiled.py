"""torch.compile around another back end: its layers are the other's own, and its step is that of its layers."""

import importlib
import shutil

import pytest
import torch

from implementations.adversarial import ADVERSARIAL, inputs
from implementations.contract import Fact, LayerConfig
from implementations.features import dropout
from implementations.operators import gat, gatv2, gatv2_labml
from implementations.step_check import compare_dropped_step, compare_whole_step

CPU = torch.device("cpu")
CONFIGS = [LayerConfig(12, 5, 3), LayerConfig(15, 4, 1, concat=False)]


def backend_of(name):
    return importlib.import_module(f"implementations.backends.{name}").BACKEND


def compared(backend, dtype=torch.float64):
    graph = ADVERSARIAL["duplicate edges"]()
    x, y = inputs(graph, 12, 4)
    return compare_whole_step(backend, gat, CONFIGS, graph, x, y, torch.arange(20), dtype, CPU)


@pytest.mark.parametrize("of", ["pyg", "scatter"])
def test_the_layers_are_those_of_the_other_back_end(of):
    ours, other = backend_of(f"{of}_compile"), backend_of(of)
    if reason := other.unsupported(gat, CONFIGS[0], CPU):
        pytest.skip(reason)
    assert type(ours.layer(gat, CONFIGS[0])) is type(other.layer(gat, CONFIGS[0]))
    assert ours.names(gat, CONFIGS[0]) == other.names(gat, CONFIGS[0])
    assert ours.unsupported(gatv2_labml, CONFIGS[0], CPU) == other.unsupported(gatv2_labml, CONFIGS[0], CPU)
    assert isinstance(ours.semantics["training step"], Fact)


def test_without_a_compiler_there_is_a_sentence(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    assert "needs a C++ compiler at run time" in backend_of("scatter_compile").unsupported(gatv2, CONFIGS[0], CPU)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_compiled_step_is_the_step_of_its_layers(dtype, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler")
    backend = backend_of("scatter_compile")
    found = compared(backend, dtype) + (compare_dropped_step(backend, gat, CPU) if dtype == torch.float64 else [])
    assert found
    assert [check for check in found if not check.passed] == []


class _Stepping:
    """Scatter with a training step of its own: autograd once more, right as long as `lr_factor` is 1."""

    lr_factor = 1.0

    def __getattr__(self, name):
        return getattr(backend_of("scatter"), name)

    def whole_step(self, operator, problem):
        from bench.config import Training
        from bench.training.network import Network
        from bench.training.train import Autograd, Inputs, Material

        network = Network(problem.layers, problem.configs, problem.feature_dropout, dropout, lambda problem: None)
        whole = Inputs(problem.x, problem.prepared, problem.y, problem.nodes)
        data = Material([whole], whole)
        training = Training(lr=problem.lr * self.lr_factor, weight_decay=problem.weight_decay)
        return Autograd(network, data, training)


class _Wrong(_Stepping):
    lr_factor = 1.5


def test_a_step_that_is_right_is_found_right():
    found = compared(_Stepping())
    assert {check.name.partition(":")[0] for check in found} >= {"losses of 5 own steps", "layer 1", "layer 2"}
    assert [check for check in found if not check.passed] == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_step_that_goes_elsewhere_is_found_out(dtype):
    failed = [check.name for check in compared(_Wrong(), dtype) if not check.passed]
    assert "losses of 5 own steps" in failed
    assert "logits after 5 own steps" in failed


def test_a_back_end_without_a_step_of_its_own_has_nothing_to_compare():
    assert compared(backend_of("scatter")) == []
