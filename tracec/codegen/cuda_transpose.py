"""Maps that read along one loop and write along another: a tile is turned in shared memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import (
    MOST_ELEMENTS,
    WIDEST,
    Packs,
    alignment,
    certain_loads,
    extent,
    find_packs,
    peel,
    stride,
)  # fmt: skip
from tracec.codegen.cuda_chunk import write_pack
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import Entry, Function, View, alignments, ceil_div, head, lines
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_writer import Writer
from tracec.ir.extent import divides, is_varying, plain
from tracec.ir.kernel import Kernel, Load, Loop, Ref, Stmt, Store, Var, subexpressions

THREADS = 256
#: Elements along a side of a tile: large ones have more loads in flight,
LARGE, SMALL = 64, 32
#: but there must be blocks enough, and shared memory for several of them.
MANY_BLOCKS = 528
TILE_BYTES = 34 * 1024
#: Threads that share a row of a tile, at least: pieces of memory of 64 bytes or more.
LANES = 8
#: A tile of fewer elements along one side is mostly idle: then each thread walks that side.
SHORT = 8


@dataclass(frozen=True, slots=True)
class TileView:
    """An array in shared memory, the packs that a thread reads for it, and what reads one."""

    name: str
    type: str
    pack: str
    load: str


@dataclass(frozen=True, slots=True)
class TransposeView(View):
    """What ``transpose.j2`` needs; ``reading`` and ``writing`` are the loops that loads and stores walk along.

    Attributes:
        size: Elements along a side of a tile.
        stride: From row to row of a tile: odd, so that rows start at different banks.
        read_width: Elements of a pack that is read.
        read_lanes: Threads of a row of packs.
        read_parts: Packs of each thread.
        reading_at: The name of a pack's first position along the loop.
        writing_at: The same where packs are written.
        read_guard: Condition for a pack to be inside where there are tiles that are not whole; empty otherwise.
    """

    index: str
    tiles: tuple[TileView, ...]
    size: int
    stride: int
    threads: int
    read_width: int
    read_lanes: int
    read_parts: int
    write_width: int
    write_lanes: int
    write_parts: int
    reading: str
    reading_at: str
    writing: str
    writing_at: str
    read_guard: str
    write_guard: str
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
    if min(plain(reading.extent), plain(writing.extent)) < SHORT:
        return map_entry(kernel, name, _short_inside(variables, body, reading, writing))
    writer = Writer(kernel)
    size = _tile_size(variables, reading, writing, turned)
    width = _read_width(reading, turned, size // LANES)
    packs = find_packs(body, writing, writer.buffers)
    if packs.width > size // LANES:
        packs = find_packs(body, writing, writer.buffers, size // LANES)
    reading_at, writing_at = f"{writer.name(reading.name)}_first", writer.name(writing.name)
    at_first = writer.derive({reading.name: reading_at})
    tiles: list[TileView] = []
    inner = writer.derive({})
    for number, load in enumerate(turned):
        tile, kind = f"{writer.name(load.buffer)}_tile{number}", memory_type(load.dtype)
        where = f"{writer.name(load.buffer)} + {at_first.write(load.index)}"
        tiles.append(TileView(tile, kind, f"Pack<{kind}, {width}>", f"load_pack<{width}>({where})"))
        inner.packs[load.buffer, load.index] = f"{tile}[row][column{' + e' if packs.width > 1 else ''}]"
    text = write_pack(inner, writing, body, packs) if packs.width > 1 else inner.statements(body)
    if packs.width > 1:
        writing_at = f"{writing_at}_first"
    outer = tuple(v for v in variables if v not in (reading, writing))
    reading_tiles, writing_tiles = ceil_div(reading.extent, size), ceil_div(writing.extent, size)
    guarded = any(is_varying(v.extent) or v.extent % size for v in (reading, writing))
    names = writer.name(reading.name), writer.name(writing.name)
    view = TransposeView(
        head(writer, name, THREADS), writer.index, tuple(tiles), size, size + 1, THREADS,
        width, size // width, size * size // width // THREADS,
        packs.width, size // packs.width, size * size // packs.width // THREADS,
        names[0], reading_at, names[1], writing_at,
        f"{reading_at} < {reading.extent} && {names[1]} < {writing.extent}" if guarded else "",
        f"{names[0]} < {reading.extent} && {writing_at} < {writing.extent}" if guarded else "",
        writer.count(reading_tiles), writer.count(writing_tiles), writer.count(reading_tiles * writing_tiles),
        lines(writer.unflatten("rest", outer)), lines(text),
    )  # fmt: skip
    blocks = extent(outer) * reading_tiles * writing_tiles
    wide = [Packs(width, tuple((x.buffer, x.index) for x in turned)), packs]
    return Entry(
        Function("transpose", view), (blocks, 1, 1), (THREADS, 1, 1), 0,
        alignments(kernel, wide),
        schedule=f"tiles of {size} by {size}, {len(tiles)} turned, read in packs of {width}, written of {packs.width}",
    )  # fmt: skip


def find_turn(variables: Sequence[Var], body: Sequence[Stmt]) -> tuple[Var, Var, tuple[Load, ...]] | None:
    """The loop that loads walk along, the one that stores walk along, and the loads to turn; None without a pair."""
    if any(isinstance(s, Loop) for s in body):
        return None
    stores = [s.index for s in body if isinstance(s, Store)]
    writing = next((v for v in variables if stores and all(stride(i, v) == 1 for i in stores)), None)
    if writing is None:
        return None
    loads = [x for x in dict.fromkeys(certain_loads(body)) if _by_loops_alone(x)]
    for reading in sorted(variables, key=lambda v: plain(v.extent) < SHORT):
        if reading is writing:
            continue
        turned = tuple(x for x in loads if stride(x.index, reading) == 1 and stride(x.index, writing) not in (0, 1))
        if turned:
            return reading, writing, turned
    return None


def _by_loops_alone(load: Load) -> bool:
    """Whether the position depends on loop variables only, so that any thread can load the element."""
    return not any(isinstance(e, (Ref, Load)) for e in subexpressions(load.index))


def _short_inside(variables: Sequence[Var], body: Sequence[Stmt], reading: Var, writing: Var) -> tuple[Stmt, ...]:
    """Loops in which each thread walks the short one: neighbouring threads still read or write what lies together."""
    short, long = (reading, writing) if plain(reading.extent) < plain(writing.extent) else (writing, reading)
    nest: tuple[Stmt, ...] = (Loop(short, tuple(body), "serial"),)
    for v in reversed((*(v for v in variables if v not in (short, long)), long)):
        nest = (Loop(v, nest),)
    return nest


def _tile_size(variables: Sequence[Var], reading: Var, writing: Var, turned: Sequence[Load]) -> int:
    sides = plain(reading.extent), plain(writing.extent)
    blocks = plain(extent(variables)) // max(math.prod(sides), 1) * math.prod(ceil_div(n, LARGE) for n in sides)
    room = sum(x.dtype.itemsize for x in turned) * LARGE * (LARGE + 1) <= TILE_BYTES
    wide = min(sides) > SMALL
    return LARGE if wide and room and blocks >= MANY_BLOCKS else SMALL


def _read_width(reading: Var, turned: Sequence[Load], most: int) -> int:
    """Elements of the packs in which loads walk along their loop."""
    width = min(WIDEST // max(x.dtype.itemsize for x in turned), MOST_ELEMENTS, most)
    while width > 1 and not (
        divides(width, reading.extent) and all(alignment(x.index, reading) % width == 0 for x in turned)
    ):
        width //= 2
    return width
