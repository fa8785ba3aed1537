"""Sums of products: tiles of both operands in shared memory, a tile of sums in each thread's registers.

Matrix products and all convolutions take this one way: the loops over m, n and k are flattened, and each
operand is loaded through its expression, whatever that reads. Where there are few sums of many products, the
products are cut into parts, whose sums a second function adds up, always in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracec.codegen.cuda_access import Packs, extent, find_packs, peel, stride
from tracec.codegen.cuda_chunk import write_pack
from tracec.codegen.cuda_columns import column_entry
from tracec.codegen.cuda_entry import (
    Entry,
    Function,
    Routine,
    View,
    alignments,
    ceil_div,
    head,
    lines,
    one_after_another,
)
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_operand import Factor, OperandView, factor, operand_view
from tracec.codegen.cuda_rows import row_entry
from tracec.codegen.cuda_tiles import MULTIPROCESSORS, Choice, Tile, choose_tile, estimate_rows, split_length
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.expressions import ATOM
from tracec.codegen.tree import Line
from tracec.ir import index as ix
from tracec.ir.dtype import DType
from tracec.ir.extent import divides, is_varying, plain
from tracec.ir.kernel import (
    Acc,
    Buffer,
    Kernel,
    Load,
    Loop,
    Ref,
    Stmt,
    Store,
    Update,
    Var,
    nested,
    walk,
)  # fmt: skip

#: Sums of so few products run in one thread.
SHORT_SUM = 4
#: Matrices of no more rows, or columns, are vectors to all intents.
FEW_VECTORS = 2
#: Tiles along m that share the cache with those next to them along n.
GROUP = 16
#: From so many steps on, a second block on a multiprocessor is worth being sparing with registers.
LONG_LOOP = 4
#: Bytes of the widest access to shared memory.
WIDEST = 16


@dataclass(frozen=True, slots=True)
class Sums:
    """What a contraction's kernel computes, taken apart.

    Attributes:
        batch, m, n, k: Its loops.
        a, b: The factors.
        acc: The accumulator,
        reduce: the loop that adds the products up,
        after: and what follows each sum.
        m_fast: Whether results next to each other in memory follow each other along m.
    """

    batch: tuple[Var, ...]
    m: tuple[Var, ...]
    n: tuple[Var, ...]
    k: tuple[Var, ...]
    a: Factor
    b: Factor
    acc: Acc
    reduce: tuple[Stmt, ...]
    after: tuple[Stmt, ...]
    m_fast: bool

    @property
    def fast(self) -> tuple[Var, ...]:
        """The loops along which results are neighbours."""
        return self.m if self.m_fast else self.n


@dataclass(frozen=True, slots=True)
class Nest:
    """A loop over a thread's sums."""

    name: str
    each: int
    step: int


@dataclass(frozen=True, slots=True)
class EpilogueView:
    """What becomes of a thread's sums: two loops over them, when to leave one out, what to do with one or a pack."""

    loops: tuple[Nest, Nest]
    guard: str
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContractionView(View):
    """What ``contraction.j2`` needs."""

    type: str
    zero: str
    index: str
    a: OperandView
    b: OperandView
    depth: int
    pad: int
    first: str
    stop: str
    m_fast: bool
    fast_warps: int
    m_each: int
    n_each: int
    m_threads: int
    n_threads: int
    m_vector: int
    n_vector: int
    m_groups: int
    n_groups: int
    m_stride: int
    n_stride: int
    m_tiles: str
    n_tiles: str
    batch_tiles: str
    group: str
    group_tiles: str
    batch: tuple[str, ...]
    multiply_add: str
    epilogue: EpilogueView


def contraction_routine(kernel: Kernel, name: str) -> Routine:
    """Functions that compute tiles of sums; a block, a warp or a thread a sum where there are few of them.

    Sizes that vary are taken as they are now: what is chosen by them is right for all.
    """
    sums = take_apart(kernel)
    m, n, k, batch = (plain(extent(v)) for v in (sums.m, sums.n, sums.k, sums.batch))
    if k <= SHORT_SUM:
        return one_after_another(kernel, [map_entry(kernel, name)])
    if min(m, n) <= FEW_VECTORS:
        wide = sums.b if m <= n else sums.a
        build = row_entry if wide.along_k or not wide.run(wide.along) else column_entry
        return one_after_another(kernel, [build(kernel, name)])
    choice = choose_tile(m, n, k, batch, sums.acc.dtype)
    along_k = (sums.a.along_k, sums.b.along_k)
    if estimate_rows(m, n, k, batch, sums.acc.dtype.itemsize, along_k) < choice.cycles:
        return one_after_another(kernel, [row_entry(kernel, name)])
    if choice.splits == 1:
        return one_after_another(kernel, [_tiles(kernel, name, sums, choice.tile)])
    return _split(kernel, name, sums, choice)


def take_apart(kernel: Kernel) -> Sums:
    """The loops, factors and statements of a contraction's kernel."""
    mark = kernel.contraction
    assert mark is not None
    loops = {s.var.name: s.var for s in walk(kernel.body) if isinstance(s, Loop)}
    batch, m, n, k = (tuple(loops[x] for x in names) for names in (mark.batch, mark.m, mark.n, mark.k))
    acc = next(s for s in walk(kernel.body) if isinstance(s, Acc) and s.name == mark.acc)
    _, body = peel(kernel.body)
    reduce = tuple(s for s in body if isinstance(s, Loop))
    after = tuple(s for s in body if s not in reduce and s is not acc)
    m_fast = _stores_along(after, m) and not _stores_along(after, n)
    return Sums(batch, m, n, k, factor(mark.a, m, k), factor(mark.b, n, k), acc, reduce, after, m_fast)


def _stores_along(body: Sequence[Stmt], variables: Sequence[Var]) -> bool:
    return bool(variables) and any(isinstance(s, Store) and stride(s.index, variables[-1]) == 1 for s in body)


# -- sums in parts ---------------------------------------------------------------------------------------------


def _split(kernel: Kernel, name: str, sums: Sums, choice: Choice) -> Routine:
    """Each part's sums to a workspace, then what the kernel says over their sums, in the order of the parts."""
    length = split_length(extent(sums.k), choice.splits, choice.tile.depth)
    splits = ceil_div(extent(sums.k), length)
    part = Var("split", splits)
    fast, slow = (sums.m, sums.n) if sums.m_fast else (sums.n, sums.m)
    order = (part, *sums.batch, *slow, *fast)
    at = ix.flatten(order, tuple(v.extent for v in order))
    dtype = sums.acc.dtype
    total = Ref(sums.acc.name, dtype)

    def with_partials(role: str, body: tuple[Stmt, ...]) -> Kernel:
        partials = Buffer("partials", dtype, tuple(v.extent for v in order), role)
        return replace(kernel, buffers=(*kernel.buffers, partials), body=body)

    store = Store("partials", at, total)
    cut = (sums.acc, *sums.reduce, store)
    first = with_partials("out", nested((part, *sums.batch, *sums.m, *sums.n), cut, "parallel"))
    parts = replace(sums, batch=(part, *sums.batch), after=(store,))
    again = nested((part,), (Update(sums.acc.name, Load("partials", at, dtype)),), "reduce")
    whole = (sums.acc, *again, *sums.after)
    second = with_partials("in", nested((*sums.batch, *slow, *fast), whole, "parallel"))
    entries = (_tiles(first, f"{name}_parts", parts, choice.tile, length), map_entry(second, name))
    return one_after_another(kernel, entries, (extent(order) * dtype.itemsize,))


# -- tiles -----------------------------------------------------------------------------------------------------


def _tiles(kernel: Kernel, name: str, sums: Sums, tile: Tile, length: int = 0) -> Entry:
    """A function in which a block computes a tile of sums.

    Args:
        kernel: Its buffers and loops.
        name: The function's name.
        sums: What it computes.
        tile: The tile.
        length: Products of each part, where the outermost loop of the batch is over parts; 0 for all products.
    """
    writer = Writer(kernel)
    dtype = sums.acc.dtype
    m, n, k, batch = (extent(v) for v in (sums.m, sums.n, sums.k, sums.batch))
    m_tiles, n_tiles = _at_least_one(ceil_div(m, tile.m)), _at_least_one(ceil_div(n, tile.n))
    a, a_packs = operand_view(writer, "a", "m", sums.a, tile.m, tile, dtype)
    b, b_packs = operand_view(writer, "b", "n", sums.b, tile.n, tile, dtype)
    m_vector, n_vector = (min(each, WIDEST // dtype.itemsize) for each in (tile.m_each, tile.n_each))
    epilogue, packs = _epilogue(writer, sums, tile, m_vector if sums.m_fast else n_vector)
    part = writer.name("split")
    view = ContractionView(
        head=head(writer, name, tile.threads).leaving_room(
            2 if plain(k) >= LONG_LOOP * tile.depth and not writer.wide else 1
        ),
        type=writer.dialect.types[dtype],
        zero=writer.accumulator(sums.acc.name).identity,
        index=writer.index,
        a=a,
        b=b,
        depth=tile.depth,
        pad=WIDEST // dtype.itemsize,
        first=f"{part} * {writer.count(length)}" if length else writer.count(0),
        stop=_stop(writer, k, length),
        **_threads(tile, sums.m_fast, m_vector, n_vector),
        **_order_of_tiles(writer, m_tiles, n_tiles),
        batch=lines(writer.unflatten("batch", sums.batch)),
        multiply_add=_multiply_add(writer, sums.acc.name, dtype, m_vector, n_vector),
        epilogue=epilogue,
    )
    cut = f", products in {sums.batch[0].extent} parts of {length}" if length else ""
    schedule = f"tiles of {tile.m} by {tile.n} by {tile.depth}, {tile.m_each} by {tile.n_each} a thread{cut}"
    wide = {p.width for p in (a_packs, b_packs, packs)} - {1}
    schedule += f", packs of {max(wide)}" if wide else ""
    return Entry(
        Function("contraction", view), (m_tiles * n_tiles * batch if m and n else 0, 1, 1), (tile.threads, 1, 1), 0,
        alignments(kernel, (a_packs, b_packs, packs)), schedule=schedule,
    )  # fmt: skip


def _at_least_one(tiles: int) -> int:
    return tiles if is_varying(tiles) else max(tiles, 1)


def _threads(tile: Tile, m_fast: bool, m_vector: int, n_vector: int) -> dict[str, Any]:
    """Fields of the view: which sums of a tile a thread has, in groups that it loads at once."""
    m_threads, n_threads = tile.m // tile.m_each, tile.n // tile.n_each
    return {
        "m_fast": m_fast,
        "fast_warps": (m_threads if m_fast else n_threads) // 8,
        "m_each": tile.m_each,
        "n_each": tile.n_each,
        "m_threads": m_threads,
        "n_threads": n_threads,
        "m_vector": m_vector,
        "n_vector": n_vector,
        "m_groups": tile.m_each // m_vector,
        "n_groups": tile.n_each // n_vector,
        "m_stride": m_threads * m_vector,
        "n_stride": n_threads * n_vector,
    }


def _order_of_tiles(writer: Writer, m_tiles: int, n_tiles: int) -> dict[str, Any]:
    """Fields of the view: how tiles are counted, in groups of rows where there are more than run at once."""
    grouped = plain(m_tiles) >= 2 and plain(n_tiles) >= 2 and plain(m_tiles * n_tiles) > 2 * MULTIPROCESSORS
    group = GROUP if is_varying(m_tiles) else min(GROUP, m_tiles)
    return {
        "m_tiles": writer.count(m_tiles),
        "n_tiles": writer.count(n_tiles),
        "batch_tiles": writer.count(m_tiles * n_tiles),
        "group": writer.count(group),
        "group_tiles": writer.count(group * n_tiles) if grouped else "",
    }


def _stop(writer: Writer, k: int, length: int) -> str:
    """Where the products of a block end."""
    whole = writer.count(k)
    if not length:
        return whole
    part = writer.count(length)
    return f"k_first + {part} < {whole} ? k_first + {part} : {whole}"


def _epilogue(writer: Writer, sums: Sums, tile: Tile, vector: int) -> tuple[EpilogueView, Packs]:
    """What follows each sum, for neighbouring sums of a thread at once where their results are neighbours."""
    last = sums.fast[-1] if sums.fast else None
    packs = find_packs(sums.after, last, writer.buffers, vector) if last is not None and vector > 1 else Packs()
    if not packs.stores or last is None or not divides(vector, last.extent):
        packs = Packs()
    width = packs.width
    slow, fast = ("nn", "mm") if sums.m_fast else ("mm", "nn")
    each = {"mm": tile.m_each, "nn": tile.n_each}
    m, n = extent(sums.m), extent(sums.n)
    tests = [f"m >= {writer.count(m)}"] * (not divides(tile.m, m))
    tests += [f"n >= {writer.count(n)}"] * (not divides(tile.n, n))
    acc = f"const {writer.dialect.types[sums.acc.dtype]} {writer.name(sums.acc.name)}"
    nest = (Nest(slow, each[slow], 1), Nest(fast, each[fast], width))
    if width == 1:
        body = (
            *writer.unflatten("m", sums.m),
            *writer.unflatten("n", sums.n),
            Line(f"{acc} = sums[mm][nn];"),
            *writer.statements(sums.after),
        )
        return EpilogueView(nest, " || ".join(tests), lines(body)), packs
    assert last is not None
    at_first = writer.derive({last.name: f"{writer.name(last.name)}_first"})
    element = "sums[mm + e][nn]" if fast == "mm" else "sums[mm][nn + e]"
    inner = writer.derive({sums.acc.name: element})
    inner.each |= {sums.acc.name}
    body = (
        *at_first.unflatten("m", sums.m),
        *at_first.unflatten("n", sums.n),
        *write_pack(inner, last, sums.after, packs),
    )
    return EpilogueView(nest, " || ".join(tests), lines(body)), packs


def _multiply_add(writer: Writer, acc: str, dtype: DType, m_vector: int, n_vector: int) -> str:
    a, b = f"a_part[mm / {m_vector}].at[mm % {m_vector}]", f"b_part[nn / {n_vector}].at[nn % {n_vector}]"
    product = writer.dialect.operation("mul", dtype).text.format(a, b)
    return writer.derive({acc: "sums[mm][nn]"}).update(acc, product, ATOM)
