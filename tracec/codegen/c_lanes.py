"""Short rows computed several at a time, so that vectors are full.

Sixteen elements fill a vector of floats but a fourth of one of booleans, and where both are in a loop a compiler takes
the booleans' count for all. Here what some rows read is first laid side by side; then one loop goes over all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tracec.codegen.c_loops import chain
from tracec.codegen.put_in import put_in
from tracec.ir import index as ix
from tracec.ir.extent import is_varying
from tracec.ir.kernel import (
    Acc,
    Call,
    Expr,
    Kernel,
    Let,
    Linear,
    Load,
    Loop,
    Ref,
    Scratch,
    Stmt,
    Store,
    Update,
    Var,
    expressions,
    subexpressions,
)  # fmt: skip

#: Bytes of a vector, and of the shortest one that is worth having.
VECTOR, LEAST = 64, 16
#: How many times as many elements as a vector holds a block may have, so that blocks come out even.
MOST = 4


def lay_side_by_side(kernel: Kernel) -> Kernel:
    """The kernel, a nest of parallel loops over statements, in blocks of rows; the same where rows fill vectors.

    Blocks are even: rows whose count has no suitable divisor stay as they are. So do kernels that read what they write,
    or use other positions of elements as numbers than those that go on from row to row.
    """
    (outermost,) = kernel.body
    assert isinstance(outermost, Loop)
    loops, body = chain(outermost)
    if len(loops) < 2 or is_varying(loops[-1].var.extent) or is_varying(loops[-2].var.extent):
        return kernel
    rows, lane = loops[-2].var, loops[-1].var
    sizes = {b.dtype.itemsize for b in kernel.buffers}
    if len(sizes) == 1 and lane.extent * min(sizes) >= LEAST:
        return kernel  # a vector of fewer elements is better than moving them
    wanted = VECTOR // min(sizes)
    counts = range(-(-wanted // lane.extent), MOST * wanted // lane.extent + 1)
    count = next((c for c in counts if rows.extent % c == 0), 0)
    if lane.extent >= wanted or not count:
        return kernel
    block, row = Var(f"{rows.name}_block", rows.extent // count), Var(rows.name, count)
    side = Var(f"{lane.name}_side", count * lane.extent)
    parted = _parted(body, rows, lane, ix.mul(block, count), side)
    if parted is None:
        return kernel
    reads, rest = parted
    place = ix.add(ix.mul(row, lane.extent), lane)
    at = {rows.name: ix.add(ix.mul(block, count), row)}
    laid: list[Stmt] = [Scratch(_beside(n), s.value.dtype, side.extent) for n, s in enumerate(reads)]
    copies = tuple(
        Loop(lane, (Store(_beside(n), place, put_in(s.value, at)),), "parallel") for n, s in enumerate(reads)
    )
    result: tuple[Stmt, ...] = (*laid, Loop(row, copies, "parallel"), Loop(side, rest, "parallel"))
    result = (Loop(block, result, "parallel"),)
    for outer in reversed(loops[:-2]):
        result = (replace(outer, body=result),)
    return replace(kernel, body=result, shape="row")  # whose loops are written as they are


def _parted(
    body: tuple[Stmt, ...], rows: Var, lane: Var, first: Expr, side: Var
) -> tuple[list[Let], tuple[Stmt, ...]] | None:
    """What the statements read, and the statements of an element of a block; None where they cannot be parted."""
    written = {s.buffer for s in body if isinstance(s, Store)}
    reads: list[Let] = []
    rest: list[Stmt] = []
    for s in body:
        inside = [e for root in expressions(s) for e in subexpressions(root)]
        loads = [e for e in inside if isinstance(e, Load)]
        if isinstance(s, Let) and loads and _mentions(s.value, rows, lane):
            if any(isinstance(e, Ref) for e in inside) or not written.isdisjoint(e.buffer for e in loads):
                return None
            rest.append(Let(s.name, Load(_beside(len(reads)), side, s.value.dtype)))
            reads.append(s)
            continue
        stays = all(e.buffer not in written and not _depends_on(e, rows, lane) for e in loads)
        moved = _moved(s, lambda e: _on_side(e, rows, lane, first, side)) if stays else None
        if moved is None:
            return None
        rest.append(moved)
    return (reads, tuple(rest)) if reads else None


def _moved(s: Stmt, change: Callable[[Expr], Expr | None]) -> Stmt | None:
    """A statement with its expressions changed; None where one cannot be."""
    match s:
        case Acc():
            return s
        case Let(_, value) | Update(_, value):
            moved = change(value)
            return None if moved is None else replace(s, value=moved)
        case Store(_, index, value, _):
            place, moved = change(index), change(value)
            return None if place is None or moved is None else replace(s, index=place, value=moved)
    return None


def _on_side(e: Expr, rows: Var, lane: Var, first: Expr, side: Var) -> Expr | None:
    """An expression with the places in it that go on from row to row by the position in a block."""
    if not _mentions(e, rows, lane):
        return e
    if not isinstance(e, Call):
        return _of_side(e, rows, lane, first, side)
    args = [_on_side(a, rows, lane, first, side) for a in e.args]
    return None if any(a is None for a in args) else Call(e.op, tuple(a for a in args if a is not None), e.dtype)


def _beside(number: int) -> str:
    return f"beside{number}"


def _mentions(e: Expr, *variables: Var) -> bool:
    return any(x in variables for x in subexpressions(e))


def _depends_on(e: Expr, *variables: Var) -> bool:
    """Whether an element is not one and the same for these loops, or may not be, as a scalar says where it is."""
    return any(x in variables or isinstance(x, Ref) for x in subexpressions(e))


def _of_side(index: Expr, rows: Var, lane: Var, first: Expr, side: Var) -> Expr | None:
    """A place in memory that goes on from row to row, by the position in a block."""
    if not isinstance(index, Linear):
        return None
    terms = dict(index.terms)
    step, further = terms.pop(lane, 0), terms.pop(rows, 0)
    if is_varying((step, further)) or step == 0 or further != step * lane.extent:
        return None
    if any(_mentions(t, rows, lane) for t in terms):
        return None
    start = ix.mul(first, step * lane.extent)
    return ix.add(ix.add(Linear(tuple(terms.items()), index.offset), start), ix.mul(side, step))
