"""Running combinations: blocks along rows that are contiguous, threads side by side along those that are not.

Long rows are cut into tiles, a block each, which read their elements once: a block posts what its tile comes to, and
waits for what those before it post. Where tiles end, and how their sums are grouped, hangs on the extents alone, so
results are the same from run to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import alignment, certain_loads, extent, peel, stride
from tracec.codegen.cuda_chunk import mentions
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import Call, Entry, Head, Routine, ceil_div, head, lines, one_after_another
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_tiles import MULTIPROCESSORS
from tracec.codegen.cuda_writer import Accumulator, Writer
from tracec.codegen.expressions import ATOM
from tracec.codegen.render import render_template
from tracec.codegen.tree import Block, Line, Tree
from tracec.ir.extent import divides, is_varying, plain
from tracec.ir.kernel import (
    Acc,
    Expr,
    Kernel,
    Let,
    Linear,
    Load,
    Loop,
    Ref,
    Stmt,
    Store,
    Update,
    Var,
    expressions,
    subexpressions,
)  # fmt: skip

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
#: Bytes that are copied ahead by one instruction.
COPIED = (4, 8, 16)
#: Tiles of a window: a block waits for all windows before its own, and for as many tiles as it has threads.
WINDOW = MOST_THREADS
#: So many rows side by side have a thread each, which walks all of one.
MANY_COLUMNS = 256 * MULTIPROCESSORS
#: Bytes of accumulators that a thread keeps of such a row, where there are fewer,
COLUMN_BYTES = 128
#: and tiles of their windows, at least: each takes a warp's time, and so does each window.
COLUMN_WINDOW = 32


@dataclass(frozen=True, slots=True)
class Row:
    """A scan taken apart.

    Attributes:
        variables: The loops over rows.
        loop: The loop along a row.
        outer: Statements of a row, before the scan.
        lets: Statements of an element before its update.
        update: The update.
        after: Statements of an element after it.
    """

    variables: tuple[Var, ...]
    loop: Loop
    outer: tuple[Stmt, ...]
    lets: tuple[Stmt, ...]
    update: Update
    after: tuple[Stmt, ...]


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
    row = _row(kernel)
    if row is None or plain(row.loop.var.extent) <= SHORT:
        return one_after_another(kernel, [map_entry(kernel, name)])
    if _neighbours(row) >= NEIGHBOURS:
        return _columns(kernel, name, row)
    return _rows(kernel, name, row)


def _row(kernel: Kernel) -> Row | None:
    """The parts of a scan of one loop with one update; None for others."""
    variables, body = peel(kernel.body)
    serial = [s for s in body if isinstance(s, Loop)]
    accs = [s for s in body if isinstance(s, Acc)]
    if len(serial) != 1 or len(accs) != 1 or any(isinstance(s, Loop) for s in serial[0].body):
        return None
    updates = [(n, s) for n, s in enumerate(serial[0].body) if isinstance(s, Update)]
    if len(updates) != 1:
        return None
    ((place, update),) = updates
    outer = tuple(s for s in body if not isinstance(s, (Acc, Loop)))
    inner = serial[0].body
    return Row(variables, serial[0], outer, inner[:place], update, inner[place + 1 :])


def _neighbours(row: Row) -> int:
    """How many rows lie next to each other, element by element."""
    stores = [s for s in row.after if isinstance(s, Store)]
    if not row.variables or any(stride(s.index, row.loop.var) in (1, -1) for s in stores):
        return 0
    last = row.variables[-1]
    return plain(last.extent) if any(stride(s.index, last) == 1 for s in stores) else 0


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


def _used(statements: Sequence[Tree], row: Row, writer: Writer) -> bool:
    """Whether statements after the update mention names from before it."""
    return any(mentions(statements, writer.name(s.name)) for s in row.lets if isinstance(s, Let))


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
    return lines(before), lines((*position, *(lets if _used(results, row, writer) else ()), *results))


# -- rows by blocks --------------------------------------------------------------------------------------------


def _rows(kernel: Kernel, name: str, row: Row) -> Routine:
    """A block for each row, or for each tile of one."""
    writer = Writer(kernel)
    rows, length = extent(row.variables), row.loop.var.extent
    packs = _packs(writer, row)
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
    before, after = _elements(writer, row, packs)
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
    fetched = _fetched(writer, row, packs, threads) if light else None
    if fetched and not is_varying(blocks) and blocks > AHEAD_BLOCKS:
        element, before, fetch = fetched
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


@dataclass(frozen=True, slots=True)
class _Packs:
    """Accesses along a row by packs: their index at the pack's first element in memory, and whether they run back."""

    width: int
    loads: dict[tuple[str, Expr], tuple[Expr, bool]]
    stores: dict[tuple[str, Expr], tuple[Expr, bool]]

    @property
    def buffers(self) -> set[str]:
        return {buffer for buffer, _ in (*self.loads, *self.stores)}


def _packs(writer: Writer, row: Row) -> _Packs:
    """The widest packs that all accesses along the row can have; those that do not move with it are left alone."""
    var = row.loop.var
    loads = {(x.buffer, x.index) for x in certain_loads(row.loop.body)}
    stores = {(s.buffer, s.index) for s in row.after if isinstance(s, Store) and not s.add}
    named = {s.name for s in row.loop.body if isinstance(s, Let)}
    written = {buffer for buffer, _ in stores}
    moving = {a for a in loads | stores if stride(a[1], var) in (1, -1)}
    apart = not any(buffer in written for buffer, _ in loads)
    if (
        not moving
        or not apart
        or any(isinstance(e, Ref) and e.name in named for _, i in moving for e in subexpressions(i))
    ):
        return _Packs(1, {}, {})
    width = 16 // max(writer.buffers[buffer].itemsize for buffer, _ in moving)
    while width > 1:
        first = {a: _first(a[1], var, width) for a in moving}
        if divides(width, var.extent) and all(alignment(i, var) % width == 0 for i, _ in first.values()):
            return _Packs(
                width, {a: f for a, f in first.items() if a in loads}, {a: f for a, f in first.items() if a in stores}
            )
        width //= 2
    return _Packs(1, {}, {})


def _first(index: Expr, var: Var, width: int) -> tuple[Expr, bool]:
    """The index of the first element in memory of a pack that starts at an iteration."""
    if stride(index, var) == 1:
        return index, False
    assert isinstance(index, Linear)
    return Linear(index.terms, index.offset - (width - 1)), True


def _fetched(
    writer: Writer, row: Row, packs: _Packs, threads: int
) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
    """What a tile is read as, ahead, where that is all that is read: its elements' type, what takes a pack of it, and
    what asks for one.
    """
    loads = {(x.buffer, x.index) for x in certain_loads(row.loop.body)}
    every = {(x.buffer, x.index) for s in row.loop.body for e in expressions(s) for x in subexpressions(e)
             if isinstance(x, Load)}  # fmt: skip
    results = writer.statements(row.after)
    if len(packs.loads) != 1 or _used(results, row, writer) or loads != packs.loads.keys() or every != loads:
        return None
    ((access, (index, _)),) = packs.loads.items()
    nbytes = packs.width * writer.buffers[access[0]].itemsize
    if nbytes not in COPIED:
        return None
    first, slot = f"{writer.name(row.loop.var.name)}_first", f"ahead + (part * {threads}u + thread) * {packs.width}"
    before, _ = _elements(writer, row, packs, slot)
    where = f"{writer.name(access[0])} + {writer.derive({row.loop.var.name: first}).write(index)}"
    chunk = f"const {writer.index} {first} = ({writer.index})chunk;"
    return memory_type(writer.buffers[access[0]]), before, (chunk, f"copy_ahead<{nbytes}>({slot}, {where});")


def _elements(writer: Writer, row: Row, packs: _Packs, slot: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a thread does for one pack of elements before and after they are combined.

    Args:
        writer: Writes the kernel.
        row: The scan.
        packs: Its accesses.
        slot: Where packs have been copied to; empty for none.
    """
    var, width = row.loop.var, packs.width
    name = writer.name(var.name)
    first = f"{name}_first"
    at_first = writer.derive({var.name: first})
    inner = writer.derive({})
    head_lines: list[Tree] = [Line(f"const {writer.index} {first} = ({writer.index})chunk;")]
    loads: list[Tree] = []
    declared: list[Tree] = []
    stores: list[Tree] = []
    for number, (access, (index, back)) in enumerate({**packs.loads, **packs.stores}.items()):
        pack = f"{writer.name(access[0])}_pack{number}"
        kind = f"Pack<{memory_type(writer.buffers[access[0]])}, {width}>"
        where = f"{writer.name(access[0])} + {at_first.write(index)}"
        inner.packs[access] = f"{pack}.at[{width - 1} - e]" if back else f"{pack}.at[e]"
        if access in packs.loads:
            loads.append(Line(f"const {kind} {pack} = load_pack<{width}>({slot or where});"))
        else:
            declared.append(Line(f"{kind} {pack};"))
            stores.append(Line(f"store_pack({where}, {pack});"))
    own = f"own[part * {width} + e]"
    acc = row.update.name
    lets = inner.statements(row.lets)
    results = inner.derive({acc: own}).statements(row.after)
    again = _used(results, row, writer)
    each = Line(f"const {writer.index} {name} = {first} + e;")

    def over(body: Sequence[Tree]) -> Block:
        position = [each] if mentions(body, name) else []
        return Block(f"for (int e = 0; e < {width}; ++e)", (*position, *body), ("unroll",))

    value = Line(f"{own} = {inner.write(row.update.value)};")
    before = (*head_lines, *loads, over((*lets, value)))
    after = (*head_lines, *(loads if again else ()), *declared, over((*(lets if again else ()), *results)), *stores)
    return lines(before), lines(after)
