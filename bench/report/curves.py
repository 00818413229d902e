"""Plots with two measured axes: accuracy against throughput, the roofline, the growth of a step with the problem."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report import front, throughput, wording
from bench.report import scaling as sweep
from bench.report.canvas import FILLS, INK, group_of, legend, log_scale, look, marks, panel_title, stacked
from bench.report.front import Trade
from bench.report.results import Results

PANEL_IN = 3.2
_DASHES = ("--", ":", "-.")  # of fronts, by device


def trade_off(results: Results) -> Figure | None:
    """One panel for each track and data set, since marks of two data sets would look alike."""
    experiment = results.experiment
    panels = {
        (track, dataset): found
        for track in experiment.timing.tracks
        for dataset in experiment.datasets
        if (found := _traded(results, track, dataset))
    }
    if not panels:
        return None
    figure, axes_of = stacked([3.0] * len(panels))
    groups = list(dict.fromkeys(group_of(results, row.key, of_one_dataset=True) for row in results.rows))
    fill_of = {group: FILLS[number % len(FILLS)] for number, group in enumerate(groups)}
    for axes, ((track, dataset), found) in zip(axes_of, panels.items(), strict=True):
        for trade in found:
            colour, marker = look(trade.key.backend, results)
            fill = fill_of[group_of(results, trade.key, of_one_dataset=True)]
            accuracy, (edges_per_s, _) = trade.accuracy, trade.point
            edges = (accuracy.interval.low, accuracy.interval.high) if accuracy.interval else (accuracy.mean,) * 2
            axes.vlines(edges_per_s, 100 * edges[0], 100 * edges[1], colors=colour, linewidth=1.5)
            said = f"{trade.key}: {100 * accuracy.mean:.1f} %, {wording.significant(edges_per_s)} edges per second"
            at = (edges_per_s, 100 * accuracy.mean, said)
            marks(axes, [at], color=colour, marker=marker, fillstyle=fill, markersize=8)
        log_scale(axes, [trade.edges_per_s for trade in found])
        _fronts(axes, found, experiment.devices)
        axes.grid(visible=True, axis="y")
        axes.set_title(panel_title(results, track, dataset), loc="left")
        axes.set_xlabel("edges per second of training")
        axes.set_ylabel("test accuracy, %")
    fills = [
        Line2D([], [], color=INK, marker="o", linestyle="none", fillstyle=fill, label=group)
        for group, fill in fill_of.items()
    ]
    shown = [trade for found in panels.values() for trade in found]
    fronts = [_front(device, experiment.devices) for _, device in front.fronts(shown)]
    legend(figure, results, [trade.key.backend for trade in shown], [*fills, *fronts])
    return figure


def _traded(results: Results, track: str, dataset: str) -> list[Trade]:
    """What a panel shows: at the first thread count."""
    found = front.trades(results, track, results.experiment.timing.threads[0])
    return [trade for trade in found if trade.key.dataset == dataset]


def _fronts(axes: Axes, found: Sequence[Trade], devices: Sequence[str]) -> None:
    """A line for each device around all that those on its front match or beat: to the left of them, and below."""
    low_x, low_y = axes.get_xlim()[0], axes.get_ylim()[0]
    axes.set_ylim(bottom=low_y)
    for (_, device), points in front.fronts(found).items():
        x, y = zip(*[(rate, 100 * share) for rate, share in points], strict=True)
        axes.add_line(_front(device, devices, [low_x, *x, x[-1]], [y[0], *y, low_y]))


def _front(device: str, devices: Sequence[str], x: Sequence[float] = (), y: Sequence[float] = ()) -> Line2D:
    named = f"Pareto front (means){f' · {device}' * (len(devices) > 1)}"
    dashes = _DASHES[devices.index(device) % len(_DASHES)]
    return Line2D(x, y, drawstyle="steps-pre", color=INK, linewidth=1, linestyle=dashes, zorder=1, label=named)


def roofline(results: Results) -> Figure | None:
    """Operations per second against operations per compulsory byte, under the device's ceilings; data sets apart.

    Williams, Waterman and Patterson 2009.
    """
    experiment = results.experiment
    threads, device = experiment.timing.threads[0], experiment.devices[0]
    top = throughput.ceilings(results.cells, device, threads)
    found = {
        (track, dataset): [
            (cell.key, floor)
            for cell in results.cells
            if (cell.key.device, cell.key.dataset) == (device, dataset)
            if (floor := throughput.floor_of(results, cell, track, threads, "train"))
        ]
        for track in experiment.timing.tracks
        for dataset in experiment.datasets
    }
    found = {panel: floors for panel, floors in found.items() if floors}
    if top is None or not found:
        return None
    figure, axes_of = stacked([PANEL_IN] * len(found))
    for axes, ((track, dataset), floors) in zip(axes_of, found.items(), strict=True):
        x = [floor.work.intensity for _, floor in floors]
        y = [floor.work.flops / floor.measured_s / 1e9 for _, floor in floors]
        for (key, _), intensity, reached in zip(floors, x, y, strict=True):
            colour, marker = look(key.backend, results)
            fill = FILLS[experiment.operators.index(key.operator) % len(FILLS)]
            said = f"{key}: {wording.significant(reached)} billion operations per second"
            marks(axes, [(intensity, reached, said)], color=colour, marker=marker, fillstyle=fill)
        ridge = top.gemm_flops_per_s / top.copy_bytes_per_s
        roof = sorted([min(x) / 2, ridge, max(*x, ridge) * 2])
        axes.plot(
            roof, [min(top.gemm_flops_per_s, at * top.copy_bytes_per_s) / 1e9 for at in roof], color=INK, linewidth=1.5
        )
        log_scale(axes, roof)
        log_scale(axes, [*y, top.gemm_flops_per_s / 1e9], "y")
        axes.grid(visible=True, axis="y")
        axes.set_title(panel_title(results, track, dataset), loc="left")
        axes.set_xlabel("operations per compulsory byte")
        axes.set_ylabel("billion operations per second")
    legend(figure, results, [key.backend for floors in found.values() for key, _ in floors], _operators(results))
    return figure


def scaling(results: Results) -> Figure | None:
    """Training step against each variable of the sweep, both logarithmic."""
    found = sweep.series(results)
    variables = list(dict.fromkeys(series.variable for series in found))
    if not variables:
        return None
    figure, axes_of = stacked([PANEL_IN] * len(variables))
    for axes, variable in zip(axes_of, variables, strict=True):
        shown = [series for series in found if series.variable == variable]
        for series in shown:
            colour, marker = look(series.backend, results)
            fill = FILLS[results.experiment.operators.index(series.operator) % len(FILLS)]
            milliseconds = [1000 * seconds for seconds in series.seconds.values()]
            axes.plot(list(series.seconds), milliseconds, color=colour, linewidth=1)
            name = f"{series.backend} · {series.operator}, {variable}"
            said = [
                (x, ms, f"{name} {x:,.6g}: {wording.significant(ms)} ms a training step")
                for x, ms in zip(series.seconds, milliseconds, strict=True)
            ]
            marks(axes, said, color=colour, marker=marker, fillstyle=fill)
        log_scale(axes, [x for series in shown for x in series.seconds])
        log_scale(axes, [1000 * seconds for series in shown for seconds in series.seconds.values()], "y")
        axes.grid(visible=True, axis="y")
        axes.set_xlabel(variable)
        axes.set_ylabel("training step, ms")
    legend(figure, results, [series.backend for series in found], _operators(results))
    return figure


def _operators(results: Results) -> list[Line2D]:
    return [
        Line2D([], [], color=INK, marker="o", linestyle="none", fillstyle=FILLS[number % len(FILLS)], label=name)
        for number, name in enumerate(results.experiment.operators)
    ]
