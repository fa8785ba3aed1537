"""The largest and the smallest element so far along an axis."""

from __future__ import annotations

from typing import Any

from tracec.ir import dtype as dt
from tracec.ir.lower import Scan
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.types import TensorType
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.core import zeros_like
from tracec.ops.cumulative import check_axis
from tracec.ops.families import check_dtype
from tracec.ops.indexing import index, index_put, iota
from tracec.ops.logic import bitwise_or, eq, isnan, where
from tracec.ops.view import reshape


def _type(x: TensorType, *, axis: int) -> TensorType:
    check_axis(x, axis)
    check_dtype(x, "anything")
    return x


def last_place(x: Any, out: Any, axis: int) -> Any:
    """Where the extreme so far, ``out``, stood last, or the last NaN."""
    here = bitwise_or(eq(x, out), isnan(x)) if x.dtype.is_floating_point else eq(x, out)
    place = iota(shape=tuple(x.shape), axis=axis, dtype=dt.int64, device=str(x.device))
    return cummax(where(here, place, -1), axis=axis)


def _places(x: Any, out: Any, axis: int) -> list[Any]:
    """The position of the element that each result is."""
    own = [tuple(n if a == b else 1 for b in range(x.ndim)) for a, n in enumerate(x.shape)]
    along = [
        reshape(iota(shape=(n,), axis=0, dtype=dt.int64, device=str(x.device)), shape=own[a])
        for a, n in enumerate(x.shape)
    ]
    along[axis] = last_place(x, out, axis)
    return along


def _vjp(ct: Any, out: Any, x: Any, *, axis: int) -> tuple[Any, ...]:
    return (index_put(zeros_like(x), ct, *_places(x, out, axis), axes=tuple(range(x.ndim)), add=True),)


def _jvp(tangents: Any, out: Any, x: Any, *, axis: int) -> Any:
    return index(tangents[0], *_places(x, out, axis), axes=tuple(range(x.ndim)))


def _accumulated(xp: Any, x: Any, axis: int, function: Any) -> Any:
    if xp.__name__ == "numpy":
        return function.accumulate(x, axis=axis)
    # CuPy accumulates sums and products alone: each step looks twice as far back.
    moved, step = xp.moveaxis(x, axis, 0).copy(), 1
    while step < len(moved):
        moved = xp.concatenate((moved[:step], function(moved[step:], moved[:-step])))
        step *= 2
    return xp.moveaxis(moved, 0, axis)


def _running(name: str, combine: str, doc: str) -> Operator:
    op: Operator = primitive(
        name,
        family="scan",
        type_rule=_type,
        eager=in_float32(lambda xp, x, *, axis: _accumulated(xp, x, axis, getattr(xp, combine))),
        vjp=_vjp,
        jvp=_jvp,
        batch=lambda inputs, batched, size, *, axis: op(inputs[0], axis=axis + 1),
        lower=Scan(combine),
        arity=1,
        promotion="none",
        doc=doc,
        samples=(
            Sample((Arg((7,), dt.float64),), {"axis": 0}),
            Sample((Arg((2, 5, 3), dt.float64),), {"axis": 1}),
            Sample((Arg((3, 11)),), {"axis": 1}),
            Sample((Arg((3, 0)),), {"axis": 1}),
            Sample((Arg((1, 1)),), {"axis": 0}),
            Sample((Arg((11,), dt.int8, -100, 100),), {"axis": 0}),
            Sample((Arg((11,), dt.int64, -3, 3),), {"axis": 0}),
            Sample((Arg((5, 3), dt.float16),), {"axis": 0}),
            Sample((Arg((9,), dt.bool_),), {"axis": 0}),
        ),
    )
    return op


cummax = _running("cummax", "maximum", "The largest element so far along an axis; NaN once there was one.")
cummin = _running("cummin", "minimum", "The smallest element so far along an axis; NaN once there was one.")
