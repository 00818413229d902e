"""Which nodes train, validate and test."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from bench.errors import UserError
from bench.task import DatasetInfo, Nodes


def chosen(info: DatasetInfo, split: str) -> str:
    """The split that `split` names; "default" is the first.

    Raises:
        UserError: the data set has no such split.
    """
    if split == "default":
        return info.splits[0]
    if split not in info.splits:
        raise UserError(f"protocol.split: {info.name} has no split {split!r}; it has {', '.join(info.splits)}")
    return split


def shuffled(purpose: str, seed: int, size: int) -> Tensor:
    """A permutation of 0 ... size-1, equally likely each, that depends on the three arguments only.

    The ranks of hash values: no version of any random generator can change a published split.
    """
    stream = hashlib.shake_256(f"{purpose}:{seed}".encode()).digest(8 * size)
    return torch.from_numpy(np.argsort(np.frombuffer(stream, dtype="<u8"), kind="stable"))


def in_shares(order: Tensor, train: float, validation: float) -> Nodes:
    """Shares of all: the first `train` trains, the next `validation` validates, the rest tests, as `order` has them."""
    first, second = round(train * len(order)), round((train + validation) * len(order))
    parts = (order[:first], order[first:second], order[second:])
    return Nodes(*(part.sort().values for part in parts))


def balanced(y: Tensor, order: Tensor, per_class: int, validation: int, test: int) -> Nodes:
    """Planetoid's scheme: the first `per_class` nodes of each class train; of the rest, the first
    `validation` validate and the next `test` test. `order` says what comes first.
    """
    labels = y[order]
    classes = range(int(y.max()) + 1)
    first = [(labels == label).nonzero().squeeze(-1)[:per_class] for label in classes]
    trains = torch.zeros(len(order), dtype=torch.bool)
    trains[torch.cat(first)] = True
    rest = order[~trains]
    return Nodes(
        train=order[trains].sort().values,
        validation=rest[:validation].sort().values,
        test=rest[validation : validation + test].sort().values,
    )
