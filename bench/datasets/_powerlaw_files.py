"""The graph of `powerlaw`, bit by bit, written to .npy files without ever being in memory.

Its generator counts, so that a raw integer is had by its place in the stream. Whatever has to be sorted is dealt to
scratch files that fit in memory one by one: pairs by their remainder, so that a repetition lies beside what it repeats,
then edges by their target.

    starts.npy      int64 [N + 1]   where each node's incoming edges begin
    neighbours.npy  int32 [E]       their sources, ascending within a node
    drawn.npy       int64 [1]       pairs drawn until there were enough different ones
    y.npy           int64 [N]
    x.npy           float32 [N, F]
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from bench.datasets import powerlaw
from bench.datasets.powerlaw import Integers
from bench.folder import atomic_file
from bench.task import DatasetInfo

SCRATCH = ".scratch."
CHUNK = 2**21  # numbers that are in memory at once, roughly; each array of int64 then takes 16 MiB
WORDS = 4  # raw integers that Philox makes at one step of its counter


def shapes(info: DatasetInfo) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of each file, in the order in which they are made."""
    return {
        "neighbours.npy": ((info.edges,), "<i4"),
        "drawn.npy": ((1,), "<i8"),
        "starts.npy": ((info.nodes + 1,), "<i8"),
        "y.npy": ((info.nodes,), "<i8"),
        "x.npy": ((info.nodes, info.features), "<f4"),
    }


def write_edges(info: DatasetInfo, folder: Path) -> None:
    """starts.npy, neighbours.npy and drawn.npy."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=SCRATCH) as scratch:
        pairs = _Dealt(Path(scratch) / "pairs", -(-info.edges // CHUNK), columns=2)
        last = _deal_pairs(info, pairs)
        edges = _Dealt(Path(scratch) / "edges", -(-info.edges // CHUNK), columns=1)
        _deal_edges(info, pairs, last, edges)
        _write_by_target(info, edges, folder)
    _save(folder, info, "drawn.npy", np.array([last + 1]))


def write_classes(info: DatasetInfo, folder: Path) -> None:
    """y.npy, once drawn.npy is there."""
    _save(folder, info, "y.npy", powerlaw.classes_of(_raw(_after_pairs(info, folder), info.nodes), info.classes))


def write_features(info: DatasetInfo, folder: Path) -> None:
    """x.npy, once drawn.npy and y.npy are there."""
    F, y = info.features, np.load(folder / "y.npy", mmap_mode="r", allow_pickle=False)
    place = _after_pairs(info, folder) + info.nodes
    centres = powerlaw.noise(_raw(place, info.classes * F), F)
    place += info.classes * F
    with _array(folder, info, "x.npy") as file:
        for first, count in _chunks(info.nodes, max(1, CHUNK // F)):
            rows = _raw(place + first * F, count * F)
            file.write(powerlaw.features_of(rows, centres[y[first : first + count]]).data)


def _deal_pairs(info: DatasetInfo, pairs: "_Dealt") -> int:
    """Deal pairs of ranks, each with the number of its drawing; which drawing brought the last that is needed."""
    needed, until, drawn = info.edges // 2, powerlaw.cumulated(info.nodes), 0
    lacking = needed
    while True:
        for first, count in _chunks(lacking, CHUNK // 2):
            low, high = powerlaw.drawn_ends(until, _raw_pairs(info, drawn + first, count))
            keys, numbers = low * info.nodes + high, np.arange(drawn + first, drawn + first + count)
            between = low != high
            pairs.deal(keys[between] % pairs.files, np.stack([keys, numbers], axis=1)[between])
        drawn += lacking
        is_first = np.zeros(drawn, dtype=np.bool_)
        for number in range(pairs.files):
            is_first[_first_of_each(pairs.read(number))[:, 1]] = True
        lacking = needed - int(is_first.sum())
        if lacking <= 0:
            return _place(is_first, needed)
        lacking = max(2 * lacking, min(needed, CHUNK // 8))  # since some of the next will be repetitions, too


def _deal_edges(info: DatasetInfo, pairs: "_Dealt", last: int, edges: "_Dealt") -> None:
    """Deal both directions of the first of each pair, as node numbers; the pairs are gone then."""
    node_of_rank = np.argsort(_raw(0, info.nodes), kind="stable")
    for number in range(pairs.files):
        rows = _first_of_each(pairs.read(number))
        keys = rows[rows[:, 1] <= last, 0]
        ends = node_of_rank[[keys // info.nodes, keys % info.nodes]]
        for targets, sources in (ends, ends[::-1]):
            edges.deal(targets * edges.files // info.nodes, (targets * info.nodes + sources)[:, None])
        pairs.drop(number)


def _write_by_target(info: DatasetInfo, edges: "_Dealt", folder: Path) -> None:
    degree = np.zeros(info.nodes, dtype=np.int64)
    with _array(folder, info, "neighbours.npy") as file:
        for number in range(edges.files):
            keys = np.sort(edges.read(number)[:, 0])
            targets, count = np.unique(keys // info.nodes, return_counts=True)
            degree[targets] = count
            file.write((keys % info.nodes).astype("<i4").data)
    _save(folder, info, "starts.npy", np.append(0, np.cumsum(degree)))


def _first_of_each(rows: Integers) -> Integers:
    """Of rows (key, number) with ascending numbers, the first of each key."""
    _, first = np.unique(rows[:, 0], return_index=True)
    kept: Integers = rows[first]
    return kept


def _place(flags: npt.NDArray[np.bool_], count: int) -> int:
    """Where the count-th True is."""
    for first, length in _chunks(len(flags), CHUNK):
        here = np.flatnonzero(flags[first : first + length])
        if len(here) >= count:
            return first + int(here[count - 1])
        count -= len(here)
    raise AssertionError("there are fewer")


def _raw_pairs(info: DatasetInfo, first: int, count: int) -> npt.NDArray[np.uint64]:
    """Both ends [2, count] of these drawings: `powerlaw` draws one end of as many as are needed, then the other."""
    needed = info.edges // 2
    pieces = []
    while count:
        round_, at = divmod(first, needed)
        length = min(count, needed - at)
        place = info.nodes + 2 * needed * round_ + at
        pieces.append(np.stack([_raw(place, length), _raw(place + needed, length)]))
        first, count = first + length, count - length
    return np.concatenate(pieces, axis=1)


def _after_pairs(info: DatasetInfo, folder: Path) -> int:
    """Place in the stream behind all rounds of drawing that `powerlaw` takes."""
    (drawn,) = np.load(folder / "drawn.npy", allow_pickle=False).tolist()
    rounds = -(-int(drawn) // (info.edges // 2))
    return info.nodes + info.edges * rounds


def _raw(first: int, count: int) -> npt.NDArray[np.uint64]:
    """So many integers of the stream from this place on."""
    generator = np.random.Philox(powerlaw.SEED)
    generator.advance(first // WORDS)
    raw: npt.NDArray[np.uint64] = generator.random_raw(first % WORDS + count)[first % WORDS :]
    return raw


@dataclass(frozen=True)
class _Dealt:
    """Rows of integers, dealt to so many files."""

    place: Path  # the files' names begin so
    files: int
    columns: int

    def deal(self, to: Integers, rows: Integers) -> None:
        """Append each row to the file of its number; within a file they keep their order."""
        order = np.argsort(to, kind="stable")
        until = np.cumsum(np.bincount(to, minlength=self.files))
        for number, chosen in enumerate(np.split(order, until[:-1])):
            with self._path(number).open("ab") as file:
                file.write(rows[chosen].data)

    def read(self, number: int) -> Integers:
        """All rows of one file."""
        return np.fromfile(self._path(number), dtype=np.int64).reshape(-1, self.columns)

    def drop(self, number: int) -> None:
        """Its rows are not needed any more."""
        self._path(number).unlink()

    def _path(self, number: int) -> Path:
        return self.place.with_name(f"{self.place.name}-{number}")


def _chunks(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and length of each."""
    return ((first, min(size, total - first)) for first in range(0, total, size))


def _save(folder: Path, info: DatasetInfo, name: str, values: npt.NDArray[Any]) -> None:
    with _array(folder, info, name) as file:
        file.write(np.ascontiguousarray(values, dtype=shapes(info)[name][1]).data)


@contextmanager
def _array(folder: Path, info: DatasetInfo, name: str) -> Iterator[BinaryIO]:
    """A .npy file whose values are still to be written; it has its name once it is whole."""
    shape, descr = shapes(info)[name]
    with atomic_file(folder / name) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        yield file


WRITERS: dict[str, Callable[[DatasetInfo, Path], None]] = {
    "neighbours.npy": write_edges,
    "drawn.npy": write_edges,
    "starts.npy": write_edges,
    "y.npy": write_classes,
    "x.npy": write_features,
}
