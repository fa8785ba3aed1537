"""Selections between a value and zero, as masks of the value's bits, and between 0 and 1 as conversions.

A compiler may compute the value of ``c ? 0 : x`` in a branch, with all that x is computed from, and a loop with a
branch in it is not vectorised. How a condition becomes an integer is told by the dialect.
"""

from __future__ import annotations

from dataclasses import replace

from tracec.ir import dtype as dt
from tracec.ir.kernel import Call, Const, Expr, Kernel, Let, Load, Loop, Stmt, Store, Update, subexpressions


def mask_selections(kernel: Kernel) -> Kernel:
    """The kernel with selections between zero and what is there already written as masks.

    What is read for the selection stays in it: where it is not selected it may lie outside of the array.
    """
    return replace(kernel, body=_masked_body(kernel.body))


def _masked_body(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    result: list[Stmt] = []
    for s in body:
        if isinstance(s, Loop):
            s = replace(s, body=_masked_body(s.body))
        elif isinstance(s, (Let, Update, Store)):
            s = replace(s, value=_masked(s.value))
        result.append(s)
    return tuple(result)


def _masked(e: Expr) -> Expr:
    if not isinstance(e, Call) or e.op != "select":
        return e
    condition, then, other = e.args
    if e.dtype.kind in "iu" and isinstance(then, Const) and isinstance(other, Const):
        return _of_constants(condition, then, other, e)
    if e.dtype not in (dt.float32, dt.float64):
        return e
    if _is_zero(then) and _is_there(other):
        return Call("zero_if", (other, condition), e.dtype)
    if _is_zero(other) and _is_there(then):
        return Call("zero_unless", (then, condition), e.dtype)
    return e


def _of_constants(condition: Expr, then: Const, other: Const, e: Call) -> Expr:
    """A selection between two integers next to each other, which compilers take for the condition converted."""
    step = int(then.value) - int(other.value)
    if step not in (1, -1):
        return e
    one = Call("cast", (condition,), e.dtype)
    if step == 1 and other.value == 0:
        return one
    return Call("add" if step == 1 else "sub", (other, one), e.dtype)


def _is_zero(e: Expr) -> bool:
    """Whether it is zero, and not the negative one."""
    return isinstance(e, Const) and str(float(e.value)) == "0.0"


def _is_there(e: Expr) -> bool:
    return not isinstance(e, Const) and not any(isinstance(x, Load) for x in subexpressions(e))
