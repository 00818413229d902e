"""The data sets themselves: what comes out, and how it is split."""

import functools
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.datasets import _planetoid, _splits, blocks, citeseer, cora, cora_linqs, pubmed
from bench.datasets._files import sha256
from bench.errors import UserError
from bench.task import Dataset, DataUnavailable, NodeData

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")

DATASETS: list[Dataset] = [module.DATASET for module in (blocks, citeseer, cora, cora_linqs, pubmed)]
SPLITS = [(dataset, split) for dataset in DATASETS for split in dataset.info.splits]
SEEDED = [(cora_linqs.DATASET, "planetoid"), (cora_linqs.DATASET, "labml"), (blocks.DATASET, "random")]
BESIDE = Path(__file__).parents[2] / "shared" / "data"


def named(value: object) -> str:
    return value.info.name if hasattr(value, "info") else str(value)


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never the user's cache; filled once for all tests. The public split of Cora comes from a folder only."""
    monkeypatch.setenv("BENCH_CACHE", str(session_cache))
    if "BENCH_DATA" not in os.environ and BESIDE.is_dir():
        monkeypatch.setenv("BENCH_DATA", str(BESIDE))


@functools.cache
def why_absent(dataset: Dataset) -> str:
    try:
        dataset.fetch(lambda line: None)
    except DataUnavailable as reason:
        return str(reason)
    return ""


def loaded(dataset: Dataset) -> NodeData:
    if reason := why_absent(dataset):
        assert "SHA-256" not in reason  # what came is not what was pinned
        pytest.skip(reason)
    return dataset.load()


@pytest.mark.parametrize("dataset", DATASETS, ids=named)
def test_a_data_set_has_the_counts_that_its_info_states(dataset: Dataset) -> None:
    data, info = loaded(dataset), dataset.info
    assert (data.graph.num_nodes, data.graph.num_edges) == (info.nodes, info.edges)
    assert data.x.shape == (info.nodes, info.features)
    assert data.y.shape == (info.nodes,)
    assert data.y.unique().tolist() == list(range(info.classes))


@pytest.mark.parametrize("dataset", DATASETS, ids=named)
def test_edges_are_symmetric_distinct_and_between_different_nodes(dataset: Dataset) -> None:
    graph = loaded(dataset).graph
    edges = set(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))
    assert len(edges) == graph.num_edges
    assert all((target, source) in edges and source != target for source, target in edges)


@pytest.mark.parametrize("dataset", DATASETS, ids=named)
def test_features_are_stored_sparse_as_published(dataset: Dataset) -> None:
    x = loaded(dataset).x
    assert (x.layout, x.dtype) == (torch.sparse_csr, torch.float32)
    assert (x.values() > 0).all()
    if dataset.info.name != "pubmed":  # its features are TF-IDF weights
        assert (x.values() == 1).all()


@pytest.mark.parametrize("dataset", DATASETS, ids=named)
def test_a_data_set_is_named_like_its_file_and_has_a_digest_before_it_is_loaded(dataset: Dataset) -> None:
    assert Path(__file__).parents[1].joinpath("bench", "datasets", f"{dataset.info.name}.py").is_file()
    assert len(bytes.fromhex(dataset.info.digest)) == 32


def test_no_two_data_sets_share_a_digest() -> None:
    assert len({dataset.info.digest for dataset in DATASETS}) == len(DATASETS)


@pytest.mark.parametrize("dataset", [cora.DATASET, citeseer.DATASET, pubmed.DATASET], ids=named)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_planetoid_files_are_read_as_torch_geometric_reads_them(dataset: Dataset) -> None:
    from torch_geometric.io import read_planetoid_data

    data, name = loaded(dataset), dataset.info.name
    theirs = read_planetoid_data(str(Path(dataset.files()[0].place).parent), name)
    nodes = dataset.nodes(data, "public", seed=0)
    assert torch.equal(data.graph.edge_index, theirs.edge_index)
    assert torch.equal(data.x.to_dense(), theirs.x)
    assert torch.equal(data.y, theirs.y)
    assert torch.equal(nodes.train, numbers(theirs.train_mask))
    assert torch.equal(nodes.validation, numbers(theirs.val_mask))
    assert torch.equal(nodes.test, numbers(theirs.test_mask))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_upstream_is_where_torch_geometric_downloads_from() -> None:
    from torch_geometric.datasets import Planetoid

    assert Planetoid.url == _planetoid.UPSTREAM


def test_citeseers_nodes_without_a_record_have_no_features_and_label_zero_and_are_in_no_split() -> None:
    data = loaded(citeseer.DATASET)
    bare = numbers(data.x.crow_indices().diff() == 0)
    assert len(bare) == 15
    assert (data.y[bare] == 0).all()
    assert not torch.isin(torch.cat(parts(citeseer.DATASET, data, "public", 0)), bare).any()


def test_linqs_cora_has_the_classes_of_the_public_one_under_alphabetical_numbers() -> None:
    alphabetical = loaded(cora_linqs.DATASET)
    # Case_Based, Genetic_Algorithms, Neural_Networks, Probabilistic_Methods, Reinforcement_..., Rule_..., Theory
    assert alphabetical.y.bincount().tolist() == [298, 418, 818, 426, 217, 180, 351]
    public = loaded(cora.DATASET)
    assert sorted(public.y.bincount().tolist()) == sorted(alphabetical.y.bincount().tolist())
    assert public.x.values().numel() == alphabetical.x.values().numel()
    assert degrees(public) == degrees(alphabetical)


def test_linqs_cora_is_read_from_ids_in_file_order() -> None:
    content = b"p9\t1\t0\t1\tTheory\np2\t0\t1\t0\tCase_Based\np5\t0\t0\t0\tTheory\n"
    data = cora_linqs.parse(content, cites=b"p9\tp2\np2\tp9\np2\tp5\n")
    assert data.y.tolist() == [1, 0, 1]
    assert data.x.to_dense().tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert data.graph.edge_index.T.tolist() == [[1, 0], [0, 1], [2, 1], [1, 2]]


@pytest.mark.parametrize(("dataset", "split"), SPLITS, ids=named)
def test_training_nodes_are_neither_validated_nor_tested_on(dataset: Dataset, split: str) -> None:
    nodes = dataset.nodes(loaded(dataset), split, seed=3)
    for part in (nodes.validation, nodes.test):
        assert len(part)
        assert not torch.isin(part, nodes.train).any()
    if split != "labml":  # the page has no test split
        assert not torch.isin(nodes.validation, nodes.test).any()


@pytest.mark.parametrize(("dataset", "split"), SPLITS, ids=named)
def test_a_split_is_the_same_for_the_same_seed(dataset: Dataset, split: str) -> None:
    data = loaded(dataset)
    for one, two in zip(parts(dataset, data, split, 7), parts(dataset, data, split, 7), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(("dataset", "split"), SEEDED, ids=named)
def test_a_drawn_split_differs_from_seed_to_seed(dataset: Dataset, split: str) -> None:
    data = loaded(dataset)
    for one, two in zip(parts(dataset, data, split, 0), parts(dataset, data, split, 1), strict=True):
        assert len(one) == len(two)
        assert not torch.equal(one, two)


def test_the_public_split_is_the_same_for_every_seed() -> None:
    data = loaded(citeseer.DATASET)
    pairs = zip(*(parts(citeseer.DATASET, data, "public", seed) for seed in (0, 1)), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_planetoids_scheme_draws_20_of_each_class_then_500_then_1000() -> None:
    data = loaded(cora_linqs.DATASET)
    nodes = cora_linqs.DATASET.nodes(data, "default", seed=0)
    assert data.y[nodes.train].bincount().tolist() == [20] * 7
    assert (len(nodes.validation), len(nodes.test)) == (500, 1000)


def test_labmls_scheme_trains_on_500_nodes_and_reports_on_all_others() -> None:
    nodes = cora_linqs.DATASET.nodes(loaded(cora_linqs.DATASET), "labml", seed=0)
    assert (len(nodes.train), len(nodes.validation)) == (500, 2208)
    assert torch.equal(nodes.validation, nodes.test)


@pytest.mark.parametrize("dataset", DATASETS, ids=named)
def test_an_unknown_split_is_refused_with_the_names_there_are(dataset: Dataset) -> None:
    with pytest.raises(UserError, match=f"no split 'pubic'.*{', '.join(dataset.info.splits)}"):
        dataset.nodes(loaded(dataset), "pubic", seed=0)


def test_a_shuffle_is_a_permutation_that_no_library_version_can_change() -> None:
    order = _splits.shuffled("some purpose", seed=1, size=1000)
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert order[:8].tolist() == [738, 147, 835, 613, 597, 402, 238, 757]
    assert not torch.equal(order, _splits.shuffled("another purpose", seed=1, size=1000))


def test_the_block_graph_is_the_same_everywhere() -> None:
    data = blocks.DATASET.load()
    content = [data.graph.edge_index, data.x.crow_indices(), data.x.col_indices(), data.y]
    assert sha256(b"".join(tensor.numpy().tobytes() for tensor in content)) == (
        "450803d55ba5d6d50bbb886cffee618599d70125a0cfcdffcdddea0d5b75cb64"
    )


def test_the_block_graph_needs_both_its_edges_and_its_features() -> None:
    data = blocks.DATASET.load()
    adjacency = torch.zeros(400, 400)
    adjacency[data.graph.targets, data.graph.sources] = 1
    smoothing = torch.nn.functional.normalize(adjacency + torch.eye(400), p=1)
    x = data.x.to_dense()
    assert 0.8 < linear_accuracy(data, smoothing @ smoothing @ x) < 0.97
    assert linear_accuracy(data, x) < 0.7


def linear_accuracy(data: NodeData, x: Tensor) -> float:
    """Test accuracy of ridge regression on the one-hot labels, mean of five splits."""
    correct = []
    for seed in range(5):
        nodes = blocks.DATASET.nodes(data, "random", seed)
        train, labels = x[nodes.train], torch.eye(4)[data.y[nodes.train]]
        weight = torch.linalg.solve(train.T @ train + 0.1 * torch.eye(64), train.T @ labels)
        correct.append((x[nodes.test] @ weight).argmax(1) == data.y[nodes.test])
    return float(torch.cat(correct).float().mean())


def parts(dataset: Dataset, data: NodeData, split: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    nodes = dataset.nodes(data, split, seed)
    return nodes.train, nodes.validation, nodes.test


def numbers(mask: Tensor) -> Tensor:
    return mask.nonzero().squeeze(-1)


def degrees(data: NodeData) -> list[int]:
    return sorted(data.graph.targets.bincount(minlength=data.graph.num_nodes).tolist())
