"""Writing at computed positions, always in the same order.

A few positions are gone through by each column's thread, in order. Many are sorted first, so that equal ones are
neighbours, in the order they came in. Then each key has a thread for each pack of columns, which adds what comes to it
to what is there before, and writes it once: also where nothing comes. Long sums are cut into parts of fixed length,
and these into groups, which are added up beforehand. No atomics on sums, so that they are the same every time.

Where that was given up and keys have few columns, each position and column has a thread, which adds by an atomic
operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import Packs, extent, find_packs, peel
from tracec.codegen.cuda_chunk import mentions, needed_lets
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import (
    Call,
    Entry,
    Function,
    Head,
    Routine,
    View,
    alignments,
    ceil_div,
    head,
    lines,
    one_after_another,
)
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_positions import Start, Target, find_start, find_target, key_bits
from tracec.codegen.cuda_sort import sort_routine
from tracec.codegen.cuda_sort_keys import Keys, Order, Rows
from tracec.codegen.cuda_steps import Shared, Steps
from tracec.codegen.cuda_tiles import MULTIPROCESSORS
from tracec.codegen.cuda_writer import LIMIT, Element, Writer, is_wide
from tracec.codegen.tree import Block, Line, Tree
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import Call as Operation
from tracec.ir.kernel import Expr, Kernel, Let, Loop, Ref, Stmt, Store, Var, expressions, subexpressions, walk

#: So few positions are gone through in order.
FEW = 8
#: Positions of a part, and parts of a group: what a long sum is added up by.
SHARE, GROUP = 32, 32
#: Columns next to each other of a block that adds up parts, packs each.
LANES = 8
THREADS = 256
#: Keys of a block that puts a few positions in order,
MOST_KEYS = 256
#: and how many positions all such blocks look at together: more are sorted by their digits.
MOST_LOOKS = 1 << 22
#: Keys with fewer bytes are not looked at one by one where most have no position.
NARROW = 64
#: As many positions as keys by this: each tells keys where it starts; fewer are looked for by each key.
DENSE = 8
#: So many keys a position tells it by itself.
NEAR = 8
#: Threads of a multiprocessor, where each adds up a position or two and does nothing else: it waits for memory three
#: times, one load after another, so that as many as there can be have to be at it.
MOST_AT_ONCE = 2048
#: Words of elements that such a thread has on their way.
LIGHT_WORDS = 8
#: Keys of so many bytes are summed in order where any order would do, since they are written once then.
BROAD = 512


@dataclass(frozen=True, slots=True)
class ScatterView(View):
    """What ``scatter_sums.j2`` and ``scatter_rows.j2`` need.

    Attributes:
        column_lines: The variables of a pack of columns.
        before: What is there before, as ``sum``.
        value_lines: What a position gives to a pack, as ``value[next]``.
        after: What writes ``sum``.
        lanes: Packs of columns of a block that adds up parts.
        ahead: Positions that are on their way at once.
        combine: A sum and one more element, named ``more``.
        by_row: Whether a thread has a key; else it has a place in the order, and does something at a key's first.
        adds: Whether all values count, or the last one.
        in_parts: Whether parts of a long sum have been added up before.
        rows: How many threads there are for a pack of columns, where threads are counted by rows,
        rows_each: and how many of those a block has; 0 where they are counted at once.
    """

    type: str
    key: str
    column_lines: tuple[str, ...]
    before: tuple[str, ...]
    value_lines: tuple[str, ...]
    after: tuple[str, ...]
    width: int
    columns: str
    column_blocks: str
    work: str
    length: str
    keys: str
    share: str
    group: str
    group_length: str
    lanes: int
    ahead: int
    combine: str
    by_row: bool
    adds: bool
    in_parts: bool
    rows: str = ""
    rows_each: int = 0


@dataclass(frozen=True, slots=True)
class OrderView(View):
    """What ``scatter_order.j2``, ``scatter_starts.j2`` and ``scatter_edges.j2`` need.

    Attributes:
        share: Keys of a block that sorts.
        few: So many keys a position tells by itself where it starts.
    """

    key: str
    load: tuple[str, ...]
    value: str
    share: int
    warps: int
    length: str
    keys: str
    starts: bool = True
    few: int = NEAR


def scatter_routine(kernel: Kernel, name: str) -> Routine:
    """Functions that write at computed positions; a few are written when all that is there before is."""
    start, rest = kernel.body[:1], kernel.body[1:]
    if not rest:
        return one_after_another(kernel, [map_entry(kernel, name)])
    target = find_target(kernel, rest)
    if target is None or plain(extent(target.positions)) <= FEW or not plain(extent(target.columns)):
        return one_after_another(kernel, [map_entry(kernel, f"{name}_start", start), map_entry(kernel, name, rest)])
    return _sorted(kernel, name, start, target)


def atomic_routine(kernel: Kernel, name: str) -> Routine:
    """The start in a function of its own; then a thread for each element, and neighbouring columns next to each other:
    what a warp adds is neighbours in memory. Where keys have many columns, sorting costs less than a second pass.
    """
    start, rest = kernel.body[:1], kernel.body[1:]
    if not rest:
        return one_after_another(kernel, [map_entry(kernel, name)])
    target = find_target(kernel, rest)
    if target is not None and target.covers and find_start(start, target.store.buffer):
        itemsize = next(b.dtype.itemsize for b in kernel.buffers if b.name == target.store.buffer)
        if plain(extent(target.columns)) * itemsize >= BROAD:
            return scatter_routine(replace(kernel, shape="scatter"), name)
    columns, inner = peel(rest)
    positions, statements = peel(inner, "serial")
    for var in reversed((*positions, *columns)):
        statements = (Loop(var, statements, "parallel"),)
    spread = replace(kernel, body=statements)
    return one_after_another(kernel, [map_entry(kernel, f"{name}_start", start), map_entry(spread, name, packed=False)])


def _sorted(kernel: Kernel, name: str, start: tuple[Stmt, ...], target: Target) -> Routine:
    """Functions that sort the positions, then write each element once."""
    # Threads are counted over positions and columns at once, which `is_wide` does not do.
    length = extent(target.positions)
    writer = Writer(kernel, wide=is_wide(kernel) or length * extent(target.columns) >= LIMIT)
    dtype, steps = writer.buffers[target.store.buffer], Steps(kernel, writer)
    start_of = find_start(start, target.store.buffer) if target.covers and not _is_sparse(target, dtype) else None
    if start_of is None:
        steps.one(map_entry(kernel, f"{name}_start", start))
    bits = key_bits(target.keys)
    key = "unsigned" if bits <= 32 else "unsigned long long"
    order = steps.array("order", "unsigned", 4 * length)
    ranked = steps.array("ranked", key, (4 if bits <= 32 else 8) * length)
    starts = (steps.array("starts", "unsigned", 4 * (target.keys + 1)),) if start_of else ()
    value = f"({key})({writer.write(target.key)})"
    keys = Keys(writer.parameters(), steps.buffers, _key_lines(writer, target, "at"), value, bits)
    if bits <= 32 and plain(length) * plain(_blocks(target)) <= MOST_LOOKS:
        _put_in_order(steps, f"{name}_order", keys, target, (order, ranked, *starts))
    else:  # positions that are none count by their last bits, so that all functions see them in one order
        value = f"({value} & {hex((1 << bits) - 1)}{'u' if bits <= 32 else 'ULL'})"
        keys = replace(keys, value=value)
        after = (*_key_lines(writer, target, "place"), f"ranked[at] = {value};")
        results = Order(
            (order.written, ranked.written), (order.number, ranked.number), ("order[at] = place;", *after), True
        )
        rows = Rows(1, length, 0, length, writer.wide)
        steps.add(sort_routine(f"{name}_sort", keys, results, rows, steps.arguments))
        if starts:
            _find_starts(steps, f"{name}_starts", target, ranked, starts[0])
    view, packs = _view(writer, name, target, key, start_of)
    sums = _sums(steps, name, target, view, packs, order, ranked)
    _write(steps, name, target, replace(view, in_parts=bool(sums)), packs, (order, *(starts or (ranked,)), *sums))
    return steps.routine()


def _is_sparse(target: Target, dtype: DType) -> bool:
    """Whether most keys have no position, and a key's elements are fewer bytes than looking for them takes."""
    narrow: bool = plain(extent(target.columns)) * dtype.itemsize < NARROW
    return narrow and plain(target.keys) > 4 * plain(extent(target.positions))


def _share(target: Target) -> int:
    """Keys of a block that goes through all positions."""
    return min(max(ceil_div(plain(target.keys), MULTIPROCESSORS), 1), MOST_KEYS)


def _blocks(target: Target) -> int:
    """Such blocks: of all keys, and of where the last one's positions end."""
    return target.keys // _share(target) + 1


def _put_in_order(steps: Steps, name: str, keys: Keys, target: Target, arrays: Sequence[Shared]) -> None:
    """One function that sorts a few positions."""
    writer, length = steps.writer, extent(target.positions)
    threads = 1024 if plain(length) > 2048 else 256
    view = OrderView(
        Head(name, steps.parameters((), arrays), threads, "unsigned"), "unsigned", keys.load, keys.value,
        _share(target), threads // 32, writer.count(length), writer.count(target.keys), len(arrays) > 2,
    )  # fmt: skip
    schedule = f"{length} positions in order, a block for each {view.share} of {target.keys} keys"
    sizes = (*alignments(steps.kernel, []), *(4 for _ in arrays))
    steps.one(
        Entry(Function("scatter_order", view), (_blocks(target), 1, 1), (threads, 1, 1), 0, sizes, schedule=schedule),
        arrays,
    )


def _find_starts(steps: Steps, name: str, target: Target, ranked: Shared, starts: Shared) -> None:
    """A function that finds where each key's positions start in the order."""
    parameters = (ranked.read, starts.written)
    writer, length = steps.writer, extent(target.positions)
    dense = plain(target.keys) <= DENSE * plain(length)
    view = OrderView(
        Head(name, parameters, THREADS, writer.flat), ranked.type, (), "", THREADS, THREADS // 32,
        writer.count(length), writer.count(target.keys),
    )  # fmt: skip
    grid = (ceil_div((length if dense else target.keys) + 1, THREADS), 1, 1)
    function = Function("scatter_edges" if dense else "scatter_starts", view)
    entry = Entry(function, grid, (THREADS, 1, 1), schedule=f"where each of {target.keys} keys starts")
    steps.add(Routine((entry,), (Call(0, (ranked.number, starts.number)),)))


def _sums(
    steps: Steps, name: str, target: Target, view: ScatterView, packs: Packs, order: Shared, ranked: Shared
) -> tuple[Shared, ...]:
    """A function that adds up parts of long sums, and what it writes; nothing where no sum is long."""
    length, columns = extent(target.positions), extent(target.columns) // view.width
    if not view.adds or plain(length) <= 4 * SHARE:
        return ()
    itemsize = steps.writer.buffers[target.store.buffer].compute.itemsize
    parts, groups = ceil_div(length, SHARE), ceil_div(length, SHARE * GROUP)
    sums = tuple(
        steps.array(what, view.type, n * extent(target.columns) * itemsize)
        for what, n in (("parts", parts), ("groups", groups))
    )
    lanes = min(1 << max(plain(columns) - 1, 0).bit_length(), LANES)
    blocks = ceil_div(columns, lanes)
    name = f"{name}_sums"
    own = Head(name, steps.parameters((order, ranked), sums), lanes * GROUP, view.head.counter)
    view = replace(view, head=own, lanes=lanes, column_blocks=steps.writer.count(blocks), ahead=4)
    sizes = (*alignments(steps.kernel, [packs]), 4, 4, itemsize, itemsize)
    schedule = f"sums of whole parts of {SHARE} of {length} positions"
    entry = Entry(
        Function("scatter_sums", view), (groups * blocks, 1, 1), (lanes, GROUP, 1), 0, sizes, schedule=schedule
    )
    steps.one(entry, (order, ranked, *sums))
    return sums


def _write(steps: Steps, name: str, target: Target, view: ScatterView, packs: Packs, read: Sequence[Shared]) -> None:
    """The function that writes each element."""
    columns = extent(target.columns) // view.width
    rows = target.keys if view.by_row else extent(target.positions)
    sizes = (*alignments(steps.kernel, [packs]), *(4 for _ in read))
    what = f"a thread for each of {rows} {'keys' if view.by_row else 'positions'} and {view.width} of its columns"
    block, count = (THREADS, 1, 1), ceil_div(rows * columns, THREADS)
    own = Head(name, steps.parameters(read), THREADS, view.head.counter)
    if _is_light(steps, target, view):
        blocks = ceil_div(columns, THREADS)
        lanes = ceil_div(columns, blocks)
        each = max(THREADS // lanes, 1) if blocks == 1 else 1
        block, count = (lanes, each, 1), blocks * ceil_div(rows, each)
        own = replace(own, threads=lanes * each)
        own = own.leaving_room(MOST_AT_ONCE // (ceil_div(own.threads, 32) * 32))
        view = replace(
            view, rows_each=each, lanes=lanes, column_blocks=steps.writer.count(blocks), rows=steps.writer.count(rows)
        )
    view = replace(view, head=own, work=steps.writer.count(rows * columns))
    steps.one(Entry(Function("scatter_rows", view), (count, 1, 1), block, 0, sizes, schedule=what), read)


def _key_lines(writer: Writer, target: Target, flat: str) -> tuple[str, ...]:
    return lines((*writer.unflatten(flat, target.positions), *writer.statements(target.key_lets)))


def _view(writer: Writer, name: str, target: Target, key: str, start: Start | None) -> tuple[ScatterView, Packs]:
    """What a thread does for one key and one pack of columns."""
    store, columns = target.store, target.columns
    dtype = writer.buffers[store.buffer]
    wide = dtype.compute if store.add else dtype
    last = columns[-1] if columns else None
    index = target.at(_ROW)
    body: tuple[Stmt, ...] = (*target.lets, Let("value", store.value), Store(store.buffer, index, Ref("value", wide)))
    packs = find_packs(body, last, writer.buffers) if last else Packs()
    first = {last.name: f"{writer.name(last.name)}_first"} if last else {}
    chunks = (*columns[:-1], replace(last, extent=last.extent // packs.width)) if last else ()
    column = writer.derive(first).unflatten("column", chunks, packs.width)
    before, after, more = _element(writer.derive(first), target, index, packs, wide, start)
    view = ScatterView(
        head(writer, name, THREADS), writer.dialect.types[wide], key, lines(column), lines(before),
        lines(_values(writer, target, packs, wide)), lines(after), packs.width,
        writer.count(max(extent(columns) // packs.width, 1)), "", "", writer.count(extent(target.positions)),
        writer.count(target.keys), writer.count(SHARE), writer.count(GROUP), writer.count(SHARE * GROUP), 0,
        _ahead(target, packs.width),
        writer.dialect.operation("add", wide).text.format("sum[e]", "more") if store.add else "",
        start is not None, store.add, False,
    )  # fmt: skip
    return view, replace(packs, loads=packs.loads + more)


def _ahead(target: Target, width: int) -> int:
    """Positions that are on their way at once: few where most keys have few, since more threads do as well then."""
    dense = plain(extent(target.positions)) > 2 * plain(target.keys)
    return (4 if dense else 2) // (2 if width > 4 else 1)


def _is_light(steps: Steps, target: Target, view: ScatterView) -> bool:
    """Whether a thread has few floats on their way, which are there as they are, and 32-bit counters."""
    value = target.store.value
    roots = [value, *(let.value for let in needed_lets([value], target.lets) if let not in target.key_lets)]
    roots += [e for s in walk(steps.kernel.body[:1]) for e in expressions(s)]
    calls = {e.op for root in roots for e in subexpressions(root) if isinstance(e, Operation)}
    dtype = steps.writer.buffers[target.store.buffer]
    if dtype.kind != "f" or steps.writer.wide or is_varying(extent(target.columns)) or not extent(target.columns):
        return False
    return calls <= {"cast"} and view.ahead * view.width * dtype.compute.itemsize <= 4 * LIGHT_WORDS


#: Stands for the key of a thread.
_ROW = Var("key", 1)


def _element(
    writer: Writer, target: Target, index: Expr, packs: Packs, wide: DType, start: Start | None
) -> tuple[list[Tree], list[Tree], tuple[tuple[str, Expr], ...]]:
    """What reads ``sum`` before and writes it after, and the packs that are read."""
    buffer, width = target.store.buffer, packs.width
    dtype, packed = writer.buffers[buffer], bool(packs.stores)
    last = target.columns[-1] if target.columns else None
    at_row = writer.derive({_ROW.name: f"({writer.index})key"})
    each = at_row.derive({last.name: f"({at_row.name(last.name)} + e)"} if last and width > 1 else {})
    element = f"{writer.name(buffer)}[{each.write(index)}]"
    over = f"for (int e = 0; e < {width}; ++e)"
    before: list[Tree] = []
    loads: tuple[tuple[str, Expr], ...] = ()
    if start is None:
        value = writer.dialect.cast(dtype, wide).text.format(element)
        before.append(Block(over, (Line(f"sum[e] = {value};"),), ("unroll",)))
    else:
        name, inner = writer.name(start.var.name), writer.derive({})
        if packed:
            found = find_packs((*start.lets, Store(buffer, start.var, start.value)), start.var, writer.buffers, width)
            loads = found.loads
            where = f"{name}_first"
            before.append(Line(f"const {writer.index} {where} = {at_row.write(index)};"))
            at_first = writer.derive({start.var.name: where})
            for number, (source, place) in enumerate(loads):
                pack = f"{writer.name(source)}_before{number}"
                kind = f"Pack<{memory_type(writer.buffers[source])}, {width}>"
                text = f"load_pack<{width}>({writer.name(source)} + {at_first.write(place)})"
                before.append(Line(f"const {kind} {pack} = {text};"))
                inner.packs[source, place] = Element(pack)
        at = f"{name}_first + e" if packed else each.write(index)
        body = [*inner.statements(start.lets), Line(f"sum[e] = {inner.convert(start.value, wide)};")]
        if mentions(body, name):
            body = [Line(f"const {writer.index} {name} = {at};"), *body]
        before.append(Block(over, tuple(body), ("unroll",)))
    result = writer.dialect.cast(wide, dtype).text.format("sum[e]")
    if not packed:
        return before, [Block(over, (Line(f"{element} = {result};"),), ("unroll",))], loads
    after: list[Tree] = [
        Line(f"Pack<{memory_type(dtype)}, {width}> written;"),
        Block(over, (Line(f"written.at[e] = {result};"),), ("unroll",)),
        Line(f"store_pack({writer.name(buffer)} + {at_row.write(index)}, written);"),
    ]
    return before, after, loads


def _values(writer: Writer, target: Target, packs: Packs, wide: DType) -> list[Tree]:
    """What the position ``place`` gives to a pack of columns."""
    last, width = target.columns[-1] if target.columns else None, packs.width
    first = f"{writer.name(last.name)}_first" if last else ""
    at_first = writer.derive({last.name: first} if last else {})
    picks = needed_lets([index for _, index in packs.loads], target.lets)
    inner = writer.derive({})
    loads: list[Tree] = []
    for number, (buffer, index) in enumerate(packs.loads):
        pack = f"{writer.name(buffer)}_pack{number}"
        kind = f"Pack<{memory_type(writer.buffers[buffer])}, {width}>"
        loads.append(
            Line(f"const {kind} {pack} = load_pack<{width}>({writer.name(buffer)} + {at_first.write(index)});")
        )
        inner.packs[buffer, index] = Element(pack)
    one = [
        *inner.statements(s for s in target.lets if s not in picks),
        Line(f"value[next][e] = {inner.convert(target.store.value, wide)};"),
    ]
    if last and mentions(one, writer.name(last.name)):
        one = [Line(f"const {writer.index} {writer.name(last.name)} = {first} + e;"), *one]
    each = Block(f"for (int e = 0; e < {width}; ++e)", tuple(one), ("unroll",))
    return [*writer.unflatten("place", target.positions), *writer.statements(picks), *loads, each]
