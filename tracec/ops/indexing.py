"""Reading and writing at computed positions, and coordinates."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.lower import Index, LoadElement, Pull, Scatter
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.scalar import Call, Const, Expr
from tracec.ir.types import Shape, TensorType, broadcast_shapes, contiguous_strides
from tracec.ops.arrays import broadcast, in_float32
from tracec.ops.base import primitive
from tracec.ops.core import full, zeros_like
from tracec.ops.families import all_batched, check_dtype
from tracec.ops.logic import eq, where
from tracec.ops.view import reshape, transpose

# What index and index_put share ---------------------------------------------------------------------


def indexed_shape(x: TensorType, indices: tuple[TensorType, ...], axes: Shape) -> Shape:
    """The shape of ``x[indices at axes]``: that of the indices, broadcast, then x's other axes."""
    if not axes or len(axes) != len(indices) or list(axes) != sorted(set(axes)):
        raise ArgumentError(
            f"axes={tuple(axes)} do not name one axis for each of {len(indices)} index arrays",
            hint="give at least one index array, and the axes they index in rising order",
        )
    if axes[0] < 0 or axes[-1] >= x.ndim:
        raise ArgumentError(
            f"axes={tuple(axes)} are out of range for shape {x.shape}", hint=f"use axes from 0 to {x.ndim - 1}"
        )
    for k, index in enumerate(indices):
        if index.dtype.kind not in "iu":
            raise DTypeError(
                f"index array {k} has dtype {index.dtype.short}",
                hint="positions are integers; for a mask use where, or its nonzero positions",
            )
    return broadcast_shapes(*(i.shape for i in indices)) + _rest(x.shape, axes)


def _rest(shape: Shape, axes: Shape) -> Shape:
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def brought_front(ndim: int, axes: Shape) -> Shape:
    """The permutation that brings axes to the front."""
    return (*axes, *(a for a in range(ndim) if a not in axes))


def _position(load: LoadElement, index: Index, first: int, types: tuple[TensorType, ...], axes: Shape) -> Index:
    """The multi-index of operand 0 that index arrays, operands from ``first`` on, give at an output index."""
    shapes = [t.shape for t in types[first:]]
    ndim = max(map(len, shapes))
    rest = iter(index[ndim:])
    at: dict[int, Expr] = {}
    for k, (axis, shape) in enumerate(zip(axes, shapes, strict=True)):
        lead = ndim - len(shape)
        own = tuple(Const(0) if size == 1 else index[lead + i] for i, size in enumerate(shape))
        value = load(first + k, own)
        at[axis] = value if value.dtype is dt.int64 else Call("cast", (value,), dt.int64)
    return tuple(at[a] if a in at else next(rest) for a in range(types[0].ndim))


def aligned_indices(indices: tuple[Any, ...], batched: tuple[bool, ...], size: int) -> tuple[Any, ...]:
    """Batched index arrays with the batch as the first axis of what all of them broadcast to."""
    ndim = max(i.ndim - b for i, b in zip(indices, batched, strict=True))
    return tuple(
        reshape(i, shape=(size, *(1,) * (ndim - i.ndim + 1), *i.shape[1:])) if b else i
        for i, b in zip(indices, batched, strict=True)
    )


def batch_numbers(like: Any, size: int, indices: tuple[Any, ...]) -> Any:
    """An index array that picks each batch's own part along the batch axis."""
    ndim = max(i.ndim for i in indices)
    return iota(shape=(size, *(1,) * (ndim - 1)), axis=0, dtype=dt.int64, device=like.type.device)


def deeper(axes: Shape) -> Shape:
    return tuple(a + 1 for a in axes)


# index ------------------------------------------------------------------------------------------------


def _index_type(x: TensorType, *indices: TensorType, axes: Shape) -> TensorType:
    return x.with_shape(indexed_shape(x, indices, axes))


def _index_eager(xp: Any, x: Any, *indices: Any, axes: Shape) -> Any:
    at = tuple(i.astype(xp.intp, copy=False) for i in indices)
    found = xp.take(x, at[0], axis=0) if tuple(axes) == (0,) else x.transpose(brought_front(x.ndim, axes))[at]
    # Scalar positions alone give a view or a scalar; the result is always an array of its own.
    return xp.array(found, x.dtype) if all(i.ndim == 0 for i in at) else found


def _index_batch(inputs: tuple[Any, ...], batched: tuple[bool, ...], size: int, *, axes: Shape) -> Any:
    x, indices = inputs[0], inputs[1:]
    if not any(batched[1:]):
        found = index(x, *indices, axes=deeper(axes))
        batch = max(i.ndim for i in indices)
        return transpose(found, perm=brought_front(found.ndim, (batch,)))
    indices = aligned_indices(indices, batched[1:], size)
    if not batched[0]:
        return index(x, *indices, axes=axes)
    return index(x, batch_numbers(x, size, indices), *indices, axes=(0, *deeper(axes)))


index: Operator = primitive(
    "index",
    family="indexing",
    type_rule=_index_type,
    eager=_index_eager,
    vjp=lambda ct, out, x, *indices, axes: (
        index_put(zeros_like(x), ct, *indices, axes=axes, add=True),
        *(None for _ in indices),
    ),
    jvp=lambda tangents, out, x, *indices, axes: index(tangents[0], *indices, axes=axes),
    batch=_index_batch,
    lower=Pull(
        lambda load, at, out, inputs, *, axes: load(0, _position(load, at, 1, inputs, axes)),
    ),
    arity=None,
    promotion="none",
    doc="Elements at positions that integer arrays hold, one for each of ``axes``; the arrays' axes come first.",
    samples=(
        Sample((Arg((5,)), Arg((7,), dt.int64, 0, 5)), {"axes": (0,)}),
        Sample((Arg((5, 3)), Arg((2, 3), dt.int32, 0, 5)), {"axes": (0,)}),
        Sample((Arg((3, 5, 2)), Arg((4,), dt.uint8, 0, 5)), {"axes": (1,)}),
        Sample((Arg((3, 5, 4), dt.float64), Arg((2, 1), dt.int64, 0, 3), Arg((7,), dt.int16, 0, 4)), {"axes": (0, 2)}),
        Sample((Arg((3, 4)), Arg((), dt.int64, 0, 3), Arg((), dt.int64, 0, 4)), {"axes": (0, 1)}),
        Sample((Arg((3, 4)), Arg((), dt.int64, 0, 4)), {"axes": (1,)}),
        Sample((Arg((0, 4)), Arg((0,), dt.int64, 0, 1)), {"axes": (0,)}),
        Sample((Arg((4,), dt.int32, -9, 9), Arg((3, 1), dt.int64, 0, 4)), {"axes": (0,)}),
    ),
)


# index_put --------------------------------------------------------------------------------------------


def _put_type(x: TensorType, v: TensorType, *indices: TensorType, axes: Shape, add: bool = False) -> TensorType:
    shape = indexed_shape(x, indices, axes)
    if v.shape != shape:
        raise ShapeError(
            f"values have shape {v.shape}, the positions in {x.shape} have shape {shape}",
            hint="expand the values to the shape that index would give",
        )
    if v.dtype is not x.dtype:
        raise DTypeError(
            f"values have dtype {v.dtype.short}, the tensor {x.dtype.short}",
            hint="cast the values to the tensor's dtype",
        )
    if add:
        check_dtype(x, "numbers")
    return x


def _put_eager(xp: Any, x: Any, v: Any, *indices: Any, axes: Shape, add: bool) -> Any:
    moved, rows, position, values = row_positions(xp, x, v, indices, axes)
    if position.size and rows.shape[1]:
        (add_rows if add else set_rows)(xp, rows, position, values)
    perm = brought_front(x.ndim, axes)
    return moved.transpose(tuple(perm.index(a) for a in range(x.ndim)))


def row_positions(xp: Any, x: Any, v: Any, indices: tuple[Any, ...], axes: Shape) -> tuple[Any, Any, Any, Any]:
    """A copy of x with the indexed axes in front, the same as rows, and each row of values with its position."""
    moved = xp.array(x.transpose(brought_front(x.ndim, axes)), order="C", copy=True)
    sizes = moved.shape[: len(axes)]
    position = sum(i.astype(xp.intp) * step for i, step in zip(indices, contiguous_strides(sizes), strict=True))
    position = xp.broadcast_to(position, v.shape[: v.ndim - (x.ndim - len(axes))]).reshape(-1)
    columns = prod(moved.shape[len(axes) :])
    return moved, moved.reshape(prod(sizes), columns), position, v.reshape(position.size, columns)


def set_rows(xp: Any, rows: Any, position: Any, values: Any) -> None:
    """``rows[position[i]] = values[i]``, in the order of i."""
    if xp.__name__ == "numpy":
        rows[position] = values
        return
    # Threads write in no order, so only the last value of each position is written.
    order = xp.argsort(position, kind="stable")
    held = position[order]
    last = xp.concatenate((held[1:] != held[:-1], xp.ones(1, bool)))
    rows[held[last]] = values[order[last]]


def add_rows(xp: Any, rows: Any, position: Any, values: Any) -> None:
    """``rows[position[i]] += values[i]``, the same sums in the same order each time."""
    if xp.__name__ == "numpy" and rows.shape[1] == 1:
        xp.add.at(rows[:, 0], position, values[:, 0])
        return
    held, sums, starts = run_values(xp, values, position, xp.add)
    rows[held[starts]] += sums


def run_values(xp: Any, values: Any, position: Any, function: Any) -> tuple[Any, Any, Any]:
    """Rows in the order of their positions: the positions, what each run of equal ones comes to, and its start."""
    if xp.__name__ == "numpy" and position.view(np.uintp).max() < 1 << 16:
        position = position.astype(np.uint16)  # these are sorted by their digits, in a tenth of the time
    order = xp.argsort(position, kind="stable")
    held = position[order]
    starts = xp.flatnonzero(xp.concatenate((xp.ones(1, bool), held[1:] != held[:-1])))
    if xp.__name__ == "numpy":
        return held, *_by_turns(values, order, starts, function)
    return held, _by_doubling(xp, values[order], held, starts, function), starts


#: Rows of a run that are met one after the other with those of all others; longer runs are each reduced at once.
_TURNS = 32


def _by_turns(values: Any, order: Any, starts: Any, function: Any) -> tuple[Any, Any]:
    """What each run comes to, and its start, the longest first: `reduceat` takes ten times as long for short runs.

    Args:
        values: Rows.
        order: Their numbers, run by run.
        starts: Where the runs begin in it.
        function: A ufunc.
    """
    lengths = np.diff(starts, append=order.size)
    if (longest := lengths.max()) > 1:
        by_length = np.argsort(-lengths, kind="stable")
        starts, lengths = starts[by_length], lengths[by_length]
    found = values.take(order[starts], axis=0)
    long = np.searchsorted(-lengths, -_TURNS)
    for k in range(long):
        rows = values.take(order[starts[k] : starts[k] + lengths[k]], axis=0)
        function.reduce(rows, axis=0, dtype=values.dtype, out=found[k])
    for turn in range(1, min(longest, _TURNS)):
        last = np.searchsorted(-lengths, -turn)
        part = found[long:last]
        function(part, values.take(order[starts[long:last] + turn], axis=0), out=part)
    return found, starts


def _by_doubling(xp: Any, values: Any, held: Any, starts: Any, function: Any) -> Any:
    """What each run of equal ``held`` comes to: its first row gathers those behind it, twice as many at each step."""
    longest = int(xp.diff(starts, append=held.size).max())
    step = 1
    while step < longest:
        same = (held[step:] == held[:-step])[:, None]
        gathered = xp.where(same, function(values[:-step], values[step:]), values[:-step])
        values = xp.concatenate((gathered, values[-step:]))
        step *= 2
    return values[starts]


def _put_vjp(ct: Any, out: Any, x: Any, v: Any, *indices: Any, axes: Shape, add: bool) -> tuple[Any, ...]:
    none = (None,) * len(indices)
    dv = index(ct, *indices, axes=axes)
    if add:
        return (ct, dv, *none)
    dx = index_put(ct, zeros_like(v), *indices, axes=axes, add=False)
    return (dx, where(_written_last(x, v, indices, axes), dv, 0.0), *none)


def _written_last(x: Any, v: Any, indices: tuple[Any, ...], axes: Shape) -> Any:
    """Which values of an overwriting `index_put` are still there at the end: the last ones at their position."""
    shape = v.shape[: v.ndim - (x.ndim - len(axes))]
    size = prod(shape)
    number = reshape(iota(shape=(size,), axis=0, dtype=dt.int64, device=x.device), shape=shape)
    board = full(0, tuple(x.shape[a] for a in axes), dt.int64, x.device)
    every = tuple(range(len(axes)))
    winner = index(index_put(board, number, *indices, axes=every, add=False), *indices, axes=every)
    return reshape(eq(winner, number), shape=shape + (1,) * (v.ndim - len(shape)))


def _put_jvp(tangents: Any, out: Any, x: Any, v: Any, *indices: Any, axes: Shape, add: bool) -> Any:
    tx, tv = (zeros_like(p) if t is None else t for t, p in zip(tangents[:2], (x, v), strict=True))
    return index_put(tx, tv, *indices, axes=axes, add=add)


def put_for_all(
    inputs: tuple[Any, ...], batched: tuple[bool, ...], size: int, axes: Shape
) -> tuple[tuple[Any, ...], Shape]:
    """For the batching rule of what puts values at positions: the operands for all examples, and the axes."""
    x, v = all_batched(inputs[:2], batched[:2], size)
    indices = inputs[2:]
    if any(batched[2:]):
        indices = aligned_indices(indices, batched[2:], size)
        return (x, v, batch_numbers(x, size, indices), *indices), (0, *deeper(axes))
    ndim = max(i.ndim for i in indices)
    v = transpose(v, perm=(*range(1, ndim + 1), 0, *range(ndim + 1, v.ndim)))
    return (x, v, *indices), deeper(axes)


def _put_batch(inputs: tuple[Any, ...], batched: tuple[bool, ...], size: int, *, axes: Shape, add: bool) -> Any:
    operands, axes = put_for_all(inputs, batched, size, axes)
    return index_put(*operands, axes=axes, add=add)


index_put: Operator = primitive(
    "index_put",
    family="indexing",
    type_rule=_put_type,
    eager=in_float32(_put_eager),
    vjp=_put_vjp,
    jvp=_put_jvp,
    batch=_put_batch,
    lower=Scatter(
        lambda load, at, inputs, *, axes, add: _position(load, at, 2, inputs, axes),
        lambda *, axes, add: add,
    ),
    arity=None,
    promotion="none",
    doc="Operand 0 with the values, operand 1, written (the last one stays) or added at positions, as `index` reads.",
    samples=(
        Sample((Arg((5,)), Arg((7,)), Arg((7,), dt.int64, 0, 5)), {"axes": (0,), "add": True}),
        Sample((Arg((5,)), Arg((7,)), Arg((7,), dt.int64, 0, 5)), {"axes": (0,), "add": False}),
        Sample((Arg((5, 3)), Arg((2, 3, 3)), Arg((2, 3), dt.int32, 0, 5)), {"axes": (0,), "add": True}),
        Sample((Arg((3, 5, 2)), Arg((4, 3, 2)), Arg((4,), dt.uint8, 0, 5)), {"axes": (1,), "add": False}),
        Sample(
            (
                Arg((3, 5, 4), dt.float64),
                Arg((2, 7, 5), dt.float64),
                Arg((2, 1), dt.int64, 0, 3),
                Arg((7,), dt.int16, 0, 4),
            ),
            {"axes": (0, 2), "add": True},
        ),
        Sample(
            (Arg((3, 4)), Arg(()), Arg((), dt.int64, 0, 3), Arg((), dt.int64, 0, 4)), {"axes": (0, 1), "add": False}
        ),
        Sample((Arg((3, 4)), Arg((0, 4)), Arg((0,), dt.int64, 0, 3)), {"axes": (0,), "add": True}),
        Sample(
            (Arg((4,), dt.int32, -9, 9), Arg((3, 2), dt.int32, -9, 9), Arg((3, 2), dt.int64, 0, 4)),
            {"axes": (0,), "add": True},
        ),
    ),
)


# iota -------------------------------------------------------------------------------------------------


def _iota_type(*, shape: Shape, axis: int, dtype: DType, device: str = "cpu") -> TensorType:
    if not 0 <= axis < len(shape):
        raise ArgumentError(
            f"axis {axis} is out of range for shape {tuple(shape)}", hint="name an axis of the shape, counted from 0"
        )
    if dtype.kind == "b":
        raise DTypeError("coordinates cannot be bool", hint="use an integer or floating dtype")
    return TensorType(dtype, tuple(shape), device)


def _iota_eager(xp: Any, *, shape: Shape, axis: int, dtype: DType, device: str) -> Any:
    along = xp.arange(shape[axis]).astype(dtype.numpy, copy=False)
    return broadcast(xp, along.reshape(along.shape + (1,) * (len(shape) - axis - 1)), shape)


def _iota_element(
    load: LoadElement, at: Index, out: TensorType, inputs: tuple[TensorType, ...], *, axis: int, **p: Any
) -> Expr:
    value = at[axis]
    return value if out.dtype is dt.int64 else Call("cast", (value,), out.dtype.compute)


iota: Operator = primitive(
    "iota",
    family="indexing",
    type_rule=_iota_type,
    eager=_iota_eager,
    vjp=lambda ct, out, **p: (),
    batch=lambda inputs, batched, size, *, shape, axis, **p: iota(shape=(size, *shape), axis=axis + 1, **p),
    lower=Pull(_iota_element),
    arity=0,
    promotion="none",
    doc="Each element's own coordinate along an axis.",
    samples=(
        Sample((), {"shape": (7,), "axis": 0, "dtype": dt.int64}),
        Sample((), {"shape": (2, 3, 5), "axis": 1, "dtype": dt.float32}),
        Sample((), {"shape": (3, 4), "axis": 1, "dtype": dt.uint8}),
        Sample((), {"shape": (3, 0), "axis": 0, "dtype": dt.float16}),
    ),
)
