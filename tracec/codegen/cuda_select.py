"""Selection in long rows: digits of the keys, the highest one first, tell which elements have some ranks.

One block goes over a row where rows are many, or are not very long: in one launch. The others are for several blocks a
row, which count all values of a digit in one launch; the last one collects what is left, to be put in order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import Call, Entry, Function, Head, Routine, View, ceil_div
from tracec.codegen.cuda_scan import clear_entry
from tracec.codegen.cuda_sort import SHORT_ROW as SHORT_SORT
from tracec.codegen.cuda_sort import sort_routine
from tracec.codegen.cuda_sort_digits import MARKED
from tracec.codegen.cuda_sort_keys import BOARD, LIMIT, Keys, Order, Rows
from tracec.codegen.cuda_tiles import MULTIPROCESSORS
from tracec.codegen.cuda_writer import Parameter
from tracec.ir.extent import is_varying, plain

#: Shorter rows are sorted: by a warp, that has no barrier.
SHORT_ROW = 1024
#: Rows of which more than this share is asked for are sorted.
SHARE = 4
#: Elements that a block puts in order, at least, and of which so many are asked for, at most.
ROOM, MOST = 1024, 1024
#: Of fewer elements a sort takes no longer where what is selected is more than a block sorts.
MANY = 1 << 21
#: Longer rows are those of several blocks, where there are fewer than multiprocessors.
LONG_ROW = 1 << 17
#: Threads of a block and bits of a digit, for rows of up to so many elements,
FEW_ELEMENTS, FEW_THREADS, FEW_BITS = 4096, 256, 8
#: for longer ones, and for few of them: a block is then alone on its multiprocessor.
THREADS, ALONE, DIGIT = 512, 1024, 11
#: Several blocks a row: threads of each, elements that a thread counts, at least, and of a tile that is collected.
PARTS_THREADS, COUNTED, ITEMS, LONG_ITEMS = 256, 16, 16, 8
#: Blocks of a multiprocessor that count.
COUNTING = 2
#: Words of a board in front of the counts: the number of turns that were taken.
TURNS = 2


@dataclass(frozen=True, slots=True)
class SelectView(View):
    """What ``select_*.j2`` need.

    Attributes:
        load: Statements before a key's value.
        value: The key.
        result: Statements for each place.
        bits: Of a key.
        last: The last rank that is asked for; that of the only one, where it is ``single``.
        digit: Bits of a digit.
        each: Values of a digit that a thread looks after.
        room: Elements that are put in order, at most.
        number: Which digit,
        here: its bits,
        left: and how many are behind it.
        digit_before: Bits of the one before.
        chunks, chunk_length: Parts of a row that blocks count.
        tiles, items: Parts of a row that blocks collect elements of, and those of a thread.
        counts_at, states_at, posts_at: Where on the board counts, known digits and tiles' posts are.
        word: The type of a post.
    """

    key: str
    load: tuple[str, ...]
    value: str
    result: tuple[str, ...]
    rows: str
    length: str
    bits: int
    last: str
    count: str
    single: bool
    digit: int
    each: int
    room: int = 0
    number: int = 0
    here: int = 0
    left: int = 0
    digit_before: int = 0
    chunks: str = ""
    chunk_length: str = ""
    tiles: str = ""
    items: int = 0
    counts_at: str = ""
    states_at: str = ""
    posts_at: str = ""
    word: str = ""

    @property
    def values(self) -> int:
        """How many values a digit has."""
        return 1 << self.digit

    @property
    def mask(self) -> int:
        """The largest value of this digit."""
        return (1 << self.here) - 1

    @property
    def warps(self) -> int:
        return self.head.threads // 32

    @property
    def warp_items(self) -> int:
        return 32 * self.items

    @property
    def tile(self) -> int:
        return self.head.threads * self.items

    @property
    def long(self) -> bool:
        """Whether a key has 64 bits."""
        return self.key == "unsigned long long"


def ranked_routine(name: str, keys: Keys, order: Order, rows: Rows, buffers: int) -> Routine:
    """Functions that find what has some ranks: by selection, or by a sort where that takes less.

    Args:
        name: Of the functions; the last that is launched has it as it is.
        keys: What ranks go by.
        order: Where the places go.
        rows: The rows, and their ranks.
        buffers: How many buffers the kernel has; the workspace is counted on from there.
    """
    length, count = plain(rows.length), plain(rows.count)
    varying = is_varying((rows.length, rows.start, rows.count))
    ends = not varying and (rows.start == 0 or count == 1)
    if not ends or not SHORT_ROW < length < LIMIT or count * SHARE > length or not count:
        return sort_routine(name, keys, order, rows, buffers)
    apart = length > LONG_ROW and plain(rows.rows) < MULTIPROCESSORS
    if count <= MOST and (not apart or is_varying(rows.rows)):
        return _by_rows(name, keys, order, rows)
    many = count > SHORT_SORT and length * plain(rows.rows) < MANY
    if is_varying(rows.rows) or length <= LONG_ROW // SHARE or many:
        return sort_routine(name, keys, order, rows, buffers)
    return _by_parts(name, keys, order, rows, buffers)


def _view(name: str, keys: Keys, rows: Rows, threads: int, digit: int) -> SelectView:
    return SelectView(
        Head(name, (), threads, rows.counter), keys.type, keys.load, keys.value, (), rows.written(rows.rows),
        f"{rows.length}u", keys.bits, f"{rows.start + rows.count - 1}u", rows.written(rows.count), rows.count == 1,
        digit, max((1 << digit) // threads, 1),
    )  # fmt: skip


def _results(order: Order) -> tuple[str, ...]:
    take = () if order.takes is None else (f"const {memory_type(order.takes)} element = {order.element};",)
    return (*take, *order.lines)


def _by_rows(name: str, keys: Keys, order: Order, rows: Rows) -> Routine:
    """A function in which a block selects in one row."""
    threads, digit = (FEW_THREADS, FEW_BITS) if rows.length <= FEW_ELEMENTS else (THREADS, DIGIT)
    if threads == THREADS and plain(rows.rows) <= MULTIPROCESSORS:
        threads = ALONE
    view = _view(name, keys, rows, threads, digit)
    room = max(ROOM, 1 << (2 * rows.count - 1).bit_length())
    head = replace(view.head, parameters=(*keys.parameters, *order.parameters))
    view = replace(view, head=head.leaving_room(1024 // threads), result=_results(order), room=room)
    what = f"rank {rows.start}" if rows.count == 1 else f"{rows.count} ranks"
    schedule = f"a block of {threads} selects {what} of a row of {rows.length}, by digits of {digit} bits"
    entry = Entry(Function("select_rows", view), (rows.rows, 1, 1), (threads, 1, 1), schedule=schedule)
    return Routine((entry,), (Call(0, (*keys.args, *order.args)),))


def _by_parts(name: str, keys: Keys, order: Order, of: Rows, buffers: int) -> Routine:
    """Functions that clear a board, count digit by digit, collect, and sort what has been collected."""
    rows, length, digit = of.rows, of.length, min(DIGIT, ceil_div(keys.bits, ceil_div(keys.bits, DIGIT)))
    digits = ceil_div(keys.bits, digit)
    chunk = max(ceil_div(length, max(COUNTING * MULTIPROCESSORS // rows, 1)), COUNTED * PARTS_THREADS)
    chunks = ceil_div(length, chunk)
    items = LONG_ITEMS if keys.bits > 32 else ITEMS
    tiles = ceil_div(length, PARTS_THREADS * items)
    states_at = TURNS + digits * rows * (1 << digit)
    word = 1 if length < MARKED else 2
    posts_at = ceil_div(states_at + 3 * digits * rows, 2) * 2
    words = ceil_div(posts_at + rows * tiles * 2 * word, 2)
    view = replace(
        _view(name, keys, of, PARTS_THREADS, digit), chunks=of.written(chunks), chunk_length=f"{chunk}u",
        tiles=of.written(tiles), items=items, counts_at=of.written(TURNS), states_at=of.written(states_at),
        posts_at=of.written(posts_at), word="unsigned" if word == 1 else "unsigned long long",
    )  # fmt: skip
    entries = [clear_entry(f"{name}_begin", words)]
    calls = [Call(0, (buffers,))]
    left, before = keys.bits, 0
    for number in range(digits):
        here = min(digit, left)
        left -= here
        head = replace(view.head, name=f"{name}_count{number}", parameters=(*keys.parameters, BOARD))
        one = replace(view, head=head, number=number, here=here, left=left, digit_before=before)
        schedule = f"digit {number} of a row of {length}, {chunks} chunks"
        grid = (rows * chunks, 1, 1)
        entries.append(Entry(Function("select_count", one), grid, (PARTS_THREADS, 1, 1), schedule=schedule))
        calls.append(Call(number + 1, (*keys.args, buffers)))
        before = here
    view = replace(view, number=digits, digit_before=before)
    started = Routine(tuple(entries), tuple(calls), (8 * words,))
    return _collected(name, keys, order, of, view, started, buffers)


def _collected(
    name: str, keys: Keys, order: Order, of: Rows, view: SelectView, started: Routine, buffers: int
) -> Routine:
    """What follows when all digits are counted: the element is found, or elements are collected and sorted."""
    workspace = started.workspace
    if view.single:
        last, parameters, args = name, (*keys.parameters, *order.parameters), (*keys.args, *order.args)
        view = replace(view, result=_results(order))
    else:
        last, key_bytes = f"{name}_collect", next(n for n in (1, 2, 4, 8) if keys.bits <= 8 * n)
        parameters = (*keys.parameters, Parameter(keys.type, "kept_keys"), Parameter("unsigned", "kept_places"))
        args = (*keys.args, buffers + 1, buffers + 2)
        workspace += (key_bytes * of.rows * of.count, 4 * of.rows * of.count)
    view = replace(view, head=replace(view.head, name=last, parameters=(*parameters, BOARD)))
    schedule = f"{view.tiles} tiles a row that wait for those before, {view.items} elements a thread"
    grid = (of.rows * ceil_div(of.length, view.tile), 1, 1)
    entry = Entry(Function("select_collect", view), grid, (PARTS_THREADS, 1, 1), schedule=schedule)
    entries, calls = (*started.entries, entry), (*started.calls, Call(len(started.entries), (*args, buffers)))
    if view.single:
        return Routine(entries, calls, workspace)
    row = f"row * {of.written(of.count)}"
    kept = Keys(
        (Parameter(f"const {keys.type}", "kept_keys"), Parameter("const unsigned", "kept_places")),
        (buffers + 1, buffers + 2), (), f"kept_keys[{row} + at]", keys.bits, keys.original, keys.lost,
        f"kept_places[{row} + {{}}]",
    )  # fmt: skip
    if order.sees_keys:
        order = replace(
            order, parameters=(*order.parameters, *keys.parameters), args=(*order.args, *keys.args), sees_keys=False
        )
    rest = sort_routine(name, kept, order, replace(of, length=of.count, wide=of.counter != "unsigned"), buffers + 3)
    behind = tuple(Call(c.entry + len(entries), c.args) for c in rest.calls)
    return Routine((*entries, *rest.entries), (*calls, *behind), (*workspace, *rest.workspace))
