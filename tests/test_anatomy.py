"""Where a step's time goes: who says it, how it is recorded, what a reader sees."""

import pytest
import torch
from test_throughput import results, timed
from test_train import Counting, Scaled, inputs

from bench.config import Timing, Training
from bench.outcomes import TrackTiming
from bench.records import Record
from bench.report import parts as table_of_parts
from bench.report import special
from bench.report.wording import Footnotes
from bench.speed import anatomy
from bench.training.train import Autograd

CPU = torch.device("cpu")


def test_a_trainer_that_knows_its_parts_is_taken_at_its_word_longest_first():
    assert list(anatomy.of_step(Counting(None), 3, CPU).items()) == [("waiting", 0.002), ("counting", 0.001)]


def test_parts_that_hardly_count_are_told_as_one_and_nothing_is_lost():
    told = {"long": 1.0, "tiny": 2e-4, "tinier": 1e-4}
    trainer = Counting(None)
    trainer.parts = lambda steps: told
    assert anatomy.of_step(trainer, 3, CPU) == pytest.approx({"long": 1.0, "short ones": 3e-4})


def test_of_any_other_trainer_the_operations_of_torch_are_watched():
    model = Scaled()
    trainer = Autograd(model, inputs(torch.ones(64, 2)), Training())
    before = float(model.scale.detach())
    found = anatomy.of_step(trainer, 3, CPU)
    assert float(model.scale.detach()) != before
    assert {"mul", "_fused_adam_"} <= set(found)
    assert all(seconds > 0 for seconds in found.values())


def with_parts(records: list[Record], *rounds: dict[str, float]) -> list[Record]:
    """The records of one cell, with parts in both tracks of each round."""
    return [
        record.model_copy(update={"outcome": record.outcome.model_copy(update={"tracks": _parted(record, found)})})
        for record, found in zip(records, rounds, strict=True)
    ]


def _parted(record: Record, found: dict[str, float]) -> dict[str, TrackTiming]:
    return {track: timing.model_copy(update={"parts_s": found}) for track, timing in record.outcome.tracks.items()}


FOUND = with_parts(timed("pyg", [0.1, 0.2]), {"mm": 0.03, "mul": 0.01}, {"mm": 0.5, "bernoulli_": 0.5})
TIMING = Timing(rounds=2, parts=True)


def test_a_share_is_the_mean_over_rounds_of_a_part_over_all_parts():
    cell = next(cell for cell in results(FOUND, timing=TIMING).cells if cell.key.backend == "pyg")
    found = table_of_parts.shares(cell, "as_shipped", 1)
    assert found == pytest.approx({"mm": (0.75 + 0.5) / 2, "bernoulli_": 0.25, "mul": 0.125})
    assert list(found) == ["mm", "bernoulli_", "mul"]


def test_the_table_of_parts_stands_where_an_experiment_asks_for_it():
    with_them, without = results(FOUND, timing=TIMING), results(FOUND)
    lines = {line[1]: line[-2:] for line in table_of_parts.grid(with_them, Footnotes()).lines}
    assert lines["pyg"] == ("mm 62, bernoulli_ 25, mul 12",) * 2
    assert lines["dgl"] == ("", "")
    assert len(special.grids(with_them, Footnotes())) == len(special.grids(without, Footnotes())) + 1


def test_many_small_parts_are_summed():
    many = {f"part {number:02d}": 1.0 for number in range(10)}
    found = results(with_parts(timed("pyg", [0.1]), many), timing=TIMING)
    line = next(line for line in table_of_parts.grid(found, Footnotes()).lines if line[1] == "pyg")
    assert line[-1].endswith(", 3 more 30")
