"""Operators that follow the order of the elements along an axis: running sums and sorting."""

from __future__ import annotations

from typing import Any

from tracec.errors import AxisError
from tracec.ir import dtype as dt
from tracec.ir.lower import Library, Scan
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ir.types import TensorType
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.families import check_dtype


def _check_axis(x: TensorType, axis: int) -> None:
    if not 0 <= axis < x.ndim:
        raise AxisError(
            f"axis {axis} is out of range for shape {x.shape}",
            hint=f"use an axis from 0 to {x.ndim - 1}" if x.ndim else "reshape the scalar to shape (1,)",
        )


def _cumsum_type(x: TensorType, *, axis: int, reverse: bool = False) -> TensorType:
    _check_axis(x, axis)
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


def _argsort_type(x: TensorType, *, axis: int, descending: bool = False) -> TensorType:
    _check_axis(x, axis)
    check_dtype(x, "ordered")
    return x.with_dtype(dt.int64)


def _argsort_eager(xp: Any, x: Any, *, axis: int, descending: bool) -> Any:
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    # The stable order of the flipped elements, read backwards, falls and keeps ties in place.
    order = xp.argsort(xp.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - xp.flip(order, axis)


argsort: Operator = primitive(
    "argsort",
    family="sort",
    type_rule=_argsort_type,
    eager=in_float32(_argsort_eager),
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
