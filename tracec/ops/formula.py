"""Functions of each element that are a formula over others: written once, for arrays and for kernels.

A formula is a function ``(xp, *x)`` of operands of one floating dtype, float32 or float64. Eagerly ``xp`` is numpy or
cupy and the operands are arrays; to lower it, ``xp`` is `NODES`, which has NumPy's names for operators, and the
operands are nodes. Derivatives are not taken of formulas but given, so that what a formula does where its value is
not chosen does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracec.ir.lower import Decompose
from tracec.ir.operator import Operator, Sample
from tracec.ops import arithmetic, elementwise, logic
from tracec.ops.erf import erf as erf_of_array
from tracec.ops.erf import horner
from tracec.ops.families import Partials
from tracec.ops.families import elementwise as define

Formula = Callable[..., Any]

#: Elements computed at once, so that the steps in between stay in the cache.
_BLOCK = 1 << 13


class NODES:
    """NumPy's names for the operators that formulas use."""

    abs, exp, expm1, log, log1p = (
        elementwise.abs,
        elementwise.exp,
        elementwise.expm1,
        elementwise.log,
        elementwise.log1p,
    )
    sin, cos, tan, sqrt = elementwise.sin, elementwise.cos, elementwise.tan, elementwise.sqrt
    floor, ceil, rint = elementwise.floor, elementwise.ceil, elementwise.round
    minimum, maximum, power, copysign = (
        arithmetic.minimum, arithmetic.maximum, arithmetic.pow, arithmetic.copysign
    )  # fmt: skip
    equal, less, less_equal, greater = logic.eq, logic.lt, logic.le, logic.gt
    logical_and, logical_or, where = logic.bitwise_and, logic.bitwise_or, logic.where


def formula(
    name: str,
    f: Formula,
    *,
    derivative: Partials,
    doc: str,
    domain: tuple[float, float] | tuple[tuple[float, float], ...] = (-2.0, 2.0),
    samples: tuple[Sample, ...] = (),
    arity: int = 1,
) -> Operator:
    """Define an operator that computes a formula.

    Args:
        name: Its name.
        f: ``(xp, *operands) -> result``, over arrays of NumPy or CuPy, or over nodes.
        derivative: As of `tracec.ops.families.elementwise`: given, not taken from the formula.
        doc: One sentence for users.
        domain: Where sample inputs lie: one pair of bounds, or one for each operand.
        samples: Sample inputs beyond those of every element-by-element operator.
        arity: Number of operands, 1 or 2.
    """

    def unary(xp: Any, x: Any) -> Any:
        return _in_blocks(f, xp, x)

    def binary(xp: Any, x: Any, y: Any) -> Any:
        return _in_blocks(f, xp, x, y)

    def build(*nodes: Any) -> Any:
        narrow = nodes[0].dtype
        wide = [elementwise.cast(x, dtype=narrow.compute) for x in nodes] if narrow.itemsize < 4 else nodes
        result = f(NODES, *wide)
        return elementwise.cast(result, dtype=narrow) if narrow.itemsize < 4 else result

    return define(
        name,
        eager=(unary, binary)[arity - 1],
        derivative=derivative,
        domain=domain,
        samples=samples,
        lower=Decompose(build),
        doc=doc,
    )


def _in_blocks(f: Formula, xp: Any, *operands: Any) -> Any:
    """A formula over arrays, which are broadcast and, on the CPU, computed in pieces."""
    shape = operands[0].shape if len(operands) == 1 else np.broadcast_shapes(*(x.shape for x in operands))
    flat = [(x if x.shape == shape else xp.broadcast_to(x, shape)).reshape(-1) for x in operands]
    size, dtype = flat[0].size, operands[0].dtype
    if xp is not np or size <= _BLOCK:
        return f(xp, *flat).astype(dtype, copy=False).reshape(shape)
    out = np.empty(size, dtype)
    for start in range(0, size, _BLOCK):
        out[start : start + _BLOCK] = f(np, *(x[start : start + _BLOCK] for x in flat))
    return out.reshape(shape)


@dataclass(frozen=True)
class Polynomial:
    """An approximation of a smooth function on an interval, one for each precision.

    The coefficients were made for tracec unless a table says otherwise: interpolation at Chebyshev nodes in
    arithmetic of 50 digits, cut off below half a unit in the last place, and written as powers. None of these sums
    has terms much larger than itself.

    Attributes:
        interval: Where it holds; it is stretched to [-1, 1], whose powers the coefficients belong to.
        double: Coefficients for float64, lowest power first.
        single: Coefficients for float32.
    """

    interval: tuple[float, float]
    double: Sequence[float]
    single: Sequence[float]

    def __call__(self, x: Any) -> Any:
        low, high = self.interval
        middle, half = (low + high) / 2, (high - low) / 2
        if middle:
            x = x - middle
        return horner(x if half == 1 else x * (1 / half), self.double if is_double(x) else self.single)


def is_double(x: Any) -> bool:
    """Whether an array or node is computed in float64."""
    return bool(x.dtype.itemsize == 8)


def erf_of(xp: Any, x: Any) -> Any:
    """The error function of an array or node."""
    return elementwise.erf(x) if xp is NODES else erf_of_array(xp, x)
