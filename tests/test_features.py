"""Sparse features: dropout of stored entries, the first product, and a library's layer taught to take them."""

import pytest
import torch
from torch import nn

from implementations.features import FeatureLinear, dropout, is_sparse, linear, take_sparse_features


@pytest.fixture
def x():
    dense = torch.rand(60, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    dense[torch.rand(60, 40, generator=torch.Generator().manual_seed(1)) < 0.9] = 0
    return dense


def test_dropout_of_sparse_features_zeroes_or_scales_stored_entries(x):
    torch.manual_seed(0)
    dropped = dropout(x.to_sparse_csr(), 0.6)
    assert is_sparse(dropped)
    dense = dropped.to_dense()
    kept = dense != 0
    torch.testing.assert_close(dense, torch.where(kept, x / 0.4, 0.0))
    stored = int((x != 0).sum())
    share = float(kept.sum()) / stored
    assert abs(share - 0.4) < 5 * (0.4 * 0.6 / stored) ** 0.5


def test_dropout_of_sparse_features_draws_for_stored_entries_only(x):
    torch.manual_seed(0)
    dropout(x.to_sparse_csr(), 0.6)
    after_sparse = torch.rand(())
    torch.manual_seed(0)
    nn.functional.dropout(x[x != 0], 0.6)
    assert torch.equal(after_sparse, torch.rand(()))


def test_dropout_leaves_the_matrix_given_as_it_is(x):
    csr = x.to_sparse_csr()
    dropout(csr, 0.6)
    assert torch.equal(csr.to_dense(), x)


@pytest.mark.parametrize("with_bias", [True, False])
def test_the_sparse_product_equals_the_dense_one_in_value_and_gradient(x, with_bias):
    weight = torch.randn(7, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    bias = torch.ones(7, dtype=torch.float64, requires_grad=True) if with_bias else None
    leaves = [weight] if bias is None else [weight, bias]
    from_sparse, from_dense = linear(x.to_sparse_csr(), weight, bias), linear(x, weight, bias)
    torch.testing.assert_close(from_sparse, from_dense)
    upstream = torch.randn(60, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        torch.autograd.grad(from_sparse, leaves, upstream), torch.autograd.grad(from_dense, leaves, upstream)
    )


class Library(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(40, 3)
        self.shared = self.first
        self.other = nn.Linear(40, 3, bias=False)
        self.absent = None


def test_a_librarys_products_take_sparse_features_with_the_same_parameters(x):
    library = Library().double()
    before = dict(library.named_parameters())
    expected = library.first(x), library.other(x)
    take_sparse_features(library, ("first", "shared", "other", "absent", "of another layer"))
    assert isinstance(library.first, FeatureLinear)
    assert library.shared is library.first
    assert library.absent is None
    after = dict(library.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    csr = x.to_sparse_csr()
    torch.testing.assert_close((library.first(csr), library.other(csr)), expected)
