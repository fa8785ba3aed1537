"""What a GPU computes with fewer instructions where the result of the operator that a user wrote has 16 bits.

Such a result is rounded to 11 or 8 bits, and what it takes in float32 may be a little off before. In float32 and
float64 a division is a division, rounded correctly, and exp that of CUDA's library.

- The division of a row by one of its values takes some ten instructions for each element, more than the rest of a
  softmax. A product with a reciprocal, which the row needs once, is at most 2⁻²² of itself off.
- exp takes seven. ``short_exp`` takes three, one fewer where its result is added to a sum: the square of what the GPU's
  own power of two gives for half of the exponent, which needs no care for results below 2⁻¹²⁶, as the power itself
  does. Rounding the exponent to float32 is most of what it is off: 2⁻¹⁸ of itself for exponents from -20 to 20, and at
  most 2⁻¹⁷ wherever it is a normal number.
"""

from __future__ import annotations

from collections.abc import Callable

from tracec.ir import dtype as dt
from tracec.ir.kernel import Call, Const, Expr
from tracec.ir.node import Node

#: Divisors below this, whose reciprocals may be infinite, and operands are first multiplied by its reciprocal: what
#: overflows then has an infinite quotient.
_SMALL = 2.0**-64


def has_16_bits(node: Node) -> bool:
    """Whether a result has 16 bits: what gives it may be a little off."""
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
