"""Charts that a saved view of MLflow's brings along, in the form in which MLflow's page keeps them.

Left alone, the page draws a bar chart of each metric, of ten runs at most.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Card: TypeAlias = Mapping[str, object]

_SECTION = "gat-bench"
_HEIGHT_PX = 420
_RUNS = 100  # as many as MLflow's page loads at once


def scatter(x: str, y: str) -> Card:
    """One mark a run, by two metrics."""
    return {**_card("SCATTER"), "xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}


def parallel(params: Sequence[str], metrics: Sequence[str]) -> Card:
    """Parallel coordinates: one line a run through its parameters and metrics."""
    chosen = {"selectedParams": list(params), "selectedMetrics": list(metrics), "showAllRuns": True}
    return {**_card("PARALLEL"), **chosen}


def state(title: str, cards: Sequence[Card]) -> dict[str, object]:
    """What a view's state holds for these charts to stand in a section of their own, above MLflow's own."""
    section = {"uuid": _SECTION, "name": title, "display": True, "columns": len(cards), "cardHeight": _HEIGHT_PX}
    return {
        "compareRunCharts": [{"uuid": f"{_SECTION}-{number}", **card} for number, card in enumerate(cards)],
        "compareRunSections": [{**section, "isReordered": False, "deleted": False, "isGenerated": False}],
        "isAccordionReordered": True,  # else MLflow sorts its own sections above ours
    }


def _card(kind: str) -> dict[str, object]:
    return {
        "type": kind,
        "metricSectionId": _SECTION,
        "runsCountToCompare": _RUNS,
        "deleted": False,
        "isGenerated": False,
    }
