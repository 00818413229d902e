"""Does dropout drop what it should? Values and gradients cannot tell: they are compared without it.

The graph makes every coefficient visible. Source k of a target sends the k-th unit vector, so that channel k of the
target's output *is* the coefficient of its edge, times 0 if it was dropped and times 1 / (1 - p) if it was kept.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from implementations.contract import Backend, Graph, LayerConfig, Operator
from implementations.name_table import load
from implementations.parity import TOLERANCE, Comparison

TARGETS, CHANNELS, HEADS = 500, 4, 2
SIGMAS = 5.0
DEFAULT_PROBABILITY = 0.6


def compare_dropout(
    backend: Backend,
    operator: Operator,
    config: LayerConfig,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> list[Comparison]:
    """Site, rate, independence and evaluation mode of attention dropout; rate and independence of that of features.

    Slope, bias, weight sharing, residual and rate (0.6 where it is 0) are the configuration's; sizes are our own.
    """
    config = replace(
        config,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        heads=HEADS,
        concat=True,
        attention_dropout=config.attention_dropout or DEFAULT_PROBABILITY,
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        features = _of_features(backend, device, dtype)
        single = _Probe(backend, operator, config, device, dtype, copies=1)
        double = _Probe(backend, operator, config, device, dtype, copies=2)
        return [*features, *_of_single_edges(single), *_of_double_edges(double)]


class _Probe:
    """A layer on the graph of the module's docstring, each edge there `copies` times."""

    def __init__(
        self,
        backend: Backend,
        operator: Operator,
        config: LayerConfig,
        device: torch.device,
        dtype: torch.dtype,
        copies: int,
    ) -> None:
        self.p = config.attention_dropout
        self.tolerance = TOLERANCE[dtype]
        self.layer = _layer(backend, operator, config).to(device, dtype)
        self._x = torch.cat([torch.eye(CHANNELS), torch.zeros(TARGETS, CHANNELS)]).to(device, dtype)
        self._prepared = backend.prepare(_graph(copies).to(device), device)

    def coefficients(self, training: bool) -> Tensor:
        """[T, H, C] sum of the coefficients of the edges from each source."""
        self.layer.train(training)
        with torch.no_grad():
            output: Tensor = self.layer(self._x, self._prepared)[CHANNELS:]
        return output.view(TARGETS, HEADS, CHANNELS).cpu().double()


def _layer(backend: Backend, operator: Operator, config: LayerConfig) -> nn.Module:
    """Projections are the identity, biases and residual zero, so that values are what the sources have.

    Attention vectors are known by their canonical names, which start with `a`. They must not be zero: with equal
    scores, dropout before the softmax would look like none.
    """
    generator = torch.Generator().manual_seed(0)
    params = {}
    for name, shape in operator.shapes(config).items():
        if shape == (HEADS, CHANNELS, CHANNELS):
            params[name] = torch.eye(CHANNELS).expand(shape).clone()
        elif name.startswith("a"):
            params[name] = torch.randn(shape, generator=generator)
        else:
            params[name] = torch.zeros(shape)
    layer = backend.layer(operator, config)
    load(layer, backend.names(operator, config), params)
    return layer


def _graph(copies: int) -> Graph:
    pairs = torch.cartesian_prod(torch.arange(CHANNELS), torch.arange(CHANNELS, CHANNELS + TARGETS)).t()
    return Graph(CHANNELS + TARGETS, pairs.repeat(1, copies).contiguous())


def _of_features(backend: Backend, device: torch.device, dtype: torch.dtype) -> list[Comparison]:
    p, tolerance = DEFAULT_PROBABILITY, TOLERANCE[dtype] * 10
    x = (torch.rand(TARGETS, CHANNELS) + 1).to(device, dtype).requires_grad_()
    first, second = (backend.dropout(x, p) for _ in range(2))
    (grad,) = torch.autograd.grad(first.sum(), x)
    found = _of_kept(first / x, p, tolerance, "features")
    agreement = p**2 + (1 - p) ** 2
    found += [
        _close("features: gradients are dropped as they are", grad.cpu(), (first / x).detach().cpu(), tolerance),
        _rate("features: every call has a mask of its own", ((first == 0) == (second == 0)).cpu(), agreement),
    ]
    if backend.sparse_features:
        stored = x.detach().to_sparse_csr()
        found += _of_kept(backend.dropout(stored, p).to_dense() / x, p, tolerance, "sparse features")
    return found


def _of_kept(ratio: Tensor, p: float, tolerance: float, what: str) -> list[Comparison]:
    ratio = ratio.detach().cpu().double()
    dropped = ratio.abs() < 0.5
    kept_value = torch.where(dropped, 0.0, 1 / (1 - p))
    rows_agree = dropped[::2] == dropped[1::2]
    return [
        _close(f"{what}: kept ones are x / (1 - p), dropped ones zero", ratio, kept_value, tolerance),
        _rate(f"{what}: dropout rate", dropped, p),
        _rate(f"{what}: nodes have masks of their own", rows_agree, p**2 + (1 - p) ** 2),
    ]


def _of_single_edges(probe: _Probe) -> Iterator[Comparison]:
    whole = probe.coefficients(training=False)
    again = probe.coefficients(training=False)
    yield _close("nothing is dropped in evaluation", again, whole, probe.tolerance)
    yield _close("coefficients sum to 1 in evaluation", whole.sum(-1), torch.ones(TARGETS, HEADS), probe.tolerance)

    first, second = (probe.coefficients(training=True) / whole for _ in range(2))
    dropped, dropped_again = first.abs() < 0.5, second.abs() < 0.5
    kept_value = torch.where(dropped, 0.0, 1 / (1 - probe.p))
    yield _close("kept coefficients are alpha / (1 - p), dropped ones zero", first, kept_value, probe.tolerance * 10)
    yield _rate("dropout rate", dropped, probe.p)
    agreement = probe.p**2 + (1 - probe.p) ** 2  # of two independent masks
    yield _rate("targets have masks of their own", dropped[::2] == dropped[1::2], agreement)
    yield _rate("heads have masks of their own", dropped[:, 0] == dropped[:, 1], agreement)
    yield _rate("edges have masks of their own", dropped[..., 0] == dropped[..., 1], agreement)
    yield _rate("every call has a mask of its own", dropped == dropped_again, agreement)


def _of_double_edges(probe: _Probe) -> Iterator[Comparison]:
    ratio = probe.coefficients(training=True) / probe.coefficients(training=False) * (1 - probe.p)
    yield _rate("of two equal edges, one alone is dropped", (ratio - 0.5).abs() < 0.25, 2 * probe.p * (1 - probe.p))


def _close(name: str, ours: Tensor, truth: Tensor, tolerance: float) -> Comparison:
    difference = float((ours - truth).abs().max())
    return Comparison(name, difference, tolerance, difference <= tolerance)


def _rate(name: str, happened: Tensor, probability: float) -> Comparison:
    """A share that must lie within five standard deviations of a binomial one."""
    observed = float(happened.double().mean())
    bound = SIGMAS * math.sqrt(probability * (1 - probability) / happened.numel())
    difference = abs(observed - probability)
    return Comparison(name, difference, bound, difference <= bound, f"{observed:.3f} of {probability:.3f}")
