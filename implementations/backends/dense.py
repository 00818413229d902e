"""Attention over an N x N mask in plain PyTorch: every pair is scored, those without an edge are masked.

    P_ij = softmax over j of (e_ij + log n_ij)        n_ij edges from j to i, so log n_ij is the mask
    z_i  = sum_j P_ij d_ij v_j                        v_j what j sends, d_ij the dropout

Runs any operator. The matrix is computed in blocks of targets, and in the backward pass once more, so that of
all pairs only the mask is kept, one byte each: no N x N x H tensor ever exists, let alone N x N x H x C.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from implementations import epilogue, features
from implementations.contract import Backend, Fact, Graph, LayerConfig, Operator, Params, Semantics, TrainingProblem
from implementations.copying import Copyable, in_use

# Bytes of a block's largest tensor: on a CPU a share of the last cache, elsewhere enough to be worth a launch.
CPU_BLOCK_BYTES = 2**21
ACCELERATOR_BLOCK_BYTES = 2**28


class Mask(NamedTuple):
    """A graph as a matrix, and its entries that are not zero ("pairs") row by row."""

    edges: Tensor  # [N, N] edges into each target (row) from each source (column)
    pair_count: Tensor  # [P] the same for each pair
    pair_position: Tensor  # [P] row * N + column, ascending
    row_starts: list[int]  # [N + 1] number of pairs before each row
    has_edges: Tensor  # [N, 1] whether a row has any pair
    edge_pair: Tensor  # [E] the pair of each edge of the graph


class Rows(NamedTuple):
    """A range of targets and the pairs in their rows."""

    targets: slice
    pairs: slice


@dataclass(frozen=True)
class Attention:
    """The coefficients of one layer at one input, computed where they are asked for.

    The node comes last in both terms, so that a row of pairs is contiguous.
    """

    score: Callable[[Params, Tensor], Tensor]  # from pairs [..., H, K] to [..., H]
    params: Params
    source: Tensor  # [H, K, N]
    target: Tensor  # [H, K, N]
    mask: Mask

    def blocks(self) -> Iterator[Rows]:
        """All rows, in blocks."""
        H, K, N = self.source.shape
        block_bytes = CPU_BLOCK_BYTES if self.source.device.type == "cpu" else ACCELERATOR_BLOCK_BYTES
        height = max(1, block_bytes // max(1, H * K * N * self.source.element_size()))
        starts = self.mask.row_starts
        for first in range(0, N, height):
            last = min(first + height, N)
            yield Rows(slice(first, last), slice(starts[first], starts[last]))

    def pair(self, rows: Rows) -> Tensor:
        """The sum of both terms [H, K, R, N]."""
        return self.source.unsqueeze(2) + self.target[:, :, rows.targets].unsqueeze(3)

    def scores(self, pair: Tensor) -> Tensor:
        """e of a block of pairs [H, R, N]."""
        return self.score(self.params, pair.permute(2, 3, 0, 1)).permute(2, 0, 1)

    def coefficients(self, scores: Tensor, rows: Rows) -> Tensor:
        """P of a block [H, R, N]: the coefficients of a pair's edges together."""
        mask = self.mask
        # A whole row at -inf would be NaN; what comes out of rows without edges is replaced by zero.
        absent = (mask.edges[rows.targets] == 0) & mask.has_edges[rows.targets]
        scores = scores.masked_fill(absent, -torch.inf).contiguous()
        log_count = mask.pair_count[rows.pairs].to(scores.dtype).log_().expand(len(scores), -1)
        scores.view(len(scores), -1).index_add_(1, self.positions(rows), log_count)
        return torch.softmax(scores, dim=-1)

    def positions(self, rows: Rows) -> Tensor:
        """Where the pairs of some rows lie in their flat block [R * N]."""
        first: int = rows.targets.start
        return self.mask.pair_position[rows.pairs] - first * len(self.mask.edges)

    def dropped(self, coefficients: Tensor, kept: Tensor, rows: Rows) -> Tensor:
        """The coefficients [H, R, N] after dropout; those without an edge are zero anyway."""
        coefficients = coefficients.clone()
        coefficients.view(len(coefficients), -1)[:, self.positions(rows)] *= kept[:, rows.pairs]
        return coefficients


class DenseLayer(Copyable):
    """An operator's terms per node, its score for every pair, a masked softmax and a matrix product."""

    def __init__(self, operator: Operator, config: LayerConfig) -> None:
        super().__init__()
        self.operator = operator
        self.config = config
        # Parameters lie in the module itself, so that their names are the canonical ones.
        for name, start in operator.init(config, torch.Generator().manual_seed(0)).items():
            self.register_parameter(name, nn.Parameter(start))

    def forward(self, x: Tensor, mask: Mask) -> Tensor:
        """x [N, F] -> [N, config.out_features]."""
        attention, values = self.attention(x, mask)
        dropping = self.training and self.config.attention_dropout > 0
        kept = _draw_kept(mask, self.config, values.dtype) if dropping else None
        terms = (attention.source, attention.target, values)
        aggregated: Tensor = _Aggregated.apply(  # type: ignore[no-untyped-call]
            attention, kept, *terms, *attention.params.values()
        )
        aggregated = aggregated.where(mask.has_edges, 0).transpose(0, 1)  # [N, H, C]
        return epilogue.apply(self.config, attention.params, x, aggregated)

    def attention(self, x: Tensor, mask: Mask) -> tuple[Attention, Tensor]:
        """The coefficients to be computed, and what each node sends [H, N, C]."""
        params = in_use(self, self.operator.shapes(self.config))
        terms = self.operator.terms(self.config, params, x)
        source, target = (term.permute(1, 2, 0).contiguous() for term in (terms.source, terms.target))
        score = partial(self.operator.score, self.config)
        return Attention(score, params, source, target, mask), terms.values.transpose(0, 1).contiguous()


class _Aggregated(torch.autograd.Function):
    """z [H, N, C], with a gradient for source, target, values and parameters."""

    @staticmethod
    def forward(
        ctx: Any,
        attention: Attention,
        kept: Tensor | None,
        source: Tensor,
        target: Tensor,
        values: Tensor,
        *params: Tensor,
    ) -> Tensor:
        ctx.attention, ctx.kept = attention, kept
        ctx.save_for_backward(source, target, values, *params)
        # In place, since small results kept between large temporaries would leave holes that nothing fits into.
        aggregated = torch.empty_like(values)
        for rows in attention.blocks():
            coefficients = attention.coefficients(attention.scores(attention.pair(rows)), rows)
            if kept is not None:
                coefficients = attention.dropped(coefficients, kept, rows)
            aggregated[:, rows.targets] = coefficients @ values
        return aggregated

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        source, target, values, *params = ctx.saved_tensors
        leaves = [param.detach().requires_grad_() for param in params]
        own = dict(zip(ctx.attention.params, leaves, strict=True))
        attention = Attention(ctx.attention.score, own, source, target, ctx.attention.mask)
        gradients = [torch.zeros_like(tensor) for tensor in (source, target, values, *params)]
        for rows in attention.blocks():
            _add_gradients(attention, rows, ctx.kept, values, grad_outputs[0][:, rows.targets], gradients)
        return None, None, *gradients


def _add_gradients(
    attention: Attention, rows: Rows, kept: Tensor | None, values: Tensor, grad: Tensor, gradients: list[Tensor]
) -> None:
    """Add what a block contributes, from the gradient [H, R, C] of its part of z."""
    of_source, of_target, of_values, *of_params = gradients
    with torch.enable_grad():
        pair = attention.pair(rows).detach().requires_grad_()
        scores = attention.scores(pair)
    coefficients = attention.coefficients(scores.detach(), rows)
    dropped = coefficients if kept is None else attention.dropped(coefficients, kept, rows)
    of_values += dropped.transpose(1, 2) @ grad
    # The softmax: dL/de = P (dL/dP - sum_j P dL/dP), dropout being part of dL/dP.
    of_scores = (grad @ values.transpose(1, 2)).mul_(dropped)  # [H, R, N]
    of_scores -= coefficients * of_scores.sum(-1, keepdim=True)
    inputs = (pair, *attention.params.values())
    of_pair, *of_own = torch.autograd.grad(scores, inputs, of_scores, allow_unused=True)
    of_source += of_pair.sum(2)
    of_target[..., rows.targets] += of_pair.sum(3)
    for total, part in zip(of_params, of_own, strict=True):
        if part is not None:  # the score does not use every parameter
            total += part


def _draw_kept(mask: Mask, config: LayerConfig, dtype: torch.dtype) -> Tensor:
    """Dropout's factor of each pair's coefficient [H, P]: the share of its edges kept, over 1 - p.

    Elsewhere coefficients are zero, and nothing needs to be drawn. Of n parallel edges, each kept or dropped
    on its own, a binomial number is kept.
    """
    keep = 1 - config.attention_dropout
    count = mask.pair_count.to(dtype)
    kept = torch.empty(config.heads, len(count), dtype=dtype, device=count.device).bernoulli_(keep)
    several = (mask.pair_count > 1).nonzero().squeeze(-1)
    edges = count[several].expand(config.heads, -1)
    kept[:, several] = torch.binomial(edges, torch.full_like(edges, keep))
    return kept / (count * keep)


class _Dense:
    name = "dense"
    packages = ("torch",)
    sparse_features = True
    shipped_features: Literal["dense", "sparse"] = "dense"
    semantics: Semantics = {
        "self-loops": Fact("takes the mask as given", "takes the mask as given"),
        "bias sites": Fact("as the operator defines them", "as the operator defines them"),
        "initialisation": Fact("the operator's own, seed 0", "the canonical values are loaded"),
        "dropout sites": Fact(
            "coefficients after the softmax, per edge and head; none on features",
            "the same; features are dropped before the layer, by torch",
        ),
        "weight sharing": Fact("as configured", "as configured"),
        "duplicate edges": Fact("a 0/1 mask would merge them", "the mask counts them, each is a term of its own"),
    }

    def unsupported(self, operator: Operator, config: LayerConfig, device: torch.device) -> str | None:
        return None

    def memory_bytes(self, operator: Operator, config: LayerConfig, num_nodes: int, num_edges: int) -> int:
        features = config.heads * config.out_channels
        mask = num_nodes**2
        # Terms, values, output, copies with the node last, and the gradients of all of these.
        nodes = 4 * 16 * features * num_nodes
        # At least a row of targets: its pairs, their LeakyReLU, both gradients, and the smaller tensors.
        blocks = 5 * max(CPU_BLOCK_BYTES, 4 * features * num_nodes)
        pairs = num_edges * (4 * 2 * config.heads + 8 * 4)
        return mask + nodes + blocks + pairs

    def prepare(self, graph: Graph, device: torch.device) -> Mask:
        N = graph.num_nodes
        position, edge_pair, pair_count = torch.unique(
            graph.targets * N + graph.sources, return_inverse=True, return_counts=True
        )
        one_byte_is_enough = bool((pair_count < 256).all())
        edges = torch.zeros(N * N, dtype=torch.uint8 if one_byte_is_enough else torch.int64, device=device)
        edges[position.to(device)] = pair_count.to(device, edges.dtype)
        row_starts = torch.searchsorted(position, torch.arange(N + 1, device=position.device) * N)
        return Mask(
            edges=edges.view(N, N),
            pair_count=pair_count.to(device),
            pair_position=position.to(device),
            row_starts=row_starts.tolist(),
            has_edges=(row_starts.diff() > 0).unsqueeze(-1).to(device),
            edge_pair=edge_pair.to(device),
        )

    def layer(self, operator: Operator, config: LayerConfig) -> nn.Module:
        return DenseLayer(operator, config)

    def names(self, operator: Operator, config: LayerConfig) -> Mapping[str, str]:
        return {name: name for name in operator.shapes(config)}

    def attention(self, layer: nn.Module, x: Tensor, prepared: Any) -> Tensor:
        assert isinstance(layer, DenseLayer)
        assert isinstance(prepared, Mask)
        attention, _ = layer.attention(x, prepared)
        of_pairs = [x.new_empty(layer.config.heads, 0)]  # no nodes have no blocks
        for rows in attention.blocks():
            coefficients = attention.coefficients(attention.scores(attention.pair(rows)), rows)
            of_pairs.append(coefficients.flatten(1)[:, attention.positions(rows)])
        of_one_edge = torch.cat(of_pairs, dim=1) / prepared.pair_count
        return of_one_edge.t()[prepared.edge_pair]

    def dropout(self, x: Tensor, probability: float) -> Tensor:
        return features.dropout(x, probability)

    def whole_step(self, operator: Operator, problem: TrainingProblem) -> None:
        return None


BACKEND: Backend = _Dense()
