"""The layer stack that every back end is measured in, and its canonical start weights.

    x_0 = features;  x_{k+1} = ELU(attention_k(dropout(x_k)));  logits = attention_L(dropout(x_L))

Hidden layers concatenate their heads, the last one averages its own: Velickovic et al. 2018, section 3.3. Brody et al.
2022 have on OGB, with d = dropout(x_k), another activation, a norm and a skip connection over the layers between the
first and the last:

    x_{k+1} = LayerNorm(ReLU(attention_k(d)) + d)

and on ogbn-products for every layer, the last included, V_k d + c_k beside attention_k(d). On ogbn-proteins

    x_0 = ReLU(V features + c);  s_k = attention_k(dropout(x_k)) + s_{k-1};  x_{k+1} = ReLU(BatchNorm(s_k))

and the logits are a linear map of dropout(x_{L+1}).

Where numbers of whole graphs count, `bench.training.readout` has what comes before and after the layers, and with
d_k = dropout(x_k) a layer is given (d_k + d_{k-1}) / 2; of several relations, a layer is one of
`bench.training.relational`.

Where links count, the last layer's output is none of logits, and `PairDecoder` makes one of a pair's.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import seeds
from bench.config import Architecture, LinkDecoder
from bench.training.readout import GatedEnds
from bench.training.relational import Relational
from implementations.contract import Backend, LayerConfig, Operator, Params, Trainer, TrainingProblem
from implementations.features import linear
from implementations.name_table import load

BETWEEN = ("input_dropout", "activation", "skip", "layer_norm", "batch_norm", "ends", "decoder")
"""Settings of an architecture that lie between its layers, before or after them."""

AVERAGED = {"averaged": 1, "averaged_by_two": 2}
"""Skip connection -> at each how many layers."""

PAIRS_AT_ONCE = 2**16


class PerLayer(tuple[Any, ...]):
    """The graph of each layer, in the back end's own form, where they are not the same."""


class Network(nn.Module):
    """The stack; `forward(x [N, F], prepared)` gives logits [N, classes]."""

    def __init__(
        self,
        layers: list[nn.Module],
        configs: list[LayerConfig],
        feature_dropout: float,
        dropout: Callable[[Tensor, float], Tensor],
        whole_step: Callable[[TrainingProblem], Trainer | None],
        between: "Between | None" = None,
        decoder: "PairDecoder | None" = None,
        ends: "Ends | GatedEnds | None" = None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.configs = configs
        self.feature_dropout = feature_dropout
        self.dropout = dropout
        self.whole_step = whole_step  # the back end's own training step, if it has one
        self.between = between or Between()
        self.decoder = decoder
        self.ends = ends

    def forward(self, x: Tensor, prepared: Any) -> Tensor:
        """See the module's docstring."""
        last = len(self.layers) - 1
        before: Tensor | None = None
        entered: Tensor | None = None
        features = x
        x = self.ends.first(x) if self.ends else x
        for position, layer in enumerate(self.layers):
            x, entered = self.between.averaged(self._dropped(x, position), position, entered)
            graph = prepared[position] if isinstance(prepared, PerLayer) else prepared
            before = out = self.between.added(layer(x, graph), x, position, before)
            x = out if position == last and self.ends is None else self.between(out, x, position)
            x = self.ends.followed(x, position) if self.ends else x
        if self.ends is None:
            return x
        return self.ends.last(self._dropped(x, last + 1) if self.ends.drops_last else x, features)

    def _dropped(self, x: Tensor, position: int) -> Tensor:
        probability = self.between.input_dropout if position == 0 else None
        probability = self.feature_dropout if probability is None else probability
        return self.dropout(x, probability) if self.training and probability > 0.0 else x


class Between(nn.Module):
    """What happens between two layers, whose outputs are so wide; `maps` of each layer's input for linear skips."""

    def __init__(
        self,
        architecture: Architecture | None = None,
        widths: Sequence[int] = (),
        maps: Sequence["TorchLinear"] = (),
    ) -> None:
        super().__init__()
        asked = architecture or Architecture()
        self.activation: Callable[[Tensor], Tensor] = F.elu if asked.activation == "elu" else F.relu
        self.skip = asked.skip
        self.average_every = AVERAGED.get(asked.skip)
        self.input_dropout = asked.input_dropout
        self.norms = nn.ModuleList([nn.LayerNorm(width) for width in widths] if asked.layer_norm else [])
        self.batch_norms = nn.ModuleList([nn.BatchNorm1d(width) for width in widths] if asked.batch_norm else [])
        self.maps = nn.ModuleList(maps)

    def averaged(self, x: Tensor, position: int, before: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """A layer's input, and what the next one's may be averaged with, from dropout's result and that of before."""
        if self.average_every is None or position % self.average_every:
            return x, before
        return (x if before is None else (x + before) / 2), x

    def added(self, out: Tensor, x: Tensor, position: int, before: Tensor | None) -> Tensor:
        """A layer's output, with the linear map of its input or what was there before it where that is asked for."""
        if self.skip == "sum" and before is not None:
            return out + before
        return out + self.maps[position](x) if self.maps else out

    def forward(self, out: Tensor, x: Tensor, position: int) -> Tensor:
        """From a layer's output and input to the next one's input, but for dropout."""
        h = self.activation(self.batch_norms[position](out) if self.batch_norms else out)
        if self.skip in ("identity", "doubled", "twice") and position > 0:
            doubled = self.skip == "twice" or (self.skip == "doubled" and self.training)
            h = h + (h + x if doubled else x)
        return self.norms[position](h) if self.norms else h


class TorchLinear(nn.Linear):
    """x [N, F] dense or sparse; weight and bias start uniform in +- 1 / sqrt(F), as torch draws them."""

    def __init__(self, in_features: int, out_features: int, generator: torch.Generator | None) -> None:
        super().__init__(in_features, out_features)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(in_features**-0.5), in_features**-0.5, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """W x + b."""
        return linear(x, self.weight, self.bias)


class Ends(nn.Module):
    """Linear maps before the first layer, with ReLU, and after the last."""

    drops_last = True

    def __init__(self, features: int, width: int, classes: int, seed: int | None) -> None:
        super().__init__()
        generator = None if seed is None else seeds.generator(seed, "init", "ends")
        self.into = TorchLinear(features, width, generator)
        self.out = TorchLinear(width, classes, generator)

    def first(self, x: Tensor) -> Tensor:
        """x [N, F] -> [N, width]."""
        return F.relu(self.into(x))

    def followed(self, h: Tensor, position: int) -> Tensor:
        """Nothing comes between the layers."""
        del position
        return h

    def last(self, h: Tensor, x: Tensor) -> Tensor:
        """h [N, width] -> [N, classes]."""
        del x
        return self.out(h)  # type: ignore[no-any-return]


class PairDecoder(nn.Module):
    """logit = W_n ReLU(... ReLU(W_1 (h_source * h_target) + b_1) ...) + b_n: Hu et al. 2020's and Brody et al.'s."""

    def __init__(self, asked: LinkDecoder, seed: int | None) -> None:
        super().__init__()
        widths = [asked.width] * asked.layers + [1]
        generator = None if seed is None else seeds.generator(seed, "init", "decoder")
        self.maps = nn.ModuleList(TorchLinear(*pair, generator) for pair in pairwise(widths))

    def forward(self, h: Tensor, links: Tensor) -> Tensor:
        """h [N, width], links [3, n] or pairs [2, n] -> [n]."""
        chunks = torch.split(links[:2], PAIRS_AT_ONCE, dim=1)
        return torch.cat([self._of(h[sources] * h[targets]) for sources, targets in chunks])

    def _of(self, pair: Tensor) -> Tensor:
        for position, map_ in enumerate(self.maps):
            pair = map_(F.relu(pair) if position else pair)
        return pair.squeeze(-1)


def layer_configs(architecture: Architecture, in_features: int, classes: int) -> list[LayerConfig]:
    """One configuration per layer, first to last."""
    configs = []
    has_ends = architecture.ends != "attention"
    width = architecture.heads * architecture.hidden if has_ends else in_features
    last_width = architecture.decoder.width if architecture.decoder else classes
    for position in range(architecture.layers):
        is_last = position == architecture.layers - 1 and not has_ends
        configs.append(
            LayerConfig(
                in_channels=width,
                out_channels=last_width if is_last else architecture.hidden,
                heads=architecture.output_heads if is_last else architecture.heads,
                concat=not is_last,
                bias=architecture.bias,
                negative_slope=architecture.negative_slope,
                share_weights=architecture.share_weights,
                attention_dropout=architecture.attention_dropout,
                residual=_has_residual(architecture, position),
            )
        )
        width = configs[-1].out_features
    return configs


def _has_residual(architecture: Architecture, position: int) -> bool:
    if architecture.residual == "middle":
        return 0 < position < architecture.layers - 1
    return bool(architecture.residual)


def of(
    backend: Backend,
    operator: Operator,
    architecture: Architecture,
    features: int,
    classes: int,
    relations: int,
    seed: int | None,
) -> Network:
    """The whole network that an architecture asks for on data of these sizes, its ends among it; else as `build`."""
    configs = layer_configs(architecture, features, classes)
    ends = _ends(architecture, features, configs[0].in_channels, classes, seed)
    return build(backend, operator, configs, architecture, seed, ends, relations)


def _ends(
    architecture: Architecture, features: int, width: int, classes: int, seed: int | None
) -> Ends | GatedEnds | None:
    match architecture.ends:
        case "linear":
            return Ends(features, width, classes, seed)
        case "gated":
            return GatedEnds(features, width, seed)
        case "attention":
            return None


def build(
    backend: Backend,
    operator: Operator,
    configs: list[LayerConfig],
    architecture: Architecture,
    seed: int | None,
    ends: Ends | GatedEnds | None = None,
    relations: int = 0,
) -> Network:
    """A network of one back end's layers; `seed` None leaves the library's own start weights.

    With `relations`, each layer is one for each type of edge. The canonical start weights depend on operator, shapes
    and seed, never on the back end.
    """
    layers: list[nn.Module] = []
    for position, config in enumerate(configs):
        made = partial(_layer, backend, operator, config, seed)
        places = [(position, relation) for relation in range(relations)]
        layers.append(Relational([made(*place) for place in places]) if places else made(position))
    whole_step = _whole_step(backend, operator, architecture)
    generator = None if seed is None else seeds.generator(seed, "init", "skip")
    skipping = configs if architecture.skip == "linear" else []
    maps = [TorchLinear(config.in_channels, config.out_features, generator) for config in skipping]
    between = Between(architecture, [config.out_features for config in (configs if ends else configs[:-1])], maps)
    decoder = PairDecoder(architecture.decoder, seed) if architecture.decoder else None
    return Network(layers, configs, architecture.feature_dropout, backend.dropout, whole_step, between, decoder, ends)


def _layer(backend: Backend, operator: Operator, config: LayerConfig, seed: int | None, *place: int) -> nn.Module:
    layer = backend.layer(operator, config)
    if seed is not None:
        load(layer, backend.names(operator, config), start_weights(operator, config, seed, *place))
    return layer


def _whole_step(
    backend: Backend, operator: Operator, architecture: Architecture
) -> Callable[[TrainingProblem], Trainer | None]:
    """The back end's own training step, which is that of ELU and nothing else between the layers."""
    plain = Architecture()
    if any(getattr(architecture, name) != getattr(plain, name) for name in BETWEEN):
        return lambda problem: None
    return partial(backend.whole_step, operator)


def start_weights(operator: Operator, config: LayerConfig, seed: int, *place: int) -> Params:
    """Canonical start weights of one layer, by its place: its position, and its relation where there are several."""
    return operator.init(config, seeds.generator(seed, "init", *place))


def count_parameters(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters())
