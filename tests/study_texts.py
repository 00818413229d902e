"""Two small studies as files, one of each kind."""

from pathlib import Path

from bench import experiment_file
from bench.study_config import Study

LOOKUP = """
kind = "lookup"
title = "small"
sizes = [3, 4]
seeds = [0]
[[models]]
name = "GATv2, 1 head"
operator = "gatv2"
[[models]]
name = "GAT, 2 heads"
operator = "gat"
heads = 2
[[protocols]]
name = "paper"
[[protocols]]
name = "released"
split = "pairs"
output_dropout = 0.5
[protocols.layer.gat]
bias = true
self_loops = true
[training]
lr = 0.01
evaluate_every_steps = 10
max_steps = 20
[published]
source = "a figure"
runs = 1
error_points = 1.0
[[published.curves]]
model = "GATv2, 1 head"
subset = "test"
sizes = [3, 4]
values = [100, 90]
"""
ATTENTION = """
kind = "attention"
title = "small"
seeds = [0]
operators = ["gat", "gatv2"]
[[models]]
name = "GAT, 1 head"
operator = "gat"
[[models]]
name = "GATv2, 1 head"
operator = "gatv2"
[lookup]
size = 4
graphs = 3
[lookup.training]
evaluate_every_steps = 10
max_steps = 20
[graph]
backend = "scatter"
dataset = "blocks"
[graph.training]
max_epochs = 3
"""


def read(tmp_path: Path, text: str) -> Study:
    path = tmp_path / "small.toml"
    path.write_text(text)
    return experiment_file.read_study(path)
