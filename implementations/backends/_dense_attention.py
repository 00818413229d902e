# NOTE FROM THE LEAD (22:15) to whoever edits dense: land what you have within 5 minutes, delete this line, and stop: conformance.py, _template.py and all tests are taken over by someone else.
"""Masked attention over all N x N pairs, in blocks small enough for a cache.

    P_ij = softmax over j of (e_ij + log n_ij)        n_ij edges from j to i, so log n_ij is the mask
    z_i  = sum_j P_ij d_ij v_j                        v_j what j sends, d_ij the dropout

The backward pass computes every block again instead of keeping it: no N x N x H tensor ever exists, let
alone N x N x H x K. Tensors have the node last, so that a row of pairs is contiguous.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Score = Callable[[Mapping[str, Tensor], Tensor], Tensor]
"""From parameters and pairs [..., H, K] to scores [..., H]."""

# Bytes of a block's largest tensor: on a CPU a share of the last cache, elsewhere enough to be worth a launch.
CPU_BLOCK_BYTES = 2**21
ACCELERATOR_BLOCK_BYTES = 2**28


class Mask(NamedTuple):
    """A graph as a matrix, and its entries that are not zero ("pairs") row by row."""

    count: Tensor  # [N, N] edges into each target (row) from each source (column)
    pair_count: Tensor  # [P] the same for each pair
    pair_position: Tensor  # [P] row * N + column, ascending
    row_starts: list[int]  # [N + 1] number of pairs before each row
    has_edges: Tensor  # [N, 1] whether a row has any pair


class Rows(NamedTuple):
    """A range of targets and the pairs in their rows."""

    targets: slice
    pairs: slice


@dataclass(frozen=True)
class Attention:
    """The coefficients of one layer at one input, computed where they are asked for."""

    score: Score
    params: Mapping[str, Tensor]
    source: Tensor  # [H, K, N]
    target: Tensor  # [H, K, N]
    mask: Mask

    def blocks(self) -> Iterator[Rows]:
        """All rows, in blocks."""
        H, K, N = self.source.shape
        block_bytes = CPU_BLOCK_BYTES if self.source.device.type == "cpu" else ACCELERATOR_BLOCK_BYTES
        height = max(1, block_bytes // (H * K * N * self.source.element_size()))
        starts = self.mask.row_starts
        for first in range(0, N, height):
            last = min(first + height, N)
            yield Rows(slice(first, last), slice(starts[first], starts[last]))

    def pair(self, rows: Rows) -> Tensor:
        """The sum of both parts [H, K, R, N]."""
        return self.source.unsqueeze(2) + self.target[:, :, rows.targets].unsqueeze(3)

    def scores(self, pair: Tensor) -> Tensor:
        """e of a block of pairs [H, R, N]."""
        return self.score(self.params, pair.permute(2, 3, 0, 1)).permute(2, 0, 1)

    def coefficients(self, scores: Tensor, rows: Rows) -> Tensor:
        """P of a block [H, R, N]: the coefficients of a pair's edges together."""
        mask = self.mask
        # A whole row at -inf would be NaN; what comes out of rows without edges is replaced by zero.
        absent = (mask.count[rows.targets] == 0) & mask.has_edges[rows.targets]
        scores = scores.masked_fill(absent, -torch.inf).contiguous()
        log_count = mask.pair_count[rows.pairs].to(scores.dtype).log_().expand(len(scores), -1)
        scores.view(len(scores), -1).index_add_(1, pair_positions(mask, rows), log_count)
        return torch.softmax(scores, dim=-1)


def attend(attention: Attention, values: Tensor, kept: Tensor | None) -> Tensor:
    """Aggregated values [H, N, C]; differentiable in parameters, source, target and values.

    Args:
        attention: where the coefficients come from.
        values: what each node sends, [H, N, C].
        kept: dropout's factor for each pair, [H, P], or None.
    """
    own = attention.params
    aggregated: Tensor = _Attend.apply(attention, kept, attention.source, attention.target, values, *own.values())
    return aggregated.where(attention.mask.has_edges, 0)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, attention: Attention, kept: Tensor | None, source: Tensor, target: Tensor,
        values: Tensor, *params: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.attention, ctx.kept = attention, kept
        ctx.save_for_backward(source, target, values, *params)
        parts = []
        for rows in attention.blocks():
            coefficients = attention.coefficients(attention.scores(attention.pair(rows)), rows)
            if kept is not None:
                _drop_(coefficients, kept, attention.mask, rows)
            parts.append(coefficients @ values)
        return torch.cat(parts, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        source, target, values, *params = ctx.saved_tensors
        own = {name: value.detach().requires_grad_() for name, value in zip(ctx.attention.params, params, strict=True)}
        attention = Attention(ctx.attention.score, own, source, target, ctx.attention.mask)
        gradients = [torch.zeros_like(tensor) for tensor in (source, target, values, *params)]
        for rows in attention.blocks():
            _backward_of_rows(attention, rows, ctx.kept, values, grad_outputs[0], gradients)
        return None, None, *gradients


def _backward_of_rows(
    attention: Attention, rows: Rows, kept: Tensor | None, values: Tensor, grad: Tensor,
    gradients: list[Tensor],
) -> None:  # fmt: skip
    of_source, of_target, of_values, *of_params = gradients
    with torch.enable_grad():
        pair = attention.pair(rows).detach().requires_grad_()
        scores = attention.scores(pair)
    coefficients = attention.coefficients(scores.detach(), rows)
    grad_rows = grad[:, rows.targets]
    dropped = coefficients
    if kept is not None:
        dropped = _drop_(coefficients.clone(), kept, attention.mask, rows)
    of_values += dropped.transpose(1, 2) @ grad_rows
    # The softmax: dL/de = P (dL/dP - sum_j P dL/dP), dropout being part of dL/dP.
    of_scores = (grad_rows @ values.transpose(1, 2)).mul_(dropped)  # [H, R, N]
    of_scores -= coefficients * of_scores.sum(-1, keepdim=True)
    of_pair, *of_own = torch.autograd.grad(
        scores, (pair, *attention.params.values()), of_scores, allow_unused=True
    )
    of_source += of_pair.sum(2)
    of_target[..., rows.targets] += of_pair.sum(3)
    for total, own in zip(of_params, of_own, strict=True):
        if own is not None:
            total += own


def pair_positions(mask: Mask, rows: Rows) -> Tensor:
    """Where the pairs of some rows lie in the flat block [R * N]."""
    return mask.pair_position[rows.pairs] - rows.targets.start * len(mask.count)


def _drop_(coefficients: Tensor, kept: Tensor, mask: Mask, rows: Rows) -> Tensor:
    """Multiply the coefficients of pairs by their factors; all others are zero."""
    positions = pair_positions(mask, rows)
    coefficients.view(len(coefficients), -1)[:, positions] *= kept[:, rows.pairs]
    return coefficients
