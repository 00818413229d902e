"""What every check of a promise has in common: what it is asked with, and how it says that a promise is broken."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from implementations.adversarial import inputs
from implementations.contract import Backend, Graph, LayerConfig, Operator
from implementations.parity import Comparison

Check = Callable[[Backend, Operator, torch.device], None]

BASE = LayerConfig(in_channels=12, out_channels=5, heads=3)
CONFIGS = (
    BASE,
    replace(BASE, concat=False),
    replace(BASE, bias=False, share_weights=True, negative_slope=0.05),
    replace(BASE, bias=False, concat=False, residual=True),
    replace(BASE, share_weights=True, residual=True, negative_slope=0.5),
    replace(BASE, share_weights=True, concat=False, heads=1, negative_slope=0.0),
)


class Nonconformance(AssertionError):
    """A back end breaks a promise of the contract; the message says which, in a sentence."""


def require(holds: bool, otherwise: str) -> None:
    """Raise `Nonconformance` unless it holds."""
    if not holds:
        raise Nonconformance(otherwise)


def figures(found: Comparison) -> str:
    """By how much a comparison is off, in brackets of a sentence."""
    note = f"; {found.note}" if found.note else ""
    return f"off by {found.difference:.1e}, allowed {found.tolerance:.0e}{note}"


def options(config: LayerConfig) -> str:
    """A configuration as a reader of the message would say it."""
    chosen = [name for name in ("concat", "bias", "share_weights", "residual") if getattr(config, name)]
    return f"{config.heads} heads, slope {config.negative_slope}, {' '.join(chosen) or 'no option'}"


def dtypes(device: torch.device) -> tuple[torch.dtype, ...]:
    """What the device can compute in, the most exact last."""
    return (torch.float32,) if device.type == "mps" else (torch.float32, torch.float64)


def supported(backend: Backend, operator: Operator, device: torch.device) -> Iterator[LayerConfig]:
    """The configurations that a back end can run."""
    return (config for config in CONFIGS if backend.unsupported(operator, config, device) is None)


def features_of(num_nodes: int) -> Tensor:
    """Seeded x [N, F] in float64 for the usual configuration."""
    return inputs(Graph(num_nodes, torch.empty(2, 0)), BASE.in_channels, 1)[0]
