"""The references against plain double loops, the page that one of them transcribes, and their start values."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from implementations import reference
from implementations.contract import Graph, LayerConfig
from implementations.operators import const_gat, dpgat, gat, gatv2, gatv2_labml
from implementations.parity import weights

OPERATORS = [const_gat, dpgat, gat, gatv2, gatv2_labml]
CONFIG = LayerConfig(in_channels=4, out_channels=3, heads=2)
# Node 3 hears nothing, node 4 is alone; the edge from 0 to 1 is there twice, that from 2 to itself three times.
GRAPH = Graph(5, torch.tensor([[0, 0, 1, 3, 2, 2, 2, 1, 0], [1, 1, 1, 1, 2, 2, 2, 0, 2]]))


def drawn(operator, config, num_nodes=5, seed=0):
    x = torch.randn(num_nodes, config.in_channels, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x, weights(operator, config, x)


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def leaky(value, slope):
    return value if value > 0 else slope * value


def projected(weight, x, bias):
    """[N][H][C] as lists."""
    return [
        [[dot(row, node) + offset for row, offset in zip(head, b, strict=True)]
         for head, b in zip(weight.tolist(), bias.tolist(), strict=True)]
        for node in x.tolist()
    ]  # fmt: skip


def by_loop(operator, config, params, x):
    """Score of an edge (source, target, head) and what a source sends, from the equation in the operator's file."""
    zero = torch.zeros(config.heads, config.out_channels)
    slope = config.negative_slope
    if operator is const_gat:
        return lambda j, i, h: 1, projected(params["weight"], x, zero)
    if operator is gat:
        wh = projected(params["weight"], x, zero)
        of_source, of_target = params["a_source"].tolist(), params["a_target"].tolist()
        return lambda j, i, h: leaky(dot(of_source[h], wh[j][h]) + dot(of_target[h], wh[i][h]), slope), wh
    other = "source" if config.share_weights else "target"
    if operator is dpgat:
        key, query = projected(params["w_source"], x, zero), projected(params[f"w_{other}"], x, zero)
        scale = math.sqrt(config.out_channels)
        return lambda j, i, h: dot(key[j][h], query[i][h]) / scale, projected(params["w_value"], x, zero)
    g_source = projected(params["w_source"], x, params.get("b_source", zero))
    g_target = projected(params[f"w_{other}"], x, params.get(f"b_{other}", zero))
    a = params["a"].expand(config.heads, -1).tolist()

    def score(j, i, h):
        return dot(a[h], [leaky(s + t, slope) for s, t in zip(g_source[j][h], g_target[i][h], strict=True)])

    return score, g_source if operator is gatv2 else g_target


def looped(operator, config, params, graph, x):
    score, values = by_loop(operator, config, params, x)
    edges = list(zip(*graph.edge_index.tolist(), strict=True))
    attention = torch.zeros(len(edges), config.heads, dtype=torch.float64)
    out = torch.zeros(graph.num_nodes, config.heads, config.out_channels, dtype=torch.float64)
    for i in range(graph.num_nodes):
        for h in range(config.heads):
            into = [(k, j) for k, (j, target) in enumerate(edges) if target == i]
            exponentials = [math.exp(score(j, i, h)) for _, j in into]
            for (k, j), exponential in zip(into, exponentials, strict=True):
                attention[k, h] = exponential / sum(exponentials)
                out[i, h] += attention[k, h] * torch.tensor(values[j][h], dtype=torch.float64)
    merged = out.flatten(1) if config.concat else out.mean(1)
    if config.residual:
        merged = merged + x @ params["residual"].t()
    return merged + params.get("bias", 0), attention


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("share_weights", [True, False])
@pytest.mark.parametrize(("residual", "negative_slope"), [(True, 0.2), (False, 0.7)])
def test_the_reference_is_the_double_loop(operator, concat, bias, share_weights, residual, negative_slope):
    config = replace(
        CONFIG, concat=concat, bias=bias, share_weights=share_weights, residual=residual, negative_slope=negative_slope
    )
    x, params = drawn(operator, config)
    output, attention = reference.run(operator, config, params, GRAPH, x)
    expected_output, expected_attention = looped(operator, config, params, GRAPH, x)
    torch.testing.assert_close(output, expected_output, rtol=0, atol=1e-12)
    torch.testing.assert_close(attention, expected_attention, rtol=0, atol=1e-12)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_blocks_of_targets_change_nothing(operator, monkeypatch):
    x, params = drawn(operator, CONFIG)
    whole = reference.run(operator, CONFIG, params, GRAPH, x)
    monkeypatch.setattr(reference, "TARGETS_PER_BLOCK", 1)
    one_by_one = reference.run(operator, CONFIG, params, GRAPH, x)
    torch.testing.assert_close(tuple(one_by_one), tuple(whole), rtol=0, atol=1e-14)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_a_target_without_edges_aggregates_zero_within_the_equation_too(operator):
    x, params = drawn(operator, CONFIG)
    count = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    aggregated, attention = operator.reference(CONFIG, params, x[:2], x[:2], count)
    assert aggregated[1].eq(0).all()
    assert attention[1].eq(0).all()
    assert attention[0].tolist() == [[1.0, 1.0], [0.0, 0.0]]


def orders(operator, params, config, x):
    """[query, head] -> neighbours by falling attention, when all hear all."""
    N = len(x)
    pairs = torch.cartesian_prod(torch.arange(N), torch.arange(N)).t()
    attention = reference.run(operator, config, params, Graph(N, pairs), x).attention
    return attention.view(N, N, -1).argsort(0, descending=True).permute(1, 2, 0)


@pytest.mark.parametrize("seed", range(20))
def test_gat_orders_neighbours_alike_for_every_query(seed):
    x, params = drawn(gat, CONFIG, num_nodes=8, seed=seed)
    order = orders(gat, params, CONFIG, x)
    assert (order == order[:1]).all()


@pytest.mark.parametrize("operator", [gatv2, gatv2_labml], ids=lambda operator: operator.name)
def test_gatv2_orders_neighbours_differently_for_different_queries(operator):
    x, params = drawn(operator, CONFIG, num_nodes=8)
    order = orders(operator, params, CONFIG, x)
    assert (order != order[:1]).any()


def test_gatv2_can_look_itself_up_where_gat_cannot():
    # The dictionary lookup of Brody et al.: every node attends most to itself, as -|x_j - x_i| would have it.
    config = LayerConfig(in_channels=1, out_channels=2, heads=1, bias=False, negative_slope=0.0)
    x = torch.arange(5, dtype=torch.float64).unsqueeze(1)
    weight = torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64)
    params = {"w_source": weight, "w_target": -weight, "a": torch.tensor([[-1.0, -1.0]], dtype=torch.float64)}
    assert orders(gatv2, params, config, x)[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


def the_page(h, adjacency, linear_l, linear_r, attn, slope, n_heads, n_hidden):
    """nn.labml.ai/graphs/gatv2, `GraphAttentionV2Layer.forward`, line by line, without dropout."""
    n_nodes = h.shape[0]
    g_l = linear_l(h).view(n_nodes, n_heads, n_hidden)
    g_r = linear_r(h).view(n_nodes, n_heads, n_hidden)
    g_l_repeat = g_l.repeat(n_nodes, 1, 1)
    g_r_repeat_interleave = g_r.repeat_interleave(n_nodes, dim=0)
    g_sum = g_l_repeat + g_r_repeat_interleave
    g_sum = g_sum.view(n_nodes, n_nodes, n_heads, n_hidden)
    e = attn(nn.functional.leaky_relu(g_sum, slope))
    e = e.squeeze(-1)
    e = e.masked_fill(adjacency == 0, float("-inf"))
    a = torch.softmax(e, dim=1)
    return torch.einsum("ijh,jhf->ihf", a, g_r), a


@pytest.mark.parametrize("share_weights", [True, False])
@pytest.mark.parametrize("concat", [True, False])
def test_labmls_operator_is_the_page_as_it_computes(share_weights, concat):
    config = replace(CONFIG, bias=False, share_weights=share_weights, concat=concat)
    graph = Graph(5, torch.tensor([[0, 1, 4, 2, 3], [1, 2, 3, 0, 0]])).with_self_loops()
    x, params = drawn(gatv2_labml, config)
    linear_l, linear_r = (nn.Linear(4, 6, bias=False, dtype=torch.float64) for _ in range(2))
    attn = nn.Linear(3, 1, bias=False, dtype=torch.float64)
    linear_l.weight.data = params["w_source"].flatten(0, 1)
    linear_r.weight.data = params["w_source" if share_weights else "w_target"].flatten(0, 1)
    attn.weight.data = params["a"].unsqueeze(0)
    adjacency = torch.zeros(5, 5, 1)
    adjacency[graph.targets, graph.sources] = 1  # the page's rows are targets
    aggregated, coefficients = the_page(x, adjacency, linear_l, linear_r, attn, config.negative_slope, 2, 3)
    ours = reference.run(gatv2_labml, config, params, graph, x)
    expected = aggregated.reshape(5, 6) if concat else aggregated.mean(1)
    torch.testing.assert_close(ours.output, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.attention, coefficients[graph.targets, graph.sources], rtol=0, atol=1e-12)


def test_labmls_operator_is_gatv2_with_one_vector_when_weights_are_shared():
    config = replace(CONFIG, bias=False, share_weights=True)
    x, params = drawn(gatv2_labml, config)
    one_vector = params | {"a": params["a"].expand(2, -1)}
    ours = reference.run(gatv2_labml, config, params, GRAPH, x)
    torch.testing.assert_close(tuple(ours), tuple(reference.run(gatv2, config, one_vector, GRAPH, x)))
    apart = replace(config, share_weights=False)
    x, params = drawn(gatv2_labml, apart)
    one_vector = params | {"a": params["a"].expand(2, -1)}
    difference = (
        reference.run(gatv2_labml, apart, params, GRAPH, x).output
        - reference.run(gatv2, apart, one_vector, GRAPH, x).output
    )
    assert difference.abs().max() > 0.1


WIDE = LayerConfig(in_channels=500, out_channels=60, heads=40, residual=True)
# Name -> bound of the uniform law, None for zeros.
LAWS = {
    const_gat: {
        "weight": math.sqrt(6 / (500 + 2400)),
        "residual": math.sqrt(6 / (500 + 2400)),
        "bias": None,
    },
    dpgat: {
        **dict.fromkeys(("w_source", "w_target", "w_value", "residual"), math.sqrt(6 / (500 + 2400))),
        "bias": None,
    },
    gat: {
        "weight": math.sqrt(6 / (500 + 2400)),
        "a_source": math.sqrt(6 / 100),
        "a_target": math.sqrt(6 / 100),
        "residual": math.sqrt(6 / (500 + 2400)),
        "bias": None,
    },
    gatv2: {
        "w_source": math.sqrt(6 / (500 + 2400)),
        "b_source": None,
        "w_target": math.sqrt(6 / (500 + 2400)),
        "b_target": None,
        "a": math.sqrt(6 / 100),
        "residual": math.sqrt(6 / (500 + 2400)),
        "bias": None,
    },
    gatv2_labml: {
        "w_source": 1 / math.sqrt(500),
        "w_target": 1 / math.sqrt(500),
        "a": 1 / math.sqrt(60),
        "residual": math.sqrt(6 / (500 + 2400)),
        "bias": None,
    },
}


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_start_values_follow_their_law(operator):
    params = operator.init(WIDE, torch.Generator().manual_seed(0))
    assert params.keys() == LAWS[operator].keys()
    for name, bound in LAWS[operator].items():
        if bound is None:
            assert params[name].eq(0).all()
            continue
        assert params[name].abs().max() <= bound
        # Of a uniform law over n values, mean and variance lie within five standard errors.
        n = params[name].numel()
        assert abs(params[name].mean()) < 5 * bound / math.sqrt(3 * n)
        assert abs(params[name].square().mean() - bound**2 / 3) < 5 * bound**2 * math.sqrt(4 / 45 / n)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("share_weights", [True, False])
def test_start_values_have_the_shapes_and_order_announced(operator, bias, share_weights):
    config = replace(CONFIG, bias=bias, share_weights=share_weights)
    params = operator.init(config, torch.Generator().manual_seed(0))
    assert [(name, tuple(value.shape)) for name, value in params.items()] == list(operator.shapes(config).items())
    assert {value.dtype for value in params.values()} == {torch.float32}


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_start_values_depend_on_the_generator_alone(operator):
    torch.manual_seed(1)
    first = operator.init(CONFIG, torch.Generator().manual_seed(0))
    torch.manual_seed(2)
    second = operator.init(CONFIG, torch.Generator().manual_seed(0))
    other = operator.init(CONFIG, torch.Generator().manual_seed(1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if first[name].any())
