"""What one more run of a table's row may take, told from the runs that are there."""

from collections.abc import Iterator, Sequence

from bench.paper.rows import Row


def per_seed_s(row: Row, rows: Sequence[Row]) -> float | None:
    """Seconds of one run: the row's own, else of the dearest row on its column, at this back end's pace.

    A back end's pace beside another is the most that it took elsewhere, by the same part, subject and column: a
    slow one on the first large graph would else be begun as if it were the fast one that has been there.

    Returns:
        None where nothing was run on the column yet.
    """
    if row.tried:
        return _seconds(row)
    tried = [other for other in rows if other.tried]
    alike = [other for other in tried if other.column == row.column]
    return max((_seconds(other) * _pace(row, other, tried) for other in alike), default=None)


def _pace(row: Row, other: Row, tried: Sequence[Row]) -> float:
    """At most how many times the other back end's seconds the row's own took; 1 where they never met."""
    ours, theirs = (dict(_by_work(tried, one.require_line().backend)) for one in (row, other))
    return max((ours[work] / theirs[work] for work in ours.keys() & theirs.keys() if theirs[work]), default=1.0)


def _by_work(tried: Sequence[Row], backend: str) -> Iterator[tuple[tuple[str, str, str], float]]:
    for row in tried:
        line = row.require_line()
        if line.backend == backend:
            yield (line.part, line.subject, line.column), _seconds(row)


def _seconds(row: Row) -> float:
    return row.sample.seconds / row.tried
