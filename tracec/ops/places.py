"""Where elements are not zero, for a number of them that is known when the graph is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.errors import ShapeError
from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ir.types import TensorType
from tracec.ops.base import primitive
from tracec.ops.view import concatenate, reshape, slice


def _type(x: TensorType, *, count: int) -> TensorType:
    if not x.shape:
        raise ShapeError("a tensor of no axes has no positions", hint="give it one with reshape")
    if count < 0:
        raise ShapeError(f"count={count} is negative", hint="give 0 or more")
    return TensorType(dt.int64, (len(x.shape), count), x.device)


def _eager(xp: Any, x: Any, *, count: int) -> Any:
    found = xp.stack(xp.nonzero(x))[:, :count].astype(np.int64)
    missing = count - found.shape[1]
    return xp.pad(found, ((0, 0), (0, missing))) if missing else found


def _batch(inputs: tuple[Any, ...], batched: tuple[bool, ...], size: int, *, count: int) -> Any:
    (x,) = inputs
    rows = []
    for i in range(size):
        starts, stops = (i, *(0,) * (x.ndim - 1)), (i + 1, *x.shape[1:])
        row = reshape(slice(x, starts=starts, stops=stops, steps=(1,) * x.ndim), shape=x.shape[1:])
        rows.append(reshape(positions(row, count=count), shape=(1, x.ndim - 1, count)))
    return concatenate(*rows, axis=0)


positions: Operator = primitive(
    "positions",
    family="indexing",
    type_rule=_type,
    eager=_eager,
    vjp=not_differentiable("positions change by whole numbers"),
    jvp=not_differentiable("positions change by whole numbers"),
    batch=_batch,
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="For each axis, a row, the positions of the first elements that are not zero; 0 where there are no more.",
    samples=(
        Sample((Arg((7,), dt.float32, -1.0, 1.0),), {"count": 7}),
        Sample((Arg((3, 5), dt.int64, -1, 2),), {"count": 4}),
        Sample((Arg((2, 3, 2), dt.bool_, 0, 2),), {"count": 12}),
        Sample((Arg((0, 3), dt.float64, -1.0, 1.0),), {"count": 0}),
        Sample((Arg((4,), dt.bfloat16, -1.0, 1.0),), {"count": 2}),
    ),
)
