"""Graphs, sparse features and rows of numbers in the order in which the kernels read them."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from implementations.backends._fused import library
from implementations.backends._fused.library import address, kernels, width
from implementations.contract import Graph, LayerConfig

MOST_EDGES = 2**32
MOST_ENTRIES = 2**32
MOST_NODES = 2**31
BAND = 2048
"""So many nodes' rows of 64 float32 fill half a megabyte; GATv2 reads two such, and a core has a megabyte or two."""


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges by target, which numbers them, and by source."""

    num_nodes: int
    target_rows: Tensor  # [N + 1] int64
    source_of: Tensor  # [E] int32 by target
    source_rows: Tensor  # [N + 1] int64
    target_of: Tensor  # [E] int32 by source
    position_of: Tensor  # [E] uint32 by source: the edge's number
    order: Tensor  # [E] uint32 by target: the edge's place in `graph.edge_index`
    num_targets: int  # the first so many nodes receive; all, unless a receptive field was cut out

    @classmethod
    def of(cls, graph: Graph) -> "Edges":
        """Both orders of a graph's edges.

        Raises:
            ValueError: more nodes or edges than their numbers can count, or an edge of a node that is not there.
            TypeError: ends of edges are neither int64 nor int32, or not in a CPU's memory.
        """
        _require_integers(graph.edge_index)
        if graph.num_nodes >= MOST_NODES or graph.num_edges >= MOST_EDGES:
            raise ValueError(f"the kernels count up to {MOST_NODES} nodes and {MOST_EDGES} edges")
        if graph.num_edges and not 0 <= graph.edge_index.min() <= graph.edge_index.max() < graph.num_nodes:
            ends = f"{int(graph.edge_index.min())} to {int(graph.edge_index.max())}"
            raise ValueError(f"edges are of nodes {ends}, and the graph has the nodes 0 to {graph.num_nodes - 1}")
        target_rows, order = sort(graph.targets, graph.num_nodes)
        in_order = order.to(torch.int64)
        source_of = graph.sources[in_order].to(torch.int32)
        source_rows, position_of = sort(source_of, graph.num_nodes)
        target_of = graph.targets[in_order].to(torch.int32)[position_of.to(torch.int64)]
        return cls(graph.num_nodes, target_rows, source_of, source_rows, target_of, position_of, order, graph.num_nodes)

    @property
    def num_edges(self) -> int:
        """E."""
        return len(self.source_of)

    def c(self) -> library.Edges:
        """As the kernels take them."""
        return library.Edges(
            self.num_targets,
            self.num_nodes,
            self.num_edges,
            address(self.target_rows),
            address(self.source_of),
            address(self.source_rows),
            address(self.target_of),
            address(self.position_of),
        )


class SparseRows(NamedTuple):
    """A sparse matrix's entries by band of columns and row, and where each has its value."""

    num_rows: int
    bands: int
    starts: Tensor  # [bands x rows + 1] int64
    columns: Tensor  # [entries] int32
    places: Tensor | None  # [entries] uint32; None: in order

    def c(self) -> library.Sparse:
        """As the kernels take them."""
        return library.Sparse(
            self.num_rows,
            len(self.columns),
            self.bands,
            address(self.starts),
            address(self.columns),
            address(self.places),
        )

    def in_order(self, values: Tensor) -> Tensor:
        """The entries' values, one after another."""
        return values if self.places is None else values[self.places.to(torch.int64)]


class SparsePattern(NamedTuple):
    """Where the entries of sparse features lie, by row and by column."""

    by_row: SparseRows
    by_column: SparseRows

    @classmethod
    def of(cls, x: Tensor) -> "SparsePattern":
        """The pattern of a sparse CSR tensor.

        Raises:
            ValueError: more entries, rows or columns than their numbers can count, or an entry of a column that is not
                there.
        """
        _require_counted(x)
        (N, F), starts = x.shape, x.crow_indices().to(torch.int64).contiguous()
        columns = x.col_indices().to(torch.int32)
        row_of = torch.repeat_interleave(torch.arange(N, dtype=torch.int32), starts.diff())
        bands = max(1, -(-N // BAND))  # of no rows, too: a band is what sets the gradients to zero
        column_starts, places = sort(row_of.to(torch.int64) // BAND * F + columns, bands * F)
        return cls(
            SparseRows(N, 1, starts, columns, None),
            SparseRows(F, bands, column_starts, row_of[places.to(torch.int64)], places),
        )


class SparseFeatures(NamedTuple):
    """Sparse features that stay: both orders, and the values in each."""

    pattern: SparsePattern
    by_row: Tensor
    by_column: Tensor

    @classmethod
    def of(cls, x: Tensor) -> "SparseFeatures":
        """Of a sparse CSR tensor."""
        pattern = SparsePattern.of(x)
        return cls(pattern, pattern.by_row.in_order(x.values()), pattern.by_column.in_order(x.values()))


@dataclass(frozen=True)
class Rows:
    """How a node's H x C numbers lie in registers: heads in the lanes, or where that wastes more, channels."""

    heads: int
    channels: int
    heads_in_lanes: bool
    padded_heads: int
    padded_channels: int

    @classmethod
    def of(cls, config: LayerConfig, dtype: torch.dtype) -> "Rows":
        """The layout with fewer numbers of padding.

        Raises:
            TypeError: the kernels do not compute in this dtype.
        """
        H, C, lanes = config.heads, config.out_channels, width(dtype)
        padded_heads, padded_channels = (-(-size // lanes) * lanes for size in (H, C))
        if C * padded_heads <= H * padded_channels:
            return cls(H, C, True, padded_heads, C)
        return cls(H, C, False, H, padded_channels)

    @property
    def row(self) -> int:
        """Numbers in a node's row."""
        return self.padded_heads * self.padded_channels

    @property
    def is_padded(self) -> bool:
        """Whether a row holds more than its H x C numbers."""
        return self.row != self.heads * self.channels

    def c(self) -> library.Shape:
        """As the kernels take it."""
        return library.Shape(self.heads, self.channels, self.heads_in_lanes, self.row, self.padded_heads)

    def pack(self, weight: Tensor) -> Tensor:
        """[H, C, ...] -> [..., row]; no copy of a parameter that `empty` has laid out, unless rows are padded."""
        padded = weight
        if self.is_padded:
            ends = (0, self.padded_channels - self.channels, 0, self.padded_heads - self.heads)
            padded = functional.pad(weight, (0, 0) * (weight.dim() - 2) + ends)
        inner = (1, 0) if self.heads_in_lanes else (0, 1)
        return padded.permute(*range(2, weight.dim()), *inner).flatten(-2)

    def empty(self, *inputs: int) -> Tensor:
        """Float32 [H, C, *inputs] whose memory has the order of the kernels, without padding."""
        if self.heads_in_lanes:
            memory = torch.empty(*inputs, self.channels, self.heads)
            return memory.permute(-1, -2, *range(len(inputs)))
        memory = torch.empty(*inputs, self.heads, self.channels)
        return memory.permute(-2, -1, *range(len(inputs)))


def sort(keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Where each of `count` keys starts [count + 1], and the stable order of the keys."""
    keys = keys.contiguous()
    starts = torch.empty(count + 1, dtype=torch.int64)
    order = torch.empty(len(keys), dtype=torch.uint32)
    function = kernels().fused_sort32 if keys.dtype == torch.int32 else kernels().fused_sort
    function(address(keys), len(keys), count, address(starts), address(order))
    return starts, order


def _require_counted(x: Tensor) -> None:
    """Of a sparse CSR x, whose columns torch looks at only where it is asked to."""
    columns = x.col_indices()
    if len(columns) >= MOST_ENTRIES or max(x.shape) >= MOST_NODES:
        raise ValueError(f"the kernels count up to {MOST_ENTRIES} entries and {MOST_NODES} rows and columns")
    if len(columns) and not 0 <= columns.min() <= columns.max() < x.shape[1]:
        named = f"{int(columns.min())} to {int(columns.max())}"
        raise ValueError(f"entries of x are in columns {named}, and x has the columns 0 to {x.shape[1] - 1}")


def _require_integers(edge_index: Tensor) -> None:
    """The kernels would take other numbers' bytes for ends, and a tensor without memory cannot even be compared."""
    if edge_index.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"edge_index is {edge_index.dtype}, and ends of edges are int64 or int32: edge_index.long()")
    address(edge_index.contiguous())
