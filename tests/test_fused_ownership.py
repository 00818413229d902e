"""Which training the whole step refuses, and which it leaves to autograd."""

from dataclasses import replace

import pytest
import torch
from fused_tools import NEEDS_KERNELS, OPERATORS, features, layer_of, problem
from torch import Tensor
from torch.nn.utils.parametrizations import weight_norm

from implementations.backends import fused, fused_step
from implementations.backends._fused.noise import Noise
from implementations.contract import LayerConfig
from implementations.operators import gat, gatv2

pytestmark = NEEDS_KERNELS

REFUSED = {
    "x too wide": ({"x": features(60, 13)}, r"x has shape \(60, 13\) where .* have \(60, 12\)"),
    "x too wide, sparse": ({"x": features(60, 13).to_sparse_csr()}, r"x has shape \(60, 13\) where"),
    "x too narrow": ({"x": features(60, 11)}, r"x has shape \(60, 11\) where"),
    "x of more nodes": ({"x": features(61, 12)}, r"x has shape \(61, 12\) where"),
    "x of fewer nodes, sparse": ({"x": features(59, 12).to_sparse_csr()}, r"x has shape \(59, 12\) where"),
    "labels of more nodes": ({"y": torch.zeros(61, dtype=torch.int64)}, r"y has shape \(61,\) where .* has \(60,\)"),
    "a node twice": ({"nodes": torch.tensor([3, 17, 3])}, "a training node comes twice"),
    "a node from the end": (
        {"nodes": torch.tensor([59, -1])},
        "training nodes are -1 to 59, and the graph has .* 0 to 59",
    ),
    "a node beyond": (
        {"nodes": torch.tensor([60])},
        "training nodes are 60 to 60, and the graph has the nodes 0 to 59",
    ),
    "nodes in a table": ({"nodes": torch.tensor([[3], [17]])}, r"nodes has shape \(2, 1\) and should have \[n\]"),
    "labels below": ({"y": torch.full((60,), -100)}, "labels are -100 to -100, and there are 4 classes"),
    "labels above": ({"y": torch.full((60,), 4)}, "labels are 4 to 4, and there are 4 classes"),
}


@pytest.mark.parametrize(("changed", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_have_the_kernels_read_or_write_elsewhere_is_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        fused_step.BACKEND.whole_step(gatv2, replace(problem(gatv2), **changed))


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["y", "nodes"])
def test_labels_and_nodes_of_another_dtype_are_refused_before_their_bytes_are_taken_for_int64(name, dtype):
    given = problem(gatv2)
    changed = {name: torch.zeros(60, dtype=dtype)}
    with pytest.raises(TypeError, match=rf"{name} is {dtype}, and the kernels read int64: {name}\.long\(\)"):
        fused_step.BACKEND.whole_step(gatv2, replace(given, **changed))


@OPERATORS
def test_a_layer_that_takes_more_than_the_one_before_gives_is_refused(operator):
    given = problem(operator)
    wide = LayerConfig(41, 4, 3, concat=False)
    given = replace(given, layers=[given.layers[0], layer_of(fused.BACKEND, operator, wide)])
    with pytest.raises(ValueError, match="layer 2 takes 41 features, and layer 1 gives 40"):
        fused_step.BACKEND.whole_step(operator, replace(given, configs=[given.configs[0], wide]))


def test_features_of_another_dtype_than_the_parameters_are_refused():
    given = problem(gatv2)
    with pytest.raises(TypeError, match=r"features are torch\.float32 and parameters torch\.float64"):
        fused_step.BACKEND.whole_step(gatv2, replace(given, x=given.x.to(torch.float32)))


def test_layers_go_through_autograd_and_so_does_a_network_of_another_form():
    given = problem(gat)
    assert fused.BACKEND.whole_step(gat, given) is None
    wide = [*given.configs[:-1], replace(given.configs[-1], concat=True)]
    assert fused_step.BACKEND.whole_step(gat, replace(given, configs=wide)) is None


@OPERATORS
def test_autograd_takes_the_step_of_layers_that_are_not_what_their_configurations_say(operator):
    given = problem(operator)
    first, last = given.configs
    said = replace(given, x=features(60, 13), configs=[replace(first, in_channels=13), last])
    assert fused_step.BACKEND.whole_step(operator, said) is None


def gapped(value: Tensor) -> Tensor:
    """The same numbers, each with another behind it that is none of theirs."""
    return torch.stack([value, torch.full_like(value, 7)], -1)[..., 0]


def repeated(value: Tensor) -> Tensor:
    return value[:1].expand_as(value)


@OPERATORS
@pytest.mark.parametrize("laid_out", [gapped, repeated])
def test_autograd_takes_the_step_of_parameters_that_lie_apart_or_over_each_other(operator, laid_out):
    given = problem(operator)
    state = {name: laid_out(value) for name, value in given.layers[0].state_dict().items()}
    given.layers[0].load_state_dict(state, assign=True)
    assert fused_step.BACKEND.whole_step(operator, given) is None


def test_autograd_takes_the_step_of_parameters_that_are_computed_from_others():
    given = problem(gat)
    weight_norm(given.layers[0], "weight")
    assert fused_step.BACKEND.whole_step(gat, given) is None


def test_a_parameter_that_is_frozen_stays_so_because_autograd_takes_the_step():
    given = problem(gatv2)
    next(given.layers[0].parameters()).requires_grad_(False)
    assert fused_step.BACKEND.whole_step(gatv2, given) is None


def assign(layer) -> None:
    layer.load_state_dict({name: value.clone() for name, value in layer.state_dict().items()}, assign=True)


def move(layer) -> None:
    layer.bias.data = layer.bias.data.clone()


def convert(layer) -> None:
    layer.float().double()


def compute(layer) -> None:
    weight_norm(layer, "bias", dim=None)


@pytest.mark.parametrize("change", [assign, move, convert, compute])
@pytest.mark.parametrize("position", [0, 1])
def test_a_parameter_that_was_replaced_is_neither_trained_nor_evaluated_in_its_old_place(change, position):
    given = problem(gatv2)
    trainer = fused_step.BACKEND.whole_step(gatv2, given)
    trainer.step()
    change(given.layers[position])
    for call in (trainer.step, trainer.logits, lambda: trainer.parts(1)):
        with pytest.raises(RuntimeError, match=rf"of layer {position + 1} was replaced or moved.*make a new trainer"):
            call()


def look_on(layer) -> None:
    layer.register_forward_hook(lambda module, inputs, output: None)


def look_before(layer) -> None:
    layer.register_forward_pre_hook(lambda module, inputs: None)


def look_back(layer) -> None:
    layer.register_full_backward_hook(lambda module, grad_input, grad_output: None)


def look_before_back(layer) -> None:
    layer.register_full_backward_pre_hook(lambda module, grad_output: None)


def clip(layer) -> None:
    layer.bias.register_hook(lambda grad: grad.clamp(-1, 1))


def step_at_once(layer) -> None:
    layer.bias.register_post_accumulate_grad_hook(lambda parameter: None)


def decide(layer) -> None:
    layer.noise = Noise.draw(300 * 8, 0.5, key=1)


def compute_otherwise(layer) -> None:
    layer.__class__ = type("Doubled", (type(layer),), {"forward": lambda self, x, edges: 2 * x})


@pytest.mark.parametrize(
    "change", [look_on, look_before, look_back, look_before_back, clip, step_at_once, decide, compute_otherwise]
)
@pytest.mark.parametrize("position", [0, 1])
def test_autograd_takes_the_step_where_somebody_looks_on_or_has_decided_already(change, position):
    given = problem(gatv2)
    assert fused_step.BACKEND.whole_step(gatv2, given) is not None
    change(given.layers[position])
    assert fused_step.BACKEND.whole_step(gatv2, given) is None


def test_a_hook_that_was_removed_is_no_hindrance():
    given = problem(gatv2)
    given.layers[0].bias.register_hook(lambda grad: 2 * grad).remove()
    given.layers[0].register_forward_hook(lambda module, inputs, output: None).remove()
    assert fused_step.BACKEND.whole_step(gatv2, given) is not None


def test_autograd_takes_the_step_of_layers_that_share_a_parameter():
    given = problem(gatv2, residual=False)
    config = replace(given.configs[0], in_channels=40)
    layers = [given.layers[0], *(layer_of(fused.BACKEND, gatv2, config) for _ in range(2)), given.layers[1]]
    deep = replace(given, layers=layers, configs=[given.configs[0], config, config, given.configs[1]])
    assert fused_step.BACKEND.whole_step(gatv2, deep) is not None
    layers[2].a = layers[1].a
    assert fused_step.BACKEND.whole_step(gatv2, deep) is None
