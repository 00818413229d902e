"""Views of a study: `table.md`, `table.csv`, `plots/`, rebuilt from the records alone."""

from collections.abc import Mapping, Sequence
from typing import assert_never

from bench.folder import ResultsFolder, write_atomically
from bench.records import Record
from bench.report import gallery
from bench.report.studies import attention, lookup
from bench.report.studies.attention import AttentionRow
from bench.report.studies.lookup import LookupRow
from bench.study_config import AttentionStudy, LookupStudy, Study


def rows(study: Study, records: Sequence[Record]) -> list[LookupRow] | list[AttentionRow]:
    """One per line of the figure."""
    match study:
        case LookupStudy():
            return lookup.rows(study, records)
        case AttentionStudy():
            return attention.rows(study, records)
    assert_never(study)


def terminal(study: Study, records: Sequence[Record]) -> str:
    """What a run prints at its end."""
    match study:
        case LookupStudy():
            return lookup.terminal(study, records)
        case AttentionStudy():
            return attention.terminal(study, records)
    assert_never(study)


def write(folder: ResultsFolder, study: Study, records: Sequence[Record]) -> None:
    """Write all views of a study into its folder; the same records give the same bytes."""
    match study:
        case LookupStudy():
            write_atomically(folder.path / "table.md", lookup.markdown(study, records, folder.name))
            write_atomically(folder.path / "table.csv", lookup.csv_text(study, records))
        case AttentionStudy():
            write_atomically(folder.path / "table.md", attention.markdown(study, records, folder.name))
            write_atomically(folder.path / "table.csv", attention.csv_text(study, records))
    gallery.hang(folder, drawn(study, records))


def drawn(study: Study, records: Sequence[Record]) -> Mapping[tuple[str, str], bytes]:
    """All plots of a study, by name and format."""
    from bench.report.studies import attention_plots, lookup_plots  # matplotlib, half a second

    match study:
        case LookupStudy():
            return lookup_plots.draw(study, lookup.rows(study, records))
        case AttentionStudy():
            return attention_plots.draw(attention.rows(study, records))
    assert_never(study)
