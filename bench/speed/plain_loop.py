"""The loop as one would write it by hand, in one plain script, without this project: GAT by PyG on given arrays.

`bench overhead` runs it beside a fit through the runner. It imports nothing of ours, on purpose.
"""

import copy
import os
import sys
import time
import warnings
from typing import cast

import torch
from torch.nn import functional as F

warnings.filterwarnings("ignore")
from torch_geometric.nn import GATConv  # noqa: E402


class Net(torch.nn.Module):  # noqa: D101
    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.first = GATConv(features, 8, heads=8, dropout=0.6, add_self_loops=False)
        self.second = GATConv(64, classes, heads=1, concat=False, dropout=0.6, add_self_loops=False)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:  # noqa: D102
        x = F.dropout(x, 0.6, training=self.training)
        x = F.elu(self.first(x, edge_index))
        x = F.dropout(x, 0.6, training=self.training)
        return cast(torch.Tensor, self.second(x, edge_index))


def main() -> None:  # noqa: D103
    epochs, path, core = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    os.sched_setaffinity(0, [core])
    torch.set_num_threads(1)
    data = torch.load(path, weights_only=True)
    x, y, edge_index = data["x"], data["y"], data["edge_index"]
    for _ in sys.stdin:  # one run per line, so that both sides are warm
        start = time.perf_counter()
        model = Net(x.shape[1], int(y.max()) + 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=5e-4, fused=True)
        best, kept = 0.0, model.state_dict()
        for _ in range(epochs):
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x, edge_index)[data["train"]], y[data["train"]])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            model.eval()
            with torch.no_grad():
                out = model(x, edge_index)
                F.cross_entropy(out[data["validation"]], y[data["validation"]]).item()
                hits = (out[data["validation"]].argmax(-1) == y[data["validation"]]).float().mean().item()
            if hits >= best:
                best, kept = hits, copy.deepcopy(model.state_dict())
        model.load_state_dict(kept)
        model.eval()
        with torch.no_grad():
            out = model(x, edge_index)
        (out[data["test"]].argmax(-1) == y[data["test"]]).float().mean().item()
        sys.stdout.write(f"{time.perf_counter() - start}\n")
        sys.stdout.flush()


main()
