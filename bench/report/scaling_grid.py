"""The table of the scaling sweep: exponents of growth, and where memory ends."""

from collections.abc import Iterator

from bench.report import scaling, wording
from bench.report.grids import Grid
from bench.report.results import Results
from bench.report.wording import Footnotes
from bench.summary import Slope


def is_asked(results: Results) -> bool:
    """Whether the experiment varies anything."""
    return bool(scaling.series(results))


def grid(results: Results, notes: Footnotes) -> Grid:
    """One line for each back end and operator, one column for each variable."""
    found = scaling.series(results)
    variables = list(dict.fromkeys(series.variable for series in found))
    slopes = {
        (series.operator, series.backend, series.variable): series.slope(results.experiment.statistics.confidence)
        for series in found
    }
    return Grid(
        "Exponent b of a training step's time ~ variable^b",
        ("operator", "back end", *variables, "memory ends at, nodes (predicted)"),
        tuple(
            (
                operator,
                backend,
                *(_slope(slopes.get((operator, backend, variable))) for variable in variables),
                _memory(scaling.memory_end(results, operator, backend)),
            )
            for operator in results.experiment.operators
            for backend in results.experiment.backends
        ),
        2,
    )


def points(results: Results) -> Grid:
    """The measured points behind the exponents."""
    return Grid(
        "Training step by what varies, as shipped",
        ("varied", "operator", "back end", "value: ms"),
        tuple(
            (
                series.variable,
                series.operator,
                series.backend,
                "; ".join(f"{x:,.4g}: {wording.significant(1000 * seconds)}" for x, seconds in series.seconds.items()),
            )
            for series in scaling.series(results)
        ),
        3,
    )


def remarks(results: Results) -> Iterator[str]:
    """What a reader must know of this table."""
    first = results.experiment.datasets[0]
    yield (
        "An exponent is a least-squares slope of the logarithms of medians over rounds, with its t-interval; in "
        f"parentheses the points. Settings vary on {first}; memory is predicted from the back end's own formula "
        f"for graphs like it and held against what was free on the device, where the runner refuses what does not fit."
    )


def _slope(found: Slope | None) -> str:
    if found is None:
        return ""
    interval = f" [{found.interval.low:.2f}, {found.interval.high:.2f}]" if found.interval else ""
    return f"{found.value:.2f}{interval} ({found.points})"


def _memory(found: tuple[int, int] | None) -> str:
    if found is None:
        return ""
    nodes, free_bytes = found
    return f"{wording.significant(nodes)} with {wording.mebibytes(free_bytes)} MiB free"
