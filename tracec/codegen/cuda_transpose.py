"""Maps that read along one loop and write along another: a tile is turned in shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import certain_loads, extent, peel, stride
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import Entry, Head, ceil_div, head, lines
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.render import render_template
from tracec.ir.kernel import Kernel, Load, Loop, Ref, Stmt, Store, Var, subexpressions

TILE = 32
#: Threads of a block: 32 by 8, each of which moves four elements.
ROWS = 8
#: A tile of fewer elements along one side is mostly idle.
SHORT = 8


@dataclass(frozen=True, slots=True)
class TileView:
    """An array in shared memory, and what fills its element."""

    name: str
    type: str
    value: str


@dataclass(frozen=True, slots=True)
class TransposeView:
    """What ``transpose.j2`` needs; ``reading`` and ``writing`` are the loops that loads and stores walk along."""

    head: Head
    index: str
    tiles: tuple[TileView, ...]
    reading: str
    writing: str
    reading_extent: int
    writing_extent: int
    reading_tiles: str
    writing_tiles: str
    tiles_each: str
    outer: tuple[str, ...]
    body: tuple[str, ...]


def transpose_entry(kernel: Kernel, name: str) -> Entry:
    """A function in which a block turns one tile; without anything to turn, a map."""
    variables, body = peel(kernel.body)
    found = find_turn(variables, body)
    if found is None:
        return map_entry(kernel, name)
    reading, writing, turned = found
    writer = Writer(kernel)
    tiles: list[TileView] = []
    for number, load in enumerate(turned):
        tile = f"{writer.name(load.buffer)}_tile{number}"
        tiles.append(TileView(tile, memory_type(load.dtype), writer.write(load)))
    outer = tuple(v for v in variables if v not in (reading, writing))
    inner = writer.derive({})
    inner.packs |= {
        (load.buffer, load.index): f"{t.name}[part][threadIdx.x]" for load, t in zip(turned, tiles, strict=True)
    }
    reading_tiles, writing_tiles = ceil_div(reading.extent, TILE), ceil_div(writing.extent, TILE)
    view = TransposeView(
        head(writer, name, TILE * ROWS), writer.index, tuple(tiles),
        writer.name(reading.name), writer.name(writing.name), reading.extent, writing.extent,
        writer.count(reading_tiles), writer.count(writing_tiles), writer.count(reading_tiles * writing_tiles),
        lines(writer.unflatten("rest", outer)), lines(inner.statements(body)),
    )  # fmt: skip
    blocks = extent(outer) * reading_tiles * writing_tiles
    alignment = tuple(b.dtype.itemsize for b in kernel.buffers)
    return Entry(
        name, render_template("cuda/transpose.j2", k=view), (blocks, 1, 1), (TILE, ROWS, 1), 0, alignment,
        schedule=f"tiles of {TILE} by {TILE}, {len(tiles)} turned",
    )  # fmt: skip


def find_turn(variables: Sequence[Var], body: Sequence[Stmt]) -> tuple[Var, Var, tuple[Load, ...]] | None:
    """The loop that loads walk along, the one that stores walk along, and the loads to turn; None without a pair."""
    if any(isinstance(s, Loop) for s in body):
        return None
    stores = [s.index for s in body if isinstance(s, Store)]
    writing = next((v for v in variables if stores and all(stride(i, v) == 1 for i in stores)), None)
    if writing is None or writing.extent < SHORT:
        return None
    loads = [x for x in dict.fromkeys(certain_loads(body)) if _by_loops_alone(x)]
    for reading in variables:
        if reading is writing or reading.extent < SHORT:
            continue
        turned = tuple(x for x in loads if stride(x.index, reading) == 1 and stride(x.index, writing) not in (0, 1))
        if turned:
            return reading, writing, turned
    return None


def _by_loops_alone(load: Load) -> bool:
    """Whether the position hangs on loop variables only, so that any thread can load the element."""
    return not any(isinstance(e, (Ref, Load)) for e in subexpressions(load.index))
