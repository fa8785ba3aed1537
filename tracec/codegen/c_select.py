"""Selections between a value and zero, as masks of the value's bits.

A compiler may compute the value of ``c ? 0 : x`` in a branch, with all that x is computed from, and a loop with a
branch in it is not vectorised.
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
    if not isinstance(e, Call) or e.op != "select" or e.dtype not in (dt.float32, dt.float64):
        return e
    condition, then, other = e.args
    if _is_zero(then) and _is_there(other):
        return Call("zero_if", (other, condition), e.dtype)
    if _is_zero(other) and _is_there(then):
        return Call("zero_unless", (then, condition), e.dtype)
    return e


def _is_zero(e: Expr) -> bool:
    """Whether it is zero, and not the negative one."""
    return isinstance(e, Const) and str(float(e.value)) == "0.0"


def _is_there(e: Expr) -> bool:
    return not isinstance(e, Const) and not any(isinstance(x, Load) for x in subexpressions(e))
