"""The graph of `powerlaw` at the size of ogbn-products, in files: 2,449,029 nodes, 61,859,140 edges in both directions.

Like `powerlaw` of the same sizes, bit by bit, but made in pieces (`_powerlaw_files`), once, into the cache, and read by
mapping its files into memory: a batch touches the rows of its own nodes. Who asks for all edges gets them in memory.
`powerlaw_mapped-n3000-d10-f16-c5` is one of other sizes.
"""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from bench.datasets import _powerlaw_files, _splits, powerlaw
from bench.datasets._files import Report, cache_folder
from bench.datasets.powerlaw import Sizes
from bench.folder import sweep
from bench.task import DatasetInfo, DataUnavailable, FileState, NodeData, Nodes
from bench.training.stored import StoredGraph

TRAIN, VALIDATION = 0.08, 0.016  # of the nodes, as ogbn-products' split by sales rank


@dataclass(frozen=True)
class MappedPowerLaw:
    """The data set; see the head of the file."""

    info: DatasetInfo
    has_signed_features: ClassVar[bool] = True

    @property
    def folder(self) -> Path:
        """Of its files; the name says what they hold."""
        return cache_folder() / f"{self.info.name}-{self.info.digest[:12]}"

    def files(self) -> list[FileState]:
        """Those that were made; of their content nothing is known but its size."""
        return [self._state(name) for name in _powerlaw_files.shapes(self.info)]

    def fetch(self, report: Report) -> None:
        """Make what is absent, or of another size than it should be; what is finished stays."""
        if not self._lacking():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock"):
                sweep(self.folder, _powerlaw_files.shapes(self.info), _powerlaw_files.SCRATCH)
                while lacking := self._lacking():
                    report(f"{self.folder / lacking[0]}: is generated")
                    _powerlaw_files.WRITERS[lacking[0]](self.info, self.folder)
        except OSError as problem:
            raise DataUnavailable(
                f"{self.folder}: cannot be written ({problem}); let BENCH_CACHE name another folder"
            ) from None

    def load(self) -> NodeData:
        """The mapped files; they are made first where they are absent.

        Raises:
            DataUnavailable: one has another size than it should have, or cannot be written.
        """
        for state in self.files():
            if state.state == "altered":
                cure = f"`bench data {self.info.name} --fetch` makes it anew"
                raise DataUnavailable(f"{state.place}: refused, {state.note}; {cure}")
        self.fetch(report=lambda _: None)
        graph = StoredGraph(self._mapped("starts.npy"), self._mapped("neighbours.npy"))
        return NodeData(graph, self._mapped("x.npy"), self._mapped("y.npy"))

    def nodes(self, data: NodeData, split: str, seed: int) -> Nodes:
        """Drawn for this seed, in the proportions of ogbn-products."""
        chosen = _splits.chosen(self.info, split)
        order = _splits.shuffled(f"{self.info.name} {chosen}", seed, len(data.y))
        return _splits.in_shares(order, TRAIN, VALIDATION)

    def _lacking(self) -> list[str]:
        return [state.name for state in self.files() if state.state != "unverified"]

    def _state(self, name: str) -> FileState:
        path = self.folder / name
        if not path.is_file():
            return FileState(name, "absent", str(path))
        shape, descr = _powerlaw_files.shapes(self.info)[name]
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as problem:
            return FileState(name, "altered", str(path), f"not a whole array ({problem})")
        if (found.shape, found.dtype) != (shape, np.dtype(descr)):
            return FileState(name, "altered", str(path), f"{found.dtype} {found.shape} instead of {descr} {shape}")
        return FileState(name, "unverified", str(path))

    def _mapped(self, name: str) -> Tensor:
        array = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch has no read-only tensors; nobody writes to this one
            return torch.from_numpy(array)


def variant(parameters: str) -> MappedPowerLaw:
    """The data set of another size: "n10000-d10-f128-c40", every part optional.

    Raises:
        UserError: a part is not understood, or such a graph cannot be.
    """
    return _of(f"powerlaw_mapped-{parameters}", powerlaw.sizes("powerlaw_mapped", parameters, SIZES))


def _of(name: str, sizes: Sizes) -> MappedPowerLaw:
    info = powerlaw.described(name, sizes)
    return MappedPowerLaw(replace(info, title=f"Power-law graph of {sizes.nodes:,} nodes, memory-mapped (synthetic)"))


SIZES = Sizes(nodes=2_449_029, pairs=61_859_140, features=100, classes=47)

DATASET = _of("powerlaw_mapped", SIZES)
