"""Running combinations: blocks along rows that are contiguous, threads side by side along those that are not.

Long rows are cut into tiles, a block each, which read their elements once: a block posts what its tile comes to, and
waits for what those before it post. Where tiles end, and how their sums are grouped, depends on the extents alone, so
results are the same from run to run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import extent
from tracec.codegen.cuda_entry import Call, Entry, Head, Routine, ceil_div, head, lines, one_after_another
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_scan_row import Row, elements, fetched, find_packs, neighbours, row_of, used
from tracec.codegen.cuda_tiles import MULTIPROCESSORS
from tracec.codegen.cuda_writer import Accumulator, Writer
from tracec.codegen.expressions import ATOM
from tracec.codegen.render import render_template
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
#: Tiles from which a row pays for blocks that wait for each other, and for a launch that clears what they post.
MANY_TILES = 8
#: Blocks that take one tile after another, where there are more tiles: a few more than are on a GPU at once.
AHEAD_BLOCKS = 8 * MULTIPROCESSORS
#: Tiles of a window: a block waits for all windows before its own, and for as many tiles as it has threads.
WINDOW = MOST_THREADS
#: So many rows side by side have a thread each, which walks all of one.
MANY_COLUMNS = 256 * MULTIPROCESSORS
#: Bytes of accumulators that a thread keeps of such a row, where there are fewer,
COLUMN_BYTES = 128
#: and tiles of their windows, at least: each takes a warp's time, and so does each window.
COLUMN_WINDOW = 32


@dataclass(frozen=True, slots=True)
class ScanView:
    """What ``scan*.j2`` need: the statements before and after a running combination."""

    head: Head
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
    total: str = ""
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
    text = render_template("cuda/scan_turns_column.j2", k=view)
    schedule = (
        f"a block of {MOST_THREADS} 32 rows by {tile}, {tiles} tiles a row of {length} that wait for those before"
    )
    sizes = tuple(b.dtype.itemsize for b in kernel.buffers)
    main = Entry(name, text, (groups * tiles, 1, 1), (MOST_THREADS, 1, 1), 0, (*sizes, _WORD), schedule=schedule)
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
    now = plain(length)
    threads = min(MOST_THREADS, ceil_div(ceil_div(now, width), 32) * 32)
    parts = max(min(PARTS if width > 1 else 2 * PARTS, ceil_div(now, threads * width)), 1)
    turns = ceil_div(now, threads * width * parts) >= MANY_TILES
    itemsize, light = writer.combines[row.update.name][1].itemsize, _is_light(writer, row)
    if turns and width > 1:
        parts = max((TURN_BYTES if light else FEW_BYTES) // (width * max(itemsize, 4)), 1)
    while (
        turns and parts > 1 and plain(rows) * ceil_div(now, threads * width * parts) < _enough(parts * width * itemsize)
    ):
        parts //= 2
    tile = threads * parts * width
    tiles = ceil_div(length, tile)
    before, after = elements(writer, row, packs)
    view = _view(writer, name, threads, row)
    view = _leaving_room(view, 5 if itemsize <= 4 else 4) if turns and light else view
    view = replace(
        view, before=before, after=after, tile=writer.count(tile), items=parts * width,
        parts=parts, width=width, part_items=32 * width, warp_items=32 * width * parts, warps=threads // 32,
    )  # fmt: skip
    wide = f", packs of {width}" if width > 1 else ""
    each = "a row" if not turns else "a tile"
    schedule = (
        f"a block of {threads} {each} of {length if not turns else tile}, {parts * width} elements a thread{wide}"
    )
    block = (threads, 1, 1)
    sizes = tuple(b.dtype.itemsize * (width if b.name in packs.buffers else 1) for b in kernel.buffers)
    if not turns:
        text = render_template("cuda/scan.j2", k=view)
        return one_after_another(kernel, [Entry(name, text, (rows, 1, 1), block, 0, sizes, schedule=schedule)])
    words = ceil_div(itemsize, 4)
    posts = words * (tiles + tiles // WINDOW)
    view, blocks = _with_board(writer, view, tiles, WINDOW, words, posts), rows * tiles
    schedule += f", {tiles} tiles a row of {length} that wait for those before"
    ahead = fetched(writer, row, packs, threads) if light else None
    if ahead and not is_varying(blocks) and blocks > AHEAD_BLOCKS:
        element, before, fetch = ahead
        view = replace(view, element=element, before=before, fetch=fetch, total=writer.count(blocks))
        view = _leaving_room(view, 4 if itemsize <= 4 else 3)
        blocks, schedule = AHEAD_BLOCKS, f"{schedule}, the next one read ahead"
    text = render_template(f"cuda/scan_{'ahead' if view.fetch else 'turns'}.j2", k=view)
    main = Entry(name, text, (blocks, 1, 1), block, 0, (*sizes, _WORD), schedule=schedule)
    return _cleared_first(kernel, main, 1 + rows * posts)


def _enough(nbytes: int) -> int:
    """Blocks without which threads have fewer bytes each: with many, a multiprocessor has more than it can hold."""
    return (8 if nbytes > FEW_BYTES else 2) * MULTIPROCESSORS


def _is_light(writer: Writer, row: Row) -> bool:
    """Whether elements take few registers besides their sums."""
    combine, _ = writer.combines[row.update.name]
    return len(row.lets) + len(row.after) <= 3 and combine in ("add", "maximum", "minimum")


def _leaving_room(view: ScanView, blocks: int) -> ScanView:
    """The view with registers for so many blocks of a multiprocessor."""
    return replace(view, head=replace(view.head, blocks=blocks))


#: What blocks post, behind the number of turns that were taken.
_BOARD = "unsigned long long *__restrict__ board"
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
    top = Head(name, (_BOARD,), MOST_THREADS, "unsigned")
    text = render_template(
        "cuda/scan_clear.j2", k=_Clear(top, f"(unsigned){words}" if is_varying(words) else f"{words}u")
    )
    grid = (ceil_div(words, MOST_THREADS), 1, 1)
    return Entry(name, text, grid, (MOST_THREADS, 1, 1), 0, (_WORD,), schedule="a board of sums is cleared")


@dataclass(frozen=True, slots=True)
class _Clear:
    head: Head
    words: str
