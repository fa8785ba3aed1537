"""Operators that combine the elements along axes into one, or find one of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.errors import AxisError
from tracec.ir import dtype as dt
from tracec.ir.lower import Decompose
from tracec.ir.operator import OPERATORS, Arg, Operator, Sample, not_differentiable
from tracec.ir.types import Shape, TensorType
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.core import expand
from tracec.ops.elementwise import cast
from tracec.ops.families import check_dtype, reduced_type, reduction
from tracec.ops.few import MANY, are_few, are_windows, first_of_few, sum_of_few, sum_of_lines
from tracec.ops.logic import bitwise_or, eq, isnan, where
from tracec.ops.view import flip, shifted

_ADD: Any = np.add

# Sum and product --------------------------------------------------------------------------------------


def _sum(xp: Any, x: Any, axes: Shape, keepdims: bool) -> Any:
    if xp is np and x.size < 2 * MANY:  # as the method does
        return _ADD.reduce(x, axis=axes, dtype=x.dtype, keepdims=keepdims)
    if are_few(xp, x, axes):
        return sum_of_few(x, keepdims)
    if are_windows(xp, x, axes):
        return sum_of_few(x, keepdims, len(axes))
    if xp is np and (found := sum_of_lines(x, axes, keepdims)) is not None:
        return found
    return x.sum(axis=axes, dtype=x.dtype, keepdims=keepdims)


sum: Operator = reduction(
    "sum",
    eager=_sum,
    combine="add",
    vjp=lambda ct, out, x, axes: expand(ct, shape=x.shape),
    jvp=lambda t, out, x, axes: sum(t, axes=axes, keepdims=True),
    takes="numbers",
    doc="The sum; 0 of nothing. Integers wrap around; 16-bit floats are summed in float32.",
)


def _products_before(x: Any, axis: int) -> Any:
    """For each element the product of those before it along an axis, in a logarithmic number of steps."""
    products, reach = shifted(x, axis, 1, 1), 1
    while reach < x.shape[axis]:
        products = products * shifted(products, axis, reach, 1)
        reach *= 2
    return products


def _products_of_others(x: Any, axis: int) -> Any:
    """For each element the product of all others along an axis: no division, so zeros do no harm."""
    if x.shape[axis] < 2:
        return None
    after = flip(_products_before(flip(x, axes=(axis,)), axis), axes=(axis,))
    return _products_before(x, axis) * after


def _prod_partials(x: Any, axes: Shape, t: Any) -> Any:
    """t times the derivative of the product by each element."""
    rest = x
    for axis in axes:
        others = _products_of_others(rest, axis)
        t = t if others is None else t * others
        rest = prod(rest, axes=(axis,), keepdims=True)
    return expand(t, shape=x.shape)


prod: Operator = reduction(
    "prod",
    eager=lambda xp, x, axes, keepdims: x.prod(axis=axes, dtype=x.dtype, keepdims=keepdims),
    combine="mul",
    vjp=lambda ct, out, x, axes: _prod_partials(x, axes, ct),
    jvp=lambda t, out, x, axes: sum(_prod_partials(x, axes, t), axes=axes, keepdims=True),
    takes="numbers",
    samples=(
        # A zero among the factors, and nothing but zeros.
        Sample((Arg((3, 4), dt.float64, 0.0, 0.0),), {"axes": (1,)}),
        Sample((Arg((9, 5), dt.int64, -1, 3),), {"axes": (0,)}),
    ),
    doc="The product; 1 of nothing. Integers wrap around.",
)

# The largest and the smallest -------------------------------------------------------------------------


def _extreme(name: str, combine: str, doc: str) -> Operator:
    """The largest or smallest element; equal ones share its derivative."""

    def shares(out: Any, x: Any, axes: Shape) -> tuple[Any, Any]:
        chosen = eq(x, out)
        return chosen, sum(cast(chosen, dtype=x.dtype), axes=axes, keepdims=True)

    def vjp(ct: Any, out: Any, x: Any, axes: Shape) -> Any:
        chosen, count = shares(out, x, axes)
        return where(chosen, ct, 0.0) / count

    def jvp(t: Any, out: Any, x: Any, axes: Shape) -> Any:
        chosen, count = shares(out, x, axes)
        return sum(where(chosen, t, 0.0), axes=axes, keepdims=True) / count

    return reduction(
        name,
        eager=lambda xp, x, axes, keepdims: getattr(x, name)(axis=axes, keepdims=keepdims),
        combine=combine,
        vjp=vjp,
        jvp=jvp,
        takes="ordered",
        empty=False,
        doc=doc,
    )


max = _extreme("max", "maximum", "The largest element; NaN where there is one. Equal ones share the gradient.")
min = _extreme("min", "minimum", "The smallest element; NaN where there is one. Equal ones share the gradient.")


def _index_type(x: TensorType, *, axis: int, keepdims: bool = False) -> TensorType:
    check_dtype(x, "ordered")
    if not x.ndim:
        raise AxisError(f"axis {axis} is out of range for shape ()", hint="a scalar has no axes: reshape it to (1,)")
    return reduced_type(x, (axis,), keepdims, empty=False).with_dtype(dt.int64)


def _index_of_extreme(name: str, extreme: Operator, doc: str) -> Operator:
    """The place of the first element that is NaN, or else the extreme."""

    def eager(xp: Any, x: Any, *, axis: int, keepdims: bool) -> Any:
        if are_few(xp, x, (axis,)) and (few := first_of_few(name, x, keepdims)) is not None:
            return few
        found = getattr(xp, name)(x, axis=axis)
        return (xp.expand_dims(found, axis) if keepdims else found).astype(np.int64, copy=False)

    def build(x: Any, *, axis: int, keepdims: bool) -> Any:
        chosen = eq(x, extreme(x, axes=(axis,), keepdims=True))
        if x.dtype.is_floating_point:
            chosen = bitwise_or(chosen, isnan(x))
        place = OPERATORS["iota"](shape=x.shape, axis=axis, dtype=dt.int64, device=x.device)
        return min(where(chosen, place, x.shape[axis]), axes=(axis,), keepdims=keepdims)

    def sample(shape: Shape, axis: int, dtype: dt.DType = dt.float32, keepdims: bool = False) -> Sample:
        low = 0 if dtype.kind == "u" else -3
        return Sample((Arg(shape, dtype, low, 3),), {"axis": axis, "keepdims": keepdims})

    op: Operator = primitive(
        name,
        family="reduction",
        type_rule=_index_type,
        eager=in_float32(eager),
        vjp=not_differentiable("its result is an integer"),
        jvp=not_differentiable("its result is an integer"),
        batch=lambda inputs, batched, size, *, axis, keepdims: op(inputs[0], axis=axis + 1, keepdims=keepdims),
        lower=Decompose(build),
        samples=(
            sample((2, 3, 5), 1),
            sample((2, 3, 5), 2, dt.float64, keepdims=True),
            sample((7,), 0),
            sample((0, 3), 1),
            sample((4, 9), 1, dt.int64),
            sample((4, 9), 1, dt.uint8),
            sample((4, 9), 0, dt.bool_),
            sample((4, 9), 1, dt.float16),
            sample((4, 9), 1, dt.bfloat16),
        ),
        arity=1,
        promotion="none",
        doc=doc,
    )
    return op


argmax = _index_of_extreme("argmax", max, "The place of the largest element along an axis; the first of equal ones.")
argmin = _index_of_extreme("argmin", min, "The place of the smallest element along an axis; the first of equal ones.")
