"""Graphs, and canonical parameters going into a layer and gradients coming out."""

import pytest
import torch
from torch import nn

from implementations.contract import Graph, LayerConfig, message_passing_bytes
from implementations.name_table import NameTableError, gradients, load

NAMES = {"weight": "map.weight", "bias": "map.bias"}


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 4)


def canonical():
    return {"weight": torch.arange(12.0).view(2, 2, 3), "bias": torch.arange(4.0).view(2, 2)}


def test_self_loops_are_added_where_there_is_none():
    graph = Graph(4, torch.tensor([[0, 1, 1, 3, 3], [1, 1, 1, 2, 3]]))
    looped = graph.with_self_loops()
    assert looped.edge_index.tolist() == [[0, 1, 1, 3, 3, 0, 2], [1, 1, 1, 2, 3, 0, 2]]
    assert (looped.num_nodes, looped.num_edges, graph.num_edges) == (4, 7, 5)


def test_a_graph_with_all_self_loops_gets_none():
    graph = Graph(3, torch.tensor([[0, 1, 2], [0, 1, 2]]))
    assert torch.equal(graph.with_self_loops().edge_index, graph.edge_index)


def test_a_graph_without_edges_gets_a_loop_at_every_node():
    assert Graph(2, torch.empty(2, 0, dtype=torch.int64)).with_self_loops().edge_index.tolist() == [[0, 1], [0, 1]]


def test_heads_averaged_are_as_wide_as_one():
    assert LayerConfig(5, 4, 3).out_features == 12
    assert LayerConfig(5, 4, 3, concat=False).out_features == 4


@pytest.mark.parametrize("probability", [1.0, 1.5, -0.1, float("nan")])
def test_no_layer_drops_everything_or_less_than_nothing(probability):
    with pytest.raises(
        ValueError, match=f"attention_dropout is {probability} and should be at least 0 and less than 1"
    ):
        LayerConfig(5, 4, 3, attention_dropout=probability)


def test_values_are_loaded_by_name_and_reshaped_in_order():
    layer = Layer()
    load(layer, NAMES, canonical())
    assert layer.map.weight.tolist() == torch.arange(12.0).view(4, 3).tolist()
    assert layer.map.bias.tolist() == [0, 1, 2, 3]
    assert layer.map.weight.requires_grad


def test_loading_into_float64_keeps_every_digit():
    layer = Layer().double()
    values = {name: value.double() / 3 for name, value in canonical().items()}
    load(layer, NAMES, values)
    assert torch.equal(layer.map.weight.view(2, 2, 3), values["weight"])


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ({"weight": "map.weight"}, r"without a canonical name \['map.bias'\]"),
        (NAMES | {"residual": "map.residual"}, r"named but absent \['map.residual'\]"),
        (NAMES | {"residual": "map.bias"}, "must cover exactly"),
    ],
)
def test_a_name_table_that_does_not_cover_exactly_is_refused(names, fault):
    with pytest.raises(NameTableError, match=fault):
        load(Layer(), names, canonical())


@pytest.mark.parametrize("change", [{"extra": torch.zeros(1)}, None], ids=["one too many", "one too few"])
def test_values_that_are_not_the_parameters_are_refused(change):
    values = canonical()
    if change is None:
        del values["bias"]
    else:
        values |= change
    with pytest.raises(NameTableError, match="do not fit"):
        load(Layer(), NAMES, values)


def test_a_value_of_another_size_is_refused_by_name():
    with pytest.raises(NameTableError, match=r"bias: \(5,\) cannot become \(4,\)"):
        load(Layer(), NAMES, canonical() | {"bias": torch.zeros(5)})


def test_gradients_come_back_in_canonical_shapes_and_zero_where_none_arrived():
    layer = Layer()
    layer.map.weight.sum().backward()
    found = gradients(layer, NAMES, canonical())
    assert torch.equal(found["weight"], torch.ones(2, 2, 3))
    assert torch.equal(found["bias"], torch.zeros(2, 2))


def test_message_passing_needs_memory_for_every_edge_head_and_channel():
    small = message_passing_bytes(LayerConfig(100, 8, 8), 1_000, 10_000)
    assert small > 4 * 10_000 * 8 * 8
    assert message_passing_bytes(LayerConfig(100, 8, 8), 2_000, 20_000) == 2 * small
