"""Stable sorting of rows: a block a row in registers or shared memory where rows are short, else digit by digit.

Keys are unsigned integers whose order is that of the elements. Long rows are sorted by their digits of up to 8 bits,
the last one first (a radix sort). All blocks must have counted before the first can place an element; where blocks are
few, each adds up itself what the others have counted, and counts the next digits where it places them. No step hangs
on which block runs first, so that results are always the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracec.codegen.cuda_dialect import TYPES, memory_type
from tracec.codegen.cuda_entry import Call, Entry, Head, Routine, ceil_div
from tracec.codegen.cuda_tiles import MULTIPROCESSORS
from tracec.codegen.render import render_template
from tracec.errors import CompileError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import Buffer, Kernel
from tracec.ir.source import Source
from tracec.ir.types import TensorType, numel

#: Longer rows are sorted digit by digit.
SHORT_ROW = 4096
#: Threads of a block that does a pass, a digit each.
THREADS = 256
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
#: Blocks of a multiprocessor in a pass that places elements: registers are left for them,
AT_ONCE = 4
#: which takes no more elements of a thread at a time than these, of keys of up to 32 bits and of longer ones.
MOST_ITEMS, MOST_LONG = 12, 6
#: Blocks that a pass is dealt out to, where there is enough to do.
BLOCKS = AT_ONCE * MULTIPROCESSORS
#: So many chunks of a row add up each other's counts.
FEW_CHUNKS = 64
_LIMIT = 2**31


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys to sort by, as a function of the place ``at`` in row ``row``.

    Attributes:
        parameters: Declarations of what they are read from.
        args: The buffers behind those.
        load: Statements before the key's value.
        value: The key, an unsigned integer.
        bits: How many of its bits differ.
    """

    parameters: tuple[str, ...]
    args: tuple[int, ...]
    load: tuple[str, ...]
    value: str
    bits: int

    @property
    def type(self) -> str:
        """The narrowest type that holds a key."""
        return next(TYPES[d] for d in (dt.uint8, dt.uint16, dt.uint32, dt.uint64) if self.bits <= 8 * d.itemsize)


@dataclass(frozen=True, slots=True)
class Order:
    """Where sorted places go.

    Attributes:
        parameters: Declarations of what they are written to.
        args: The buffers behind those.
        lines: Statements for element ``at`` of row ``row``, whose place was ``place``.
        sees_keys: Whether these read what keys are read from.
        takes: The type of the element that these take, as ``element``; None where they take none.
        element: Where it is, of ``place``.
    """

    parameters: tuple[str, ...]
    args: tuple[int, ...]
    lines: tuple[str, ...]
    sees_keys: bool = False
    takes: DType | None = None
    element: str = ""


@dataclass(frozen=True, slots=True)
class SortView:
    """What ``sort_*.j2`` need; each takes its part."""

    head: Head
    key: str
    load: tuple[str, ...]
    value: str
    place: str
    result: tuple[str, ...]
    keeps_keys: bool
    rows: str
    length: str
    size: int = 0
    place_bits: int = 0
    exact: bool = False
    full: bool = False
    held: str = ""
    hold: tuple[str, ...] = ()
    few_equal: int = FEW_EQUAL
    rows_each: int = 0
    block_rows: str = ""
    threads: int = 0
    chunks: str = ""
    chunk_length: str = ""
    tile: int = 0
    items: int = 0
    warp_items: int = 0
    digit_bits: int = 8
    digit_mask: int = 255
    few: bool = False
    cleared: tuple[str, ...] = ()
    counts_next: bool = False


# -- argsort ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Then:
    """What is done with each sorted place, besides or instead of writing it down.

    Attributes:
        buffers: All buffers, what is sorted and the places among them.
        parameters: Their declarations.
        source: The buffer of what is sorted,
        x: and its name in the source.
        y: The name of the places in the source; empty where they are not written.
        lines: Statements for element ``at`` of row ``row``, whose place was ``place``, and which is ``element``.
        takes: The type of the element, where these take it.
        ops: Names of operators, for readers.
        sources: The user's lines.
    """

    buffers: tuple[Buffer, ...]
    parameters: tuple[str, ...]
    source: str
    x: str
    y: str
    lines: tuple[str, ...]
    takes: DType | None
    ops: tuple[str, ...]
    sources: tuple[Source, ...]


def argsort_routine(
    name: str, source: TensorType, axis: int, descending: bool, then: Then | None = None
) -> tuple[Kernel, Routine]:
    """Functions that write the places which sort an axis, and their buffers.

    Args:
        name: Of the functions.
        source: What is sorted.
        axis: Along what.
        descending: Whether keys fall; equal ones keep their order either way.
        then: What is done with the places.
    """
    length, inner = source.shape[axis], numel(source.shape[axis + 1 :])
    rows = numel(source.shape) // max(length, 1)
    counter, suffix = _counter(rows * length)
    apart = is_varying(inner) or inner != 1
    one, all_ = _written(inner, counter, suffix), _written(length * inner, counter, suffix)
    spread = f" * {one}" if apart else ""
    row = f"row / {one} * {all_} + row % {one}" if apart else f"row * {all_}"
    element = memory_type(source.dtype)
    if then is None:
        buffers = Buffer("x", source.dtype, source.shape, "in"), Buffer("y", dt.int64, source.shape, "out")
        declared = f"const {element} *__restrict__ x", "long long *__restrict__ y"
        then = Then(buffers, declared, "x", "x", "y", (), None, (), ())
    value, bits = _key(source.dtype, "element", descending)
    at = next(n for n, b in enumerate(then.buffers) if b.name == then.source)
    load = f"const {element} element = {then.x}[{row} + at{spread}];"
    keys = Keys((then.parameters[at],), (at,), (load,), value, bits)
    others = [n for n in range(len(then.buffers)) if n != at]
    places = (f"{then.y}[{row} + at{spread}] = place;",) if then.y else ()
    order = Order(
        tuple(then.parameters[n] for n in others), tuple(others), (*places, *then.lines), bool(then.lines), then.takes,
        f"{then.x}[{row} + place{spread}]",
    )  # fmt: skip
    kernel = Kernel(name, "sort", then.buffers, (), sources=then.sources, ops=("argsort", *then.ops))
    return kernel, sort_routine(name, keys, order, rows, length, len(then.buffers), counter, suffix)


def _counter(count: int) -> tuple[str, str]:
    """The type of counters up to ``count``, and what follows its literals."""
    return ("unsigned long long", "ULL") if count >= _LIMIT else ("unsigned", "u")


def _written(value: int, counter: str, suffix: str) -> str:
    """A number of the counters' type."""
    return f"({counter}){value}" if is_varying(value) else f"{value}{suffix}"


def _key(dtype: DType, element: str, descending: bool) -> tuple[str, int]:
    """The key of an element, and how many bits it has."""
    bits = 8 * dtype.itemsize
    if dtype is dt.float64:
        text = f"rising_f64({element})"
    elif dtype.kind == "f":
        wide = {dt.float16: "__half2float({})", dt.bfloat16: "__bfloat162float({})"}.get(dtype, "{}").format(element)
        # What 16 bits hold is told apart by the first bits of a float.
        bits = {dt.float16: 19, dt.bfloat16: 16}.get(dtype, 32)
        text = f"rising_f32({wide})" + (f" >> {32 - bits}" if bits < 32 else "")
    elif dtype.kind == "i":
        unsigned = {8: "unsigned char", 16: "unsigned short", 32: "unsigned", 64: "unsigned long long"}[bits]
        text = f"({unsigned}){element} ^ {hex(1 << bits - 1)}{'ULL' if bits == 64 else 'u'}"
    else:
        text = element
    return (f"({text}) ^ {hex((1 << bits) - 1)}{'ULL' if bits == 64 else 'u'}" if descending else text), bits


# -- sorting by any keys ---------------------------------------------------------------------------------------


def sort_routine(
    name: str, keys: Keys, order: Order, rows: int, length: int, buffers: int, counter: str, suffix: str
) -> Routine:
    """Functions that sort rows.

    Args:
        name: Of the functions; the last that is launched has it as it is.
        keys: What to sort by.
        order: Where the sorted places go.
        rows: How many rows there are.
        length: Elements of each.
        buffers: How many buffers the kernel has; the workspace is counted on from there.
        counter: The type of counters.
        suffix: What follows its literals.

    Raises:
        CompileError: a row has more elements than places count.
    """
    if length >= 2 * _LIMIT:
        raise CompileError(f"{name}: a row of {length} elements is longer than places of 32 bits count")
    head = Head(name, (), THREADS, counter)
    view = SortView(
        head, keys.type, keys.load, keys.value, "(unsigned)at", order.lines, False,
        _written(rows, counter, suffix), _written(length, counter, suffix),
    )  # fmt: skip
    if plain(length) <= SHORT_ROW:
        return _by_rows(view, keys, order, rows, length, suffix)
    return _digit_by_digit(view, keys, order, rows, length, buffers, suffix)


def _by_rows(view: SortView, keys: Keys, order: Order, rows: int, length: int, suffix: str) -> Routine:
    """A function in which a warp sorts one row, or a block a longer one."""
    size = max(1 << max(plain(length) - 1, 0).bit_length(), 32)
    if is_varying(length):  # some room, so that not each length has a function of its own
        size = min(4 * size, SHORT_ROW)
        if length > size:
            raise CompileError(f"{view.head.name}: a row of {length} elements does not fit {size} places")
    items = min(size // 32, MOST_OWN)
    threads = size // items
    each = max(min(ROWS, plain(rows)), 1) if threads == 32 else 1
    at_once = (ROW_THREADS if keys.bits <= 32 else LONG_ROW_THREADS) // (threads * each)
    place_bits = size.bit_length() - 1
    held, take = "", list[str]()
    if order.takes is not None:
        type_ = memory_type(order.takes)
        held = type_ if order.takes.itemsize * size <= HELD else ""
        take = [f"const {type_} element = {'held[place]' if held else order.element};"]
    top = replace(view.head, parameters=(*keys.parameters, *order.parameters), threads=threads * each, blocks=at_once)
    view = replace(
        view, head=top, size=size, threads=threads, rows_each=each, block_rows=f"{each}{suffix}", items=items,
        place_bits=place_bits, full=not is_varying(length) and length == size, exact=keys.bits <= 32 - place_bits,
        held=held, hold=("held[at] = element;",) if held else (), result=(*take, *order.lines),
    )  # fmt: skip
    text = render_template("cuda/sort_rows.j2", k=view)
    grid = (ceil_div(rows, each) if plain(length) else 0, 1, 1)
    who = f"a warp a row of {length}, {each} in a block" if threads == 32 else f"a block of {threads} a row of {length}"
    entry = Entry(view.head.name, text, grid, (threads, each, 1), schedule=f"{who}, {items} elements a thread")
    return Routine((entry,), (Call(0, (*keys.args, *order.args)),))


def _digit_by_digit(
    view: SortView, keys: Keys, order: Order, rows: int, length: int, buffers: int, suffix: str
) -> Routine:
    """Functions for the passes over digits: count, add up, place; keys and places change sides after each."""
    name, passes = view.head.name, ceil_div(keys.bits, 8)
    digit = ceil_div(keys.bits, passes)
    enough = ceil_div(plain(rows) * plain(length), FEW_CHUNKS * THREADS)
    items = min(max(1 << (enough - 1).bit_length(), 2), MOST_LONG if keys.bits > 32 else MOST_ITEMS)
    tile = THREADS * items
    tiles = ceil_div(length, tile)
    wanted = max(min(plain(tiles), BLOCKS // max(plain(rows), 1)), 1)
    chunk_tiles = ceil_div(plain(tiles), wanted)
    chunks = ceil_div(tiles, chunk_tiles)
    few = plain(chunks) <= FEW_CHUNKS
    counter = view.head.counter
    if order.takes is not None:
        view = replace(view, result=(f"const {memory_type(order.takes)} element = {order.element};", *view.result))
    view = replace(
        view, chunks=_written(chunks, counter, suffix), chunk_length=f"{chunk_tiles * tile}{suffix}", tile=tile,
        items=items, warp_items=32 * items, digit_bits=digit, digit_mask=(1 << digit) - 1, few=few,
    )  # fmt: skip
    key = view.key
    # What few chunks count has an array for each digit, since they count the next one before this one is done with.
    counted = passes if few else 1
    counts, totals = buffers, buffers + counted
    keys_at, places_at = totals + (not few), totals + (not few) + 2
    key_bytes = next(n for n in (1, 2, 4, 8) if keys.bits <= 8 * n)
    workspace: tuple[int, ...] = (4 * rows * 256 * chunks,) * counted + (4 * rows * 256,) * (not few)
    workspace += (key_bytes * rows * length,) * 2 + (4 * rows * length,) * 2 if passes > 1 else ()
    row = f"row * {view.length} + at"
    entries: dict[str, Entry] = {}
    calls: list[Call] = []

    def add(what: str, template: str, parameters: tuple[str, ...], args: tuple[int, ...], k: SortView) -> None:
        function = name if what == "last" else f"{name}_{what}"
        blocks = rows * 32 if what == "scan" else rows * chunks
        if what not in entries:
            at_once = AT_ONCE if template == "cuda/sort_scatter.j2" else 1
            top = replace(k.head, name=function, parameters=parameters, blocks=at_once)
            text = render_template(template, k=replace(k, head=top))
            schedule = f"{passes} digits, {chunks} chunks a row of {length}" if what in ("scan", "count") else what
            entries[what] = Entry(function, text, (blocks, 1, 1), (THREADS, 1, 1), schedule=schedule)
        calls.append(Call(list(entries).index(what), args))

    count, total = "unsigned *__restrict__ counts", "unsigned *__restrict__ totals"
    known = (f"const {count}",) if few else (f"const {count}", f"const {total}")
    for number in range(passes):
        first, last = number == 0, number == passes - 1
        before, after = number % 2, 1 - number % 2
        source = (keys.parameters, keys.args)
        seen = view
        if not first:
            source = ((f"const {key} *__restrict__ keys",), (keys_at + after,))
            seen = replace(view, load=(), value=f"keys[{row}]", place=f"places[{row}]")
        if first or not few:
            more = tuple(f"counts{n}" for n in range(1, counted))
            declared = tuple(f"unsigned *__restrict__ {name}" for name in more)
            args = (*source[1], *range(counts, counts + counted))
            counting = replace(seen, cleared=more)
            what = "count" if first else "count_next"
            add(what, "cuda/sort_count.j2", (*source[0], count, *declared), args, counting)
        if not few:
            add("scan", "cuda/sort_scan.j2", (count, total), (counts, totals), view)
        parameters, args = (*source[0], *known), (*source[1], counts + number if few else counts)
        if not few:
            args = (*args, totals)
        if not first:
            parameters, args = (*parameters, "const unsigned *__restrict__ places"), (*args, places_at + after)
        if last:
            if order.sees_keys and not first:
                parameters, args = (*parameters, *keys.parameters), (*args, *keys.args)
            parameters, args = (*parameters, *order.parameters), (*args, *order.args)
        else:
            parameters += (f"{key} *__restrict__ keys_after", "unsigned *__restrict__ places_after")
            args += (keys_at + before, places_at + before)
            seen = replace(seen, keeps_keys=True, result=(f"places_after[{row}] = place;",), counts_next=few)
            if few:
                parameters, args = (*parameters, "unsigned *__restrict__ counts_after"), (*args, counts + number + 1)
        what = "last" if last else "place" if first else "place_next"
        add(what, "cuda/sort_scatter.j2", parameters, args, seen)
    return Routine(tuple(entries.values()), tuple(calls), workspace)
