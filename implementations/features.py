"""Input features, dense or sparse CSR, behind the few functions that every layer needs.

A sparse feature matrix is an ordinary `torch.sparse_csr` tensor. Bag-of-words features are 1 % to 10 %
full: dropping only stored entries is the same random variable (zero times a mask is zero) without drawing
a random number for each of N x F entries, and the first product touches stored entries only.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# CSR is what the field uses for such matrices; the notice would reach every user at every start.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


def is_sparse(x: Tensor) -> bool:
    """Whether x is stored as sparse CSR."""
    return x.layout == torch.sparse_csr


def dropout(x: Tensor, probability: float) -> Tensor:
    """Dropout of x [N, F] by torch, in training; of a sparse x, only the stored entries are drawn."""
    if not is_sparse(x):
        return F.dropout(x, probability)
    return with_values(x, F.dropout(x.values(), probability))


def with_values(x: Tensor, values: Tensor) -> Tensor:
    """Sparse x with other values in its stored entries; `indices` of it are x's own."""
    rows, columns = indices(x)
    made = torch.sparse_csr_tensor(rows, columns, values, x.shape, check_invariants=False)
    # Its own views would begin to count anew how often the shared memory has been changed in place.
    made.shared_indices = rows, columns  # type: ignore[attr-defined]
    return made


def indices(x: Tensor) -> tuple[Tensor, Tensor]:
    """Where each row of sparse x begins [N + 1], and its columns [nnz]; their `_version` counts changes in place."""
    shared: tuple[Tensor, Tensor] | None = getattr(x, "shared_indices", None)
    return shared or (x.crow_indices(), x.col_indices())


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b for x [N, F], dense or sparse, and weight [O, F]."""
    if not is_sparse(x):
        return F.linear(x, weight, bias)
    product: Tensor = _SparseProduct.apply(x, weight)  # type: ignore[no-untyped-call]
    return product if bias is None else product + bias


class FeatureLinear(nn.Linear):
    """`nn.Linear` that also takes sparse features."""

    def forward(self, input: Tensor) -> Tensor:
        """See `linear`."""
        return linear(input, self.weight, self.bias)


def take_sparse_features(layer: nn.Module, names: Iterable[str]) -> None:
    """Put `FeatureLinear` with the same parameters in place of a library's own products of the input.

    Args:
        layer: the library's layer.
        names: its attributes that may hold such a product; absent ones and None are passed over.
    """
    replaced: dict[nn.Module, FeatureLinear] = {}  # a shared product stays shared
    for name in names:
        product = getattr(layer, name, None)
        if product is not None:
            replaced.setdefault(product, _feature_linear(product))
            setattr(layer, name, replaced[product])


def _feature_linear(product: Any) -> FeatureLinear:
    out_features, in_features = product.weight.shape
    # Without storage of its own, since it takes over the product's.
    replacement = FeatureLinear(in_features, out_features, bias=product.bias is not None, device="meta")
    replacement.weight, replacement.bias = product.weight, product.bias
    return replacement


class _SparseProduct(torch.autograd.Function):
    """x W^T for sparse x; features are data, so only W has a gradient: (x^T g)^T."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.x = x
        return x @ weight.t()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[None, Tensor]:
        return None, (ctx.x.t() @ grad_outputs[0]).t()
