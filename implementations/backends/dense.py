# NOTE FROM THE LEAD (22:15) to whoever edits dense: land what you have within 5 minutes, delete this line, and stop: conformance.py, _template.py and all tests are taken over by someone else.
"""Attention over an N x N mask in plain PyTorch: every pair is scored, those without an edge are masked.

Runs any operator; `_dense_attention` has the equation and the blocks. As good as dense can be: what is kept
is the mask, one byte a pair.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from implementations import epilogue
from implementations.backends import _dense_attention
from implementations.backends._dense_attention import Attention, Mask, attend, pair_positions
from implementations.contract import Backend, Fact, Graph, LayerConfig, Operator


class PreparedMask(NamedTuple):
    """The mask, and where the graph's edges are in it."""

    mask: Mask
    edge_pair: Tensor  # [E] the pair of each edge


class DenseLayer(nn.Module):
    """An operator's terms per node, its score for every pair, a masked softmax and a matrix product."""

    def __init__(self, operator: Operator, config: LayerConfig) -> None:
        super().__init__()
        self.operator = operator
        self.config = config
        # Parameters lie in the module itself, so that their names are the canonical ones.
        for name, start in operator.init(config, torch.Generator().manual_seed(0)).items():
            self.register_parameter(name, nn.Parameter(start))

    def forward(self, x: Tensor, prepared: PreparedMask) -> Tensor:
        """x [N, F] -> [N, config.out_features]."""
        attention, values = self.attention(x, prepared.mask)
        dropping = self.training and self.config.attention_dropout > 0
        kept = _draw_kept(prepared.mask, self.config, values.dtype) if dropping else None
        aggregated = attend(attention, values, kept).transpose(0, 1)  # [N, H, C]
        return epilogue.apply(self.config, attention.params, x, aggregated)

    def attention(self, x: Tensor, mask: Mask) -> tuple[Attention, Tensor]:
        """The coefficients to be computed, and what each node sends [H, N, C]."""
        params = dict(self.named_parameters())
        terms = self.operator.terms(self.config, params, x)
        source, target = (part.permute(1, 2, 0).contiguous() for part in (terms.source, terms.target))
        score = partial(self.operator.score, self.config)
        return Attention(score, params, source, target, mask), terms.values.transpose(0, 1).contiguous()


class _Dense:
    name = "dense"
    packages = ("torch",)
    sparse_features = True
    semantics = {
        "self-loops": Fact("takes the mask as given", "takes the mask as given"),
        "bias sites": Fact("as the operator defines them", "as the operator defines them"),
        "initialisation": Fact("the operator's own", "the operator's own, or the canonical values loaded"),
        "dropout sites": Fact(
            "coefficients after the softmax, per edge and head, kept ones divided by 1 - p",
            "coefficients after the softmax, per edge and head, kept ones divided by 1 - p",
        ),
        "weight sharing": Fact("as configured, one parameter", "as configured, one parameter"),
        "duplicate edges": Fact("a 0/1 mask would merge them", "the mask counts them, each is a term of its own"),
    }

    def unsupported(self, operator: Operator, config: LayerConfig, device: torch.device) -> str | None:
        return None

    def memory_bytes(self, operator: Operator, config: LayerConfig, num_nodes: int, num_edges: int) -> int:
        features = config.heads * config.out_channels
        mask = num_nodes**2
        # Terms, values, output, copies with the node last, and the gradients of all of these.
        nodes = 4 * 16 * features * num_nodes
        # At least a row of targets: its pairs, their LeakyReLU and both gradients.
        blocks = 5 * max(_dense_attention.CPU_BLOCK_BYTES, 4 * features * num_nodes)
        pairs = num_edges * (4 * 2 * config.heads + 8 * 4)
        return mask + nodes + blocks + pairs

    def prepare(self, graph: Graph, device: torch.device) -> PreparedMask:
        N = graph.num_nodes
        position, edge_pair, pair_count = torch.unique(
            graph.targets * N + graph.sources, return_inverse=True, return_counts=True
        )
        one_byte_is_enough = bool((pair_count < 256).all())
        count = torch.zeros(N * N, dtype=torch.uint8 if one_byte_is_enough else torch.int64)
        count[position] = pair_count.to(count.dtype)
        row_starts = torch.searchsorted(position, torch.arange(N + 1) * N)
        mask = Mask(
            count.view(N, N).to(device),
            pair_count.to(device),
            position.to(device),
            row_starts.tolist(),
            (row_starts.diff() > 0).unsqueeze(-1).to(device),
        )
        return PreparedMask(mask, edge_pair.to(device))

    def layer(self, operator: Operator, config: LayerConfig) -> nn.Module:
        return DenseLayer(operator, config)

    def names(self, operator: Operator, config: LayerConfig) -> Mapping[str, str]:
        return {name: name for name in operator.shapes(config)}

    def attention(self, layer: nn.Module, x: Tensor, prepared: Any) -> Tensor:
        assert isinstance(layer, DenseLayer)
        mask: Mask = prepared.mask
        attention, _ = layer.attention(x, mask)
        of_pairs = [
            attention.coefficients(attention.scores(attention.pair(rows)), rows).flatten(1)[:, pair_positions(mask, rows)] for rows in attention.blocks()
        ]
        of_one_edge = torch.cat(of_pairs, dim=1) / mask.pair_count
        return of_one_edge.t()[prepared.edge_pair]


BACKEND: Backend = _Dense()


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
