"""Operators that follow the order of the elements along an axis: running sums and sorting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracec.errors import AxisError
from tracec.ir import dtype as dt
from tracec.ir.lower import Library, Scan
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ir.types import TensorType
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.elementwise import exp, log
from tracec.ops.families import check_dtype
from tracec.ops.logic import eq, le, where
from tracec.ops.view import shifted


def check_axis(x: TensorType, axis: int) -> None:
    """Refuse an axis that is none of the tensor's."""
    if not 0 <= axis < x.ndim:
        raise AxisError(
            f"axis {axis} is out of range for shape {x.shape}",
            hint=f"use an axis from 0 to {x.ndim - 1}" if x.ndim else "reshape the scalar to shape (1,)",
        )


def _cumsum_type(x: TensorType, *, axis: int, reverse: bool = False) -> TensorType:
    check_axis(x, axis)
    check_dtype(x, "numbers")
    return x


def _cumsum_eager(xp: Any, x: Any, *, axis: int, reverse: bool) -> Any:
    if not reverse:
        return xp.cumsum(x, axis=axis, dtype=x.dtype)
    return xp.flip(xp.cumsum(xp.flip(x, axis), axis=axis, dtype=x.dtype), axis)


cumsum: Operator = primitive(
    "cumsum",
    family="scan",
    type_rule=_cumsum_type,
    eager=in_float32(_cumsum_eager),
    vjp=lambda ct, out, x, *, axis, reverse: (cumsum(ct, axis=axis, reverse=not reverse),),
    jvp=lambda tangents, out, x, **params: cumsum(tangents[0], **params),
    batch=lambda inputs, batched, size, *, axis, reverse: cumsum(inputs[0], axis=axis + 1, reverse=reverse),
    lower=Scan("add"),
    arity=1,
    promotion="none",
    doc="Sums of the elements up to each one along an axis; with ``reverse``, from each one on.",
    samples=(
        Sample((Arg((7,)),), {"axis": 0}),
        Sample((Arg((2, 5, 3), dt.float64),), {"axis": 1}),
        Sample((Arg((3, 5)),), {"axis": 1, "reverse": True}),
        Sample((Arg((3, 0)),), {"axis": 1}),
        Sample((Arg((1, 1)),), {"axis": 0, "reverse": True}),
        Sample((Arg((11,), dt.int8, -100, 100),), {"axis": 0}),
        Sample((Arg((5, 3), dt.float16),), {"axis": 0}),
        Sample((Arg((5, 3), dt.complex128),), {"axis": 0}),
    ),
)


def _recurrence(a: Any, b: Any, axis: int, reverse: bool) -> Any:
    """The solution of ``y[k] = a[k] * y[k - 1] + b[k]`` along an axis, from the end where ``reverse``.

    In a logarithmic number of steps, each of which composes the affine maps of twice as many elements: no division.

    Source: Hillis, Steele, "Data Parallel Algorithms", 1986.
    """
    reach = 1
    while reach < a.shape[axis]:
        by = -reach if reverse else reach
        b = b + a * shifted(b, axis, by, 0.0)
        a = a * shifted(a, axis, by, 1.0)
        reach *= 2
    return b


def _cumprod_eager(xp: Any, x: Any, *, axis: int, reverse: bool) -> Any:
    if not reverse:
        return xp.cumprod(x, axis=axis, dtype=x.dtype)
    return xp.flip(xp.cumprod(xp.flip(x, axis), axis=axis, dtype=x.dtype), axis)


def _cumprod_partials(out: Any, x: Any, axis: int, reverse: bool) -> tuple[Any, Any]:
    """For each element the product of those before it, and the neighbour that comes after it."""
    one = -1 if reverse else 1
    return shifted(out, axis, one, 1.0), shifted(x, axis, -one, 1.0)


def _cumprod_vjp(ct: Any, out: Any, x: Any, *, axis: int, reverse: bool) -> tuple[Any, ...]:
    # The sum over k >= i of ct[k] times x[i + 1] to x[k] follows a recurrence from the end.
    before, after = _cumprod_partials(out, x, axis, reverse)
    return (before * _recurrence(after, ct, axis, not reverse),)


def _cumprod_jvp(tangents: Any, out: Any, x: Any, *, axis: int, reverse: bool) -> Any:
    before, _ = _cumprod_partials(out, x, axis, reverse)
    return _recurrence(x, tangents[0] * before, axis, reverse)


cumprod: Operator = primitive(
    "cumprod",
    family="scan",
    type_rule=_cumsum_type,
    eager=in_float32(_cumprod_eager),
    vjp=_cumprod_vjp,
    jvp=_cumprod_jvp,
    batch=lambda inputs, batched, size, *, axis, reverse: cumprod(inputs[0], axis=axis + 1, reverse=reverse),
    lower=Scan("mul"),
    arity=1,
    promotion="none",
    doc="Products of the elements up to each one along an axis; with ``reverse``, from each one on.",
    samples=(
        Sample((Arg((7,)),), {"axis": 0}),
        Sample((Arg((2, 5, 3), dt.float64),), {"axis": 1}),
        Sample((Arg((3, 6), dt.float64),), {"axis": 1, "reverse": True}),
        Sample((Arg((2, 4), dt.float64, 0.0, 0.0),), {"axis": 1}),
        Sample((Arg((3, 0)),), {"axis": 1}),
        Sample((Arg((1, 1)),), {"axis": 0, "reverse": True}),
        Sample((Arg((11,), dt.int8, -3, 4),), {"axis": 0}),
        Sample((Arg((5, 3), dt.float16),), {"axis": 0}),
    ),
)


def _logcumsumexp_eager(xp: Any, x: Any, *, axis: int, reverse: bool) -> Any:
    lines = xp.moveaxis(xp.flip(x, axis) if reverse else x, axis, 0)
    if xp is np:
        sums = np.logaddexp.accumulate(lines, axis=0)
    else:
        sums, reach = lines.copy(), 1
        while reach < len(sums):
            sums[reach:] = xp.logaddexp(sums[reach:], sums[:-reach])
            reach *= 2
    sums = xp.moveaxis(sums, 0, axis)
    return xp.flip(sums, axis) if reverse else sums


def _logcumsumexp_vjp(ct: Any, out: Any, x: Any, *, axis: int, reverse: bool) -> tuple[Any, ...]:
    # Positive and negative cotangents each have a logarithm, so that no sum of exponentials overflows.
    def part(size: Any) -> Any:
        none = le(size, 0.0)
        logarithm = where(none, -math.inf, log(where(none, 1.0, size)) - out)
        return exp(logcumsumexp(logarithm, axis=axis, reverse=not reverse) + x)

    # Where nothing but exp(-inf) was summed, nothing comes back.
    ct = where(eq(out, -math.inf), 0.0, ct)
    return (part(ct) - part(-ct),)


def _logcumsumexp_jvp(tangents: Any, out: Any, x: Any, *, axis: int, reverse: bool) -> Any:
    def part(size: Any) -> Any:
        none = le(size, 0.0)
        logarithm = where(none, -math.inf, log(where(none, 1.0, size)) + x)
        return exp(logcumsumexp(logarithm, axis=axis, reverse=reverse) - out)

    return where(eq(out, -math.inf), 0.0, part(tangents[0]) - part(-tangents[0]))


def _logcumsumexp_type(x: TensorType, *, axis: int, reverse: bool = False) -> TensorType:
    check_axis(x, axis)
    check_dtype(x, "floats")
    return x


logcumsumexp: Operator = primitive(
    "logcumsumexp",
    family="scan",
    type_rule=_logcumsumexp_type,
    eager=in_float32(_logcumsumexp_eager),
    vjp=_logcumsumexp_vjp,
    jvp=_logcumsumexp_jvp,
    batch=lambda inputs, batched, size, *, axis, reverse: logcumsumexp(inputs[0], axis=axis + 1, reverse=reverse),
    lower=Scan("logaddexp"),
    arity=1,
    promotion="none",
    doc="``log(cumsum(exp(x)))`` along an axis, without overflow; with ``reverse``, from each element on.",
    samples=(
        Sample((Arg((7,)),), {"axis": 0}),
        Sample((Arg((2, 5, 3), dt.float64),), {"axis": 1}),
        Sample((Arg((3, 6), dt.float64, -900.0, 900.0),), {"axis": 1, "reverse": True}),
        Sample((Arg((3, 0)),), {"axis": 1}),
        Sample((Arg((1, 1)),), {"axis": 0, "reverse": True}),
        Sample((Arg((5, 3), dt.float16),), {"axis": 0}),
    ),
)


def _argsort_type(x: TensorType, *, axis: int, descending: bool = False) -> TensorType:
    check_axis(x, axis)
    check_dtype(x, "ordered")
    return x.with_dtype(dt.int64)


def argsort_eager(xp: Any, x: Any, *, axis: int, descending: bool) -> Any:
    """Positions that sort an axis; equal elements keep their order."""
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    # The stable order of the flipped elements, read backwards, falls and keeps ties in place.
    order = xp.argsort(xp.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - xp.flip(order, axis)


argsort: Operator = primitive(
    "argsort",
    family="sort",
    type_rule=_argsort_type,
    eager=in_float32(argsort_eager),
    vjp=not_differentiable("positions do not change with small changes of the elements"),
    jvp=not_differentiable("positions do not change with small changes of the elements"),
    batch=lambda inputs, batched, size, *, axis, descending: argsort(inputs[0], axis=axis + 1, descending=descending),
    lower=Library("argsort"),
    arity=1,
    promotion="none",
    doc="Positions that sort an axis, ties in their order; NaN counts as the largest.",
    samples=(
        Sample((Arg((13,)),), {"axis": 0}),
        Sample((Arg((3, 7), dt.int32, 0, 3),), {"axis": 1}),
        Sample((Arg((7, 2, 3), dt.int64, -2, 2),), {"axis": 0, "descending": True}),
        Sample((Arg((5, 4), dt.uint8, 0, 5),), {"axis": 1, "descending": True}),
        Sample((Arg((2, 0)),), {"axis": 1}),
        Sample((Arg((9,), dt.float16),), {"axis": 0}),
    ),
)
