"""`{picture} ranking`: a figure drawn while the documents are built, from the operators that the benchmark runs.

The text below the directive describes it to who does not see it. Each is drawn for a light and for a dark page.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from docutils import nodes
from docutils.parsers.rst import Directive
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from torch import Tensor

from implementations.contract import LayerConfig, Operator, Params
from implementations.operators import gat, gatv2

FOLDER = Path(__file__).resolve().parents[1] / "_generated"
INKS = {"light": "#333333", "dark": "#cccccc"}
COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa8800")
KEYS, QUERIES, FEATURES, CHANNELS = 12, 4, 8, 16


class Picture(Directive):
    """One figure by name."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The same picture twice; the theme shows the one that suits the page."""
        return [
            nodes.image(
                uri=f"/_generated/{self.arguments[0]}-{page}.svg",
                alt=" ".join(self.content),
                classes=[f"only-{page}", "picture"],
            )
            for page in INKS
        ]


def scores(operator: Operator, params: Params, config: LayerConfig, targets: Tensor, sources: Tensor) -> Any:
    """Unnormalised scores [T, S] of the first head, for every target and source."""
    of_targets = operator.terms(config, params, targets).target
    of_sources = operator.terms(config, params, sources).source
    return operator.score(config, params, of_targets[:, None] + of_sources[None])[..., 0]


def random_scores(operator: Operator) -> Tensor:
    """Scores of an untrained layer, sources sorted by what the first target thinks of them."""
    generator = torch.Generator().manual_seed(8)
    config = LayerConfig(in_channels=FEATURES, out_channels=CHANNELS, heads=1)
    targets, sources = (3 * torch.randn(count, FEATURES, generator=generator) for count in (QUERIES, KEYS))
    found = scores(operator, operator.init(config, generator), config, targets, sources)
    return found[:, found[0].argsort()]


def nearest_scores(places: Tensor) -> Tensor:
    """GATv2 with two channels and weights written by hand: -0.8 |source - target|, so the nearest source wins."""
    config = LayerConfig(in_channels=1, out_channels=2, heads=1, bias=False)
    sign = torch.tensor([[[1.0], [-1.0]]])
    params = {"w_source": sign, "w_target": -sign, "a": torch.tensor([[-1.0, -1.0]])}
    return scores(gatv2, params, config, places, places)


def ranking() -> Figure:
    """GAT's curves rise together; GATv2's cross."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    for axes, operator, name in zip(figure.subplots(1, 2), (gat, gatv2), ("GAT", "GATv2"), strict=True):
        for target, line in enumerate(random_scores(operator)):
            axes.plot(range(1, KEYS + 1), line, "o-", color=COLOURS[target], ms=3, label=f"target {target + 1}")
        axes.set(title=name, xticks=range(1, KEYS + 1), xlabel="source, sorted by target 1's score", ylabel="score")
    axes.legend(fontsize=7, frameon=False)
    return figure


def nearest() -> Figure:
    """Each target of a hand-written GATv2 head puts another source first."""
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    axes, places = figure.subplots(), torch.linspace(0, 1, 50)[:, None]
    found = nearest_scores(places)
    for colour, target in zip(COLOURS, (5, 18, 31, 44), strict=True):
        axes.plot(places[:, 0], found[target], color=colour, label=f"target at {places[target, 0]:.2f}")
    axes.set(xlabel="feature of the source", ylabel="score")
    axes.legend(fontsize=7, frameon=False)
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {"ranking": ranking, "nearest": nearest}


def draw(app: Sphinx) -> None:
    """Write every picture, for both pages, the same bytes each time."""
    FOLDER.mkdir(exist_ok=True)
    for page, ink in INKS.items():
        style = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), ink)
        style |= {"svg.hashsalt": "gat-bench", "axes.facecolor": "none", "axes.spines.top": False}
        with mpl.rc_context(style | {"axes.spines.right": False}):
            for name, make in PICTURES.items():
                figure = make()
                FigureCanvasSVG(figure)
                path = FOLDER / f"{name}-{page}.svg"
                figure.savefig(path, transparent=True, metadata={"Date": None})


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive, and draw before anything is read."""
    app.add_directive("picture", Picture)
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True}
