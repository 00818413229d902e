"""Views of the records: tables, plots and one HTML page, each rebuilt from the records alone."""

from collections.abc import Mapping

from bench.folder import ResultsFolder


def write_report(folder: ResultsFolder, semantics: Mapping[str, Mapping[str, tuple[str, str]]] | None = None) -> None:
    """Write `table.md`, `table.csv`, `plots/` and `report.html` into a results folder.

    The same records give the same bytes. Each file is replaced as a whole.

    Args:
        folder: where `records.jsonl` and the experiment's snapshot lie.
        semantics: back end -> topic -> (what its library does by itself, what runs here), for the page.

    Raises:
        UserError: nothing was run in the folder, or its files cannot be read.
    """
    # matplotlib costs half a second, which `bench list` and every child process would pay.
    from bench.report import html, plots, table
    from bench.report.results import Results

    results = Results.of(folder.experiment(), folder.records())
    table.write_results(folder, results)
    html.write(folder, results, plots.write(folder, results), semantics)
