"""Sorting of long rows, digit by digit, the last one first: each pass reads keys and places once and writes them once.

All digits are counted at once, before the first pass. Within a pass a tile has to know how often each digit is in those
before it: tiles post their counts, and add up those of others until one knows what all before it come to (Adinets and
Merrill, "Onesweep", 2022). Which one that is changes from run to run; sums of whole numbers do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import Call, Entry, Function, Head, Routine, View, ceil_div
from tracec.codegen.cuda_scan import clear_entry
from tracec.codegen.cuda_sort_keys import BOARD, Keys, Order, Rows
from tracec.codegen.cuda_tiles import MULTIPROCESSORS
from tracec.codegen.cuda_writer import Parameter, coherent
from tracec.ir.extent import plain

#: Threads of a block, each of which looks after one value of a digit.
THREADS = 256
#: Bits of a digit, at most.
DIGIT = 8
#: Blocks of a multiprocessor in a pass: registers are left for them,
AT_ONCE = 3
#: which have so many elements a thread, at most, of keys of up to 32 bits and of longer ones.
MOST_ITEMS, MOST_LONG = 16, 8
#: Blocks that a GPU has at once; with fewer tiles threads have fewer elements,
BLOCKS = AT_ONCE * MULTIPROCESSORS
#: though not fewer than so many.
FEWEST_ITEMS = 4
#: Blocks that count.
COUNTING = 4 * MULTIPROCESSORS
#: and elements that a thread counts, at least.
COUNTED = 8
#: Rows whose counts, marked by two bits, have 32.
MARKED = 2**30
#: Words of 32 bits of a board in front of the counts: the number of turns that were taken.
TURNS = 2


@dataclass(frozen=True, slots=True)
class DigitsView(View):
    """What ``sort_count.j2`` and ``sort_pass.j2`` need.

    Attributes:
        load: Statements before a key's value.
        place: The place of the element that is loaded.
        result: Statements for each element at its new place.
        chunks: Parts of a row that blocks count,
        chunk_length: and their elements.
        tiles: Parts of a row that blocks place elements of,
        tile: and their elements.
        word: The type of a count that is posted.
        counts_at: Where on the board the counts of rows are,
        posts_at: and those of tiles.
    """

    key: str
    load: tuple[str, ...]
    value: str
    place: str
    result: tuple[str, ...]
    rows: str
    length: str
    chunks: str
    chunk_length: str
    tiles: str
    tile: int
    items: int
    passes: int
    digit_bits: int
    word: str
    counts_at: str
    posts_at: str

    @property
    def digit_mask(self) -> int:
        return (1 << self.digit_bits) - 1

    @property
    def warps(self) -> int:
        return THREADS // 32

    @property
    def warp_items(self) -> int:
        return 32 * self.items


def sort_by_digits(name: str, keys: Keys, order: Order, of: Rows, buffers: int) -> Routine:
    """Functions that clear a board, count, and do the passes; keys and places change sides after each.

    Args:
        name: Of the functions; the last that is launched has it as it is.
        keys: What to sort by.
        order: Where the sorted places go.
        of: The rows.
        buffers: How many buffers the kernel has; the workspace is counted on from there.
    """
    rows, length = of.rows, of.length
    passes = ceil_div(keys.bits, DIGIT)
    items = _items(plain(rows), plain(length), MOST_LONG if keys.bits > 32 else MOST_ITEMS)
    tile = THREADS * items
    tiles = ceil_div(length, tile)
    chunk = max(ceil_div(ceil_div(plain(length), max(COUNTING // max(plain(rows), 1), 1)), THREADS), COUNTED) * THREADS
    chunks = ceil_div(length, chunk)
    word = 1 if length < MARKED else 2
    posts_at = TURNS + passes * rows * THREADS
    words = posts_at + passes * rows * tiles * THREADS * word
    view = DigitsView(
        Head(name, (), THREADS, of.counter), keys.type, keys.load, keys.value,
        keys.place.format("at") or "(unsigned)at", (), of.written(rows), of.written(length), of.written(chunks),
        of.written(chunk), of.written(tiles), tile, items, passes, ceil_div(keys.bits, passes),
        "unsigned" if word == 1 else "unsigned long long", of.written(TURNS), of.written(posts_at),
    )  # fmt: skip
    made = _Passes(name, keys, order, view, of, buffers)
    made.add("clear", clear_entry(f"{name}_clear", ceil_div(words, 2)), (buffers,))
    count = replace(view, head=replace(view.head, name=f"{name}_count", parameters=(*keys.parameters, BOARD)))
    schedule = f"{passes} digits, {chunks} chunks a row of {length}"
    entry = Entry(Function("sort_count", count), (rows * chunks, 1, 1), (THREADS, 1, 1), schedule=schedule)
    made.add("count", entry, (*keys.args, buffers))
    for number in range(passes):
        made.add_pass(
            number, rows * tiles, f"{tiles} tiles a row that wait for those before, {items} elements a thread"
        )
    key_bytes = next(n for n in (1, 2, 4, 8) if keys.bits <= 8 * n)
    workspace: tuple[int, ...] = (8 * ceil_div(words, 2),)
    workspace += (key_bytes * rows * length,) * 2 + (4 * rows * length,) * 2 if passes > 1 else ()
    return Routine(tuple(made.entries.values()), tuple(made.calls), workspace)


def _items(rows: int, length: int, most: int) -> int:
    """Elements of a thread: as many as leave tiles for all blocks, and tiles of a row about as large as each other."""
    most = max(min(most, rows * length // (BLOCKS * THREADS)), FEWEST_ITEMS)
    tiles = ceil_div(length, most * THREADS)
    return ceil_div(ceil_div(length, tiles * THREADS), 2) * 2


class _Passes:
    """Functions and their launches, as they are found.

    Args:
        name: Of the last function.
        keys: What to sort by.
        order: Where the sorted places go.
        view: What functions have in common.
        rows: The rows.
        board: The workspace's first array; keys and places are behind it, two of each.
    """

    def __init__(self, name: str, keys: Keys, order: Order, view: DigitsView, rows: Rows, board: int) -> None:
        self.entries: dict[str, Entry] = {}
        self.calls: list[Call] = []
        self._name, self._keys, self._order, self._view = name, keys, order, view
        self._rows, self._board = rows, board

    def add(self, what: str, entry: Entry, args: tuple[int, ...]) -> None:
        """A launch, and the function where there is none yet."""
        self.entries.setdefault(what, entry)
        self.calls.append(Call(list(self.entries).index(what), args))

    def add_pass(self, number: int, blocks: int, schedule: str) -> None:
        """The launch of one digit's pass."""
        view, keys = self._view, self._keys
        first, last = number == 0, number == view.passes - 1
        before, after = self._board + 1 + number % 2, self._board + 2 - number % 2
        parameters: tuple[Parameter, ...]
        args: tuple[int, ...]
        # What need not be coherent a compiler loads wherever it likes: one after another, each when it is needed.
        parameters, args = coherent(keys.parameters), keys.args
        row = f"row * {view.length} + at"
        if not first:
            parameters = coherent((Parameter(f"const {view.key}", "keys"), Parameter("const unsigned", "places")))
            args = (after, after + 2)
            view = replace(view, load=(), value=f"keys[{row}]", place=f"places[{row}]")
        if last:
            if self._order.sees_keys and not first:
                parameters, args = (*parameters, *keys.parameters), (*args, *keys.args)
            parameters, args = (*parameters, *self._order.parameters), (*args, *self._order.args)
            view = replace(view, result=self._results())
        else:
            parameters += (Parameter(view.key, "keys_after"), Parameter("unsigned", "places_after"))
            args += (before, before + 2)
            view = replace(view, result=(f"keys_after[{row}] = {self._turned()};", f"places_after[{row}] = place;"))
        what = "last" if last else "first" if first else "next"
        name = self._name if last else f"{self._name}_{what}"
        parameters, args = (*parameters, BOARD), (*args, self._board)
        view = replace(view, head=replace(view.head, name=name, parameters=parameters).leaving_room(AT_ONCE))
        if what not in self.entries:
            function = Function("sort_pass", view)
            self.add(what, Entry(function, (blocks, 1, 1), (THREADS, 1, 1), schedule=schedule if last else what), args)
        else:
            self.add(what, self.entries[what], args)

    def _turned(self) -> str:
        """The key whose last bits are the next digit, all of it kept."""
        by, width = self._view.digit_bits, self._keys.width
        return f"({self._view.key})(key >> {by} | key << {width - by})"

    def _results(self) -> tuple[str, ...]:
        """What is done with each place; an element is what its key says, where it says that."""
        order, keys = self._order, self._keys
        if order.takes is None:
            return self._rows.wanted(order.lines)
        by = self._view.digit_bits * (self._view.passes - 1)
        whole = f"({self._view.key})(key << {by} | key >> {keys.width - by})" if by else "key"
        value = f"{keys.lost} ? {order.element} : {keys.original}" if keys.lost else keys.original
        element = f"const {memory_type(order.takes)} element = {value};"
        return self._rows.wanted((f"const {self._view.key} whole = {whole};", element, *order.lines))
