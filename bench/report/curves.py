"""Plots with two measured axes: the roofline, and the growth of a step with the problem."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report import scaling as sweep
from bench.report import throughput, wording
from bench.report.canvas import FILLS, INK, legend, log_scale, look, marks, panel_title, stacked
from bench.report.results import Results

PANEL_IN = 3.2


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
