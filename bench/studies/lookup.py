"""One DictionaryLookup fit: until test accuracy no longer rises, as the authors do, who have no validation set."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau

from bench import seeds
from bench.outcomes import Attention, HeatMap, LookedUp
from bench.plugins import OPERATORS
from bench.studies import attention_facts, lookup_data
from bench.studies.lookup_model import LookupNetwork
from bench.training.train import Diverged
from bench.work import LookupJob

IMPROVEMENT = 1e-4  # of test accuracy; less does not count, in the released code either
GRAPHS_AT_ONCE = 512  # in evaluation
Progress = Callable[[str], None]


def fit(job: LookupJob, device: torch.device, progress: Progress) -> LookedUp:
    """Train one model; its accuracies are those of the evaluation with the highest test accuracy.

    Raises:
        Diverged: the loss became nan or infinite.
    """
    training = job.training
    data = lookup_data.draw(job.size, training.max_graphs, training.train_fraction, job.protocol.split, job.seed)
    model = _model(job, device)
    run = _Run(job, model, data.train.to(device), data.test.to(device))
    torch.manual_seed(seeds.derive(job.seed, "lookup dropout"))
    stopped = run.train(progress)
    model.load_state_dict(run.best.state)
    return LookedUp(
        seed=job.seed,
        train=accuracy(model, run.graphs),
        test=run.best.test,
        steps=run.steps,
        best_step=run.best.step,
        stopped=stopped,
        train_graphs=len(data.train),
        test_graphs=len(data.test),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        evaluate_every_steps=run.period,
        curves={name: tuple(map(_digits, values)) for name, values in run.curves.items()},
        attention=_attention(job, model, data.test.to(device)) if job.attention_graphs else None,
    )


def _model(job: LookupJob, device: torch.device) -> LookupNetwork:
    operator = OPERATORS.get(job.operator)
    return LookupNetwork(operator, job.architecture, job.size, job.protocol.output_dropout, job.seed).to(device)


@dataclass
class _Best:
    step: int = 0
    running: float = 0.0  # training accuracy over the steps before it
    test: float = -1.0
    state: dict[str, Tensor] = field(default_factory=dict)


class _Run:
    """Model, optimiser and what was seen so far."""

    def __init__(self, job: LookupJob, model: LookupNetwork, train: Tensor, test: Tensor) -> None:
        self.job, self.model, self.graphs, self.test_graphs = job, model, train, test
        training = job.training
        self.batch = min(training.batch_graphs, len(train))
        steps_per_epoch = len(train) / self.batch
        self.period = training.evaluate_every_steps or math.ceil(training.evaluate_every_epochs * steps_per_epoch)
        self.max_steps = min(training.max_steps or 2**62, math.ceil(training.max_epochs * steps_per_epoch))
        self.adam = torch.optim.Adam(model.parameters(), lr=training.lr)
        self.plateau = ReduceLROnPlateau(
            self.adam,
            mode="max",
            threshold_mode="abs",
            threshold=IMPROVEMENT,
            factor=training.plateau_factor,
            patience=training.plateau_evaluations,
        )
        self.best = _Best()
        self.steps = 0
        self.curves: dict[str, list[float]] = {
            name: [] for name in ("train_accuracy", "test_accuracy", "train_loss", "lr")
        }

    def train(self, progress: Progress) -> Literal["solved", "patience", "steps"]:
        """To the end; says which end."""
        batches = _batches(self.graphs, self.batch, seeds.generator(self.job.seed, "lookup batches"))
        without_news = 0
        while self.steps < self.max_steps:
            running = self._steps(batches)
            without_news = 0 if self._evaluate(running) else without_news + 1
            progress(f"step {self.steps}: train {self._latest('train')}, test {self._latest('test')}")
            if self.best.test == 1.0:
                return "solved"
            if without_news >= self.job.training.patience_evaluations:
                return "patience"
        return "steps"

    def _steps(self, batches: Iterator[Tensor]) -> float:
        """Steps up to the next evaluation; returns the accuracy over all of them."""
        correct, loss_sum, queries = 0.0, 0.0, 0
        count = min(self.period, self.max_steps - self.steps)
        for _ in range(count):
            graphs = next(batches)
            logits = self.model(graphs)
            loss = F.cross_entropy(logits.flatten(0, 1), graphs.flatten())
            self.adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if self.job.protocol.clip_norm:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.job.protocol.clip_norm)
            self.adam.step()
            correct += float((logits.detach().argmax(-1) == graphs).sum())
            loss_sum += float(loss.detach())
            queries += graphs.numel()
        self.steps += count
        if not math.isfinite(loss_sum):
            raise Diverged(f"the loss was not finite within the first {self.steps} steps")
        self.curves["train_loss"].append(loss_sum / count)
        return correct / queries

    def _evaluate(self, running: float) -> bool:
        """Look at the test graphs; whether they went better than ever."""
        test = accuracy(self.model, self.test_graphs)
        seen = {"train_accuracy": running, "test_accuracy": test, "lr": self.adam.param_groups[0]["lr"]}
        for name, value in seen.items():
            self.curves[name].append(value)
        self.plateau.step(test)
        news = test > self.best.test + IMPROVEMENT
        # Small test sets tie: of equals, the one that also knew its training graphs better is kept.
        if news or (test >= self.best.test and running > self.best.running):
            self.best = _Best(self.steps, running, test, copy.deepcopy(self.model.state_dict()))
        return news

    def _latest(self, subset: str) -> str:
        return f"{100 * self.curves[f'{subset}_accuracy'][-1]:.1f} %"


@torch.no_grad()
def accuracy(model: LookupNetwork, graphs: Tensor) -> float:
    """Share of query nodes that find their value; nothing is switched off, since the released dropout never is."""
    correct = sum(int((model(batch).argmax(-1) == batch).sum()) for batch in torch.split(graphs, GRAPHS_AT_ONCE))
    return correct / graphs.numel()


def _batches(graphs: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of equal size without end, from one shuffled pass after the other."""
    waiting = torch.empty(0, dtype=torch.long)
    while True:
        while len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(len(graphs), generator=generator)])
        chosen, waiting = waiting[:size], waiting[size:]
        yield graphs[chosen.to(graphs.device)]


@torch.no_grad()
def _attention(job: LookupJob, model: LookupNetwork, graphs: Tensor) -> Attention:
    """Rankings are compared in float64, so that no two scores are equal by rounding."""
    model = model.double()
    shown = graphs[: job.attention_graphs]
    coefficients = model.attention(shown).cpu()
    targets = tuple(f"q{number}" for number in range(job.size))
    sources = tuple(f"k{number}" for number in range(job.size))
    maps = tuple(
        HeatMap(
            layer=1,
            head=head + 1,
            targets=targets,
            sources=sources,
            coefficients=tuple(
                tuple(_digits(value) for value in row) for row in coefficients[0, : job.size, :, head].T.tolist()
            ),
        )
        for head in range(job.architecture.heads)
    )
    return Attention(
        heads=attention_facts.of_lookup(model.scores(shown).cpu(), coefficients),
        maps=maps,
        targets=len(shown) * job.size,
    )


def _digits(value: float) -> float:
    """Six significant digits: enough to tell any two coefficients of a picture apart, and half the size on disk."""
    return float(f"{value:.6g}")
