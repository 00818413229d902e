"""Every back end keeps the contract's promises, and each check catches a back end that breaks its promise."""

import importlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from installed import skip_for
from torch.nn import functional as F

from implementations.backends import _template
from implementations.backends._template import MyLayer
from implementations.checks import BASE
from implementations.conformance import CHECKS, Nonconformance, backend_names, main, operator_names
from implementations.contract import Graph
from implementations.operators import gat, gatv2

CPU = torch.device("cpu")
PAPERS_ONLY = ("dgl", "pyg", "pyg_compile")  # test_backends has their sentence
# The operator outermost: its references are computed once and shared by all back ends.
PAIRS = [
    (operator, backend)
    for operator in operator_names()
    for backend in [*backend_names(), "_template"]
    if operator in ("gat", "gatv2") or backend not in PAPERS_ONLY
]


@pytest.mark.parametrize(("operator", "backend"), PAIRS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_built_in_back_end_keeps_the_contract(check, backend, operator):
    if check.__name__ == "trains_as_its_layers_define" and backend.endswith("_compile"):
        pytest.skip("torch takes half a minute to compile each step; test_compiled compiles one of each dtype")
    found = importlib.import_module(f"implementations.backends.{backend}").BACKEND
    mathematics = importlib.import_module(f"implementations.operators.{operator}")
    skip_for(found.unsupported(mathematics, BASE, CPU), backend, operator)
    check(found, mathematics, CPU)


class Broken(_template._Mine):
    """The template, wrong in one way."""

    Layer = MyLayer

    def layer(self, operator, config):
        return self.Layer(operator, config)


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
    class Layer(MyLayer):
        def __init__(self, operator, config):
            super().__init__(operator, replace(config, attention_dropout=0.0))
            self.probability = config.attention_dropout

        def attend(self, x, graph):
            alpha, values = super().attend(x, graph)
            return alpha, F.dropout(values, self.probability, self.training)


class DropsEdgesOfAllHeadsTogether(Broken):
    class Layer(MyLayer):
        def __init__(self, operator, config):
            super().__init__(operator, replace(config, attention_dropout=0.0))
            self.probability = config.attention_dropout

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


class DropsTheSameForAllTargets(Broken):
    class Layer(MyLayer):
        def __init__(self, operator, config):
            super().__init__(operator, replace(config, attention_dropout=0.0))
            self.probability = config.attention_dropout

        def attend(self, x, graph):
            alpha, values = super().attend(x, graph)
            of_sources = F.dropout(alpha.new_ones(graph.num_nodes, alpha.shape[1]), self.probability, self.training)
            return alpha * of_sources[graph.sources], values


class _DrawsAnotherMaskBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, probability):
        ctx.probability = probability
        return F.dropout(x, probability)

    @staticmethod
    def backward(ctx, gradient):
        return F.dropout(gradient, ctx.probability), None


class DifferentiatesUnderAnotherMask(Broken):
    class Layer(DropsTheSameForAllTargets.Layer):
        def attend(self, x, graph):
            alpha, values = MyLayer.attend(self, x, graph)
            return (_DrawsAnotherMaskBackward.apply(alpha, self.probability) if self.training else alpha), values


class DrawsFromElsewhere(Broken):
    class Layer(DropsTheSameForAllTargets.Layer):
        elsewhere = torch.Generator()

        def attend(self, x, graph):
            alpha, values = MyLayer.attend(self, x, graph)
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
    DropsTheSameForAllTargets: "drops_coefficients_and_features_in_training",
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


@pytest.mark.parametrize("operator", [gat, gatv2], ids=["gat", "gatv2"])
@pytest.mark.parametrize("broken", CAUGHT_BY, ids=lambda broken: broken.__name__)
def test_a_broken_back_end_is_caught(broken, operator):
    check = next(check for check in CHECKS if check.__name__ == CAUGHT_BY[broken])
    with pytest.raises(Nonconformance):
        check(broken(), operator, CPU)


def test_every_check_catches_someone():
    assert {check.__name__ for check in CHECKS} == set(CAUGHT_BY.values())


def test_a_message_says_where_and_by_how_much():
    check = next(check for check in CHECKS if check.__name__ == "agrees_with_the_reference_in_float64")
    with pytest.raises(Nonconformance, match=r"duplicate edges, 3 heads.*differs from the reference.*allowed 1e-10"):
        check(MergesDuplicates(), gat, CPU)


def test_the_command_passes_a_good_back_end(capsys):
    assert main(["scatter", "--operator", "gat"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "scatter gat on cpu"
    assert len(out) == len(CHECKS) + 2
    assert out[-1] == f"{len(CHECKS)} checks passed, 0 failed"


def test_the_command_fails_a_broken_one_of_another_package_and_says_why(capsys):
    assert main(["test_conformance:NEVER_DROPS", "--operator", "gat"]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if "FAILED" in line]
    assert len(failed) == 1
    assert "dropout: not so" in failed[0]


def test_the_command_goes_on_after_an_exception_of_the_back_end(capsys):
    assert main(["test_conformance:RAISES", "--operator", "gat"]) == 1
    out = capsys.readouterr().out
    assert "raised ZeroDivisionError: integer division or modulo by zero (" in out
    assert "passed  predicts memory that grows with the graph" in out


def test_the_command_computes_nothing_where_the_back_end_cannot(capsys):
    assert main(["pyg", "--operator", "gatv2_labml"]) == 0
    out = capsys.readouterr().out
    assert "unsupported, so nothing is computed: PyG has no layer that computes gatv2_labml" in out
    assert "2 checks passed, 0 failed" in out


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["scater"], "there is no back end 'scater'; did you mean 'scatter'?"),
        (["_template"], "there is no back end '_template'"),
        (["scatter", "--operator", "gta"], "there is no operator 'gta'; did you mean 'gat'?"),
        (["no_such_module:BACKEND"], "'no_such_module' cannot be imported"),
        (["test_conformance:NOTHING"], "module 'test_conformance' has no attribute 'NOTHING'"),
        (["scatter", "--device", "abacus"], "device 'abacus' cannot be used here"),
    ],
)
def test_a_users_mistake_is_answered_in_one_line(arguments, answer, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert answer in err
    assert err.count("\n") == 1


def test_a_wrong_option_is_answered_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["scatter", "--operatr", "gat"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


class Raises(Broken):
    def prepare(self, graph, device):
        return graph.num_nodes // 0


NEVER_DROPS = NeverDrops()
RAISES = Raises()


def test_a_name_that_is_not_the_files_is_a_mistake(monkeypatch, capsys):
    module = importlib.import_module("implementations.backends.scatter")
    monkeypatch.setattr(module.BACKEND, "name", "_template")
    assert main(["scatter"]) == 2
    assert "its name is '_template', and must be the file's, 'scatter'" in capsys.readouterr().err
