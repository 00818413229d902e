"""Back ends that are wrong, each in one way, and the check that must catch each."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch.nn import functional as F

from implementations.backends import _template
from implementations.backends._template import MyLayer
from implementations.contract import Graph


class Broken(_template._Mine):
    """The template, wrong in one way."""

    Layer = MyLayer

    def layer(self, operator, config):
        return self.Layer(operator, config)


class WithDropoutOfItsOwn(MyLayer):
    """The template without its dropout; `probability` is for whoever drops otherwise."""

    def __init__(self, operator, config):
        super().__init__(operator, replace(config, attention_dropout=0.0))
        self.probability = config.attention_dropout


class SaysNothingOfDuplicates(Broken):
    semantics = {topic: fact for topic, fact in Broken.semantics.items() if topic != "duplicate edges"}


class AnswersTrue(Broken):
    def unsupported(self, operator, config, device):
        return True


class ForgetsTheBiasInItsNames(Broken):
    def names(self, operator, config):
        return {name: name for name in operator.shapes(config) if name != "bias"}


class LeavesHeadsApart(Broken):
    class Layer(MyLayer):
        def forward(self, x, graph):
            return super().forward(x, graph).unflatten(1, (-1, self.config.out_channels))


class ComputesInFloat32(Broken):
    class Layer(MyLayer):
        def _apply(self, change, recurse=True):
            return super()._apply(lambda tensor: change(tensor).float(), recurse)

        def forward(self, x, graph):
            return super().forward(x.float(), graph).to(x.dtype)

        def attend(self, x, graph):
            return super().attend(x.float(), graph)


class SwapsSourceAndTarget(Broken):
    def prepare(self, graph, device):
        return Graph(graph.num_nodes, graph.edge_index.flip(0))


class MergesDuplicates(Broken):
    def prepare(self, graph, device):
        first = list(dict.fromkeys(zip(*graph.edge_index.tolist(), strict=True)))
        return Graph(graph.num_nodes, torch.tensor(first, dtype=torch.int64).view(-1, 2).t())


class AddsSelfLoops(Broken):
    def prepare(self, graph, device):
        return graph.with_self_loops()


class IgnoresTheSlope(Broken):
    def layer(self, operator, config):
        return MyLayer(operator, replace(config, negative_slope=0.2))


class NeverDrops(Broken):
    def layer(self, operator, config):
        return MyLayer(operator, replace(config, attention_dropout=0.0))


class DropsBeforeTheSoftmax(Broken):
    class Layer(MyLayer):
        def __init__(self, operator, config):
            super().__init__(_DroppedScores(operator, self), replace(config, attention_dropout=0.0))
            self.probability = config.attention_dropout


class _DroppedScores:
    def __init__(self, operator, layer):
        self.shapes, self.init, self.terms = operator.shapes, operator.init, operator.terms
        self.score = lambda *given: F.dropout(operator.score(*given), layer.probability, layer.training)


class DropsValues(Broken):
    class Layer(WithDropoutOfItsOwn):
        def attend(self, x, graph):
            alpha, values = super().attend(x, graph)
            return alpha, F.dropout(values, self.probability, self.training)


class DropsEdgesOfAllHeadsTogether(Broken):
    class Layer(WithDropoutOfItsOwn):
        def attend(self, x, graph):
            alpha, values = super().attend(x, graph)
            return alpha * F.dropout(torch.ones_like(alpha[:, :1]), self.probability, self.training), values


class KeepsItsFeatures(Broken):
    def dropout(self, x, probability):
        return x


class DropsFeaturesUnscaled(Broken):
    def dropout(self, x, probability):
        return super().dropout(x, probability) * (1 - probability)


class DropsTheSameFeaturesAlways(Broken):
    def dropout(self, x, probability):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return super().dropout(x, probability)


class DropsForTwoTargetsAtOnce(Broken):
    class Layer(WithDropoutOfItsOwn):
        def attend(self, x, graph):
            alpha, values = super().attend(x, graph)
            factor = F.dropout(torch.ones_like(alpha), self.probability, self.training)
            is_second = graph.targets.unsqueeze(1) % 2 == 1
            return alpha * torch.where(is_second, factor.roll(1, 0), factor), values


class _DrawsAnotherMaskBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, probability):
        ctx.probability = probability
        return F.dropout(x, probability)

    @staticmethod
    def backward(ctx, gradient):
        return F.dropout(gradient, ctx.probability), None


class DifferentiatesUnderAnotherMask(Broken):
    class Layer(WithDropoutOfItsOwn):
        def attend(self, x, graph):
            alpha, values = super().attend(x, graph)
            return (_DrawsAnotherMaskBackward.apply(alpha, self.probability) if self.training else alpha), values


class DrawsFromElsewhere(Broken):
    class Layer(WithDropoutOfItsOwn):
        elsewhere = torch.Generator()

        def attend(self, x, graph):
            alpha, values = super().attend(x, graph)
            kept = torch.rand(alpha.shape, generator=self.elsewhere) >= self.probability
            return (alpha * kept / (1 - self.probability) if self.training else alpha), values


class StepsTooFar(Broken):
    """With a training step of its own: through autograd, but at another rate of learning."""

    lr_factor, dropout = 1.5, staticmethod(F.dropout)

    def whole_step(self, operator, problem):
        return _Steps(problem, self.lr_factor, self.dropout)


class StepsUnderAnotherMask(StepsTooFar):
    lr_factor, dropout = 1.0, staticmethod(_DrawsAnotherMaskBackward.apply)


class _Steps:
    def __init__(self, problem, lr_factor, dropout):
        self.problem, self.dropout = problem, dropout
        parameters = [parameter for layer in problem.layers for parameter in layer.parameters()]
        self.adam = torch.optim.Adam(parameters, lr=lr_factor * problem.lr, weight_decay=problem.weight_decay)

    def step(self):
        self.adam.zero_grad()
        loss = F.cross_entropy(self._forward(self.dropout)[self.problem.nodes], self.problem.y[self.problem.nodes])
        loss.backward()
        self.adam.step()
        return loss

    def logits(self):
        for layer in self.problem.layers:
            layer.eval()
        with torch.no_grad():
            return self._forward(lambda x, probability: x)

    def _forward(self, dropout):
        x = self.problem.x
        for position, layer in enumerate(self.problem.layers):
            x = layer(dropout(F.elu(x) if position else x, self.problem.feature_dropout), self.problem.prepared)
        return x


class DropsInEvaluation(Broken):
    class Layer(MyLayer):
        def train(self, mode=True):
            return super().train(True)


class CountsNodes(Broken):
    class Layer(MyLayer):
        def forward(self, x, graph):
            return super().forward(x, graph) + torch.arange(len(x)).unsqueeze(1)


class ForgetsToDivide(Broken):
    class Layer(MyLayer):
        def attend(self, x, graph):
            alpha, values = super().attend(x, graph)
            return 2 * alpha, values


class TakesHalf(Broken):
    class Layer(MyLayer):
        def forward(self, x, graph):
            return super().forward(x, graph) / 2


class RemovesSelfLoops(Broken):
    def prepare(self, graph, device):
        return Graph(graph.num_nodes, graph.edge_index[:, graph.sources != graph.targets])


class CentresItsInput(Broken):
    class Layer(MyLayer):
        def forward(self, x, graph):
            return super().forward(x - x.mean(0), graph)


class ShiftsAllScoresAlike(Broken):
    class Layer(MyLayer):
        def attend(self, x, graph):
            terms = self.operator.terms(self.config, dict(self.named_parameters()), x)
            pair = terms.source[graph.sources] + terms.target[graph.targets]
            score = self.operator.score(self.config, dict(self.named_parameters()), pair)
            weight = torch.exp(score - score.max())
            return weight / _template._sum_by_target(weight, graph)[graph.targets], terms.values


class NormalisesItsInputInPlace(Broken):
    class Layer(MyLayer):
        def forward(self, x, graph):
            with torch.no_grad():
                x /= x.sum(1, keepdim=True)
            return super().forward(x, graph)


class SortsTheGraphItIsGiven(Broken):
    def prepare(self, graph, device):
        graph.edge_index[:] = graph.edge_index[:, graph.targets.argsort(stable=True)]
        return graph


class PredictsOneSizeForAll(Broken):
    def memory_bytes(self, operator, config, num_nodes, num_edges):
        return 1_000_000


class Raises(Broken):
    def prepare(self, graph, device):
        return graph.num_nodes // 0


# Back end -> the check that must catch it.
CAUGHT_BY: Mapping[type[Broken], str] = {
    SaysNothingOfDuplicates: "describes_itself",
    AnswersTrue: "unsupported_answers_a_sentence_or_none",
    ForgetsTheBiasInItsNames: "names_cover_exactly_the_parameters",
    LeavesHeadsApart: "gives_the_shape_dtype_and_device_asked_for",
    ComputesInFloat32: "agrees_with_the_reference_in_float64",
    MergesDuplicates: "agrees_with_the_reference_in_float64",
    AddsSelfLoops: "agrees_with_the_reference_in_float64",
    IgnoresTheSlope: "agrees_with_the_reference_in_float32",
    NeverDrops: "drops_coefficients_and_features_in_training",
    DropsBeforeTheSoftmax: "drops_coefficients_and_features_in_training",
    DropsValues: "drops_coefficients_and_features_in_training",
    DropsEdgesOfAllHeadsTogether: "drops_coefficients_and_features_in_training",
    KeepsItsFeatures: "drops_coefficients_and_features_in_training",
    DropsFeaturesUnscaled: "drops_coefficients_and_features_in_training",
    DropsTheSameFeaturesAlways: "drops_coefficients_and_features_in_training",
    DropsForTwoTargetsAtOnce: "drops_coefficients_and_features_in_training",
    DifferentiatesUnderAnotherMask: "differentiates_under_the_masks_it_drew",
    DrawsFromElsewhere: "differentiates_under_the_masks_it_drew",
    StepsTooFar: "trains_as_its_layers_define",
    StepsUnderAnotherMask: "trains_as_its_layers_define",
    DropsInEvaluation: "evaluates_without_chance",
    CountsNodes: "renumbers_its_output_with_the_nodes",
    TakesHalf: "returns_a_constant_input_projected",
    RemovesSelfLoops: "returns_its_own_value_to_a_node_with_only_its_self_loop",
    CentresItsInput: "keeps_disconnected_parts_apart",
    ShiftsAllScoresAlike: "stays_finite_with_large_scores",
    NormalisesItsInputInPlace: "leaves_graph_and_x_as_they_are",
    SortsTheGraphItIsGiven: "leaves_graph_and_x_as_they_are",
    SwapsSourceAndTarget: "orders_neighbours_as_the_operator_does",
    ForgetsToDivide: "gives_attention_that_sums_to_one",
    PredictsOneSizeForAll: "predicts_memory_that_grows_with_the_graph",
}

NEVER_DROPS, RAISES = NeverDrops(), Raises()  # by name, as a command takes them
