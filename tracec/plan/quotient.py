"""Division of a row by one of its values, where results have 16 bits: by a reciprocal, which the row needs once.

A division takes some ten instructions for each element, more than the rest of a 16-bit softmax. Where the result of the
operator that a user wrote is a 16-bit float, which is rounded to 11 or 8 bits, its quotient in float32 may be the
product with a reciprocal: it is at most 2⁻²² of itself off, and so the result is at most that and half a unit in its
last place off. In float32 and float64 a division is a division, rounded correctly.
"""

from __future__ import annotations

from collections.abc import Callable

from tracec.ir import dtype as dt
from tracec.ir.kernel import Call, Const, Expr
from tracec.ir.node import Node

#: Divisors below this, whose reciprocals may be infinite, and operands are first multiplied by its reciprocal: what
#: overflows then has an infinite quotient.
_SMALL = 2.0**-64


def may_multiply(node: Node) -> bool:
    """Whether a division may be a product with a reciprocal: its result has 16 bits."""
    return node.dtype in (dt.float16, dt.bfloat16)


def by_reciprocal(a: Expr, b: Expr, bind: Callable[[Expr], Expr]) -> Expr:
    """``a / b`` of float32, to 2⁻²² of itself, with zeros, infinities and NaN as a division has them.

    Args:
        a: What is divided.
        b: By what: the same for a whole row.
        bind: Gives what is the same for the whole row a name.
    """
    wide = dt.float32
    small = Call("lt", (Call("abs", (b,), wide), Const(_SMALL, wide)), dt.bool_)
    factor = bind(Call("select", (small, Const(1 / _SMALL, wide), Const(1.0, wide)), wide))
    reciprocal = bind(Call("div", (Const(1.0, wide), bind(Call("mul", (b, factor), wide))), wide))
    return Call("mul", (Call("mul", (a, factor), wide), reciprocal), wide)
