"""Writing at computed positions, always in the same order.

A few positions are gone through by each column's thread, in order. Many are sorted first, so that equal ones
are neighbours, in the order they came in: parts of fixed length add up what is equal in them, and what goes on
from one part to the next is added up by the part it begins in. No atomics, so that sums are the same every time.

Where that was given up, each position and column has a thread, which adds by an atomic operation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import Packs, extent, find_packs, peel
from tracec.codegen.cuda_chunk import needed_lets
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import Call, Entry, Head, Routine, alignments, ceil_div, head, lines, one_after_another
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_sort import Keys, Order, sort_routine
from tracec.codegen.cuda_writer import LIMIT, Writer, is_wide
from tracec.codegen.render import render_template
from tracec.codegen.tree import Block, Line, Tree
from tracec.errors import CompileError
from tracec.ir import index as ix
from tracec.ir.dtype import DType
from tracec.ir.extent import factor_of, is_varying, plain
from tracec.ir.kernel import Const, Expr, Kernel, Let, Linear, Loop, Stmt, Store, Var, subexpressions

#: So few positions are gone through in order.
FEW = 64
#: Positions of a part.
SHARE = 32
THREADS = 256


@dataclass(frozen=True, slots=True)
class Target:
    """A scatter taken apart.

    Attributes:
        columns: The loops that every position has.
        positions: The loops over positions.
        lets: Statements before the store.
        store: The store.
        key: Of its index, what hangs on the position, by units of ``unit``.
        key_lets: The statements that takes.
        unit: Elements that keys next to each other are apart.
        place: Of its index, what hangs on the column.
    """

    columns: tuple[Var, ...]
    positions: tuple[Var, ...]
    lets: tuple[Let, ...]
    store: Store
    key: Expr
    key_lets: tuple[Let, ...]
    unit: int
    place: Expr


@dataclass(frozen=True, slots=True)
class ScatterView:
    """What ``scatter_*.j2`` need."""

    head: Head
    type: str
    key: str
    key_lines: tuple[str, ...]
    key_value: str
    column_lines: tuple[str, ...]
    value_lines: tuple[str, ...]
    width: int
    columns: str
    work: str
    length: str
    share: str
    add: str
    combine: str


def scatter_routine(kernel: Kernel, name: str) -> Routine:
    """The start in a function of its own: positions are written when all of it is there."""
    start, rest = kernel.body[:1], kernel.body[1:]
    if not rest:
        return one_after_another(kernel, [map_entry(kernel, name)])
    target = _target(rest)
    if target is None or plain(extent(target.positions)) <= FEW or not plain(extent(target.columns)):
        return one_after_another(kernel, [map_entry(kernel, f"{name}_start", start), map_entry(kernel, name, rest)])
    return _sorted(kernel, name, start, target)


def atomic_routine(kernel: Kernel, name: str) -> Routine:
    """The start in a function of its own; then a thread for each element, and neighbouring columns next to each other:
    what a warp adds is neighbours in memory.
    """
    start, rest = kernel.body[:1], kernel.body[1:]
    if not rest:
        return one_after_another(kernel, [map_entry(kernel, name)])
    columns, inner = peel(rest)
    positions, statements = peel(inner, "serial")
    for var in reversed((*positions, *columns)):
        statements = (Loop(var, statements, "parallel"),)
    spread = replace(kernel, body=statements)
    return one_after_another(kernel, [map_entry(kernel, f"{name}_start", start), map_entry(spread, name, packed=False)])


def _target(body: tuple[Stmt, ...]) -> Target | None:
    """The parts of a scatter; None where positions hang on the column in other ways than by their place in a row."""
    columns, inner = peel(body)
    positions, statements = peel(inner, "serial")
    if not positions or not statements or not isinstance(statements[-1], Store):
        return None
    store, lets = statements[-1], [s for s in statements[:-1] if isinstance(s, Let)]
    if len(lets) != len(statements) - 1:
        return None
    index = store.index if isinstance(store.index, Linear) else Linear(((store.index, 1),), 0)
    place = tuple((t, c) for t, c in index.terms if t in columns)
    key = tuple((t, c) for t, c in index.terms if t not in columns and not isinstance(t, Const))
    needed = needed_lets([t for t, _ in key], lets)
    used = [e for s in needed for e in subexpressions(s.value)]
    used += [e for t, _ in key for e in subexpressions(t)]
    if not key or any(e in columns for e in used):
        return None
    unit = _common(c for _, c in key)
    by_unit = Linear(tuple((t, c // unit) for t, c in key), 0)
    where: Expr = Const(index.offset)
    for t, c in place:
        where = ix.add(where, ix.mul(t, c))
    return Target(columns, positions, tuple(lets), store, by_unit, needed, unit, where)


def _common(factors: Iterable[int]) -> int:
    """What divides some numbers, for all sizes."""
    numbers = tuple(factors)
    return numbers[0] if len(numbers) == 1 else math.gcd(*map(factor_of, numbers))


def _bits(keys: int) -> int:
    """How many bits tell so many keys apart; whole digits, where it is for other sizes as well."""
    bits: int = max((plain(keys) - 1).bit_length(), 1)
    if is_varying(keys):
        bits = ceil_div(bits, 8) * 8
        if keys > 1 << bits:
            raise CompileError(f"{keys} places have more than {bits} bits")
    return bits


def _sorted(kernel: Kernel, name: str, start: tuple[Stmt, ...], target: Target) -> Routine:
    """Functions that sort the positions, then write each of them once."""
    # Threads are counted over positions and columns at once, which `is_wide` does not do.
    work = extent(target.positions) * extent(target.columns)
    writer = Writer(kernel, wide=is_wide(kernel) or work >= LIMIT)
    length, counted = extent(target.positions), len(kernel.buffers)
    buffer = next(b for b in kernel.buffers if b.name == target.store.buffer)
    bits = _bits(ceil_div(buffer.size, target.unit))
    key = "unsigned" if bits <= 32 else "unsigned long long"
    value = f"({key})({writer.write(target.key)})"
    keys = Keys(writer.parameters(), tuple(range(counted)), _key_lines(writer, target, "at"), value, bits)
    order = Order("unsigned *__restrict__ order", counted, "order[at]")
    suffix = "ULL" if writer.wide else "u"
    add = target.store.add
    sort = sort_routine(f"{name}_sort", keys, order, 1, length, counted + (3 if add else 1), writer.flat, suffix)
    view, packs = _view(writer, name, target, key)
    parts = ceil_div(length, SHARE) if add else length
    columns = extent(target.columns) // view.width
    view = replace(view, work=writer.count(parts * columns))
    dtype = buffer.dtype.compute
    sums = (f"{view.type} *__restrict__ heads", f"{view.type} *__restrict__ tails")
    seen = "const unsigned *__restrict__ order"
    buffers = tuple(range(counted))

    def function(template: str, function_name: str, more: tuple[str, ...], schedule: str) -> Entry:
        own = replace(view, head=replace(view.head, name=function_name, parameters=(*writer.parameters(), seen, *more)))
        text = render_template(f"cuda/{template}.j2", k=own)
        grid = (ceil_div(parts * columns, THREADS), 1, 1)
        sizes = (*alignments(kernel, [packs]), 4, *(dtype.itemsize for _ in more))
        return Entry(function_name, text, grid, (THREADS, 1, 1), 0, sizes, schedule=schedule)

    first = map_entry(kernel, f"{name}_start", start)
    if add:
        const = tuple(f"const {p}" for p in sums)
        last = [
            function("scatter_sums", f"{name}_sums", sums, f"parts of {SHARE} of {length} positions"),
            function("scatter_joins", name, const, "sums across parts"),
        ]
        args = (*buffers, counted, counted + 1, counted + 2)
    else:
        last = [function("scatter_last", name, (), f"the last of equal ones of {length} positions")]
        args = (*buffers, counted)
    entries = (first, *sort.entries, *last)
    calls = (
        Call(0, buffers),
        *(Call(c.entry + 1, c.args) for c in sort.calls),
        *(Call(len(entries) - len(last) + n, args) for n in range(len(last))),
    )
    shared = (parts * extent(target.columns) * dtype.itemsize,) * (2 if add else 0)
    return Routine(entries, calls, (4 * length, *shared, *sort.workspace))


def _key_lines(writer: Writer, target: Target, flat: str) -> tuple[str, ...]:
    return lines((*writer.unflatten(flat, target.positions), *writer.statements(target.key_lets)))


def _view(writer: Writer, name: str, target: Target, key: str) -> tuple[ScatterView, Packs]:
    """What a thread does for one position and one pack of columns."""
    store, columns = target.store, target.columns
    dtype = writer.buffers[store.buffer]
    wide = dtype.compute if store.add else dtype
    last = columns[-1] if columns else None
    packs = find_packs((*target.lets, Let("value", store.value)), last, writer.buffers) if last else Packs()
    width = packs.width
    picks = needed_lets([index for _, index in packs.loads], target.lets)
    first = f"{writer.name(last.name)}_first" if last else ""
    inner = writer.derive({})
    loads: list[Tree] = []
    for number, (buffer, index) in enumerate(packs.loads):
        where = f"{writer.name(buffer)} + {writer.derive({last.name: first} if last else {}).write(index)}"
        kind = f"Pack<{memory_type(writer.buffers[buffer])}, {width}>"
        loads.append(Line(f"const {kind} {writer.name(buffer)}_pack{number} = load_pack<{width}>({where});"))
        inner.packs[buffer, index] = f"{writer.name(buffer)}_pack{number}.at[e]"
    position = [Line(f"const {writer.index} {writer.name(last.name)} = {first} + e;")] if last else []
    one = (
        *position,
        *inner.statements(s for s in target.lets if s not in picks),
        Line(f"value[next][e] = {inner.convert(store.value, wide)};"),
    )
    value = (
        *writer.unflatten("place", target.positions),
        *writer.statements(picks),
        *loads,
        Block(f"for (int e = 0; e < {width}; ++e)", one, ("unroll",)),
    )
    column: list[Tree] = []
    if last is not None:
        chunks = (*columns[:-1], replace(last, extent=last.extent // width))
        column = list(writer.derive({last.name: first}).unflatten("column", chunks))
        if width > 1:
            final = column[-1]
            assert isinstance(final, Line)
            column[-1] = Line(f"{final.text.removesuffix(';')} * {width};")
    view = ScatterView(
        head(writer, name, THREADS), writer.dialect.types[wide], key, _key_lines(writer, target, "place"),
        writer.write(target.key), lines(column), lines(value), width,
        writer.count(max(extent(columns) // width, 1)), "", writer.count(extent(target.positions)),
        writer.count(SHARE), _addition(writer, target, dtype, first), _combine(writer, wide) if store.add else "",
    )  # fmt: skip
    return view, packs


def _addition(writer: Writer, target: Target, dtype: DType, first: str) -> str:
    """The statement that writes ``total`` at the key's place."""
    columns = target.columns
    at = writer.derive({columns[-1].name: f"({first} + e)"} if columns else {})
    element = f"{writer.name(target.store.buffer)}[{target.unit} * ({writer.index})key + {at.write(target.place)}]"
    if not target.store.add:
        return f"{element} = total;"
    wide = dtype.compute
    before = writer.dialect.cast(dtype, wide).text.format(element)
    total = writer.dialect.operation("add", wide).text.format(before, "total")
    return f"{element} = {writer.dialect.cast(wide, dtype).text.format(total)};"


def _combine(writer: Writer, wide: DType) -> str:
    """The sum so far and one more element; joins name that one ``more``."""
    return writer.dialect.operation("add", wide).text.format("sum[e]", "more")
