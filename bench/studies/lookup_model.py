"""A DictionaryLookup model, run on the structure that all graphs share.

A key node is one of only k^2 states (key, value) and a query node one of k. So the operator's terms are computed once
for k^2 + k nodes and its scores once for k x k^2 pairs, and every graph of a batch looks up its own k rows of them:

    alpha_bjq = softmax over j of e(state_bj, q)         b graph, j key node, q query node
    logits_bq = W_out sum_j alpha_bjq values(state_bj)

Without dropout in between, W_out is applied to the k^2 values before they are looked up.
H heads, C channels per head, K as in `implementations.contract.Terms`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import seeds
from bench.study_config import LookupArchitecture
from implementations import epilogue
from implementations.contract import LayerConfig, Operator, Terms
from implementations.initial import uniform


class LookupNetwork(nn.Module):
    """Embeddings, ReLU, one attention layer, a linear map to the k values."""

    def __init__(
        self, operator: Operator, architecture: LookupArchitecture, size: int, output_dropout: float, seed: int
    ) -> None:
        super().__init__()
        self.operator, self.size = operator, size
        self.self_loops, self.output_dropout = architecture.self_loops, output_dropout
        self.config = layer_config(architecture)
        width = architecture.features
        generator = seeds.generator(seed, "init", "lookup")
        self.keys = nn.Parameter(torch.randn(size, width, generator=generator))
        self.values = nn.Parameter(torch.randn(size + 1, width, generator=generator))  # the last: no value
        self.out = nn.Parameter(uniform((size, width), width**-0.5, generator))
        self.layer = nn.ParameterDict(operator.init(self.config, generator))

    def forward(self, graphs: Tensor) -> Tensor:
        """Permutations [B, k] -> logits [B, k queries, k values]."""
        terms = self._terms()
        alpha = self._softmax(terms, graphs)
        if self.output_dropout:
            z = self._aggregated(alpha, terms.values, graphs).flatten(0, 1)
            z = epilogue.apply(self.config, dict(self.layer), z.flatten(1), z)
            logits = F.linear(F.dropout(z, self.output_dropout), self.out)
            return logits.view(*graphs.shape, self.size)
        out = self.out.view(self.size, self.config.heads, self.config.out_channels)
        voted = torch.einsum("shc,ohc->sho", terms.values, out)
        logits = self._aggregated(alpha, voted, graphs).sum(2)
        return logits + self.out @ self.layer["bias"] if self.config.bias else logits

    def attention(self, graphs: Tensor) -> Tensor:
        """Coefficients [B, k keys, k queries, H]; with self-loops one more "key", the query itself."""
        return self._softmax(self._terms(), graphs)

    def scores(self, graphs: Tensor) -> Tensor:
        """Scores before the softmax [B, k keys, k queries, H], self-loops left out."""
        return self._looked_up(self._score_table(self._terms()), graphs)

    def node_features(self) -> Tensor:
        """[k^2 + k, F] what the layer is given: key states (j, v) at j k + v, then queries."""
        with_value = self.keys[:, None] + self.values[None, :-1]  # [k, k, F]
        return F.relu(torch.cat([with_value.flatten(0, 1), self.keys + self.values[-1]]))

    def _terms(self) -> Terms:
        return self.operator.terms(self.config, dict(self.layer), self.node_features())

    def _score_table(self, terms: Terms) -> Tensor:
        """[k^2 states, k queries, H]."""
        states = self.size**2
        pair = terms.source[:states, None] + terms.target[None, states:]
        return self.operator.score(self.config, dict(self.layer), pair)

    def _softmax(self, terms: Terms, graphs: Tensor) -> Tensor:
        score = self._looked_up(self._score_table(terms), graphs)  # [B, k keys, k queries, H]
        if self.self_loops:
            states = self.size**2
            own = self.operator.score(self.config, dict(self.layer), terms.source[states:] + terms.target[states:])
            score = torch.cat([score, own.expand(len(graphs), 1, *own.shape)], 1)
        return torch.softmax(score, 1)

    def _aggregated(self, alpha: Tensor, values: Tensor, graphs: Tensor) -> Tensor:
        """[B, k queries, H, channels] from alpha [B, k keys, k queries, H] and values [k^2 + k, H, channels]."""
        states = self.size**2
        sent = self._looked_up(values[:states], graphs)  # [B, k keys, H, channels]
        z = torch.einsum("bjqh,bjhc->bqhc", alpha[:, : self.size], sent)
        if self.self_loops:
            z = z + alpha[:, self.size].unsqueeze(-1) * values[states:]
        return z

    def _looked_up(self, table: Tensor, graphs: Tensor) -> Tensor:
        """Rows of a table [k^2, ...] for the key nodes of each graph: [B, k, ...]."""
        states = torch.arange(self.size, device=graphs.device) * self.size + graphs
        return F.embedding(states, table.flatten(1)).view(*graphs.shape, *table.shape[1:])


def layer_config(architecture: LookupArchitecture) -> LayerConfig:
    """The attention layer: heads side by side."""
    return LayerConfig(
        in_channels=architecture.features,
        out_channels=architecture.features // architecture.heads,
        heads=architecture.heads,
        bias=architecture.bias,
        negative_slope=architecture.negative_slope,
        share_weights=architecture.share_weights,
    )
