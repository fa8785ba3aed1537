"""Running combinations: blocks along rows that are contiguous, threads side by side along those that are not.

A block goes along its row tile by tile, with its next tile on the way meanwhile. Where rows are long, but so few that
multiprocessors had nothing to do, each tile has a block of its own: it posts what the tile comes to, and waits for what
those before it post. Elements are read once either way. Where tiles end, and how their sums are grouped, depends on the
extents alone, so results are the same from run to run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import extent
from tracec.codegen.cuda_entry import (
    Call,
    Entry,
    Function,
    Head,
    Routine,
    View,
    ceil_div,
    head,
    lines,
    one_after_another,
)
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_scan_row import Packs, Row, elements, fetched, find_packs, neighbours, row_of, used
from tracec.codegen.cuda_tiles import MULTIPROCESSORS
from tracec.codegen.cuda_writer import Accumulator, Parameter, Writer
from tracec.codegen.expressions import ATOM
from tracec.codegen.tree import Line
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import Kernel

#: Shorter scans run in one thread.
SHORT = 64
#: Rows of so many neighbours are walked side by side, a thread each.
NEIGHBOURS = 16
#: Threads of a block that scans a row,
MOST_THREADS = 256
#: and packs of each of them, where the row is long,
PARTS = 4
#: or as many as have so many bytes, where blocks wait for each other: what is on its way meanwhile are other tiles.
TURN_BYTES = 96
#: Bytes where elements take many registers.
FEW_BYTES = 64
#: Tiles from which a row pays for blocks that wait for each other, and for a launch that clears what they post,
MANY_TILES = 8
#: where there are fewer rows: of so many each has a block, and what those have on their way hides the way to memory.
MANY_ROWS = 4 * MULTIPROCESSORS
#: Blocks of a multiprocessor that are to go along rows with their next tiles on the way,
WALKING_BLOCKS = 5
#: and bytes of accumulators that a thread of them keeps.
WALKING_BYTES = 64
#: Tiles of a window: a block waits for all windows before its own, and for as many tiles as it has threads.
WINDOW = MOST_THREADS
#: So many rows side by side have a thread each, which walks all of one.
MANY_COLUMNS = 256 * MULTIPROCESSORS
#: Bytes of accumulators that a thread keeps of such a row, where there are fewer,
COLUMN_BYTES = 128
#: and tiles of their windows, at least: each takes a warp's time, and so does each window.
COLUMN_WINDOW = 32


@dataclass(frozen=True, slots=True)
class ScanView(View):
    """What ``scan*.j2`` need: the statements before and after a running combination."""

    start: tuple[str, ...]
    acc: Accumulator
    carry_combine: str
    before_combine: str
    item_combine: str
    sum_combine: str
    left_combine: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    length: str
    rows: str = ""
    last_row: str = ""
    groups: str = ""
    tile: str = ""
    items: int = 1
    parts: int = 1
    width: int = 1
    part_items: int = 1
    warp_items: int = 1
    warps: int = 1
    tiles: str = ""
    window: str = ""
    last: str = ""
    words: str = ""
    posts: str = ""
    tile_words: str = ""
    element: str = ""
    fetch: tuple[str, ...] = ()


def scan_routine(kernel: Kernel, name: str) -> Routine:
    """Functions that scan rows."""
    row = row_of(kernel)
    if row is None or plain(row.loop.var.extent) <= SHORT:
        return one_after_another(kernel, [map_entry(kernel, name)])
    if neighbours(row) >= NEIGHBOURS:
        return _columns(kernel, name, row)
    return _rows(kernel, name, row)


def _view(writer: Writer, name: str, threads: int, row: Row) -> ScanView:
    acc = row.update.name

    def combine(target: str) -> str:
        return writer.derive({acc: target}).update(acc, "other", ATOM)

    start = lines((*writer.unflatten("row", row.variables), *writer.statements(row.outer)))
    return ScanView(
        head(writer, name, threads), start, writer.accumulator(acc), combine("carry"), combine("before"),
        combine("own[item]"), combine("sum"), combine("lefts[part]"), (), (), writer.count(row.loop.var.extent),
        writer.count(extent(row.variables)),
    )  # fmt: skip


# -- rows side by side -----------------------------------------------------------------------------------------


def _columns(kernel: Kernel, name: str, row: Row) -> Routine:
    """A lane for each row, and a block for each tile of 32 of them."""
    rows, length = extent(row.variables), row.loop.var.extent
    if plain(rows) >= MANY_COLUMNS:
        return one_after_another(kernel, [map_entry(kernel, name)])
    writer = Writer(kernel)
    itemsize, light = writer.combines[row.update.name][1].itemsize, _is_light(writer, row)
    warps, groups = MOST_THREADS // 32, ceil_div(rows, 32)
    items = (COLUMN_BYTES if light else FEW_BYTES) // max(itemsize, 4)
    while items > 1 and plain(groups * ceil_div(length, warps * items)) < _enough(items * itemsize):
        items //= 2
    tile = warps * items
    tiles = ceil_div(length, tile)
    before, after = _elements_apart(writer, row)
    words = ceil_div(itemsize, 4)
    window = max(COLUMN_WINDOW, 1 << ceil_div(plain(tiles).bit_length(), 2))
    posts = 32 * words * (tiles + tiles // window)
    view = _leaving_room(_view(writer, name, MOST_THREADS, row), 4 if light and itemsize <= 4 else 1)
    view = replace(
        view, before=before, after=after, rows=writer.count(rows),
        last_row=writer.count(max(rows - 1, 0)),
        groups=writer.count(groups), tile=writer.count(tile), items=items, warps=warps,
    )  # fmt: skip
    view = _with_board(writer, view, tiles, window, words, posts)
    schedule = (
        f"a block of {MOST_THREADS} 32 rows by {tile}, {tiles} tiles a row of {length} that wait for those before"
    )
    sizes = tuple(b.dtype.itemsize for b in kernel.buffers)
    main = Entry(
        Function("scan_turns_column", view),
        (groups * tiles, 1, 1),
        (MOST_THREADS, 1, 1),
        0,
        (*sizes, _WORD),
        schedule=schedule,
    )
    return _cleared_first(kernel, main, 1 + groups * posts)


def _elements_apart(writer: Writer, row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a thread does for one element before and after they are combined."""
    position = writer.unflatten("chunk", [row.loop.var])
    lets = writer.statements(row.lets)
    results = writer.derive({row.update.name: "own[item]"}).statements(row.after)
    before = (*position, *lets, Line(f"own[item] = {writer.write(row.update.value)};"))
    return lines(before), lines((*position, *(lets if used(results, row, writer) else ()), *results))


# -- rows by blocks --------------------------------------------------------------------------------------------


def _rows(kernel: Kernel, name: str, row: Row) -> Routine:
    """A block for each row, or for each tile of one."""
    writer = Writer(kernel)
    rows, length = extent(row.variables), row.loop.var.extent
    packs = find_packs(writer, row)
    width = packs.width
    threads = min(MOST_THREADS, ceil_div(ceil_div(plain(length), width), 32) * 32)
    tiles = ceil_div(plain(length), threads * width)
    parts = max(min(PARTS if width > 1 else 2 * PARTS, tiles), 1)
    if plain(rows) < MANY_ROWS and ceil_div(tiles, parts) >= MANY_TILES:
        return _in_turns(writer, name, row, packs, threads, parts)
    ahead = fetched(writer, row, packs, threads) if parts < tiles else None
    if ahead:
        parts = min(parts, max(WALKING_BYTES // (width * _register_bytes(writer, row)), 1))
    view = _tile_view(writer, name, row, packs, threads, parts)
    schedule = f"a block of {threads} a row of {length}, {_each(parts, width)}"
    if ahead:
        element, before, fetch = ahead
        view = replace(view, element=element, before=before, fetch=fetch)
        view = _leaving_room(view, WALKING_BLOCKS if _is_light(writer, row) else 3)
        schedule += ", the next tile on its way"
    entry = Entry(Function("scan", view), (rows, 1, 1), (threads, 1, 1), 0, _sizes(kernel, packs), schedule=schedule)
    return one_after_another(kernel, [entry])


def _in_turns(writer: Writer, name: str, row: Row, packs: Packs, threads: int, parts: int) -> Routine:
    """A block for each tile, which waits for those before."""
    kernel, width = writer.kernel, packs.width
    rows, length = extent(row.variables), row.loop.var.extent
    itemsize, light = writer.combines[row.update.name][1].itemsize, _is_light(writer, row)
    if width > 1:
        parts = max((TURN_BYTES if light else FEW_BYTES) // (width * _register_bytes(writer, row)), 1)
    while parts > 1 and plain(rows) * ceil_div(plain(length), threads * width * parts) < _enough(
        parts * width * itemsize
    ):
        parts //= 2
    tile = threads * parts * width
    tiles = ceil_div(length, tile)
    words = ceil_div(itemsize, 4)
    posts = words * (tiles + tiles // WINDOW)
    view = _tile_view(writer, name, row, packs, threads, parts)
    view = _leaving_room(view, 5 if itemsize <= 4 else 4) if light else view
    view = _with_board(writer, view, tiles, WINDOW, words, posts)
    schedule = (
        f"a block of {threads} a tile of {tile}, {_each(parts, width)}, "
        f"{tiles} tiles a row of {length} that wait for those before"
    )
    sizes = (*_sizes(kernel, packs), _WORD)
    main = Entry(Function("scan_turns", view), (rows * tiles, 1, 1), (threads, 1, 1), 0, sizes, schedule=schedule)
    return _cleared_first(kernel, main, 1 + rows * posts)


def _tile_view(writer: Writer, name: str, row: Row, packs: Packs, threads: int, parts: int) -> ScanView:
    """The view of a function whose blocks have so many threads, with so many packs of a tile each."""
    before, after = elements(writer, row, packs)
    width = packs.width
    return replace(
        _view(writer, name, threads, row), before=before, after=after, tile=writer.count(threads * parts * width),
        items=parts * width, parts=parts, width=width, part_items=32 * width, warp_items=32 * width * parts,
        warps=threads // 32,
    )  # fmt: skip


def _each(parts: int, width: int) -> str:
    return f"{parts * width} elements a thread" + (f", packs of {width}" if width > 1 else "")


def _sizes(kernel: Kernel, packs: Packs) -> tuple[int, ...]:
    """The bytes that each buffer's address must be a multiple of."""
    return tuple(b.dtype.itemsize * (packs.width if b.name in packs.buffers else 1) for b in kernel.buffers)


def _register_bytes(writer: Writer, row: Row) -> int:
    """Bytes of registers that a sum takes."""
    return max(writer.combines[row.update.name][1].itemsize, 4)


def _enough(nbytes: int) -> int:
    """Blocks without which threads have fewer bytes each: with many, a multiprocessor has more than it can hold."""
    return (8 if nbytes > FEW_BYTES else 2) * MULTIPROCESSORS


def _is_light(writer: Writer, row: Row) -> bool:
    """Whether elements take few registers besides their sums."""
    combine, _ = writer.combines[row.update.name]
    return len(row.lets) + len(row.after) <= 3 and combine in ("add", "maximum", "minimum")


def _leaving_room(view: ScanView, blocks: int) -> ScanView:
    """The view with registers for so many blocks of a multiprocessor."""
    return replace(view, head=view.head.leaving_room(blocks))


#: What blocks post, behind the number of turns that were taken.
_BOARD = Parameter("unsigned long long", "board")
_WORD = 8


def _with_board(writer: Writer, view: ScanView, tiles: int, window: int, words: int, posts: int) -> ScanView:
    """The view of a function whose blocks post sums of so many words, for each of its chains so many."""
    return replace(
        view, head=replace(view.head, parameters=(*writer.parameters(), _BOARD)), tiles=writer.count(tiles),
        window=writer.count(window), last=writer.count(window - 1), words=writer.count(words),
        posts=writer.count(posts), tile_words=writer.count(32 * words),
    )  # fmt: skip


def _cleared_first(kernel: Kernel, main: Entry, words: int) -> Routine:
    """A function whose blocks wait for each other, behind one that makes their board ready."""
    board = len(kernel.buffers)
    calls = (Call(0, (board,)), Call(1, (*range(board), board)))
    return Routine((clear_entry(f"{main.name}_clear", words), main), calls, (_WORD * words,))


def clear_entry(name: str, words: int) -> Entry:
    """A function that makes a board of so many words of 64 bits ready."""
    top = Head(name, (_BOARD,), MOST_THREADS, "unsigned", blocks=0)
    view = _Clear(top, f"(unsigned){words}" if is_varying(words) else f"{words}u")
    grid = (ceil_div(words, MOST_THREADS), 1, 1)
    return Entry(
        Function("scan_clear", view), grid, (MOST_THREADS, 1, 1), 0, (_WORD,), schedule="a board of sums is cleared"
    )


@dataclass(frozen=True, slots=True)
class _Clear(View):
    words: str
