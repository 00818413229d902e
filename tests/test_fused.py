"""The compiled kernels: gradients, graphs of any shape, decisions, and where they are not to be had."""

import _ctypes
import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch
from fused_tools import CPU, NEEDS_KERNELS, OPERATORS, SHAPES, features, layer_of, on_threads, problem, random_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from implementations import reference
from implementations.backends import fused, fused_step, scatter
from implementations.backends._fused import library, structures
from implementations.backends._fused.noise import SPARE_BYTES, Noise
from implementations.contract import Graph, LayerConfig
from implementations.name_table import load
from implementations.operators import gat, gatv2

pytestmark = NEEDS_KERNELS


@OPERATORS
@pytest.mark.parametrize(("heads", "channels", "concat"), SHAPES)
def test_gradients_with_fixed_decisions_are_those_of_finite_differences(operator, heads, channels, concat):
    config = LayerConfig(3, channels, heads, concat, residual=True, attention_dropout=0.4)
    assert has_the_gradients_of_finite_differences(operator, config, features(6, 3))


@OPERATORS
@pytest.mark.parametrize(("heads", "channels"), [(8, 2), (1, 5)])
@pytest.mark.parametrize("sparse", [True, False], ids=["sparse", "dense"])
def test_so_are_those_of_shared_weights_without_bias_and_with_another_slope(operator, heads, channels, sparse):
    options = {"share_weights": True, "bias": False, "negative_slope": 0.7, "attention_dropout": 0.4}
    x = features(6, 3).relu().to_sparse_csr() if sparse else features(6, 3)
    assert has_the_gradients_of_finite_differences(operator, LayerConfig(3, channels, heads, **options), x)


@OPERATORS
def test_so_are_those_of_two_weights_on_sparse_features(operator):
    config = LayerConfig(3, 4, 2, residual=True, attention_dropout=0.4)
    assert has_the_gradients_of_finite_differences(operator, config, features(6, 3).relu().to_sparse_csr())


def has_the_gradients_of_finite_differences(operator, config: LayerConfig, x: Tensor) -> bool:
    """Of the parameters, and of x unless it is sparse."""
    graph = random_graph(6, 15)
    layer, edges = layer_of(fused.BACKEND, operator, config), fused.BACKEND.prepare(graph, CPU)
    kept = torch.rand(graph.num_edges * config.heads, generator=torch.Generator().manual_seed(1)) > 0.4
    layer.noise = Noise.of(kept, config.attention_dropout)
    names, values = zip(*layer.named_parameters(), strict=True)

    def call(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x, edges))

    parameters = [value.detach().clone().requires_grad_() for value in values]
    if x.layout == torch.sparse_csr:
        return torch.autograd.gradcheck(partial(call, x), parameters)
    return torch.autograd.gradcheck(call, [x.requires_grad_(), *parameters])


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.data())
def test_any_graph_gives_what_plain_pytorch_gives(data):
    num_nodes = data.draw(st.integers(1, 12))
    node = st.integers(0, num_nodes - 1)
    edges = data.draw(st.lists(st.tuples(node, node), max_size=90))
    graph = Graph(num_nodes, torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t().contiguous())
    operator = data.draw(st.sampled_from([gat, gatv2]))
    heads, channels, concat = data.draw(st.sampled_from(SHAPES))
    share_weights = data.draw(st.booleans())
    config = LayerConfig(4, channels, heads, concat, bias=data.draw(st.booleans()), share_weights=share_weights)
    found = []
    for backend in (fused.BACKEND, scatter.BACKEND):
        layer = layer_of(backend, operator, config)
        x = features(num_nodes, 4).requires_grad_()
        out = layer(x, backend.prepare(graph, CPU))
        out.square().sum().backward()
        found.append([out, x.grad, *(parameter.grad for _, parameter in sorted(layer.named_parameters()))])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@OPERATORS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_kernels_compute_of_a_layer_has_the_same_bits_on_one_and_two_threads(operator, dtype):
    """Of sparse features, that is everything but bias and residual."""
    config = LayerConfig(40, 8, 8, bias=False, attention_dropout=0.4)
    edges = fused.BACKEND.prepare(random_graph(2000, 20_000), CPU)
    x = features(2000, 40, dtype).relu().to_sparse_csr()
    found = []
    for count in (1, 2):
        with on_threads(count):
            torch.manual_seed(0)
            layer = layer_of(fused.BACKEND, operator, config, dtype)
            out = layer(fused.BACKEND.dropout(x, 0.4), edges)
            out.square().sum().backward()
        found.append([out, *(parameter.grad for parameter in layer.parameters())])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


INFINITELY_LOW, OTHER = 4, 5
HEARD = {0: [INFINITELY_LOW] * 40 + [OTHER], 1: [INFINITELY_LOW] * 3, 2: [OTHER, INFINITELY_LOW, OTHER], 3: []}


@pytest.fixture(params=[True, False], ids=["wide", "plain"])
def instructions(request):
    library.use_wide(request.param)
    yield
    library.use_wide(True)


@OPERATORS
@pytest.mark.parametrize("heads", [1, 3, 8])
@pytest.mark.parametrize(
    ("dtype", "large"), [(torch.float32, 1e30), (torch.float64, 1e200)], ids=["float32", "float64"]
)
@pytest.mark.usefixtures("instructions")
def test_scores_of_minus_infinity_have_no_weight_as_in_the_reference(operator, heads, dtype, large):
    """The first channel makes scores, the second tells who was heard."""
    edges = [(source, target) for target, sources in HEARD.items() for source in sources]
    graph, config = Graph(6, torch.tensor(edges).t().contiguous()), LayerConfig(2, 2, heads, bias=False)
    x = torch.tensor([[0, 1]] * 4 + [[large, 5], [0, 7]], dtype=dtype)
    matrix, vector = torch.eye(2, dtype=dtype).expand(heads, 2, 2), torch.tensor([[-large, 0]], dtype=dtype)
    params = {
        name: matrix if len(shape) == 3 else vector.expand(shape) for name, shape in operator.shapes(config).items()
    }
    layer, prepared = layer_of(fused.BACKEND, operator, config, dtype), fused.BACKEND.prepare(graph, CPU)
    load(layer, fused.BACKEND.names(operator, config), params)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, true = layer(ours, prepared), reference.run(operator, config, params, graph, theirs)
    torch.testing.assert_close(out, true.output)
    torch.testing.assert_close(fused.BACKEND.attention(layer, x, prepared), true.attention)
    assert out.detach().view(6, heads, 2)[:4, 0, 1].tolist() == [7, 0, 7, 0]
    out.sum().backward()
    true.output.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_no_piece_of_the_work_is_left_out_however_two_threads_take_turns():
    count = 64 * 16 * 8  # bits in as many pieces as there can be, each over in no time
    keep = torch.zeros(count // 8 + SPARE_BYTES, dtype=torch.uint8)
    for key in range(4000):
        keep.zero_()
        library.kernels().fused_fill_bits(key, 0, count, library.address(keep), 2)
        assert bool((keep[: count // 8] == 255).all())


def test_about_as_many_decisions_drop_as_should():
    kept = Noise.draw(200_000, 0.6, key=12345).mask(200_000).double()
    assert abs(float(kept.mean()) - 0.4) < 4 * (0.24 / 200_000) ** 0.5


@pytest.mark.parametrize("probability", [1.0, -0.5])
def test_features_are_not_dropped_altogether(probability):
    said = f"dropout is {probability} and should be at least 0 and less than 1"
    for x in (features(9, 3), features(9, 3).to_sparse_csr()):
        with pytest.raises(ValueError, match=said):
            fused.BACKEND.dropout(x, probability)
    with pytest.raises(ValueError, match=said):
        fused_step.BACKEND.whole_step(gat, replace(problem(gat), feature_dropout=probability))


def test_without_compiled_kernels_the_back_end_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = fused.BACKEND.unsupported(gat, LayerConfig(3, 4, 2), CPU)
    assert reason is not None
    assert "were not compiled at set-up; there is no C++ compiler: install one" in reason
    assert "make setup" in reason


def test_where_a_compiler_is_there_nobody_is_told_to_install_one(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    compiler = tmp_path / "clang++"
    compiler.touch(mode=0o755)
    reason = library.missing() or ""
    assert "clang++ is here, so it came later or failed" in reason
    assert "pip install --verbose" in reason
    assert "install one" not in reason


def test_kernels_that_were_compiled_from_other_sources_are_named(tmp_path, monkeypatch):
    """Structs may have changed that every function is still there for."""
    monkeypatch.setattr(library, "sources_digest", lambda: 1)
    reason = reason_of_a_new_load()
    assert "cannot be loaded (they were compiled from other sources)" in reason
    assert "make setup" in reason


def test_a_library_that_is_something_else_is_named(tmp_path, monkeypatch):
    shutil.copy(_ctypes.__file__, tmp_path / "_kernels.so")  # it has none of the functions
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    assert "cannot be loaded" in reason_of_a_new_load()


def reason_of_a_new_load() -> str:
    library.kernels.cache_clear()
    try:
        return library.missing() or ""
    finally:
        library.kernels.cache_clear()


def test_no_other_device_and_no_other_operator_is_claimed():
    from implementations.operators import gatv2_labml

    assert "CPU only" in (fused.BACKEND.unsupported(gat, LayerConfig(3, 4, 2), torch.device("cuda")) or "")
    assert "gatv2_labml" in (fused.BACKEND.unsupported(gatv2_labml, LayerConfig(3, 4, 2), CPU) or "")


@pytest.mark.parametrize("edge_index", [[[0], [5]], [[-1], [0]], [[3], [0]]])
def test_an_edge_of_a_node_that_is_not_there_is_refused(edge_index):
    with pytest.raises(ValueError, match="the graph has the nodes 0 to 2"):
        fused.BACKEND.prepare(Graph(3, torch.tensor(edge_index)), CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int16, torch.uint8, torch.bool], ids=str)
def test_ends_of_edges_that_are_no_integers_of_the_kernels_are_refused(dtype):
    with pytest.raises(TypeError, match=f"edge_index is {dtype}"):
        fused.BACKEND.prepare(Graph(3, torch.tensor([[0, 1, 0], [1, 0, 1]]).to(dtype)), CPU)


@pytest.mark.parametrize(("most", "limit"), [("MOST_ENTRIES", 27), ("MOST_NODES", 9)])
def test_sparse_features_of_more_entries_rows_or_columns_than_can_be_counted_are_refused(most, limit, monkeypatch):
    x = torch.ones(9, 3).to_sparse_csr()
    assert structures.SparsePattern.of(x).by_row.num_rows == 9
    monkeypatch.setattr(structures, most, limit)
    with pytest.raises(ValueError, match=f"the kernels count up to .*{limit}"):
        structures.SparsePattern.of(x)


@pytest.mark.parametrize("column", [-1, 3])
def test_an_entry_in_a_column_that_is_not_there_is_refused(column):
    entries = torch.tensor([0, 1, 1]), torch.tensor([column]), torch.ones(1, dtype=torch.float64)
    x = torch.sparse_csr_tensor(*entries, (2, 3), check_invariants=False)
    layer = layer_of(fused.BACKEND, gatv2, LayerConfig(3, 4, 2))
    with pytest.raises(ValueError, match=f"entries of x are in columns {column} to {column}, and x has .* 0 to 2"):
        layer(x, fused.BACKEND.prepare(Graph(2, torch.tensor([[0], [1]])), CPU))


@OPERATORS
def test_no_nodes_have_gradients_of_zero(operator):
    layer = layer_of(fused.BACKEND, operator, LayerConfig(3, 4, 2))
    edges = fused.BACKEND.prepare(Graph(0, torch.empty(2, 0, dtype=torch.int64)), CPU)
    layer(features(0, 3).to_sparse_csr(), edges).sum().backward()
    assert all(bool((parameter.grad == 0).all()) for parameter in layer.parameters() if parameter.grad is not None)


def test_a_gat_whose_slope_is_negative_is_left_to_others():
    reason = fused.BACKEND.unsupported(gat, LayerConfig(3, 4, 2, negative_slope=-1.0), CPU)
    assert "slope that is not negative" in (reason or "")
    assert fused.BACKEND.unsupported(gatv2, LayerConfig(3, 4, 2, negative_slope=-1.0), CPU) is None
