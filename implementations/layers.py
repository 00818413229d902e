"""One attention layer of any back end, for use outside this project.

    from implementations import layer

    attend = layer("fused", "gatv2", in_channels=1433, out_channels=8, heads=8)
    hidden = attend(x, edge_index)  # x [N, 1433] -> [N, 64]

Nothing of `bench` is imported, and of the back ends only the one that is asked for.
"""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from implementations.contract import Backend, Graph, LayerConfig, Operator, Params
from implementations.copying import Copyable, untraced
from implementations.features import is_sparse
from implementations.name_table import load

Kind = Literal["backends", "operators"]
_SAID = {"backends": "back end", "operators": "operator"}


class Layer(Copyable):
    """A back end's layer that takes edges as they come; the library's own form of the last graph is kept."""

    made_again = ("_last",)

    def __init__(self, backend: Backend, operator: Operator, config: LayerConfig) -> None:
        super().__init__()
        self.backend, self.operator, self.config = backend, operator, config
        self.inner = backend.layer(operator, config)
        self._last: tuple[Tensor, int | None, int, torch.device, Any] | None = None

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Apply attention: x [N, F] and edge_index [2, E] (source, target) give [N, H*C], or [N, C] of averaged heads.

        Edges are used as given: a node without an incoming edge gets nothing, so most callers add self-loops.

        Raises:
            TypeError: x or edge_index is no tensor.
            ValueError: either has another shape; edge_index is not int64 or int32, or names a node that x has no row
                for; or x is sparse and wants a gradient.
        """
        self._require_shapes(x, edge_index)
        if is_sparse(x) and x.requires_grad and torch.is_grad_enabled():
            raise ValueError("sparse x has no gradient here: pass x.detach() if it is data, or x.to_dense()")
        output: Tensor = self.inner(x, self._own(x, edge_index))
        return output

    def attention(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Coefficients [E, H] in the order of edge_index, those that evaluation uses: without dropout, and detached.

        Of each head, those of the edges into one node add up to 1.

        Raises:
            TypeError: x or edge_index is no tensor.
            ValueError: as `forward` does, unless for the gradient.
        """
        self._require_shapes(x, edge_index)
        prepared = self._own(x, edge_index)
        with torch.no_grad(), _evaluating(self):
            return self.backend.attention(self.inner, x, prepared)

    def load(self, params: Params) -> None:
        """Set the parameters by their canonical names, those of the operator's equation."""
        load(self.inner, self.backend.names(self.operator, self.config), params)

    def _require_shapes(self, x: Tensor, edge_index: Tensor) -> None:
        for name, given in (("x", x), ("edge_index", edge_index)):
            if not isinstance(given, Tensor):
                said = f"{name} is a {type(given).__name__} and should be a tensor, as torch.as_tensor makes them"
                raise TypeError(said)
        if x.dim() != 2 or x.shape[1] != self.config.in_channels:
            raise ValueError(f"x has shape {list(x.shape)} and should have [N, {self.config.in_channels}]")

    def _own(self, x: Tensor, edge_index: Tensor) -> Any:
        return untraced(Layer._prepared)(self, edge_index, x.shape[0], x.device)

    def _prepared(self, edge_index: Tensor, num_nodes: int, device: torch.device) -> Any:
        """What the back end made of the edges; made again when others come, or the same were changed in place."""
        version = None if edge_index.is_inference() else edge_index._version  # nobody counts changes of the former
        asked, last = (version, num_nodes, device), self._last  # read once: another thread may put its own there
        if last is None or version is None or last[0] is not edge_index or last[1:4] != asked:
            # What is made in inference mode could not be saved for a backward pass later.
            with torch.inference_mode(False):
                graph = Graph(edge_index=_sound(edge_index, num_nodes), num_nodes=num_nodes)
                last = self._last = (edge_index, *asked, self.backend.prepare(graph, device))
        return last[4]


def layer(
    backend: str,
    operator: str = "gatv2",
    *,
    in_channels: int,
    out_channels: int,
    heads: int = 1,
    concat: bool = True,
    bias: bool = True,
    negative_slope: float = 0.2,
    attention_dropout: float = 0.0,
    share_weights: bool = False,
    residual: bool = False,
    seed: int | None = None,
    device: torch.device | str = "cpu",
) -> Layer:
    """A layer of the named back end, its weights drawn alike on every back end.

    Args:
        backend: "scatter", "pyg", "dgl", "fused", ...: see `names("backends")`.
        operator: "gat" or "gatv2": see `names("operators")`.
        in_channels: F, features of a node.
        out_channels: C, channels of a head.
        heads: H.
        concat: concatenate the heads, [N, H*C], or average them, [N, C].
        bias: on the output; of GATv2 also on both projections, as PyG and DGL have it.
        negative_slope: of LeakyReLU.
        attention_dropout: probability in [0, 1) with which a coefficient is dropped, in training only.
        share_weights: one matrix for source and target (GATv2).
        residual: add a linear map of the input.
        seed: of the start weights; None draws one from torch's generator.
        device: where its parameters lie.

    Raises:
        LookupError: there is no such back end or operator.
        ValueError: attention_dropout is not in [0, 1), or this back end cannot run this layer on this device; says why.
    """
    chosen, equation = cast(Backend, _named("backends", backend)), cast(Operator, _named("operators", operator))
    config = LayerConfig(
        in_channels=in_channels,
        out_channels=out_channels,
        heads=heads,
        concat=concat,
        bias=bias,
        negative_slope=negative_slope,
        share_weights=share_weights,
        attention_dropout=attention_dropout,
        residual=residual,
    )
    place = torch.device(device)
    if reason := chosen.unsupported(equation, config, place):
        raise ValueError(f"{backend} cannot run {operator} here: {reason}")
    made = Layer(chosen, equation, config)
    start = int(torch.randint(2**31, ())) if seed is None else seed
    made.load(equation.init(config, torch.Generator().manual_seed(start)))
    return made.to(place)


def names(kind: Kind) -> list[str]:
    """What there is to choose from, other packages' included; nothing is imported."""
    folder = importlib.util.find_spec(f"implementations.{kind}")
    own = pkgutil.iter_modules(folder.submodule_search_locations if folder else None)
    return sorted({module.name for module in own if not module.name.startswith("_")} | _foreign(kind).keys())


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """In evaluation mode within; afterwards each part is again in the mode in which it was."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _sound(edge_index: Tensor, num_nodes: int) -> Tensor:
    """The edges in int64, if they are edges of that many nodes: libraries take others for edges that nobody meant."""
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        turned = "; turn it: edge_index.t().contiguous()" if edge_index.dim() == 2 and edge_index.shape[1] == 2 else ""
        raise ValueError(
            f"edge_index has shape {list(edge_index.shape)} and should have [2, E], sources above targets{turned}"
        )
    if edge_index.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"edge_index is {edge_index.dtype} and should be torch.int64: edge_index.long()")
    outside = ((edge_index < 0) | (edge_index >= num_nodes)).any(0).nonzero()
    if len(outside):
        place = int(outside[0])
        source, target = edge_index[:, place].tolist()
        raise ValueError(
            f"edge {place} of edge_index runs from node {source} to {target}, and x has rows for {num_nodes} nodes, "
            "counted from 0; number the nodes of edge_index as the rows of x"
        )
    return edge_index.long()  # of int32, numbers of pairs of nodes would overflow


def _named(kind: Kind, name: str) -> object:
    if name not in names(kind):
        raise LookupError(f"there is no {_SAID[kind]} {name!r}; there are {', '.join(names(kind))}")
    if name in _foreign(kind):
        return _foreign(kind)[name].load()
    module = importlib.import_module(f"implementations.{kind}.{name}")
    return module.BACKEND if kind == "backends" else module  # an operator is its module


def _foreign(kind: Kind) -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=f"gat_bench.{kind}")}
