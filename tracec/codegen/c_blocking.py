"""How a contraction is cut: which loops are lanes and rows, into what blocks, and whether along what is added up."""

from __future__ import annotations

from tracec.ir import index as ix
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import Expr, Load, Stmt, Store, Var, subexpressions
from tracec.ir.types import contiguous_strides, numel

#: Multiplications from which threads share the work.
MIN_PARALLEL = 1 << 18
#: Reduced elements in a block: a panel of lanes stays in the first-level cache.
BLOCK = 256
#: Lanes that loops are merged up to at least.
MIN_LANES = 48
#: Rows that one unit of work computes at most; its results stay in the second-level cache.
MAX_ROWS = 480
#: Elements that must lie side by side for a line to be computed as one.
MIN_LINE = 4
#: Units that the work is cut into at least, where it is split along the reduced loops.
PARTS = 16
#: Bytes of partial results at most.
MAX_PARTIAL = 16 << 20


def is_contiguous(epilogue: tuple[Stmt, ...], m: list[Var], n: list[Var]) -> bool:
    """Whether the result is contiguous along the loops of m."""
    for s in epilogue:
        if isinstance(s, Store):
            terms, _ = ix.terms_of(s.index)
            units = {t.name for t, c in terms.items() if c == 1 and isinstance(t, Var)}
            if not units.isdisjoint(v.name for v in m):
                return True
            if not units.isdisjoint(v.name for v in n):
                return False
    return bool(numel(plain(v.extent) for v in m) >= numel(plain(v.extent) for v in n))


def split_reduction(rows: int, lanes: int, reduced: list[Var], total: int) -> int:
    """Into how many parts to cut the reduction: a small result of long sums, as a weight's gradient is."""
    first: int = plain(reduced[0].extent)
    k = numel(plain(v.extent) for v in reduced)
    if k < 4 * max(rows, lanes) or rows * lanes > 1 << 18 or total < MIN_PARALLEL:
        return 1
    return max(1, min(PARTS, first, MAX_PARTIAL // (rows * lanes * 8)))


def flat_loops(wide: list[Var], value: Expr) -> int:
    """How many of the innermost loops become the lanes: enough to fill panels, more where memory goes on."""
    count = 1
    while count < len(wide):
        inside = wide[-count:]
        more = wide[-count - 1 :]
        if numel(plain(v.extent) for v in inside) >= MIN_LANES and not _linear(value, more):
            break
        count += 1
    return count


def _linear(value: Expr, loops: list[Var]) -> bool:
    """Whether every load moves evenly along the loops taken as one."""
    strides = contiguous_strides(tuple(v.extent for v in loops))
    for e in subexpressions(value):
        if isinstance(e, Load):
            terms, _ = ix.terms_of(e.index)
            step = terms.get(loops[-1], 0)
            if any(terms.get(v, 0) != step * s for v, s in zip(loops, strides, strict=True)):
                return False
            if any(not isinstance(t, Var) and _mentions(t, loops) for t in terms):
                return False
    return True


def goes_on(value: Expr, loop: Var) -> bool:
    """Whether loads move by one element along a loop, and none by more."""
    steps = set()
    for e in subexpressions(value):
        if isinstance(e, Load):
            terms, _ = ix.terms_of(e.index)
            if any(not isinstance(t, Var) and _mentions(t, [loop]) for t in terms):
                return False
            steps.add(terms.get(loop, 0))
    return 1 in steps and steps <= {0, 1} and plain(loop.extent) >= MIN_LINE


def _mentions(e: Expr, loops: list[Var]) -> bool:
    return any(x in loops for x in subexpressions(e))


def blocks_of(reduced: list[Var], split: int) -> tuple[list[Var], Var, list[Var]]:
    """The reduced loops around blocks, the one that is cut, and those within a block."""
    at, inner = len(reduced) - 1, 1
    while at > 0 and not is_varying(reduced[at].extent) and inner * reduced[at].extent < BLOCK:
        inner *= reduced[at].extent
        at -= 1
    return reduced[:at], reduced[at], reduced[at + 1 :]


def row_chunk(rows: int, panels: int, split: int) -> int:
    """Rows of one unit: all of them, unless their results would not stay in cache or threads would idle."""
    padded = -(-rows // 24) * 24
    if split > 1:
        return padded
    chunks = max(-(-padded // MAX_ROWS), min(-(-16 // panels), padded // 24))
    return -(-padded // chunks // 24) * 24
