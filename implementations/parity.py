"""One back end's layer against the float64 reference, from shared weights.

Compared are the output, the attention of every edge and head, a loss, its gradients, and what five Adam steps
lead to. A difference is relative to the largest entry of the reference: |ours - reference| / max |reference|.
"""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from implementations import reference
from implementations.contract import Backend, Graph, LayerConfig, Operator, Params
from implementations.features import is_sparse
from implementations.name_table import gradients, load, parameters_by_name

TOLERANCE: Mapping[torch.dtype, float] = {torch.float64: 1e-10, torch.float32: 2e-5}
# The softmax does not see a shift of all scores, so the attention's gradients are sums that nearly cancel: the 1,000
# edges of a hub leave four digits in float32. Right from wrong is told in float64; float32 shows that the timed
# dtype computes the same thing. Adam divides a gradient by its own size, so where a float32 gradient is all rounding,
# so is the step: five steps are compared by where they lead, and in float64 parameter by parameter as well. In float32
# that is the output as a whole, by root mean squares: of a wide layer's weights a few always go the other way, and each
# moves one channel of all nodes.
GRADIENT_TOLERANCE: Mapping[torch.dtype, float] = {torch.float64: 1e-10, torch.float32: 1e-3}
ADAM_STEPS = 5
LR = 5e-3
# Relative to nothing, any rounding would be infinitely wrong; the note of such a comparison says so.
TRIVIAL = 1e-12


@dataclass(frozen=True)
class Comparison:
    """One thing compared."""

    name: str
    difference: float  # nan or inf where ours is not finite
    tolerance: float
    passed: bool
    note: str = ""


def compare(
    backend: Backend,
    operator: Operator,
    config: LayerConfig,
    graph: Graph,
    x: Tensor,
    y: Tensor,
    dtype: torch.dtype,
    device: torch.device,
) -> list[Comparison]:
    """Hold a layer of `backend` to the reference; exceptions of the back end pass through.

    Args:
        backend: what is checked; it must not call the combination unsupported.
        operator: what it should compute.
        config: the layer; its attention dropout is taken as 0.
        graph: on the CPU, with the self-loops that the caller wants.
        x: [N, F] on the CPU, dense or sparse CSR, in any floating dtype.
        y: [N] labels in [0, config.out_features), on the CPU.
        dtype: in which the back end computes.
        device: on which it computes.
    """
    config = replace(config, attention_dropout=0.0)
    truth = _truth(cast(Hashable, operator), config, graph, x, y)
    prepared = backend.prepare(graph.to(device), device)
    labels = y.to(device)

    dense = _Run.of(backend, operator, config, truth.params, dtype, device)
    found = list(_forward_and_backward(dense, truth, _dense(x).to(device, dtype), prepared, labels))
    found += _five_steps(dense, truth, _dense(x).to(device, dtype), prepared, labels)
    if backend.sparse_features:
        sparse = _Run.of(backend, operator, config, truth.params, dtype, device)
        csr = (x if is_sparse(x) else x.to_sparse_csr()).to(device, dtype)
        found += _from_sparse(sparse, truth, csr, prepared, labels)
    return found


@dataclass(frozen=True, eq=False)
class _Truth:
    """What the reference says, all in float64 on the CPU."""

    params: Params
    output: Tensor
    attention: Tensor
    loss: Tensor
    gradients: Params  # by canonical name, and "x"
    stepped: Params  # parameters after five Adam steps
    stepped_output: Tensor


# Keyed by the identity of graph, x and y: several back ends and dtypes share what is dear to compute.
@lru_cache(maxsize=64)
def _truth(operator: Any, config: LayerConfig, graph: Graph, x: Tensor, y: Tensor) -> _Truth:
    dense = _dense(x).to(torch.float64)
    params = {name: value.requires_grad_() for name, value in weights(operator, config, dense).items()}
    start = {name: value.detach().clone() for name, value in params.items()}
    leaf = dense.clone().requires_grad_()
    output, attention = reference.run(operator, config, params, graph, leaf)
    loss = F.cross_entropy(output, y)
    grads = torch.autograd.grad(loss, [*params.values(), leaf], allow_unused=True, materialize_grads=True)

    adam = torch.optim.Adam(params.values(), lr=LR)
    for name, gradient in zip(params, grads[:-1], strict=True):
        params[name].grad = gradient.clone()  # the first of the five steps; on Cora each costs the reference seconds
    adam.step()
    for _ in range(ADAM_STEPS - 1):
        adam.zero_grad()
        F.cross_entropy(reference.run(operator, config, params, graph, dense).output, y).backward()  # type: ignore[no-untyped-call]
        adam.step()
    with torch.no_grad():
        stepped_output = reference.run(operator, config, params, graph, dense).output
    return _Truth(
        params=start,
        output=output.detach(),
        attention=attention.detach(),
        loss=loss.detach(),
        gradients=dict(zip([*params, "x"], grads, strict=True)),
        stepped={name: value.detach() for name, value in params.items()},
        stepped_output=stepped_output,
    )


def weights(operator: Operator, config: LayerConfig, x: Tensor) -> dict[str, Tensor]:
    """Seeded float64 weights under which projections of x, scores and biases are all of order 1.

    Start weights would make scores nearly equal and the attention's gradients vanish, and the comparison with them.
    Scores much larger would leave each target one source, which one it is being a matter of rounding after few steps.
    Attention vectors are known by their canonical names, which start with `a`.
    """
    generator = torch.Generator().manual_seed(0)
    row_norm = math.sqrt(float(x.square().sum(1).mean())) or 1.0
    drawn = {}
    for name, shape in operator.shapes(config).items():
        scale = 1 / row_norm if shape[-1] == config.in_channels and len(shape) > 1 else 1.0
        scale = 1 / math.sqrt(config.out_channels) if name.startswith("a") else scale
        drawn[name] = scale * torch.randn(shape, dtype=torch.float64, generator=generator)
    return drawn


@dataclass(frozen=True, eq=False)
class _Run:
    """A layer of the back end with the reference's weights."""

    backend: Backend
    layer: nn.Module
    names: Mapping[str, str]
    params: Params
    dtype: torch.dtype

    @classmethod
    def of(
        cls,
        backend: Backend,
        operator: Operator,
        config: LayerConfig,
        params: Params,
        dtype: torch.dtype,
        device: torch.device,
    ) -> "_Run":
        layer = backend.layer(operator, config).to(device, dtype)
        names = backend.names(operator, config)
        load(layer, names, {name: value.to(device) for name, value in params.items()})
        return cls(backend, layer.train(), names, params, dtype)

    def gradients(self) -> Params:
        return gradients(self.layer, self.names, self.params)

    def judge(self, name: str, ours: Tensor, truth: Tensor, tolerance: Mapping[torch.dtype, float]) -> Comparison:
        return judge(name, ours, truth, tolerance[self.dtype])


def _forward_and_backward(run: _Run, truth: _Truth, x: Tensor, prepared: Any, y: Tensor) -> Iterator[Comparison]:
    x = x.clone().requires_grad_()
    output = run.layer(x, prepared)
    yield run.judge("output", output, truth.output, TOLERANCE)
    loss = F.cross_entropy(output, y)
    yield run.judge("loss", loss, truth.loss, TOLERANCE)
    loss.backward()  # type: ignore[no-untyped-call]
    x_gradient = torch.zeros_like(x) if x.grad is None else x.grad
    yield run.judge("gradient of x", x_gradient, truth.gradients["x"], GRADIENT_TOLERANCE)
    for name, gradient in run.gradients().items():
        yield run.judge(f"gradient of {name}", gradient, truth.gradients[name], GRADIENT_TOLERANCE)
    run.layer.eval()
    with torch.no_grad():
        attention = run.backend.attention(run.layer, x.detach(), prepared)
    run.layer.train()
    yield run.judge("attention", attention, truth.attention, TOLERANCE)


def _five_steps(run: _Run, truth: _Truth, x: Tensor, prepared: Any, y: Tensor) -> Iterator[Comparison]:
    """Five Adam steps, the first with the gradients that the layer still has from `_forward_and_backward`."""
    adam = torch.optim.Adam(run.layer.parameters(), lr=LR)
    adam.step()
    for _ in range(ADAM_STEPS - 1):
        adam.zero_grad()
        F.cross_entropy(run.layer(x, prepared), y).backward()  # type: ignore[no-untyped-call]
        adam.step()
    with torch.no_grad():
        output = run.layer(x, prepared)
    size = Tensor.abs if run.dtype == torch.float64 else _root_mean_square
    tolerance = GRADIENT_TOLERANCE[run.dtype]
    yield judge(f"output after {ADAM_STEPS} Adam steps", output, truth.stepped_output, tolerance, size)
    if run.dtype == torch.float64:
        for name, own in parameters_by_name(run.layer, run.names).items():
            stepped = truth.stepped[name]
            yield run.judge(f"{name} after {ADAM_STEPS} Adam steps", own.reshape(stepped.shape), stepped, TOLERANCE)


def _from_sparse(run: _Run, truth: _Truth, x: Tensor, prepared: Any, y: Tensor) -> Iterator[Comparison]:
    output = run.layer(x, prepared)
    yield run.judge("output from sparse x", output, truth.output, TOLERANCE)
    F.cross_entropy(output, y).backward()  # type: ignore[no-untyped-call]
    for name, gradient in run.gradients().items():
        yield run.judge(f"gradient of {name} from sparse x", gradient, truth.gradients[name], GRADIENT_TOLERANCE)


def judge(
    name: str, ours: Tensor, truth: Tensor, tolerance: float, size: Callable[[Tensor], Tensor] = Tensor.abs
) -> Comparison:
    """Difference relative to the truth, each as large as the largest that `size` finds in it, in float64."""
    if ours.shape != truth.shape:
        note = f"has shape {tuple(ours.shape)} instead of {tuple(truth.shape)}"
        return Comparison(name, math.inf, tolerance, False, note)
    if not truth.numel():
        return Comparison(name, 0.0, tolerance, True, "nothing to compare: the graph has no edges")
    scale = float(size(truth).max())
    difference = float(size(ours.detach().cpu().to(torch.float64) - truth).max())
    if scale < TRIVIAL:
        note = f"the reference is trivially small ({scale:.0e}); the difference is absolute"
        return Comparison(name, difference, tolerance, difference <= tolerance, note)
    relative = difference / scale
    return Comparison(name, relative, tolerance, relative <= tolerance)  # false for nan


def _root_mean_square(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()


def _dense(x: Tensor) -> Tensor:
    return x.to_dense() if is_sparse(x) else x
