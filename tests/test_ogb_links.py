"""Links: OGB's files, how they are ranked, what a step sees, and GATv2's Table 3 from such files to its verdicts."""

import io
import json
import pickle
import random
import re
import struct
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import ogb_files
import pandas as pd
import pytest
import torch
from torch import nn

from bench import cli, experiment_file, rig
from bench.config import Architecture, Experiment, LinkBatches, LinkDecoder, Protocol, Training
from bench.datasets import _saved, ogbl_citation2, ogbl_collab
from bench.paper import table_file
from bench.task import DataUnavailable
from bench.training import objective, parts
from bench.training.network import PairDecoder
from bench.training.train import Autograd, Inputs, Material

CLEAN = Protocol(row_normalise=False, features="dense")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with both."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    ogb_files.write_collab(tmp_path / "data")
    ogb_files.write_citation2(tmp_path / "data", seed=1)
    rig._load.cache_clear()
    rig.task_of.cache_clear()
    return tmp_path / "data"


def test_links_that_are_made_twice_are_two_edges_each_way_in_collab(data):
    lines = pd.read_csv(data / "ogbl_collab/raw/edge.csv.gz", header=None).to_numpy().tolist()
    expected = Counter(pair for one, other in lines for pair in ((one, other), (other, one)) if one != other)
    found = Counter(map(tuple, ogbl_collab.DATASET.load().graph.edge_index.T.tolist()))
    assert found == expected
    assert max(found.values()) > 1


def test_links_are_those_of_the_files_true_ones_first(data):
    nodes = ogbl_collab.DATASET.nodes(ogbl_collab.DATASET.load(), "time", seed=0)
    theirs = torch.load(data / "ogbl_collab/split/time/test.pt", weights_only=False)
    assert nodes.test[:2].T.tolist() == np.concatenate([theirs["edge"], theirs["edge_neg"]]).tolist()
    assert nodes.test[2].tolist() == [1] * len(theirs["edge"]) + [0] * len(theirs["edge_neg"])
    assert nodes.train[2].all()


def test_each_citation_is_followed_in_its_turn_by_what_it_is_held_against(data):
    nodes = ogbl_citation2.DATASET.nodes(ogbl_citation2.DATASET.load(), "time", seed=0)
    theirs = torch.load(data / "ogbl_citation2/split/time/valid.pt", weights_only=False)
    sources, targets, told = nodes.validation
    assert sources[told > 0].tolist() == theirs["source_node"].tolist()
    assert targets[told == 0].view(-1, 7).tolist() == theirs["target_node_neg"].tolist()
    assert sources[told == 0].view(-1, 7).tolist() == [[source] * 7 for source in theirs["source_node"].tolist()]


NOISE = random.Random(0).randbytes(2000)  # deflate makes it no smaller


def zipped(
    data: bytes, name: str = "data.pkl", flags: int = 0, method: int = zipfile.ZIP_DEFLATED, damaged: bool = False
) -> bytes:
    """An archive as torch has them, but compressed, which says of its member what it is told to say."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"archive/{name}", data)
    content = bytearray(file.getvalue())
    for header, at in ((0, 6), (content.index(b"PK\1\2"), 8)):  # of the member, and in the archive's directory
        content[header + at : header + at + 4] = struct.pack("<HH", flags, method)
    if damaged:
        content[60:80] = b"\xff" * 20
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no file of torch's", "not arrays saved by torch"),
        (pickle.dumps({"edge": np.ones(3)}), "not arrays saved by torch"),
        ({"edge": [[0, 1]]}, "not arrays by name"),
        ({"edge": torch.ones(3)}, "not arrays saved by torch"),
        ({"edge": np.array([[0, 90]]), "edge_neg": np.array([[0, 1]])}, "leads beyond the 90 nodes"),
        ({"edge": np.array([[0, 1]])}, "nothing that its links could be held against"),
        ({"links": np.array([[0, 1]])}, "not links"),
        ({"source_node": np.array(3), "target_node": np.array(4)}, "not links"),
        (zipped(NOISE, flags=1), "cannot be unpacked: .*encrypted"),
        (zipped(NOISE, method=99), "cannot be unpacked"),
        (zipped(NOISE, damaged=True), "cannot be unpacked"),
        (zipped(bytes(10**6)), "would unpack to 1,000,000 bytes"),
        (zipped(NOISE, name="data.txt"), "there is no data.pkl"),
        (zipped(b"N."), "not arrays by name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_of_links_that_is_something_else_is_refused_by_name(data, content, said):
    path = data / "ogbl_collab/split/time/test.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(DataUnavailable, match=rf"test\.pt: .*{said}"):
        ogbl_collab.DATASET.nodes(ogbl_collab.DATASET.load(), "time", seed=0)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_arrays_are_read_whichever_way_torch_wrote_them(protocol, zipped, tmp_path):
    saved = {"edge": np.arange(6).reshape(3, 2), "weight": np.ones(3, dtype=np.float32)}
    torch.save(saved, tmp_path / "x.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = _saved.arrays((tmp_path / "x.pt").read_bytes(), "x.pt")
    assert found.keys() == saved.keys()
    assert all(np.array_equal(found[name], saved[name]) for name in saved)


def test_a_file_that_would_run_something_is_not_run(data, tmp_path):
    class Writes:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"edge": Writes()}, data / "ogbl_collab/split/time/test.pt")
    with pytest.raises(DataUnavailable, match="not arrays saved by torch"):
        ogbl_collab.DATASET.nodes(ogbl_collab.DATASET.load(), "time", seed=0)
    assert not (tmp_path / "ran").exists()


def test_hits_are_the_links_above_the_fiftieth_of_all_others():
    others = torch.arange(60.0)  # of which 10 is the 50th from above
    logits = torch.cat([torch.tensor([9.0, 10.0, 10.5, 100.0]), others])
    y = torch.cat([torch.ones(4), torch.zeros(60)])
    assert objective.score(logits, y, "hits_at_50") == 2 / 4
    assert objective.score(logits[:-11], y[:-11], "hits_at_50") == 1.0  # fewer than 50 others


def test_a_rank_is_among_a_links_own_others_and_equals_share_their_places():
    links = torch.tensor([3.0, 1.0, 2.0])
    others = torch.tensor([[0.0, 1.0], [2.0, 3.0], [2.0, 1.0]])  # ranks 1, 3, and 1 or 2: 1.5
    logits, y = torch.cat([links, others.flatten()]), torch.cat([torch.ones(3), torch.zeros(6)])
    assert objective.score(logits, y, "mrr") == pytest.approx((1 + 1 / 3 + 1 / 1.5) / 3)


def test_the_loss_of_links_is_that_of_the_released_code():
    logits, y = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 1.0, 0.0])
    p = torch.sigmoid(logits)
    expected = -torch.log(p[:2]).mean() - torch.log(1 - p[2:]).mean()
    torch.testing.assert_close(objective.loss(logits, y), expected)


def test_a_pairs_score_is_that_of_its_product_whichever_end_comes_first():
    decoder = PairDecoder(LinkDecoder(width=6, layers=2), seed=3)
    h, links = torch.randn(4, 6), torch.tensor([[0, 3], [2, 1], [1, 0]])
    first, last = decoder.maps
    expected = last(torch.relu(first(h[[0, 3]] * h[[2, 1]]))).squeeze(1)
    torch.testing.assert_close(decoder(h, links), expected)
    torch.testing.assert_close(decoder(h, links[[1, 0, 2]]), expected)
    assert torch.equal(PairDecoder(LinkDecoder(width=6, layers=2), seed=3).maps[0].weight, first.weight)


def test_a_step_sees_each_training_link_once_an_epoch_and_as_many_other_pairs():
    task = rig.task_of("ogbl_collab", CLEAN, 0)
    epochs = parts.batches(task, Training(batches=LinkBatches(links=50)), torch.Generator().manual_seed(0))
    steps = list(epochs)
    assert [part.nodes.shape[1] for part in steps] == [100, 100, 100, 20]
    assert all(part.graph is task.graph for part in steps)
    true = torch.cat([part.nodes[:2, part.nodes[2] > 0] for part in steps], dim=1)
    assert sorted(map(tuple, true.T.tolist())) == sorted(map(tuple, task.split.train[:2].T.tolist()))


def test_a_sampled_step_holds_its_links_in_the_numbers_of_its_own_graph():
    task = rig.task_of("ogbl_citation2", CLEAN, 0)
    asked = LinkBatches(links=9, fanout=(4, 3), steps=2)
    found = list(parts.batches(task, Training(batches=asked), torch.Generator().manual_seed(0)))
    assert len(found) == 2
    known = set(map(tuple, task.graph.edge_index.T.tolist()))
    for part in found:
        row = {tuple(values): node for node, values in enumerate(task.x.tolist())}
        old = torch.tensor([row[tuple(values)] for values in part.x.tolist()])
        links, told = old[part.nodes[:2]], part.nodes[2]
        wanted = {tuple(pair) for pair in task.split.train[:2].T.tolist()}
        assert {tuple(pair) for pair in links[:, told > 0].T.tolist()} <= wanted
        assert {tuple(pair) for pair in old[part.graph.edge_index].T.tolist()} <= known


def test_links_that_validate_are_edges_of_the_test_alone_if_asked(data):
    task = rig.task_of("ogbl_collab", CLEAN.model_copy(update={"validation_edges": True}), 0)
    links = torch.load(data / "ogbl_collab/split/time/valid.pt", weights_only=False)["edge"].tolist()
    added = {pair for one, other in links for pair in ((one, other), (other, one))}
    before = set(map(tuple, task.graph.edge_index.T.tolist()))
    after = list(map(tuple, parts.of_test(task, Training(), torch.Generator()).graph.edge_index.T.tolist()))
    assert (len(after), set(after)) == (len(before | added), before | added)
    assert parts.around(task, task.split.validation).graph is task.graph


class Both(nn.Module):
    """A layer and a decoder, each a number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.decoder = nn.Linear(2, 32), PairDecoder(LinkDecoder(width=32), seed=0)

    def forward(self, x: torch.Tensor, prepared: object) -> torch.Tensor:
        return 1e3 * self.layer(x)


def test_gradients_of_layers_and_decoder_are_clipped_each_by_themselves():
    links = torch.tensor([[0, 1], [1, 2], [1, 0]])
    inputs = Inputs(torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), None, torch.zeros(3), links)
    model = Both()
    Autograd(model, Material([inputs], inputs), Training(clip_norm=0.5)).step()
    for part in (model.layer, model.decoder):
        norm = torch.cat([parameter.grad.flatten() for parameter in part.parameters()]).norm()
        torch.testing.assert_close(norm, torch.tensor(0.5))


def experiment(**changes) -> Experiment:
    asked = {
        "title": "links",
        "backends": ["scatter"],
        "operators": ["gat"],
        "datasets": ["ogbl_collab"],
        "devices": ["cpu"],
        "seeds": [0],
        "timing": {"rounds": 0},
        "training": {"batches": {"by": "links", "links": 10}},
        "architecture": {"decoder": {"width": 8}},
    }
    return Experiment.model_validate(asked | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": {}}, "training.batches: ogbl_collab is about links between nodes"),
        ({"architecture": {}}, "architecture.decoder: ogbl_collab is about links between nodes"),
        ({"datasets": ["blocks"], "training": {}}, "architecture.decoder: blocks is about nodes"),
        ({"datasets": ["blocks"], "architecture": {}}, "training.batches: blocks is about nodes"),
        (
            {"training": {"batches": {"by": "links", "links": 10, "fanout": [5]}}},
            "training.batches.fanout: 1 numbers of neighbours for 2 layers",
        ),
    ],
)
def test_links_are_asked_for_as_such_and_nodes_are_not(changes, said):
    assert list(experiment_file.problems(experiment())) == []
    assert any(line.startswith(said) for line in experiment_file.problems(experiment(**changes)))


def test_the_last_layer_gives_what_the_decoder_takes():
    from bench.training.network import layer_configs

    asked = Architecture(decoder=LinkDecoder(width=48), heads=4, hidden=3)
    assert [config.out_features for config in layer_configs(asked, 5, classes=1)] == [12, 48]


def fewer(tmp_path: Path, **smaller: str) -> str:
    """Table 3 as it comes along, but for what makes it long."""
    text = (table_file.FOLDER / "gatv2-table3.toml").read_text()
    for long, short in smaller.items():
        assert f"{long} = " in text
        text = re.sub(rf"\b{long} = [\d.]+", f"{long} = {short}", text)
    (tmp_path / "gatv2-table3.toml").write_text(text)
    return str(tmp_path / "gatv2-table3.toml")


def run(tmp_path: Path, path: str, *options: str) -> dict[str, dict[str, object]]:
    assert cli.main(["tables", path, *options, "--results", str(tmp_path / "results"), "--mlflow", "off"]) == 0
    found = json.loads((tmp_path / "results" / Path(path).stem / "table.json").read_text())
    return {row["row"]: row for row in found["rows"]}


SMALL = {"max_epochs": "12", "links": "60", "steps": "3", "validate_from_epoch": "4", "validate_every_epochs": "4"}


def test_table_3_on_small_sets_is_run_and_never_held_against_the_published_numbers(tmp_path):
    rows = run(tmp_path, fewer(tmp_path, **SMALL), "--only", "c*-1-head/gatv2/*/scatter", "--seeds", "1")
    for part, data, title in (
        ("collab-1-head", "ogbl_collab", "ogbl-collab has 235,868 nodes"),
        ("collab-edges-1-head", "ogbl_collab", "ogbl-collab has 235,868 nodes"),
        ("citation2-1-head", "ogbl_citation2", "ogbl-citation2 has 2,927,963 nodes"),
    ):
        row = rows[f"{part}/gatv2/{data}/scatter"]
        assert row["verdict"] == "protocol differs"
        assert title in row["verdict_detail"]
        assert 0 < row["ours"] <= 100
    ranked = rows["citation2-1-head/gatv2/ogbl_citation2/scatter"]["ours"]
    assert ranked > 100 * sum(1 / rank for rank in range(1, 9)) / 8  # by chance among eight


def test_without_the_files_each_row_says_how_to_bring_them(tmp_path, monkeypatch):
    monkeypatch.delenv("BENCH_DATA")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # where nobody answers
    name = "collab-1-head/gat/ogbl_collab/scatter"
    row = run(tmp_path, fewer(tmp_path, **SMALL), "--only", name)[name]
    assert row["verdict"] == "not run"
    assert "bench data ogbl_collab --fetch" in row["verdict_detail"]


@pytest.mark.slow
def test_every_part_of_table_3_goes_from_files_to_verdicts(tmp_path):
    rows = run(tmp_path, fewer(tmp_path, **SMALL | {"max_epochs": "4"}), "--seeds", "1")
    compared = {name: row for name, row in rows.items() if name}
    assert {row["verdict"] for row in compared.values()} == {"protocol differs"}
    assert len(compared) == 36
