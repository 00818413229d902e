"""A study's file is read whole or refused, with its place and the cure."""

import pytest
from study_texts import ATTENTION, LOOKUP, read

from bench import experiment_file, study_jobs, study_run
from bench.errors import UserError

BROKEN = {
    "an unknown kind": ("kind = 'loopup'", "kind = 'lookup'", ["kind", "did you mean 'lookup'"]),
    "an unknown key": ("sizez = [3]\ntitle", "title", ["sizez", "did you mean 'sizes'"]),
    "an unknown key of a model": ("operator = 'gat'\nhead = 2", "operator = 'gat'", ["models.1.head", "'heads'"]),
    "an unknown key of a layer": ("bias = true\nself_loop = 1", "bias = true", ["self_loop", "'self_loops'"]),
    "an unknown key of a curve": ("subset = 'test'\nsize = 1", "subset = 'test'", ["curves.0.size", "'sizes'"]),
    "an impossible size": ("sizes = [1]", "sizes = [3, 4]", ["sizes.0", "greater than or equal to 2"]),
    "an impossible split": ("split = 'keys'", "split = 'pairs'", ["protocols.1.split", "'graphs'"]),
    "an unknown operator": ("operator = 'gatt'", "operator = 'gat'", ["models.operator", "did you mean 'gat'"]),
    "a layer of an unknown operator": (
        "[protocols.layer.gatt]", "[protocols.layer.gat]", ["protocols.released.layer", "did you mean 'gat'"],
    ),
    "a published curve of no model": ("model = 'GATv2'", "model = 'GATv2, 1 head'", ["published", "'GATv2, 1 head'"]),
    "values that do not fit the sizes": ("values = [100]", "values = [100, 90]", ["1 values must be as many"]),
    "two models of one name": ("name = 'GATv2, 1 head'", "name = 'GAT, 2 heads'", ["models", "twice"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_mistake_is_refused_with_file_key_and_cure(tmp_path, mistake):
    wrong, right, said = BROKEN[mistake]
    text = LOOKUP.replace('"', "'")
    assert right in text
    with pytest.raises(UserError) as refusal:
        read(tmp_path, text.replace(right, wrong, 1) if "name" not in wrong else text.replace(right, wrong))
    assert "small.toml" in str(refusal.value)
    for part in said:
        assert part in str(refusal.value)


def test_heads_that_do_not_divide_the_features_are_refused(tmp_path):
    with pytest.raises(UserError, match="heads"):
        read(tmp_path, LOOKUP.replace("heads = 2", "heads = 3"))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[graph.protocol]\nsplit = 'public'", "graph.protocol.split: blocks has no split 'public'; it offers random"),
        ("[graph.architecture]\nends = 'gated'", "graph.architecture.ends: blocks is about nodes"),
        (
            "[graph.training.batches]\nby = 'whole graphs'\ngraphs = 2",
            "graph.training.batches: blocks is one graph, so take batches by random walks or neighbours",
        ),
    ],
)
def test_the_graph_of_a_study_is_held_to_what_its_data_offer(tmp_path, table, said):
    with pytest.raises(UserError, match=said):
        read(tmp_path, f"{ATTENTION}{table}\n")


def test_a_study_takes_a_generated_graph_with_sizes_in_its_name(tmp_path):
    unscaled = "[graph.protocol]\nrow_normalise = false\n"
    study = read(tmp_path, ATTENTION.replace('"blocks"', '"powerlaw-n500-d4"') + unscaled)
    assert study.graph.dataset == "powerlaw-n500-d4"
    with pytest.raises(UserError, match=r"graph\.dataset: powerlaw-n500-q4: 'q4' is not understood"):
        read(tmp_path, ATTENTION.replace('"blocks"', '"powerlaw-n500-q4"'))


def test_a_grid_is_not_taken_for_a_study_nor_a_study_for_a_grid(tmp_path):
    with pytest.raises(UserError, match="not a study"):
        experiment_file.read_study(experiment_file.find("smoke"))
    with pytest.raises(UserError, match="no grid of cells"):
        experiment_file.read(experiment_file.find("lookup"))


@pytest.mark.parametrize("name", ["lookup", "attention"])
def test_the_studies_that_come_along_are_valid(name):
    study = study_run.read(name)
    assert study_jobs.jobs(study)
