"""An experiment file is read whole or refused with place, reason and cure."""

from pathlib import Path

import pytest

from bench import experiment_file
from bench.errors import UserError

GOOD = """
title = "t"
backends = ["scatter"]
operators = ["gat"]
datasets = ["blocks"]
devices = ["cpu"]
seeds = [0]
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "e.toml"
    path.write_text(text)
    return experiment_file.read(path)


def test_a_minimal_file_is_read(tmp_path):
    assert read(tmp_path, GOOD).backends == ("scatter",)


@pytest.mark.parametrize("name", experiment_file.names())
def test_every_built_in_experiment_is_valid(name):
    assert experiment_file.read_any(experiment_file.find(name)).title


BROKEN = {
    "an unknown key at the top": ("seedz = [1]", ["seedz", "did you mean 'seeds'"]),
    "an unknown key in a part": ("[training]\npatience = 1", ["training.patience", "patience_epochs"]),
    "a value of the wrong type": ("[training]\nlr = 'fast'", ["training.lr", "'fast'"]),
    "an impossible value": ("[architecture]\nfeature_dropout = 1.5", ["architecture.feature_dropout", "less than 1"]),
    "an impossible choice": ("[training]\nstop_on = 'luck'", ["training.stop_on", "accuracy"]),
    "a reversed range": (
        "[tuning]\nspace = { 'training.lr' = { low = 2.0, high = 1.0 } }",
        ["tuning.space.training.lr", "below high"],
    ),
    "trials without seeds": ("[tuning]\ntrials = 3", ["tuning", "set tuning.seeds"]),
    "tuning on the final seeds": (
        "[tuning]\ntrials = 1\nseeds = [0, 5]",
        ["final seeds must differ", "[0]"],
    ),
    "a searched setting that does not exist": (
        "[tuning]\nspace = { 'training.rate' = { low = 0.1, high = 1.0 } }",
        ["training.rate", "did you mean"],
    ),
    "a search space that leaves out the file's own value": (
        "[tuning]\nspace = { 'training.lr' = { low = 0.1, high = 1.0 } }",
        ["training.lr = 0.005"],
    ),
    "a searched value that the setting refuses": (
        "[tuning]\nspace = { 'architecture.heads' = { choices = [8, -1] } }",
        ["architecture.heads", "-1"],
    ),
    "a range of a setting that counts": (
        "[tuning]\nspace = { 'architecture.hidden' = { low = 4, high = 32 } }",
        ["tuning.space.'architecture.hidden': a range has numbers between whole ones", "choices"],
    ),
    "a range of a setting that is true or false": (
        "[tuning]\nspace = { 'architecture.bias' = { low = 0, high = 1 } }",
        ["tuning.space.'architecture.bias': a range has numbers between whole ones", "choices"],
    ),
    "epochs that are searched and set": (
        "[tuning]\nmax_epochs = 5\nspace = { 'training.max_epochs' = { choices = [100, 1000] } }",
        ["tuning.space.'training.max_epochs': tuning.max_epochs says", "take either away"],
    ),
    "a tuning seed twice": ("[tuning]\nseeds = [7, 7]", ["tuning.seeds: names something twice: [7, 7]"]),
    "a number of threads twice": ("[timing]\nthreads = [2, 2]", ["timing.threads: names something twice"]),
    "a track twice": (
        "[timing]\ntracks = ['as_shipped', 'as_shipped']",
        ["timing.tracks: names something twice"],
    ),
    "a rival twice": ("[statistics]\nrivals = ['scatter', 'scatter']", ["statistics.rivals: names something twice"]),
    "a split that the data set does not offer": ("[protocol]\nsplit = 'public'", ["blocks has no split 'public'"]),
    "a self-test of a back end that is not compared": ("[timing]\nself_test = 'dgl'", ["self_test", "dgl"]),
    "whole graphs of a data set that is one": (
        "[timing]\nrounds = 0\n[training]\nbatches = { by = 'whole graphs', graphs = 2 }",
        ["training.batches: blocks is one graph", "random walks or neighbours"],
    ),
    "neighbours for another number of layers": (
        "[timing]\nrounds = 0\n[training]\nbatches = { by = 'neighbours', targets = 5, fanout = [3] }",
        ["training.batches.fanout: 1 numbers of neighbours for 2 layers"],
    ),
    "batches by something else": ("[training]\nbatches = { by = 'edges' }", ["training.batches", "random walks"]),
    "batches with a key of another kind": (
        "[training]\nbatches = { by = 'random walks', roots = 5, length = 2, steps = 3, graphs = 2 }",
        ["training.batches.graphs: there is no key 'graphs'"],
    ),
    "a rival that is not compared": ("[statistics]\nrivals = ['dgl']", ["statistics.rivals", "dgl"]),
    "fewer rounds of something that is not there": (
        "[timing.fewer_rounds]\ncora = 1",
        ["timing.fewer_rounds: names cora", "scatter, gat, blocks, 1 thread"],
    ),
    "fewer seeds of something that is not there": (
        "[fewer_seeds]\ncora = 1",
        ["fewer_seeds: names cora", "it may name scatter, gat, blocks"],
    ),
    "a swept setting that does not exist": ("[sweep]\n'architecture.head' = [2]", ["sweep", "architecture.heads"]),
    "a swept setting that is none of the architecture": ("[sweep]\n'training.lr' = [0.1]", ["sweep", "architecture"]),
    "a sweep that nothing times": (
        "[sweep]\n'architecture.heads' = [2]\n[timing]\nrounds = 0",
        ["timing.rounds = 0 times nothing of what sweep varies", "take [sweep] away"],
    ),
    "true for a whole number": (
        "[architecture]\nheads = true",
        ["architecture.heads: should be", "True"],
    ),
    "true for a number": ("[training]\nlr = true", ["training.lr: should be a valid number", "True"]),
    "text for a number": ("[training]\nlr = '0.1'", ["training.lr: should be a valid number", "'0.1'"]),
    "false among whole numbers": ("[timing]\nthreads = [1, false]", ["timing.threads.1: should be a valid integer"]),
    "false in a table": ("[fewer_seeds]\nscatter = false", ["fewer_seeds.scatter: should be a valid integer"]),
    "a swept value that is no number": (
        "[sweep]\n'architecture.heads' = [true]",
        ["architecture.heads", "valid integer"],
    ),
    "a sampler of their own that no back end has": (
        "[timing]\nrounds = 0\n[training]\n"
        "batches = { by = 'neighbours', targets = 5, fanout = [3, 3], sampler = 'own' }",
        ["training.batches.sampler: none of scatter has one of its own (dgl, pyg have); take 'shared'"],
    ),
    "a swept value that the setting refuses": ("[sweep]\n'architecture.heads' = [0]", ["architecture.heads", "0"]),
}


@pytest.mark.parametrize(("addition", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_with_file_place_and_cure(tmp_path, addition, says):
    with pytest.raises(UserError) as refused:
        read(tmp_path, GOOD + addition)
    message = str(refused.value)
    assert "e.toml" in message
    for part in says:
        assert part in message


def test_true_and_false_are_no_seeds(tmp_path):
    with pytest.raises(UserError, match=r"seeds\.0: should be a valid integer \(the file says True\)"):
        read(tmp_path, GOOD.replace("[0]", "[true, false]"))


def test_features_of_either_sign_are_not_divided_by_their_sum(tmp_path):
    generated = GOOD.replace('"blocks"', '"powerlaw-n100-d4"')
    with pytest.raises(UserError, match=r"protocol\.row_normalise: powerlaw-n100-d4 has features of either sign"):
        read(tmp_path, generated)
    assert not read(tmp_path, generated + "[protocol]\nrow_normalise = false").protocol.row_normalise


def test_one_back_end_with_a_sampler_of_its_own_is_enough(tmp_path):
    drawn = "[training]\nbatches = { by = 'neighbours', targets = 5, fanout = [3, 3], sampler = 'own' }"
    assert read(tmp_path, GOOD.replace('["scatter"]', '["scatter", "dgl"]') + drawn).backends == ("scatter", "dgl")


@pytest.mark.parametrize("key", ["backends", "operators", "datasets", "devices"])
def test_an_empty_list_is_refused(tmp_path, key):
    lines = [f"{key} = []" if line.startswith(key) else line for line in GOOD.splitlines()]
    with pytest.raises(UserError, match=f"{key}: .*at least 1"):
        read(tmp_path, "\n".join(lines))


@pytest.mark.parametrize("key", ["backends", "operators", "datasets", "devices"])
def test_an_unknown_name_is_refused_with_the_nearest(tmp_path, key):
    text = GOOD.replace(f'{key} = ["', f'{key} = ["x')
    with pytest.raises(UserError, match=f"{key}: there is no .*did you mean"):
        read(tmp_path, text)


def test_a_repeated_name_is_refused(tmp_path):
    with pytest.raises(UserError, match="backends names something twice"):
        read(tmp_path, GOOD.replace('["scatter"]', '["scatter", "scatter"]'))


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(UserError, match="seeds: is required"):
        read(tmp_path, GOOD.replace("seeds = [0]", ""))


def test_an_experiment_without_seeds_is_about_speed(tmp_path):
    assert read(tmp_path, GOOD.replace("[0]", "[]")).seeds == ()


@pytest.mark.parametrize(
    ("addition", "says"),
    [("[timing]\nrounds = 0", "nothing to be done"), ("[tuning]\ntrials = 1\nseeds = [9]", "nothing to tune")],
)
def test_an_experiment_without_seeds_must_time_and_cannot_tune(tmp_path, addition, says):
    with pytest.raises(UserError, match=says):
        read(tmp_path, GOOD.replace("[0]", "[]") + addition)


def test_a_generated_data_set_takes_sizes_in_its_name(tmp_path):
    text = GOOD.replace("blocks", "powerlaw-n500-d4") + "[protocol]\nrow_normalise = false"
    assert read(tmp_path, text).datasets == ("powerlaw-n500-d4",)


def test_sizes_that_are_not_understood_are_refused_with_how_to_write_them(tmp_path):
    with pytest.raises(UserError, match=r"datasets: powerlaw-n500-q4: 'q4' is not understood.*powerlaw-n10000-d10"):
        read(tmp_path, GOOD.replace("blocks", "powerlaw-n500-q4"))


def test_false_edges_between_many_graphs_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"protocol\.edge_noise: ppi is about many graphs.*so it must be 0"):
        read(tmp_path, GOOD.replace("blocks", "ppi") + "[protocol]\nedge_noise = 0.1")


def test_broken_toml_is_refused_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"not valid TOML.*line 9"):
        read(tmp_path, GOOD + "\n[training\n")


def test_every_mistake_is_told_at_once(tmp_path):
    with pytest.raises(UserError) as refused:
        read(tmp_path, GOOD + "[training]\nlr = -1\npatience = 3")
    assert len(str(refused.value).splitlines()) == 2


def test_an_unknown_experiment_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'smoke'"):
        experiment_file.find("smok")


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        experiment_file.find(str(tmp_path / "absent.toml"))
