"""Counted work of layers, the machine's ceilings, and the floor that follows from both."""

from dataclasses import replace

import pytest
import torch

from bench.speed import ceilings, floor
from bench.speed.floor import Size, Work
from implementations.contract import LayerConfig
from implementations.operators import gat, gatv2

SIZE = Size(nodes=100, edges=1000, stored_features=300)
CONFIGS = [LayerConfig(50, 8, 4), LayerConfig(32, 5, 1, concat=False)]


def test_the_count_of_one_layer_is_what_the_equations_say():
    config = LayerConfig(50, 8, 4, bias=False)  # D = O = 32, K = 1, s = 1, P = 50 x 32 + 2 x 32
    found = floor.evaluation(gat, [config], SIZE)
    assert found.flops == 2 * 300 * 32 + 4 * 100 * 32 + 1000 * 4 * 11 + 2 * 1000 * 32 + 100 * 32
    assert found.bytes == 8 * 300 + 4 * 1664 + 8 * 100 * 32 + 4 * 100 * 32 + (4 * 1000 + 8 * 100)
    assert found.gathered_bytes == 4 * 1000 * 32 + 4 * 1000 * 4


def test_adam_touches_every_parameter_seven_times():
    config = LayerConfig(50, 8, 4)
    more = replace(config, bias=False)
    steps = [floor.training(gat, [made], SIZE) for made in (config, more)]
    backward_and_forward = 4 + 4  # each reads or writes the parameter once
    assert steps[0].bytes - steps[1].bytes == 32 * (28 + backward_and_forward)


def test_a_pair_costs_gatv2_as_many_operations_as_it_has_channels():
    few, many = (
        [floor.evaluation(operator, CONFIGS, replace(SIZE, edges=edges)).flops for operator in (gat, gatv2)]
        for edges in (1000, 2000)
    )
    of_gat, of_gatv2 = (after - before for before, after in zip(few, many, strict=True))
    assert of_gatv2 - of_gat == 1000 * (4 * 5 * (8 - 1) + 1 * 5 * (5 - 1))


@pytest.mark.parametrize("operator", [gat, gatv2])
def test_training_is_more_work_than_evaluation(operator):
    train, evaluate = (count(operator, CONFIGS, SIZE) for count in (floor.training, floor.evaluation))
    assert train.flops > 2 * evaluate.flops
    assert train.bytes > 2 * evaluate.bytes
    assert train.gathered_bytes > evaluate.gathered_bytes


def test_dense_features_cost_what_they_hold():
    dense = replace(SIZE, stored_features=100 * 50)
    sparse_work, dense_work = (floor.evaluation(gat, CONFIGS, size) for size in (SIZE, dense))
    assert dense_work.flops - sparse_work.flops == 2 * (5000 - 300) * 32
    assert dense_work.bytes - sparse_work.bytes == 4 * 100 * 50 - 8 * 300


def test_whichever_ceiling_is_lower_makes_the_floor():
    work = Work(flops=8e9, bytes=1e9, gathered_bytes=3e9)
    assert work.floor_s(flops_per_s=4e9, bytes_per_s=10e9) == (2.0, 2.0)
    assert work.floor_s(flops_per_s=80e9, bytes_per_s=10e9) == (0.1, 0.4)
    assert work.intensity == 8


def test_the_ceilings_are_positive_and_leave_no_memory_taken(cpu):
    found = ceilings.measure(cpu, torch.device("cpu"))
    assert found.gemm_flops_per_s > 1e6
    assert found.copy_bytes_per_s > 1e6
    assert found.free_bytes > 0
