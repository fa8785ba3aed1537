"""Selection: which elements of an axis have ranks next to each other, without putting all of them in order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracec.errors import ArgumentError
from tracec.ir import dtype as dt
from tracec.ir.lower import Library
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ir.types import TensorType
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.cumulative import argsort_eager, check_axis
from tracec.ops.families import check_dtype

#: Shorter rows, and those of which more than a share is asked for, NumPy sorts as fast.
_LONG, _SHARE = 64, 4
#: Of longer rows, where less is asked for, some elements tell which come into question.
_VERY_LONG, _VERY_SMALL_SHARE, _SEEN = 4096, 32, 1024


def _ranked_type(x: TensorType, *, axis: int, start: int, count: int, descending: bool = False) -> TensorType:
    check_axis(x, axis)
    check_dtype(x, "ordered")
    size = x.shape[axis]
    if start < 0 or count < 0 or start + count > size:
        raise ArgumentError(
            f"ranks {start} to {start + count} do not fit axis {axis} of size {size}",
            hint=f"use ranks from 0 to {size}",
        )
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    return TensorType(dt.int64, shape, x.device)


def _ranked_eager(xp: Any, x: Any, *, axis: int, start: int, count: int, descending: bool) -> Any:
    size, stop = x.shape[axis], start + count
    if xp is not np or size < _LONG or count * _SHARE > size or not x.size or not count:
        at = [slice(None)] * x.ndim
        at[axis] = slice(start, stop)
        return xp.ascontiguousarray(argsort_eager(xp, x, axis=axis, descending=descending)[tuple(at)])
    lines = np.moveaxis(x, axis, -1)
    rows = lines.reshape(-1, size)
    if start == 0 and size >= _VERY_LONG and count * _VERY_SMALL_SHARE <= size:
        found = np.stack([_first(row, count, descending) for row in rows])
    else:
        found = _between(rows, start, count, descending)
    return np.ascontiguousarray(np.moveaxis(found.reshape(*lines.shape[:-1], count), -1, axis))


def _first(row: Any, count: int, descending: bool) -> Any:
    """The first places of a row: of elements that a look at some of them does not put aside."""
    seen = row[:: len(row) // _SEEN]
    share = count * len(seen) / len(row)
    rank = min(math.ceil(share + 3 * (1 + math.sqrt(share))), len(seen) - 1)
    end = len(seen) - 1 - rank if descending else rank
    bound = np.partition(seen, end)[end]
    near = row >= bound if descending else row <= bound
    if row.dtype.kind == "f" and (descending or bound != bound):
        near |= (row != row) if descending else True
    places = np.flatnonzero(near)
    if len(places) < count:
        return _between(row[None], 0, count, descending)[0]
    return places[_between(row[places][None], 0, count, descending)[0]]


def _between(rows: Any, start: int, count: int, descending: bool) -> Any:
    """Places of ranks: of elements that are no less than the first one and no more than the last."""
    size, stop = rows.shape[1], start + count
    ends = (size - stop, size - 1 - start) if descending else (start, stop - 1)
    parted = np.partition(rows, sorted({*ends}), axis=-1)
    least, most = parted[:, ends[0], None], parted[:, ends[1], None]
    # NaN is the largest: no number is above it, and each one is below.
    above, below = rows >= least, rows <= most
    if rows.dtype.kind == "f":
        above, below = above | (rows != rows), below | (most != most)
    inside = above & below
    if (np.count_nonzero(inside, axis=-1) == count).all():
        places: Any = np.nonzero(inside)[1].reshape(-1, count)
        order = argsort_eager(np, np.take_along_axis(rows, places, -1), axis=-1, descending=descending)
        return np.take_along_axis(places, order, -1)
    # Elements that are not asked for equal the first or the last one that is.
    found = np.empty((len(rows), count), np.int64)
    skipped = start - size + np.count_nonzero(below if descending else above, axis=-1)
    for own, row, held, skip in zip(found, rows, inside, skipped, strict=True):
        places = np.flatnonzero(held)
        own[:] = places[argsort_eager(np, row[places], axis=0, descending=descending)[skip : skip + count]]
    return found


ranked: Operator = primitive(
    "ranked",
    family="sort",
    type_rule=_ranked_type,
    eager=in_float32(_ranked_eager),
    vjp=not_differentiable("positions do not change with small changes of the elements"),
    jvp=not_differentiable("positions do not change with small changes of the elements"),
    batch=lambda inputs, batched, size, *, axis, start, count, descending: ranked(
        inputs[0], axis=axis + 1, start=start, count=count, descending=descending
    ),
    lower=Library("ranked"),
    arity=1,
    promotion="none",
    doc="What `argsort` has from ``start`` on along the axis, ``count`` positions of it.",
    samples=(
        Sample((Arg((13,)),), {"axis": 0, "start": 0, "count": 4, "descending": True}),
        Sample((Arg((3, 7), dt.int32, 0, 3),), {"axis": 1, "start": 2, "count": 3}),
        Sample((Arg((7, 2, 3), dt.int64, -2, 2),), {"axis": 0, "start": 6, "count": 1, "descending": True}),
        Sample((Arg((5, 4), dt.uint8, 0, 5),), {"axis": 1, "start": 0, "count": 4}),
        Sample((Arg((2, 3000), dt.float32),), {"axis": 1, "start": 0, "count": 5, "descending": True}),
        Sample((Arg((2, 0)),), {"axis": 1, "start": 0, "count": 0}),
        Sample((Arg((3, 5)),), {"axis": 0, "start": 1, "count": 0}),
        Sample((Arg((9,), dt.float16),), {"axis": 0, "start": 4, "count": 1}),
    ),
)
