"""Strides of results with symbolic sizes, as formulas over these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracec.ir.extent import divides, is_varying, like, plain
from tracec.ir.types import Shape, contiguous_strides
from tracec.record.call import Call
from tracec.record.meta import MetaArray


def strides_of(strides: Shape, shape: Shape, steps: Sequence[Call]) -> Shape | None:
    """The strides of a view; None where it cannot be told how they depend on sizes.

    Args:
        strides: Those of the memory itself, in elements.
        shape: Its shape.
        steps: The views that lead from the memory to the look.
    """
    found = _dense(strides, shape)
    for step in steps:
        if found is None:
            return None
        found = _through(found, step)
    return found


def is_row_major(shape: Shape, strides: Shape) -> bool:
    """Whether elements lie row by row, without gaps."""
    if like(strides, contiguous_strides(shape)) or any(n == 0 for n in shape):
        return True
    size = 1
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and stride != size:
            return False
        size = size * n
    return True


def dense_order(shape: Shape, strides: Shape, itemsize: int = 1) -> tuple[int, ...] | None:
    """The order of axes in which elements lie one behind the other; None where they do not, or it is not clear.

    An axis of one element has a place in it too: its stride tells how much lies inside of it.

    Args:
        shape: The shape, in numbers.
        strides: How far apart neighbours along an axis lie.
        itemsize: How far apart neighbouring elements lie.
    """
    if strides == tuple(n * itemsize for n in contiguous_strides(shape)):
        return tuple(range(len(shape)))
    if 0 in shape:
        return None
    order = tuple(sorted(range(len(shape)), key=lambda a: (-strides[a], shape[a] == 1)))
    expected = contiguous_strides(tuple(shape[a] for a in order))
    return order if all(strides[a] == n * itemsize for a, n in zip(order, expected, strict=True)) else None


def through(call: Call, array: MetaArray) -> MetaArray:
    """What a view operator gives of an array without elements: a look, or where memory would be copied a new one."""
    params, name = call.keywords, call.op.name
    if name == "reshape":
        elements = tuple(s // array.itemsize for s in array.strides)
        steps = _reshaped(elements, array.shape, params["shape"]) if array.size else None
        if steps is None:
            return MetaArray.of(call.type)
        return MetaArray(
            params["shape"], array.dtype, tuple(s * array.itemsize for s in steps), array.whole, array.offset
        )
    apart = array.ndim and array.strides[-1] != array.itemsize
    if (name in ("view_bits", "view_as_complex") and apart) or not array.size:
        return MetaArray.of(call.type)  # elements would have to be brought together
    look = array.stand_in()
    return array.seen_as(call.op.eager(np, look, **params), look.__array_interface__["data"][0])


def _dense(strides: Shape, shape: Shape) -> Shape | None:
    """Strides of elements that lie one behind the other in some order of axes."""
    now = tuple(map(plain, shape))
    order = None if any(is_varying(n) and plain(n) < 2 for n in shape) else dense_order(now, strides)
    if order is not None:
        inside = dict(zip(order, contiguous_strides(tuple(shape[a] for a in order)), strict=True))
        return tuple(inside[a] for a in range(len(shape)))
    found, size = list(strides), 1
    for axis in sorted(range(len(shape)), key=lambda a: (strides[a], now[a])):
        if shape[axis] == 1:
            continue
        if strides[axis] != plain(size):
            return None
        found[axis], size = size, size * shape[axis]
    return tuple(found)


def _through(strides: Shape, step: Call) -> Shape | None:
    params, shape = dict(step.params), step.types[0].shape
    if step.op.name == "transpose":
        return tuple(strides[a] for a in params["perm"])
    if step.op.name == "slice":
        return tuple(s * by for s, by in zip(strides, params["steps"], strict=True))
    if step.op.name == "expand":
        lead = len(step.type.shape) - len(shape)
        kept = [0 if n == 1 != m else s for s, n, m in zip(strides, shape, step.type.shape[lead:], strict=True)]
        return (*(0,) * lead, *kept)
    return _reshaped(strides, shape, step.type.shape) if step.op.name == "reshape" else None


def _reshaped(strides: Shape, shape: Shape, target: Shape) -> Shape | None:
    """Strides after a change of shape: axes are split, or joined where they lie one behind the other."""
    joined: list[list[int]] = []  # [elements, stride]
    for n, s in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if joined and like(joined[-1][1], n * s):
            joined[-1] = [joined[-1][0] * n, s]
        else:
            joined.append([n, s])
    found: list[int] = []
    left, stride = joined.pop() if joined else (1, 1)
    for n in reversed(target):
        while left == 1 and joined:
            left, stride = joined.pop()
        found.append(stride)
        if n != 1:
            if not divides(n, left):
                return None
            left, stride = left // n, stride * n
    return tuple(reversed(found)) if left == 1 and not joined else None
