"""Input features, dense or sparse CSR, behind the two functions that every layer needs.

A sparse feature matrix is an ordinary `torch.sparse_csr` tensor. Bag-of-words features are 1 % to 10 %
full: dropping only stored entries is the same random variable (zero times a mask is zero) without drawing
a random number for each of N x F entries, and the first product touches stored entries only.
"""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# CSR is what the field uses for such matrices; the notice would reach every user at every start.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


def is_sparse(x: Tensor) -> bool:
    """Whether x is stored as sparse CSR."""
    return x.layout == torch.sparse_csr


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Dropout of x [N, F]; of a sparse x, only the stored entries are drawn."""
    if not training or probability == 0.0:
        return x
    if not is_sparse(x):
        return F.dropout(x, probability, training=True)
    values = F.dropout(x.values(), probability, training=True)
    return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.shape, check_invariants=False)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b for x [N, F], dense or sparse, and weight [O, F]."""
    if not is_sparse(x):
        return F.linear(x, weight, bias)
    product: Tensor = _SparseProduct.apply(x, weight)  # type: ignore[no-untyped-call]
    return product if bias is None else product + bias


class FeatureLinear(nn.Linear):
    """`nn.Linear` that also takes sparse features; put in place of a library's own first product."""

    def forward(self, input: Tensor) -> Tensor:
        """See `linear`."""
        return linear(input, self.weight, self.bias)


class _SparseProduct(torch.autograd.Function):
    """x W^T for sparse x; features are data, so only W has a gradient: (x^T g)^T."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.x = x
        return x @ weight.t()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        return None, (ctx.x.t() @ grad_outputs[0]).t()
