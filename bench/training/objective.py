"""What is minimised and what is reported, as the labels say: one class for each node, any number of labels, links, or
numbers.

y [N] int64: mean cross-entropy; accuracy, the share of nodes whose largest logit is their class.
y [N, C] float32, 1 for each label that a node has: mean binary cross-entropy over nodes and labels, and micro-F1 of the
labels whose logit is above 0, counted over all nodes and labels (Velickovic et al. 2018, section 3.4):

    F1 = 2 TP / (2 TP + FP + FN)

or, where a data set is scored so, the area under the curve of true against false positive rates of each label that some
nodes have and some lack, mean over labels (Hu et al. 2020, section 4.2).

y [n] float32, 1 for a link and 0 for none: the binary cross-entropy of either, summed, and how high links are ranked
(Hu et al. 2020, section 5). Hits@50 is the share of links above the 50th of the others, all of which all are held
against; MRR is the mean of 1 / rank among a link's own others, equal scores halfway between first and last place.

y [n] float32 of a data set that is scored by an error: half the mean square of the difference, and its mean size
(Brockschmidt 2020) in the data set's unit.

The functions are given the logits and labels of what counts, and none besides.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

HITS_AT = 50


def has_many_labels(y: Tensor) -> bool:
    """Whether a node may have any number of labels, instead of one class."""
    return y.dim() == 2


def loss(logits: Tensor, y: Tensor, name: str = "") -> Tensor:
    """A scalar; `name` is that of the score."""
    if name == "mae":
        return F.mse_loss(logits, y) / 2
    if has_many_labels(y):
        return F.binary_cross_entropy_with_logits(logits, y)
    if y.is_floating_point():
        return -F.logsigmoid(logits[y > 0]).mean() - F.logsigmoid(-logits[y == 0]).mean()
    return F.cross_entropy(logits, y)


def score(logits: Tensor, y: Tensor, name: str = "", unit: float = 1.0) -> float:
    """In [0, 1], the more the better, or an error in units; by its name in `SCORES`, else accuracy or micro-F1."""
    return SCORES[name or metric(y)](logits, y) / unit


def metric(y: Tensor) -> str:
    """What is scored unless a data set has it otherwise, as curves call it."""
    return "micro_f1" if has_many_labels(y) else "accuracy"


def _accuracy(logits: Tensor, y: Tensor) -> float:
    return int((logits.argmax(-1) == y).sum()) / len(y)


def _micro_f1(logits: Tensor, y: Tensor) -> float:
    """Without any label, given or predicted, 0."""
    predicted, given = logits > 0, y > 0
    both, either = torch.stack([(predicted & given).sum(), predicted.sum() + given.sum()]).tolist()
    return 2 * both / either if either else 0.0


def _roc_auc(logits: Tensor, y: Tensor) -> float:
    """From ranks (Mann and Whitney 1947), equal scores sharing theirs: OGB's mean of scikit-learn's areas."""
    given = y > 0
    some = given.any(0) & ~given.all(0)
    ranks = _ranks(logits[:, some].cpu())
    having = given[:, some].cpu().double()
    positive = having.sum(0)
    above = (ranks * having).sum(0) - positive * (positive + 1) / 2
    return float((above / (positive * (len(y) - positive))).mean())


def _ranks(scores: Tensor) -> Tensor:
    """Of each column [N, C] in itself, from 1; equal ones have the mean of their places. float64, as places are."""
    columns = scores.T.contiguous()
    ordered = columns.sort().values
    before, through = (torch.searchsorted(ordered, columns, right=right) for right in (False, True))
    return (before + through + 1).double().T / 2


def _hits(logits: Tensor, y: Tensor) -> float:
    """With fewer others than places, every link is a hit, as for OGB's evaluator."""
    links, others = logits[y > 0], logits[y == 0]
    if len(others) < HITS_AT:
        return 1.0
    return int((links > others.topk(HITS_AT).values[-1]).sum()) / len(links)


def _mrr(logits: Tensor, y: Tensor) -> float:
    links = logits[y > 0].unsqueeze(-1)
    others = logits[y == 0].view(len(links), -1)
    above, not_below = (others > links).sum(1), (others >= links).sum(1)
    rank = 1 + (above + not_below) / 2
    return float((1 / rank).mean())


def _mae(logits: Tensor, y: Tensor) -> float:
    return float((logits - y).abs().mean())


SCORES: Mapping[str, Callable[[Tensor, Tensor], float]] = {
    "accuracy": _accuracy,
    "micro_f1": _micro_f1,
    "roc_auc": _roc_auc,
    "hits_at_50": _hits,
    "mrr": _mrr,
    "mae": _mae,
}
