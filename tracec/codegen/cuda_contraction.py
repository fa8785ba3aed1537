"""Sums of products: tiles of both operands in shared memory, a tile of sums in each thread's registers.

Matrix products and all convolutions take this one way: the loops over m, n and k are flattened, and each
operand is loaded through its expression, whatever that reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import extent, peel, stride
from tracec.codegen.cuda_entry import Entry, Head, ceil_div, head, lines
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_rows import row_entry
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.expressions import ATOM
from tracec.codegen.render import render_template
from tracec.ir.dtype import DType
from tracec.ir.kernel import (
    Acc,
    Contraction,
    Expr,
    Kernel,
    Load,
    Loop,
    Stmt,
    Store,
    Var,
    subexpressions,
    walk,
)  # fmt: skip

#: Sums of so few products run in one thread.
SHORT_SUM = 4
#: From this many products on, few sums are reduced by a block each.
LONG_SUM = 512
#: Fewer tiles than this leave most of a GPU idle.
FEW_TILES = 32
#: Blocks that fill a GPU.
FULL = 128


@dataclass(frozen=True, slots=True)
class Tile:
    """How a block of 256 threads covers the sums.

    Attributes:
        m: Sums of a block along m.
        n: And along n.
        m_each: Sums of a thread along m.
        n_each: And along n.
        depth: Products of each sum between two barriers.
    """

    m: int
    n: int
    m_each: int
    n_each: int
    depth: int = 16

    @property
    def threads(self) -> int:
        return (self.m // self.m_each) * (self.n // self.n_each)


#: Every tile's operands divide evenly among its threads.
TILES = (
    Tile(128, 128, 8, 8, depth=8),
    Tile(128, 32, 4, 4),
    Tile(32, 128, 4, 4),
    Tile(64, 64, 4, 4),
    Tile(64, 16, 4, 1),
    Tile(16, 64, 1, 4),
    Tile(32, 32, 2, 2),
    Tile(16, 16, 1, 1),
)


def choose_tile(m: int, n: int, batch: int, dtype: DType) -> Tile:
    """The tile that wastes little, reuses much and still fills the machine."""

    def worth(tile: Tile) -> float:
        blocks = ceil_div(m, tile.m) * ceil_div(n, tile.n) * batch
        useful = m * n * batch / max(blocks * tile.m * tile.n, 1)
        reuse = tile.m_each * tile.n_each / (tile.m_each + tile.n_each)
        return useful * math.sqrt(reuse * min(1.0, blocks / FULL))

    fitting = [t for t in TILES if t.m_each * t.n_each * dtype.itemsize <= 256]
    return max(fitting, key=worth)


@dataclass(frozen=True, slots=True)
class OperandView:
    """One operand's tile: what to load, and along which axis neighbouring threads go."""

    name: str
    axis: str
    size: int
    parts: int
    extent: str
    along_k: bool
    guarded: bool
    body: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True)
class ContractionView:
    """What ``contraction.j2`` needs."""

    head: Head
    type: str
    zero: str
    a: OperandView
    b: OperandView
    depth: int
    pad: int
    extent: str
    threads: int
    m_fast: bool
    m_threads: int
    n_threads: int
    m_each: int
    n_each: int
    m_tiles: str
    n_tiles: str
    batch_tiles: str
    batch: tuple[str, ...]
    multiply_add: str
    acc: str
    guarded: bool
    epilogue: tuple[str, ...]


def contraction_entry(kernel: Kernel, name: str) -> Entry:
    """A function that computes tiles of sums; a block, a warp or a thread a sum where there are few of them."""
    mark = kernel.contraction
    assert mark is not None
    loops = {s.var.name: s.var for s in walk(kernel.body) if isinstance(s, Loop)}
    batch, m, n, k = ([loops[x] for x in names] for names in (mark.batch, mark.m, mark.n, mark.k))
    acc = next(s for s in walk(kernel.body) if isinstance(s, Acc) and s.name == mark.acc)
    tile = choose_tile(extent(m), extent(n), extent(batch), acc.dtype)
    m_tiles, n_tiles = ceil_div(extent(m), tile.m), ceil_div(extent(n), tile.n)
    blocks = m_tiles * n_tiles * extent(batch)
    if extent(k) <= SHORT_SUM:
        return map_entry(kernel, name)
    if min(extent(m), extent(n)) <= 2 or (extent(k) >= LONG_SUM and blocks < FEW_TILES):
        return row_entry(kernel, name)
    writer = Writer(kernel)
    _, body = peel(kernel.body)
    after = [s for s in body if not isinstance(s, Loop) and s is not acc]
    kind = writer.dialect.types[acc.dtype]
    view = ContractionView(
        head=head(writer, name, tile.threads),
        type=kind,
        zero=writer.accumulator(acc.name).identity,
        a=_operand(writer, "a", "m", mark.a, m, k, tile.m, tile),
        b=_operand(writer, "b", "n", mark.b, n, k, tile.n, tile),
        depth=tile.depth,
        pad=max(16 // acc.dtype.itemsize, 1),
        extent=writer.count(extent(k)),
        threads=tile.threads,
        m_fast=_stores_along(after, m) and not _stores_along(after, n),
        m_threads=tile.m // tile.m_each,
        n_threads=tile.n // tile.n_each,
        m_each=tile.m_each,
        n_each=tile.n_each,
        m_tiles=writer.count(max(m_tiles, 1)),
        n_tiles=writer.count(max(n_tiles, 1)),
        batch_tiles=writer.count(max(m_tiles * n_tiles, 1)),
        batch=lines(writer.unflatten("batch", batch)),
        multiply_add=_multiply_add(writer, mark, acc.dtype),
        acc=writer.name(acc.name),
        guarded=extent(m) % tile.m != 0 or extent(n) % tile.n != 0,
        epilogue=lines((*writer.unflatten("m", m), *writer.unflatten("n", n), *writer.statements(after))),
    )
    text = render_template("cuda/contraction.j2", k=view)
    schedule = f"tiles of {tile.m} by {tile.n} by {tile.depth}, {tile.m_each} by {tile.n_each} a thread"
    alignment = tuple(b.dtype.itemsize for b in kernel.buffers)
    return Entry(name, text, (blocks, 1, 1), (tile.threads, 1, 1), 0, alignment, schedule=schedule)


def _operand(
    writer: Writer, name: str, axis: str, value: Expr, along: Sequence[Var], k: Sequence[Var], size: int, tile: Tile
) -> OperandView:
    along_k = _reads_along(value, k) and not _reads_along(value, along)
    body = (*writer.unflatten(axis, along), *writer.unflatten("k", k))
    guarded = extent(along) % size != 0 or extent(k) % tile.depth != 0
    parts = size * tile.depth // tile.threads
    return OperandView(
        name, axis, size, parts, writer.count(extent(along)), along_k, guarded, lines(body), writer.write(value)
    )


def _reads_along(value: Expr, variables: Sequence[Var]) -> bool:
    """Whether the innermost of these loops walks neighbouring elements of something that is loaded."""
    return bool(variables) and any(
        isinstance(e, Load) and stride(e.index, variables[-1]) == 1 for e in subexpressions(value)
    )


def _stores_along(body: Sequence[Stmt], variables: Sequence[Var]) -> bool:
    return bool(variables) and any(isinstance(s, Store) and stride(s.index, variables[-1]) == 1 for s in body)


def _multiply_add(writer: Writer, mark: Contraction, dtype: DType) -> str:
    product = writer.dialect.operation("mul", dtype).text.format("a_part[mm]", "b_part[nn]")
    return writer.derive({mark.acc: "sums[mm][nn]"}).update(mark.acc, product, ATOM)
