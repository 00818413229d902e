"""Back ends against the libraries as they come, known sizes, and what is said when a library is missing."""

import copy
import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from installed import skip_for
from torch import nn
from torch.nn.utils import parametrize, prune

from implementations.adversarial import inputs
from implementations.backends import pyg
from implementations.conformance import backend_names
from implementations.contract import Graph, LayerConfig
from implementations.name_table import load
from implementations.operators import dpgat, gat, gatv2, gatv2_labml
from implementations.parity import weights

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")
CONFIG = LayerConfig(in_channels=12, out_channels=5, heads=3)
# One self-loop at every node: removing and adding them, as PyG does, changes nothing; no node hears nothing.
GRAPH = Graph(6, torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])).with_self_loops()


def backend_of(name, operator=gat):
    backend = importlib.import_module(f"implementations.backends.{name}").BACKEND
    skip_for(backend.unsupported(operator, CONFIG, CPU), name, operator.name)
    return backend


def loaded(backend, operator, config, dtype=torch.float64):
    """A layer in evaluation, and its canonical values."""
    x, _ = inputs(GRAPH, config.in_channels, 1)
    params = weights(operator, config, x)
    layer = backend.layer(operator, config).to(dtype).eval()
    load(layer, backend.names(operator, config), params)
    return layer, params


@pytest.mark.parametrize("operator", [gat, gatv2], ids=["gat", "gatv2"])
@pytest.mark.parametrize("options", [{}, {"concat": False}, {"bias": False}, {"residual": True}], ids=str)
def test_pygs_own_layer_with_its_defaults_gives_the_same(operator, options):
    backend = backend_of("pyg", operator)
    convolutions = pyg._package("nn")
    native = {"gat": convolutions.GATConv, "gatv2": convolutions.GATv2Conv}[operator.name](12, 5, 3, **options).double()
    assert native.add_self_loops
    ours, _ = loaded(backend, operator, replace(CONFIG, **options))
    native.load_state_dict({name.removeprefix("conv."): value for name, value in ours.state_dict().items()})
    x, _ = inputs(GRAPH, 12, 1)
    torch.testing.assert_close(
        ours(x, backend.prepare(GRAPH, CPU)), native.eval()(x, GRAPH.edge_index), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("name", ["pyg", "scatter", "dense"])
@pytest.mark.parametrize(("concat", "residual"), [(True, False), (False, False), (True, True)])
def test_dpgat_is_pygs_transformer_without_biases(name, concat, residual):
    config = replace(CONFIG, bias=False, concat=concat, residual=residual)
    backend = importlib.import_module(f"implementations.backends.{name}").BACKEND
    layer, params = loaded(backend, dpgat, config)
    transformer = pyg._package("nn").TransformerConv
    native = transformer(12, 5, 3, concat=concat, bias=False, root_weight=residual).double().eval()
    own = {name: path.removeprefix("conv.") for name, path in pyg_names(config).items()}
    native.load_state_dict({own[name]: value.flatten(0, -2) for name, value in params.items()}, strict=residual)
    x, _ = inputs(GRAPH, 12, 1)
    torch.testing.assert_close(layer(x, backend.prepare(GRAPH, CPU)), native(x, GRAPH.edge_index), rtol=0, atol=1e-12)


def pyg_names(config):
    return importlib.import_module("implementations.backends.pyg").BACKEND.names(dpgat, config)


@pytest.mark.parametrize("operator", [gat, gatv2], ids=["gat", "gatv2"])
def test_dgls_own_layer_with_its_defaults_gives_the_same(operator):
    backend = backend_of("dgl", operator)
    layers = importlib.import_module("dgl.nn")
    native = {"gat": layers.GATConv, "gatv2": layers.GATv2Conv}[operator.name](12, 5, 3).double().eval()
    ours, params = loaded(backend, operator, CONFIG)
    values = {name.removeprefix("conv."): value for name, value in ours.state_dict().items()}
    if operator is gatv2:
        del values["bias"]  # DGL's GATv2 has none on the output
    native.load_state_dict(values)
    prepared, (x, _) = backend.prepare(GRAPH, CPU), inputs(GRAPH, 12, 1)
    expected = native(prepared, x).flatten(1) + (params["bias"] if operator is gatv2 else 0)
    torch.testing.assert_close(ours(x, prepared), expected, rtol=0, atol=1e-12)


EVERY = pytest.mark.parametrize("name", [*backend_names(), "_template"])


def taken_over(layer, names, how):
    """Every parameter of a layer handed to `how(module, name)`."""
    for path in names.values():
        of, _, name = path.rpartition(".")
        how(layer.get_submodule(of), name)


class Doubled(nn.Module):
    def forward(self, value):
        return 2 * value


def doubled(module, name):
    parametrize.register_parametrization(module, name, Doubled())


def first_row_pruned(module, name):
    mask = torch.ones(getattr(module, name).shape)
    mask[0] = 0
    prune.custom_from_mask(module, name, mask)


CHANGES = {"parametrized": (doubled, lambda value: value.mul_(2)), "pruned": (first_row_pruned, lambda v: v[0].zero_())}


@EVERY
@pytest.mark.parametrize("operator", [gat, gatv2], ids=["gat", "gatv2"])
@pytest.mark.parametrize(("how", "by_hand"), CHANGES.values(), ids=CHANGES.keys())
def test_parameters_that_torch_computes_from_others_are_used_and_trained(name, operator, how, by_hand):
    backend = backend_of(name, operator)
    config = replace(CONFIG, residual=True)
    names = backend.names(operator, config)
    changed, expected = (loaded(backend, operator, config)[0] for _ in range(2))
    taken_over(changed, names, how)
    with torch.no_grad():
        for own in names.values():
            by_hand(expected.get_parameter(own))
    x, prepared = inputs(GRAPH, 12, 1)[0], backend.prepare(GRAPH, CPU)
    outputs = [layer(x, prepared) for layer in (changed, expected)]
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*(backend.attention(layer, x, prepared) for layer in (changed, expected)))
    for output in outputs:
        output.square().sum().backward()
    for own in names.values():
        of, _, short = own.rpartition(".")
        module, gradient = changed.get_submodule(of), expected.get_parameter(own).grad
        if how is doubled:
            torch.testing.assert_close(module.parametrizations[short].original.grad, 2 * gradient)
        else:
            mask = module.get_buffer(f"{short}_mask")
            torch.testing.assert_close(module.get_parameter(f"{short}_orig").grad, gradient * mask)


@EVERY
def test_a_layer_whose_parameters_are_computed_can_be_copied(name):
    backend = backend_of(name)
    layer, _ = loaded(backend, gat, CONFIG)
    taken_over(layer, backend.names(gat, CONFIG), doubled)
    x, prepared = inputs(GRAPH, 12, 1)[0], backend.prepare(GRAPH, CPU)
    twin = copy.deepcopy(layer)
    assert torch.equal(twin(x, prepared), layer(x, prepared))
    twin(x, prepared).sum().backward()
    assert all(parameter.grad is None for parameter in layer.parameters())


def largest(parameter):
    return float(parameter.detach().abs().max())


def test_pyg_starts_as_its_semantics_say():
    backend_of("pyg", gatv2)
    torch.manual_seed(0)
    conv = pyg._package("nn").GATv2Conv(400, 50, 8)
    assert largest(conv.lin_l.weight) == pytest.approx((6 / (400 + 400)) ** 0.5, rel=0.01)
    assert largest(conv.att) == pytest.approx((6 / (8 + 50)) ** 0.5, rel=0.02)
    assert largest(conv.lin_l.bias) == pytest.approx(400**-0.5, rel=0.02)
    assert largest(conv.bias) == 0


def test_dgl_starts_as_its_semantics_say():
    backend_of("dgl", gatv2)
    torch.manual_seed(0)
    conv = importlib.import_module("dgl.nn").GATv2Conv(400, 50, 8)
    assert float(conv.fc_src.weight.detach().std()) == pytest.approx((2 * 2 / (400 + 400)) ** 0.5, rel=0.01)
    assert largest(conv.fc_src.weight) > (6 / (400 + 400)) ** 0.5  # normal, not uniform
    assert largest(conv.fc_src.bias) == 0


def test_pyg_by_itself_makes_several_self_loops_one():
    backend = backend_of("pyg")
    looped = Graph(6, torch.cat([GRAPH.edge_index, torch.zeros(2, 1, dtype=torch.int64)], dim=1))
    native = pyg._package("nn").GATConv(12, 5, 3).double().eval()
    ours, _ = loaded(backend, gat, CONFIG)
    native.load_state_dict({name.removeprefix("conv."): value for name, value in ours.state_dict().items()})
    x, _ = inputs(GRAPH, 12, 1)
    torch.testing.assert_close(native(x, looped.edge_index), native(x, GRAPH.edge_index))
    difference = ours(x, backend.prepare(looped, CPU)) - ours(x, backend.prepare(GRAPH, CPU))
    assert difference[0].abs().max() > 0.01


def test_dgl_by_itself_refuses_a_node_without_incoming_edges():
    backend = backend_of("dgl")
    x, _ = inputs(GRAPH, 12, 1)
    prepared = backend.prepare(Graph(6, GRAPH.edge_index[:, :3]), CPU)
    native = importlib.import_module("dgl.nn").GATConv(12, 5, 3).double()
    with pytest.raises(importlib.import_module("dgl").DGLError, match="0-in-degree"):
        native(prepared, x)
    assert backend.layer(gat, CONFIG).double()(x, prepared).isfinite().all()


@pytest.mark.parametrize("name", backend_names())
@pytest.mark.parametrize(
    ("operator", "share_weights", "features", "classes", "parameters"),
    [
        (gat, False, 1433, 7, 92_373),  # Cora
        (gatv2, False, 1433, 7, 184_604),
        (gatv2, True, 1433, 7, 92_373),
        (gat, False, 3703, 6, 237_586),  # Citeseer
        (gatv2, False, 3703, 6, 475_032),
    ],
)
def test_the_papers_network_has_its_number_of_parameters(name, operator, share_weights, features, classes, parameters):
    backend = backend_of(name, operator)
    first = LayerConfig(features, 8, 8, share_weights=share_weights)
    last = LayerConfig(64, classes, 1, concat=False, share_weights=share_weights)
    layers = [backend.layer(operator, config) for config in (first, last)]
    assert sum(parameter.numel() for layer in layers for parameter in layer.parameters()) == parameters


@pytest.mark.parametrize("name", backend_names())
@pytest.mark.parametrize("operator", [gat, gatv2], ids=["gat", "gatv2"])
@pytest.mark.parametrize("share_weights", [True, False])
def test_sparse_features_give_what_dense_ones_give(name, operator, share_weights):
    backend = backend_of(name, operator)
    layer, _ = loaded(backend, operator, replace(CONFIG, share_weights=share_weights, residual=True))
    x = inputs(GRAPH, 12, 1)[0].clamp_min(0)
    prepared = backend.prepare(GRAPH, CPU)
    torch.testing.assert_close(layer(x.to_sparse_csr(), prepared), layer(x, prepared), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", backend_names())
@pytest.mark.parametrize("operator", [gat, gatv2], ids=["gat", "gatv2"])
def test_every_parameter_follows_into_float64(name, operator):
    backend = backend_of(name, operator)
    layer = backend.layer(operator, replace(CONFIG, residual=True)).to(torch.float64)
    assert {parameter.dtype for parameter in layer.parameters()} == {torch.float64}
    assert layer(inputs(GRAPH, 12, 1)[0], backend.prepare(GRAPH, CPU)).dtype == torch.float64


@pytest.mark.parametrize(("name", "library"), [("pyg", "PyG"), ("dgl", "DGL")])
def test_a_library_says_that_it_has_no_layer_of_the_page(name, library):
    backend = importlib.import_module(f"implementations.backends.{name}").BACKEND
    assert backend.unsupported(gatv2_labml, CONFIG, CPU) == f"{library} has no layer that computes gatv2_labml"


WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import torch
from implementations.backends.{name} import BACKEND
from implementations.contract import LayerConfig
from implementations.operators import gat
print(BACKEND.unsupported(gat, LayerConfig(4, 3, 2), torch.device("cpu")))
"""


@pytest.mark.parametrize(
    ("name", "module", "sentence"),
    [
        ("pyg", "torch_geometric", "PyG cannot be imported (No module named 'torch_geometric'); pip install"),
        ("dgl", "dgl", "DGL cannot be imported (No module named 'dgl'); pip install dgl==1.1.3"),
    ],
)
def test_a_missing_library_is_a_sentence(name, module, sentence):
    code = WITHOUT.format(name=name, module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith(sentence)


def test_dgl_says_that_its_wheel_knows_no_accelerator():
    backend = backend_of("dgl")
    assert "has no CUDA code" in backend.unsupported(gat, CONFIG, torch.device("cuda"))
    assert backend.unsupported(gat, CONFIG, torch.device("mps")) == "DGL has no mps code"
