"""Layers of compiled kernels with tensors as people hand them over: kept, changed, sparse, elsewhere, compiled."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from fused_tools import CPU, NEEDS_KERNELS, OPERATORS, SHAPES, features, layer_of, random_graph
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from implementations.backends import fused
from implementations.backends._fused import layers, library
from implementations.contract import LayerConfig
from implementations.features import with_values
from implementations.operators import gatv2

pytestmark = NEEDS_KERNELS

ROOT = Path(__file__).resolve().parent.parent


@OPERATORS
def test_what_backward_needs_is_freed_by_backward_while_the_output_lives(operator):
    kept: weakref.WeakSet[Kept] = weakref.WeakSet()

    def pack(tensor):
        kept.add(holder := Kept(tensor))
        return holder

    layer = layer_of(fused.BACKEND, operator, LayerConfig(3, 4, 2))
    gc.disable()
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda holder: holder.tensor):
            output = layer(features(9, 3), fused.BACKEND.prepare(random_graph(), CPU))
        assert len(kept) > 5
        output.sum().backward()
        assert len(kept) == 0
    finally:
        gc.enable()


class Kept:
    """A tensor that autograd keeps."""

    def __init__(self, tensor):
        self.tensor = tensor


@OPERATORS
def test_what_is_changed_between_forward_and_backward_is_an_error_and_no_wrong_gradient(operator):
    config = LayerConfig(3, 16, 4, bias=False)  # the output is the kernels' own memory
    layer, edges = layer_of(fused.BACKEND, operator, config, torch.float32), fused.BACKEND.prepare(random_graph(), CPU)
    output = layer(features(9, 3, torch.float32), edges)
    torch.nn.functional.elu(output, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
    output = layer(features(9, 3, torch.float32), edges)
    with torch.no_grad():
        layer.get_parameter("a" if operator is gatv2 else "a_source").add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


WRONG = {
    "too few rows": (features(8, 3), ValueError, r"x has shape \(8, 3\) .* have \(9, 3\)"),
    "too few columns": (features(9, 2), ValueError, r"x has shape \(9, 2\) .* have \(9, 3\)"),
    "another dtype": (features(9, 3, torch.float32), TypeError, "x is torch.float32 and the layer torch.float64"),
    "another dtype, sparse": (features(9, 3, torch.float32).to_sparse_csr(), TypeError, "x is torch.float32"),
}


@OPERATORS
@pytest.mark.parametrize(("x", "error", "said"), WRONG.values(), ids=WRONG.keys())
def test_features_that_do_not_fit_are_refused_before_the_kernels_read_beyond_them(operator, x, error, said):
    layer, edges = layer_of(fused.BACKEND, operator, LayerConfig(3, 4, 2)), fused.BACKEND.prepare(random_graph(), CPU)
    with pytest.raises(error, match=said):
        layer(x, edges)
    with pytest.raises(error, match=said):
        fused.BACKEND.attention(layer, x, edges)


def test_a_dtype_without_kernels_is_refused():
    with pytest.raises(TypeError, match=r"float32 and float64, not in torch\.bfloat16"):
        fused.BACKEND.dropout(features(9, 3).to(torch.bfloat16), 0.5)


@OPERATORS
def test_a_layer_in_a_dtype_without_kernels_says_so(operator):
    layer, edges = layer_of(fused.BACKEND, operator, LayerConfig(3, 4, 2)), fused.BACKEND.prepare(random_graph(), CPU)
    with pytest.raises(TypeError, match=r"float32 and float64, not in torch\.float16"):
        layer.half()(features(9, 3).half(), edges)


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@OPERATORS
def test_tensors_without_memory_on_the_cpu_are_refused_before_the_kernels_read_it(operator):
    graph = random_graph()
    layer, edges = layer_of(fused.BACKEND, operator, LayerConfig(3, 4, 2)), fused.BACKEND.prepare(graph, CPU)
    with pytest.raises(TypeError, match="a Tensor on meta has none"):
        fused.BACKEND.prepare(graph.to(torch.device("meta")), CPU)
    with pytest.raises(TypeError, match="a Tensor on meta has none"), torch.device("meta"):
        fused.BACKEND.prepare(graph, CPU)
    with pytest.raises((TypeError, RuntimeError), match=r"on meta has none|device meta"):  # torch may say it first
        layer(features(9, 3).to("meta"), edges)
    with (
        pytest.raises(TypeError, match="a FakeTensor on cpu has none"),
        FakeTensorMode(allow_non_fake_inputs=True) as m,
    ):
        layer(m.from_tensor(features(9, 3)), edges)


def test_memory_that_is_not_contiguous_has_no_address():
    with pytest.raises(ValueError, match="contiguous memory"):
        library.address(torch.zeros(2, 3).t())


@OPERATORS
def test_under_autocast_a_layer_computes_in_its_own_dtype(operator):
    layer, edges = layer_of(fused.BACKEND, operator, LayerConfig(3, 4, 2)), fused.BACKEND.prepare(random_graph(), CPU)
    layer, x = layer.float(), features(9, 3, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        under = layer(x, edges)
        coefficients = fused.BACKEND.attention(layer, x, edges)
    assert torch.equal(under, layer(x, edges))
    assert torch.equal(coefficients, fused.BACKEND.attention(layer, x, edges))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own look at it
@OPERATORS
@pytest.mark.parametrize("sparse", [True, False], ids=["sparse", "dense"])
def test_a_training_step_under_torch_compile_is_that_without(operator, sparse):
    config = LayerConfig(3, 8, 8, attention_dropout=0.5, residual=True)
    layer, edges = layer_of(fused.BACKEND, operator, config), fused.BACKEND.prepare(random_graph(), CPU)
    x = features(9, 3).relu().to_sparse_csr() if sparse else features(9, 3)

    def net(x):
        return torch.nn.functional.elu(layer(fused.BACKEND.dropout(x, 0.5), edges)).square()

    torch.compiler.reset()  # of what it found out about the same lines with other features
    found = []
    for run in (net, torch.compile(net, backend="aot_eager")):
        torch.manual_seed(0)
        layer.zero_grad()
        output = run(x)
        output.sum().backward()
        found.append([output.detach(), *(parameter.grad for parameter in layer.parameters())])
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)


def test_who_compiles_nothing_does_not_wait_for_the_compiler():
    code = (
        "import sys, torch; from implementations import layer;"
        "attend = layer('fused', in_channels=5, out_channels=3);"
        "attend(torch.randn(2, 5), torch.tensor([[0], [1]])).sum().backward();"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


@OPERATORS
def test_indices_of_32_bits_as_scipy_has_them_are_read_as_such(operator):
    layer, edges = layer_of(fused.BACKEND, operator, LayerConfig(3, 4, 2)), fused.BACKEND.prepare(random_graph(), CPU)
    x = features(9, 3).relu().to_sparse_csr()
    indices = x.crow_indices().int(), x.col_indices().int()
    narrow = torch.sparse_csr_tensor(*indices, x.values(), x.shape, check_invariants=True)
    assert torch.equal(layer(narrow, edges), layer(x, edges))


@OPERATORS
def test_sparse_features_rewritten_in_place_are_seen_dropped_or_not(operator):
    layer, edges = layer_of(fused.BACKEND, operator, LayerConfig(3, 4, 2)), fused.BACKEND.prepare(random_graph(), CPU)
    one, other = (torch.eye(3, dtype=torch.float64).roll(shift, 1).repeat(3, 1).to_sparse_csr() for shift in (0, 1))
    for form in (lambda x: x, lambda x: with_values(x, x.values())):
        x = one.clone()
        layer(form(x), edges)
        x.copy_(other)
        torch.testing.assert_close(layer(form(x), edges), layer(other.to_dense(), edges))


def test_sparse_features_of_two_threads_are_not_confused():
    layer, edges = layer_of(fused.BACKEND, gatv2, LayerConfig(3, 4, 2)), fused.BACKEND.prepare(random_graph(), CPU)
    mine, others = (torch.eye(3, dtype=torch.float64).roll(shift, 1).repeat(3, 1).to_sparse_csr() for shift in (0, 1))

    class Overtaken(type(layer)):
        """Another thread's call comes between any two words about the pattern."""

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "_pattern":
                object.__setattr__(self, name, theirs)

    right = layer(mine, edges)
    layer(others, edges)
    theirs = layer._pattern
    layer.__class__ = Overtaken
    assert torch.equal(layer(mine, edges), right)


def test_the_order_of_sparse_features_is_computed_once_for_all_that_is_dropped_of_them(monkeypatch):
    layer, edges = layer_of(fused.BACKEND, gatv2, LayerConfig(3, 4, 2)), fused.BACKEND.prepare(random_graph(), CPU)
    x = features(9, 3).relu().to_sparse_csr()
    x.copy_(x.clone())  # a version of its own
    orders, of = [], layers.SparsePattern.of
    monkeypatch.setattr(layers.SparsePattern, "of", lambda x: orders.append(x) or of(x))
    for _ in range(3):
        layer(x, edges)
        layer(fused.BACKEND.dropout(x, 0.5), edges)
    assert len(orders) == 1


@OPERATORS
def test_parameters_made_contiguous_become_a_vector_and_come_back(operator):
    layer, edges = layer_of(fused.BACKEND, operator, LayerConfig(3, 4, 2)), fused.BACKEND.prepare(random_graph(), CPU)
    before = layer(features(9, 3), edges)
    for parameter in layer.parameters():
        parameter.data = parameter.data.contiguous()
    vector_to_parameters(2 * parameters_to_vector(layer.parameters()), layer.parameters())
    assert not torch.allclose(layer(features(9, 3), edges), before)
    vector_to_parameters(parameters_to_vector(layer.parameters()) / 2, layer.parameters())
    torch.testing.assert_close(layer(features(9, 3), edges), before)


@OPERATORS
@pytest.mark.parametrize(("heads", "channels", "concat"), SHAPES)
@pytest.mark.parametrize("sparse", [True, False], ids=["sparse", "dense"])
def test_parameters_that_lie_apart_in_memory_are_used_and_trained(operator, heads, channels, concat, sparse):
    config, edges = LayerConfig(8, channels, heads, concat, residual=True), fused.BACKEND.prepare(random_graph(), CPU)
    x = features(9, 8).relu().to_sparse_csr() if sparse else features(9, 8)
    layer, apart = (layer_of(fused.BACKEND, operator, config) for _ in range(2))
    state = {name: value.repeat_interleave(2, -1)[..., ::2] for name, value in apart.state_dict().items()}
    apart.load_state_dict(state, assign=True)
    torch.testing.assert_close(apart(x, edges), layer(x, edges))
    for each in (apart, layer):
        each(x, edges).square().sum().backward()
    for ours, theirs in zip(apart.parameters(), layer.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
