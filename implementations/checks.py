"""What a back end promises: one function a promise, for our tests and for a stranger's.

Every check takes a back end, an operator and a device, and raises `Nonconformance` with a sentence in domain words.
What the back end calls unsupported is left out.
"""

import math

import torch

from implementations.comparisons import (
    agrees_with_the_reference_in_float32,
    agrees_with_the_reference_in_float64,
    differentiates_under_the_masks_it_drew,
    drops_coefficients_and_features_in_training,
    trains_as_its_layers_define,
)
from implementations.contract import SEMANTIC_TOPICS, Backend, Operator
from implementations.name_table import NameTableError, parameters_by_name
from implementations.promise import CONFIGS, Check, Nonconformance, require, supported
from implementations.properties import (
    evaluates_without_chance,
    gives_attention_that_sums_to_one,
    gives_the_shape_dtype_and_device_asked_for,
    keeps_disconnected_parts_apart,
    leaves_graph_and_x_as_they_are,
    orders_neighbours_as_the_operator_does,
    predicts_memory_that_grows_with_the_graph,
    renumbers_its_output_with_the_nodes,
    returns_a_constant_input_projected,
    returns_its_own_value_to_a_node_with_only_its_self_loop,
    stays_finite_with_large_scores,
)


def describes_itself(backend: Backend, operator: Operator, device: torch.device) -> None:
    """Name, packages, and a fact for every topic of semantics."""
    require(bool(backend.name), "the back end has no name")
    require(
        bool(backend.packages), "packages names no distribution, so a record could not say what decided its numbers"
    )
    missing = [topic for topic in SEMANTIC_TOPICS if topic not in backend.semantics]
    require(not missing, f"semantics says nothing of {', '.join(missing)}")
    empty = [topic for topic, fact in backend.semantics.items() if not (fact.native and fact.here)]
    require(not empty, f"semantics leaves {', '.join(empty)} half empty: both `native` and `here` are sentences")


def unsupported_answers_a_sentence_or_none(backend: Backend, operator: Operator, device: torch.device) -> None:
    """Whether something can run is said beforehand, not by an exception."""
    for config in CONFIGS:
        answer: object = backend.unsupported(operator, config, device)
        is_sentence = isinstance(answer, str) and bool(answer.strip())
        require(answer is None or is_sentence, f"unsupported answers {answer!r}, neither a sentence nor None")


def names_cover_exactly_the_parameters(backend: Backend, operator: Operator, device: torch.device) -> None:
    """Each canonical parameter has one of the layer's, and each of the layer's one canonical parameter."""
    for config in supported(backend, operator, device):
        names, shapes = backend.names(operator, config), operator.shapes(config)
        require(names.keys() == shapes.keys(), f"names has {sorted(names)} where {operator.name} has {sorted(shapes)}")
        try:
            own = parameters_by_name(backend.layer(operator, config), names)
        except NameTableError as problem:
            raise Nonconformance(str(problem)) from None
        for name, parameter in own.items():
            require(
                parameter.numel() == math.prod(shapes[name]),
                f"the parameter for {name} has shape {tuple(parameter.shape)}, which {shapes[name]} cannot become",
            )


WITHOUT_A_LAYER: tuple[Check, ...] = (describes_itself, unsupported_answers_a_sentence_or_none)
"""What can be asked even where nothing can run."""

CHECKS: tuple[Check, ...] = (
    *WITHOUT_A_LAYER,
    names_cover_exactly_the_parameters,
    gives_the_shape_dtype_and_device_asked_for,
    leaves_graph_and_x_as_they_are,
    returns_its_own_value_to_a_node_with_only_its_self_loop,
    returns_a_constant_input_projected,
    gives_attention_that_sums_to_one,
    renumbers_its_output_with_the_nodes,
    keeps_disconnected_parts_apart,
    orders_neighbours_as_the_operator_does,
    stays_finite_with_large_scores,
    evaluates_without_chance,
    agrees_with_the_reference_in_float64,
    agrees_with_the_reference_in_float32,
    drops_coefficients_and_features_in_training,
    differentiates_under_the_masks_it_drew,
    trains_as_its_layers_define,
    predicts_memory_that_grows_with_the_graph,
)
"""Everything that is asked of a back end: what names a mistake before what only shows that there is one."""
