"""Stable sorting of rows: a warp or a block a row in registers where rows are short, else digit by digit.

Keys are unsigned integers whose order is that of the elements. What has registers are words of 32 bits: the first bits
of a key, and its place, which keeps equal keys in order. Keys seldom have the same first bits; where few do, they are
put in order one by one, and where many do, the bits that come next are sorted by, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import Call, Entry, Function, Head, Routine, View, ceil_div
from tracec.codegen.cuda_sort_digits import sort_by_digits
from tracec.codegen.cuda_sort_keys import LIMIT, Keys, Order, Rows
from tracec.errors import CompileError
from tracec.ir.extent import is_varying, plain

#: Longer rows are sorted digit by digit.
SHORT_ROW = 4096
#: Elements of a thread, where a row is in registers: a warp sorts 32 times as many without waiting for another.
MOST_OWN = 32
#: Rows of a block whose warps sort one each.
ROWS = 4
#: Threads of a multiprocessor that registers are left for, where keys have up to 32 bits and where they have more.
ROW_THREADS, LONG_ROW_THREADS = 768, 512
#: Words of equal bits that one thread puts in order.
FEW_EQUAL = 16
#: Bytes of a row that are kept in shared memory, to be written in order.
HELD = 16 * 1024


@dataclass(frozen=True, slots=True)
class RowsView(View):
    """What ``sort_rows.j2`` needs.

    Attributes:
        load: Statements before a key's value.
        result: Statements for each sorted place.
        size: Places of a row, a power of two, and the bits that number them.
        exact: Whether keys have no more bits than there are beside a place in a word.
        full: Whether a row has as many elements as places.
        held: The type of elements that are kept in shared memory; empty for none.
        hold: What puts them there.
        rows_each: Rows of a block.
        threads: Threads of a row.
        items: Elements of a thread.
        first, stop: The ranks that are asked for; empty for all.
        place: The place of what was at ``sorted``; empty where that is the place.
    """

    key: str
    load: tuple[str, ...]
    value: str
    result: tuple[str, ...]
    rows: str
    length: str
    size: int
    place_bits: int
    exact: bool
    full: bool
    held: str
    hold: tuple[str, ...]
    rows_each: int
    block_rows: str
    threads: int
    items: int
    first: str
    stop: str
    place: str
    few_equal: int = FEW_EQUAL


def sort_routine(name: str, keys: Keys, order: Order, rows: Rows, buffers: int) -> Routine:
    """Functions that sort rows.

    Args:
        name: Of the functions; the last that is launched has it as it is.
        keys: What to sort by.
        order: Where the sorted places go.
        rows: The rows.
        buffers: How many buffers the kernel has; the workspace is counted on from there.

    Raises:
        CompileError: a row has more elements than places count.
    """
    length = rows.length
    if length >= 2 * LIMIT:
        raise CompileError(f"{name}: a row of {length} elements is longer than places of 32 bits count")
    if plain(length) > SHORT_ROW:
        return sort_by_digits(name, keys, order, rows, buffers)
    return _by_rows(name, keys, order, rows)


def _by_rows(name: str, keys: Keys, order: Order, rows: Rows) -> Routine:
    """A function in which a warp sorts one row, or a block a longer one."""
    length = rows.length
    size = max(1 << max(plain(length) - 1, 0).bit_length(), 32)
    if is_varying(length):  # some room, so that not each length has a function of its own
        size = min(4 * size, SHORT_ROW)
        if length > size:
            raise CompileError(f"{name}: a row of {length} elements does not fit {size} places")
    items = min(size // 32, MOST_OWN)
    threads = size // items
    each = max(min(ROWS, plain(rows.rows)), 1) if threads == 32 else 1
    at_once = (ROW_THREADS if keys.bits <= 32 else LONG_ROW_THREADS) // (threads * each)
    place_bits = size.bit_length() - 1
    held, take = "", list[str]()
    if order.takes is not None:
        type_ = memory_type(order.takes)
        held = type_ if order.takes.itemsize * size <= HELD and not keys.place else ""
        take = [f"const {type_} element = {'held[place]' if held else order.element};"]
    wanted = ("", "") if rows.whole else (rows.written(rows.start), rows.written(rows.start + rows.count))
    top = Head(name, (*keys.parameters, *order.parameters), threads * each, rows.counter)
    view = RowsView(
        top.leaving_room(at_once), keys.type, keys.load,
        keys.value, (*take, *order.lines), rows.written(rows.rows), rows.written(length), size, place_bits,
        keys.bits <= 32 - place_bits, not is_varying(length) and length == size, held,
        ("held[at] = element;",) if held else (), each, rows.written(each), threads, items, *wanted,
        keys.place.format("sorted"),
    )  # fmt: skip
    grid = (ceil_div(rows.rows, each) if plain(rows.count) else 0, 1, 1)
    who = f"a warp a row of {length}, {each} in a block" if threads == 32 else f"a block of {threads} a row of {length}"
    entry = Entry(Function("sort_rows", view), grid, (threads, each, 1), schedule=f"{who}, {items} elements a thread")
    return Routine((entry,), (Call(0, (*keys.args, *order.args)),))
