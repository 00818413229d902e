"""What is minimised and what is reported, as the labels say: one class for each node, or any number of labels.

y [N] int64: mean cross-entropy; accuracy, the share of nodes whose largest logit is their class.
y [N, C] float32, 1 for each label that a node has: mean binary cross-entropy over nodes and labels, and micro-F1 of the
labels whose logit is above 0, counted over all nodes and labels (Velickovic et al. 2018, section 3.4):

    F1 = 2 TP / (2 TP + FP + FN)

The functions are given the logits and labels of the nodes that count, and none besides.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def has_many_labels(y: Tensor) -> bool:
    """Whether a node may have any number of labels, instead of one class."""
    return y.dim() == 2


def loss(logits: Tensor, y: Tensor) -> Tensor:
    """A scalar."""
    return F.binary_cross_entropy_with_logits(logits, y) if has_many_labels(y) else F.cross_entropy(logits, y)


def score(logits: Tensor, y: Tensor) -> float:
    """Accuracy or micro-F1, in [0, 1]; without any label, given or predicted, F1 is 0."""
    if not has_many_labels(y):
        return int((logits.argmax(-1) == y).sum()) / len(y)
    predicted, given = logits > 0, y > 0
    both, either = torch.stack([(predicted & given).sum(), predicted.sum() + given.sum()]).tolist()
    return 2 * both / either if either else 0.0


def metric(y: Tensor) -> str:
    """What `score` is called in curves."""
    return "micro_f1" if has_many_labels(y) else "accuracy"
