"""Layers as a library: three lines give any back end's, and all of them compute the same."""

import copy
import io
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from installed import skip_for

from implementations import layer
from implementations.layers import names

ROOT = Path(__file__).resolve().parent.parent
X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
EDGES = torch.tensor([[0, 1, 2, 3, 4, 5, 0, 2], [0, 0, 1, 1, 4, 5, 5, 5]])


def made(backend: str, operator: str = "gatv2", **settings):
    try:
        return layer(backend, operator, in_channels=5, out_channels=3, heads=2, seed=4, **settings)
    except ValueError as reason:
        skip_for(str(reason), backend, operator)


@pytest.mark.parametrize("operator", ["gat", "gatv2"])
@pytest.mark.parametrize("backend", ["dense", "pyg", "dgl", "fused"])
def test_the_same_seed_gives_the_same_output_on_every_back_end(backend, operator):
    expected = made("scatter", operator)(X, EDGES)
    assert expected.shape == (6, 6)
    torch.testing.assert_close(made(backend, operator)(X, EDGES), expected, rtol=1e-4, atol=1e-5)


def test_a_layer_trains_as_any_module_does():
    attend = made("scatter", concat=False)
    attend(X, EDGES).square().sum().backward()
    assert all(parameter.grad is not None for parameter in attend.parameters())


def test_edges_changed_in_place_are_seen():
    edges = EDGES.clone()
    attend = made("scatter")
    before = attend(X, edges)
    edges[1] = edges[1].roll(1)
    torch.testing.assert_close(attend(X, edges), made("scatter")(X, edges))
    assert not torch.equal(attend(X, edges), before)


ALL = pytest.mark.parametrize("backend", ["scatter", "dense", "pyg", "dgl", "fused"])
WRONG = {
    "an edge to a row": (EDGES.t(), r"shape \[8, 2\] and should have \[2, E\].*edge_index\.t\(\)"),
    "a list of nodes": (EDGES[0], r"shape \[8\] and should have"),
    "counted from 1": (EDGES + 1, "edge 5 of edge_index runs from node 6 to 6, and x has rows for 6 nodes"),
    "a target that is not there": (EDGES + torch.tensor([[0], [1]]), "edge 5 of .* from node 5 to 6"),
    "a negative source": (EDGES - torch.tensor([[1], [0]]), "edge 0 of .* from node -1 to 0"),
    "floats": (EDGES.float(), "edge_index is torch.float32 and should be torch.int64"),
    "bools": (EDGES.bool(), "edge_index is torch.bool and should be"),
}


@ALL
def test_a_layer_that_would_drop_every_coefficient_is_refused_before_it_is_made(backend):
    with pytest.raises(ValueError, match=r"attention_dropout is 1\.0 and should be at least 0 and less than 1"):
        layer(backend, in_channels=5, out_channels=3, attention_dropout=1.0)


@ALL
@pytest.mark.parametrize(("edges", "said"), WRONG.values(), ids=WRONG.keys())
def test_edges_that_are_none_of_the_graphs_are_refused_with_a_word_on_what_to_do(backend, edges, said):
    with pytest.raises(ValueError, match=said):
        made(backend)(X, edges)


NO_TENSORS = {
    "edges in a list": ((X, EDGES.tolist()), "edge_index is a list and should be a tensor, as torch.as_tensor"),
    "edges in an array": ((X, EDGES.numpy()), "edge_index is a ndarray and should be a tensor"),
    "features in an array": ((X.numpy(), EDGES), "x is a ndarray and should be a tensor"),
}


@pytest.mark.parametrize(("given", "said"), NO_TENSORS.values(), ids=NO_TENSORS.keys())
@pytest.mark.parametrize("asked", ["forward", "attention"])
def test_what_is_no_tensor_is_refused_by_name(given, said, asked):
    with pytest.raises(TypeError, match=said):
        getattr(made("scatter"), asked)(*given)


@pytest.mark.parametrize("x", [X[0], X[:, :4], X.unsqueeze(0)], ids=lambda x: str(list(x.shape)))
def test_features_of_another_width_are_refused(x):
    with pytest.raises(ValueError, match=re.escape(f"x has shape {list(x.shape)} and should have [N, 5]")):
        made("scatter")(x, EDGES)


@ALL
@pytest.mark.parametrize("operator", ["gat", "gatv2"])
def test_the_coefficients_are_those_of_the_edges_in_their_order(backend, operator):
    expected = made("scatter", operator).attention(X, EDGES)
    assert expected.shape == (8, 2)
    order = torch.tensor([5, 0, 7, 2, 1, 6, 3, 4])
    shuffled = made(backend, operator).attention(X, EDGES[:, order])
    torch.testing.assert_close(shuffled, expected[order], rtol=1e-4, atol=1e-6)
    per_target = torch.zeros(6, 2).index_add(0, EDGES[1], expected)
    torch.testing.assert_close(per_target, torch.tensor([1.0, 1, 0, 0, 1, 1]).unsqueeze(1).expand(6, 2))


@ALL
def test_coefficients_are_of_evaluation_and_leave_a_layer_in_its_mode(backend):
    attend = made(backend, attention_dropout=0.9)
    modes = [part.training for part in attend.modules()]
    attend.inner.training = False
    modes[1] = False
    found = attend.attention(X, EDGES)
    assert [part.training for part in attend.modules()] == modes
    assert not found.requires_grad
    torch.testing.assert_close(found, made(backend).attention(X, EDGES), rtol=0, atol=0)


@ALL
def test_coefficients_of_no_edges_are_none(backend):
    none = torch.empty(2, 0, dtype=torch.int64)
    assert made(backend).attention(X, none).shape == (0, 2)
    assert made(backend).attention(X[:0], none).shape == (0, 2)


@ALL
def test_edges_of_32_bits_are_those_of_64(backend):
    attend = made(backend)
    assert torch.equal(attend(X, EDGES.int()), attend(X, EDGES))


@ALL
def test_a_graph_without_edges_or_nodes_has_an_output_of_its_shape(backend):
    none = torch.empty(2, 0, dtype=torch.int64)
    assert made(backend)(X, none).shape == (6, 6)
    assert made(backend)(X[:0], none).shape == (0, 6)


@ALL
def test_a_layer_that_was_tried_in_inference_mode_can_be_trained(backend):
    attend = made(backend)
    with torch.inference_mode():
        within = attend(X, EDGES)
    output = attend(X, EDGES)
    assert torch.equal(output, within)
    output.sum().backward()


@ALL
def test_edges_and_features_made_in_inference_mode_are_taken_and_their_changes_seen(backend):
    attend = made(backend)
    turned = EDGES[:, EDGES[0].argsort()].flip(0)
    with torch.inference_mode():
        edges, x = EDGES.clone(), X.relu().to_sparse_csr()
        before = attend(x, edges)
        edges.copy_(turned)
        after = attend(x, edges)
    torch.testing.assert_close(after, attend(X.relu(), turned))
    torch.testing.assert_close(before, attend(X.relu(), EDGES))


def test_two_threads_each_have_the_edges_that_they_asked_for():
    attend = made("pyg")
    others = EDGES.clone()

    class Overtaken(type(attend)):
        """Another thread's call comes right after ours has put its edges there."""

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "_last":
                object.__setattr__(self, name, theirs)

    attend(X, others)
    theirs = attend._last
    attend.__class__ = Overtaken
    assert attend._prepared(EDGES, 6, X.device) is EDGES


def _through_a_file(module: torch.nn.Module) -> torch.nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@ALL
@pytest.mark.parametrize("operator", ["gat", "gatv2"])
@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module)), _through_a_file],
    ids=["copy", "pickle", "file"],
)
def test_a_layer_that_was_used_is_copied_and_saved_whole(backend, operator, again):
    attend = made(backend, operator)
    expected = attend(X, EDGES)
    twin = again(attend)
    torch.testing.assert_close(twin(X, EDGES), expected, rtol=0, atol=0)
    twin(X, EDGES).sum().backward()
    assert all(parameter.grad is None for parameter in attend.parameters())


@ALL
def test_a_gradient_that_sparse_features_would_not_get_is_refused(backend):
    attend, x = made(backend), X.relu().to_sparse_csr().requires_grad_()
    with pytest.raises(ValueError, match=r"sparse x has no gradient here: pass x\.detach\(\)"):
        attend(x, EDGES)
    torch.testing.assert_close(attend(x.detach(), EDGES), attend(X.relu(), EDGES), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        attend(x, EDGES)


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(LookupError, match=r"no back end 'pig'.*pyg"):
        layer("pig", in_channels=5, out_channels=3)


def test_what_a_back_end_cannot_run_says_why():
    with pytest.raises(ValueError, match="fused cannot run gatv2 here"):
        layer("fused", in_channels=5, out_channels=3, device="meta")


def test_the_package_is_light_and_a_layer_needs_neither_bench_nor_mlflow_nor_optuna():
    code = (
        "import sys, implementations; print('torch' in sys.modules);"
        "implementations.layer('scatter', in_channels=5, out_channels=3);"
        "print([n for n in ('bench', 'mlflow', 'optuna', 'dgl', 'torch_geometric') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split("\n")[:2] == ["False", "[]"]


def test_a_strangers_type_checker_knows_what_a_layer_is_and_which_arguments_there_are(tmp_path):
    strange = tmp_path / "strange.py"
    made = 'layer("fused", "gatv2", in_chan{}els=8, out_channels=4)'
    strange.write_text(f"from implementations import layer\n\nreveal_type({made.format('n')})\n{made.format('')}\n")
    done = subprocess.run([sys.executable, "-m", "mypy", strange], capture_output=True, text=True, cwd=ROOT)
    assert 'note: Revealed type is "implementations.layers.Layer"' in done.stdout
    assert re.findall("error: (.*);", done.stdout) == ['Unexpected keyword argument "in_chanels" for "layer"']


def test_names_are_listed_without_importing_a_back_end():
    assert {"scatter", "pyg", "dgl", "fused", "dense"} <= set(names("backends"))
    assert {"gat", "gatv2"} <= set(names("operators"))
