"""Layers as a library: three lines give any back end's, and all of them compute the same."""

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


def test_names_are_listed_without_importing_a_back_end():
    assert {"scatter", "pyg", "dgl", "fused", "dense"} <= set(names("backends"))
    assert {"gat", "gatv2"} <= set(names("operators"))
