"""The generated graph with hubs: its counts, its skew, its bits, and the sizes in its name."""

import hashlib

import pytest
import torch

from bench.data import data_rows
from bench.datasets.powerlaw import DATASET, variant
from bench.errors import UserError
from bench.plugins import DATASETS
from bench.task import DataUnavailable, row_normalised

SMALL = variant("n2000-d10-f16-c5")


def test_the_graph_is_of_the_size_of_ogbn_arxiv():
    info = DATASET.info
    assert (info.nodes, info.edges, info.features, info.classes) == (169_343, 2_300_000, 128, 40)


def test_every_count_is_what_the_data_set_says_of_itself():
    (row,) = data_rows([SMALL], verify=True, report=lambda line: None)
    assert row.problem == ""
    assert row.state == "generated"


def test_every_edge_runs_in_both_directions():
    edges = SMALL.load().graph.edge_index
    there, back = (set(map(tuple, pairs.t().tolist())) for pairs in (edges, edges.flip(0)))
    assert there == back
    assert len(there) == edges.shape[1]


def test_degrees_are_skewed_as_a_power_law_has_it():
    degree = torch.bincount(SMALL.load().graph.targets, minlength=SMALL.info.nodes)
    assert degree.max() > 20 * degree.median()
    assert degree.median() < degree.float().mean()


def test_hubs_are_spread_over_the_numbers_of_the_nodes():
    degree = torch.bincount(SMALL.load().graph.targets, minlength=SMALL.info.nodes).float()
    assert degree[:1000].sum() / degree.sum() == pytest.approx(0.5, abs=0.1)


def test_the_bits_are_the_same_on_every_machine_and_at_every_call():
    data = SMALL.load()
    parts = (data.graph.edge_index, data.x, data.y)
    digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()
    assert digest[:16] == "ce3ff8457cec014d"


def test_features_are_dense_and_of_variance_about_one():
    x = SMALL.load().x
    assert x.layout == torch.strided
    assert x.dtype == torch.float32
    assert float(x.var()) == pytest.approx(1.25, abs=0.1)


def test_the_split_has_the_proportions_of_ogbn_arxiv():
    nodes = SMALL.nodes(SMALL.load(), "default", 0)
    assert [len(part) for part in (nodes.train, nodes.validation, nodes.test)] == [1080, 360, 560]


def test_sizes_in_the_name_make_another_data_set():
    found = DATASETS.get("powerlaw-n500-d4").info
    assert (found.name, found.nodes, found.edges, found.features) == ("powerlaw-n500-d4", 500, 2000, 128)
    assert found.digest not in {DATASET.info.digest, SMALL.info.digest}


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ("n500-q4", "'q4' is not understood"),
        ("", "'' is not understood"),
        ("n0", "'n0' is not understood"),
        ("n500-n600", "'n600' is not understood"),
        ("n100-d90", "100 nodes are too few for 90 incoming edges"),
        ("n20-d2", "too few for 2 incoming edges each and 40 classes"),
    ],
)
def test_sizes_that_cannot_be_are_refused(parameters, says):
    with pytest.raises(UserError, match=says):
        variant(parameters)


def test_rows_of_dense_features_are_normalised_as_those_of_sparse_ones():
    x = torch.tensor([[1.0, 3.0], [0.0, 0.0]])
    torch.testing.assert_close(row_normalised(x), row_normalised(x.to_sparse_csr()).to_dense())


@pytest.mark.parametrize("sparse", [True, False])
def test_features_with_a_sign_are_not_row_normalised(sparse):
    x = torch.tensor([[1.0, -1.0]])
    with pytest.raises(DataUnavailable, match="row_normalise = false"):
        row_normalised(x.to_sparse_csr() if sparse else x)
