"""Softmax as one operator: its derivative needs its result alone.

Kernels compute it as what it is made of. Taken of the parts, the derivative would need the exponentials as well, which
would be kept for it next to their quotients.
"""

from __future__ import annotations

import math
from typing import Any

from tracec.errors import AxisError
from tracec.ir import dtype as dt
from tracec.ir.lower import Decompose
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.types import Shape, TensorType
from tracec.ops.arithmetic import div, sub
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.elementwise import exp
from tracec.ops.families import check_dtype
from tracec.ops.logic import eq, where
from tracec.ops.reduction import max, sum


def _type(x: TensorType, *, axes: Shape, safe: bool = False) -> TensorType:
    check_dtype(x, "floats")
    for axis in axes:
        if not 0 <= axis < x.ndim or not x.shape[axis]:
            raise AxisError(f"axis {axis} of shape {x.shape} has no elements", hint="softmax has a largest element")
    return x


def _eager(xp: Any, x: Any, *, axes: Shape, safe: bool) -> Any:
    largest = x.max(axis=axes, keepdims=True)
    if safe:
        largest = xp.where(largest == -math.inf, xp.zeros_like(largest), largest)
    powers = x - largest
    xp.exp(powers, out=powers)  # in memory that is there: new memory takes longer than what is computed
    total = powers.sum(axis=axes, dtype=x.dtype, keepdims=True)
    if safe:
        total = xp.where(total == 0, xp.ones_like(total), total)
    powers /= total
    return powers


def _build(x: Any, *, axes: Shape, safe: bool) -> Any:
    largest = max(x, axes=axes, keepdims=True)
    if safe:
        largest = where(eq(largest, -math.inf), 0.0, largest)
    powers = exp(sub(x, largest))
    total = sum(powers, axes=axes, keepdims=True)
    if safe:
        total = where(eq(total, 0.0), 1.0, total)
    return div(powers, total)


def _derivative(t: Any, out: Any, axes: Shape) -> Any:
    """Both modes: the Jacobian is symmetric."""
    return (t - sum(t * out, axes=axes, keepdims=True)) * out


softmax: Operator = primitive(
    "softmax",
    family="reduction",
    type_rule=_type,
    eager=in_float32(_eager),
    vjp=lambda ct, out, x, *, axes, safe: (_derivative(ct, out, axes),),
    jvp=lambda tangents, out, x, *, axes, safe: _derivative(tangents[0], out, axes),
    batch=lambda inputs, batched, size, *, axes, safe: softmax(inputs[0], axes=tuple(a + 1 for a in axes), safe=safe),
    lower=Decompose(_build),
    arity=1,
    promotion="none",
    doc="Powers of e divided by their sum over axes; with ``safe``, zeros where every element is minus infinity.",
    samples=(
        Sample((Arg((3, 5), dt.float64),), {"axes": (1,)}),
        Sample((Arg((2, 3, 4)),), {"axes": (0, 2)}),
        Sample((Arg((4, 33)),), {"axes": (1,), "safe": True}),
        Sample((Arg((0, 3)),), {"axes": (1,)}),
        Sample((Arg((5, 3), dt.float16),), {"axes": (0,)}),
        Sample((Arg((5, 3), dt.bfloat16),), {"axes": (1,)}),
    ),
)
