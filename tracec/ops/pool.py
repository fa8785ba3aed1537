"""The largest element of each window, where in the window it stands, and the way back to there.

What gradients need of a window is one small number, and neither the window nor a mask of it.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import product
from typing import Any

import numpy as np

from tracec.errors import DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.lower import Decompose
from tracec.ir.node import Node, made_from
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ir.types import Shape, TensorType
from tracec.ops.arithmetic import add, sub
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.core import full
from tracec.ops.elementwise import abs, neg
from tracec.ops.families import all_batched, check_dtype
from tracec.ops.indexing import iota
from tracec.ops.logic import eq, isnan, where
from tracec.ops.reduction import max, min, sum
from tracec.ops.view import pad, reshape
from tracec.ops.window import check_per_axis, fold, window_counts, windows

Slices = tuple[Any, ...]


def lowest(dtype: DType) -> float:
    """What no element is less than."""
    return -math.inf if dtype.kind == "f" else int(np.iinfo(dtype.numpy).min)


def _counts(sizes: Shape, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape) -> Shape:
    n = len(size)
    check_per_axis(n, size=size, stride=stride, dilation=dilation)
    check_per_axis(n, 0, low=low, high=high)
    if n > len(sizes):
        raise ShapeError(
            f"a window {tuple(size)} over {n} axes does not fit a tensor of shape {tuple(sizes)}",
            hint="give one window size for each trailing axis to slide over",
        )
    padded = tuple(a + s + b for a, s, b in zip(low, sizes[len(sizes) - n :], high, strict=True))
    return window_counts(padded, size, stride, dilation)


def elements_of_windows(sizes: Shape, counts: Shape, axes: Sequence[Shape]) -> Iterator[tuple[Shape, Slices, Slices]]:
    """Each offset in a window, the windows that have an element there, and these elements.

    Args:
        sizes: Of the axes that windows are over, without padding.
        counts: How many windows there are along each of them.
        axes: Of each, the window's size, stride and dilation, and the padding in front.
    """
    along: list[list[tuple[slice, slice]]] = []
    for count, length, (size, stride, dilation, low) in zip(counts, sizes, axes, strict=True):
        found = []
        for k in range(size):
            begin = k * dilation - low
            first = -(-builtins.max(-begin, 0) // stride)
            stop = builtins.max(builtins.min((length - 1 - begin) // stride + 1, count), first)
            start = first * stride + begin
            found.append((slice(first, stop), slice(start, start + (stop - first) * stride, stride)))
        along.append(found)
    for offset in product(*(range(size) for size, *_ in axes)):
        here = [along[i][k] for i, k in enumerate(offset)]
        yield offset, (..., *(w for w, _ in here)), (..., *(e for _, e in here))


def _number(offset: Shape, size: Shape) -> int:
    """The number of an offset, counted row by row."""
    found = 0
    for k, s in zip(offset, size, strict=True):
        found = found * s + k
    return found


# The largest element ----------------------------------------------------------------------------------


def _max_type(
    x: TensorType, *, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape
) -> TensorType:  # fmt: skip
    check_dtype(x, "real numbers")
    counts = _counts(x.shape, size, stride, dilation, low, high)
    return x.with_shape(x.shape[: x.ndim - len(size)] + counts)


def _max_eager(xp: Any, x: Any, *, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape) -> Any:
    n = len(size)
    counts = _counts(x.shape, size, stride, dilation, low, high)
    # Axis by axis, as the largest of the largest is the largest; the last axis last, where elements are the most apart.
    for i, axis in enumerate(range(x.ndim - n, x.ndim)):
        after = (slice(None),) * (x.ndim - axis - 1)
        parts = list(
            elements_of_windows(
                x.shape[axis : axis + 1], counts[i : i + 1], [(size[i], stride[i], dilation[i], low[i])]
            )
        )
        full = next((e[1] for _, w, e in parts if w[1] == slice(0, counts[i])), None)
        shape = (*x.shape[:axis], counts[i], *x.shape[axis + 1 :])
        out = xp.full(shape, lowest(dt.of_numpy(x.dtype)), x.dtype) if full is None else x[(..., full, *after)].copy()
        for _, into, of in parts:
            if of[1] != full:
                there = out[(..., into[1], *after)]
                xp.maximum(there, x[(..., of[1], *after)], out=there)
        x = out
    return x


def _max_nodes(x: Any, *, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape) -> Any:
    w = _windows(x, size, stride, dilation, low, high)
    return max(w, axes=tuple(range(w.ndim - len(size), w.ndim)), keepdims=False)


def _windows(x: Any, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape, value: Any = None) -> Any:
    """The windows (…, *counts, *size); what padding has is the lowest value unless told otherwise."""
    if any((*low, *high)):
        lead = (0,) * (x.ndim - len(size))
        x = pad(x, low=lead + tuple(low), high=lead + tuple(high), value=lowest(x.dtype) if value is None else value)
    return windows(x, size=size, stride=stride, dilation=dilation)


def max_windows_back(ct: Any, out: Any, x: Any, **params: Any) -> tuple[Any, ...]:
    """The rule of the gradients of `max_windows`."""
    # It belongs to the forward part: what the backward part keeps is the number, and not the window.
    with made_from(out.source, f"place of {out.op.name}") if isinstance(out, Node) else nullcontext():
        at = max_windows_at(x, out, **params)
    return (fold_at(ct, at, shape=tuple(x.shape[x.ndim - len(params["size"]) :]), **params),)


_SAMPLES = (
    ((7,), dt.float64, (3,), (2,), (1,), (1,), (1,)),
    ((2, 3, 8, 6), dt.float32, (2, 2), (2, 2), (1, 1), (0, 0), (0, 0)),
    ((2, 9, 7), dt.float64, (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)),
    ((3, 33, 31), dt.float32, (3, 3), (2, 2), (1, 1), (1, 1), (1, 2)),
    ((2, 6, 37), dt.float32, (3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
    ((2, 7, 9), dt.float64, (2, 3), (3, 1), (2, 2), (1, 0), (0, 1)),
    ((2, 4, 5, 6), dt.float64, (2, 2, 2), (2, 1, 2), (1, 1, 1), (0, 1, 0), (0, 0, 1)),
    ((0, 4, 4), dt.float32, (2, 2), (2, 2), (1, 1), (0, 0), (0, 0)),
    ((2, 5, 6), dt.int32, (2, 2), (2, 2), (1, 1), (1, 0), (0, 0)),
    ((2, 5, 6), dt.uint8, (2, 2), (1, 2), (1, 1), (0, 0), (0, 0)),
    ((2, 5, 6), dt.float16, (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)),
    ((2, 5, 6), dt.bfloat16, (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)),
)


def _of(shape: Shape, dtype: DType) -> Arg:
    return Arg(shape, dtype, 0 if dtype.kind == "u" else -3, 3)


def _params(sample: Any) -> dict[str, Shape]:
    return dict(zip(("size", "stride", "dilation", "low", "high"), sample[2:], strict=True))


def _windows_of(sample: Any) -> Shape:
    shape, _, size, *_ = sample
    return (*shape[: len(shape) - len(size)], *_counts(shape, **_params(sample)))


max_windows: Operator = primitive(
    "max_windows",
    family="windows",
    type_rule=_max_type,
    eager=in_float32(_max_eager),
    vjp=max_windows_back,
    jvp=lambda tangents, out, x, **params: _taken(tangents[0], max_windows_at(x, out, **params), **params),
    batch=lambda inputs, batched, count, **params: max_windows(inputs[0], **params),
    lower=Decompose(_max_nodes),
    arity=1,
    promotion="none",
    doc="The largest element of each window over the trailing axes, padded by ``low`` and ``high`` lowest values; NaN "
    "where there is one. The first of equal elements has the gradient, the last NaN of several.",
    samples=tuple(Sample((_of(s[0], s[1]),), _params(s)) for s in _SAMPLES),
)


# Where it stands --------------------------------------------------------------------------------------


def _at_type(
    x: TensorType, out: TensorType, *, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape
) -> TensorType:  # fmt: skip
    found = _max_type(x, size=size, stride=stride, dilation=dilation, low=low, high=high)
    if found != out:
        raise ShapeError(f"{found} are the largest elements of these windows, {out} given")
    return found.with_dtype(dt.int32)


def _at_eager(
    xp: Any, x: Any, out: Any, *, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape
) -> Any:  # fmt: skip
    total, lead = math.prod(size), x.ndim - len(size)
    small = np.int8 if total <= np.iinfo(np.int8).max else np.int32
    found = xp.zeros(out.shape, small)  # how many offsets there are from the one that was found on
    axes = list(zip(size, stride, dilation, low, strict=True))
    nan = x.dtype.kind == "f" and bool(xp.isnan(out).any())
    for offset, into, of in elements_of_windows(x.shape[lead:], out.shape[lead:], axes):
        here, there = x[of], found[into]
        number = _number(offset, size)
        score = (here == out[into]).view(np.int8) * small(total - number)
        xp.maximum(there, score, out=there)
        if nan:  # the last one takes the place of what was found before
            there[xp.isnan(here)] = total - number
    return total - found.astype(np.int32)


def _at_nodes(
    x: Any, out: Any, *, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape
) -> Any:  # fmt: skip
    n, total = len(size), math.prod(size)
    w = _windows(x, size, stride, dilation, low, high)
    place = add(_taps(size, x.device), 1)
    key = where(eq(w, _over_windows(out, n)), place, total + 1)
    if x.dtype.kind == "f":
        key = where(isnan(w), neg(place), key)  # the last NaN is the lowest one
    if any((*low, *high)):  # a window of nothing but the lowest value has elements, too
        inside = _windows(
            full(True, dtype=dt.bool_, shape=tuple(x.shape), device=x.device),
            size,
            stride,
            dilation,
            low,
            high,
            value=False,
        )
        key = where(inside, key, total + 1)
    found = min(key, axes=tuple(range(w.ndim - n, w.ndim)), keepdims=False)
    return sub(abs(found) if x.dtype.kind == "f" else found, 1)


def _taps(size: Shape, device: Any) -> Any:
    """The number of each offset in a window."""
    return reshape(iota(shape=(math.prod(size),), axis=0, dtype=dt.int32, device=str(device)), shape=tuple(size))


def _over_windows(x: Any, n: int) -> Any:
    """A value of each window, for all of its offsets."""
    return reshape(x, shape=(*x.shape, *(1,) * n))


max_windows_at: Operator = primitive(
    "max_windows_at",
    family="windows",
    type_rule=_at_type,
    eager=in_float32(_at_eager),
    vjp=not_differentiable("its result is an integer"),
    jvp=not_differentiable("its result is an integer"),
    batch=lambda inputs, batched, count, **params: max_windows_at(*all_batched(inputs, batched, count), **params),
    lower=Decompose(_at_nodes),
    arity=2,
    promotion="none",
    doc="The number of the offset in each window at which its largest element stands, counted row by row: the first "
    "that is not padding, or the last NaN. The second operand is what `max_windows` gives for the first.",
    samples=tuple(Sample((_of(s[0], s[1]), _of(_windows_of(s), s[1])), _params(s)) for s in _SAMPLES),
)


# And back ---------------------------------------------------------------------------------------------


def _fold_at_type(
    x: TensorType, at: TensorType, *, shape: Shape, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape
) -> TensorType:  # fmt: skip
    check_dtype(x, "numbers")
    if at.dtype is not dt.int32:
        raise DTypeError(f"offsets have dtype {at.dtype.short}, not i32", hint="they are what max_windows_at gives")
    lead = x.ndim - len(size)
    counts = _counts(tuple(shape), size, stride, dilation, low, high)
    if at.shape != x.shape or lead < 0 or x.shape[lead:] != counts:
        raise ShapeError(
            f"{x.shape} elements and {at.shape} offsets do not go with {counts} windows",
            hint="pass the parameters that the windows were taken with",
        )
    return x.with_shape(x.shape[:lead] + tuple(shape))


def _fold_at_eager(
    xp: Any, x: Any, at: Any, *, shape: Shape, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape
) -> Any:  # fmt: skip
    n = len(size)
    out = xp.zeros((*x.shape[: x.ndim - n], *shape), x.dtype)
    apart = all(s > d * (k - 1) for k, s, d in zip(size, stride, dilation, strict=True))
    axes = list(zip(size, stride, dilation, low, strict=True))
    if xp is np and not apart and x.size and (position := _positions(at, shape, axes)) is not None:
        # The last windows first, as their first offsets are those that come first below.
        np.add.at(out.reshape(-1), position.reshape(-1)[::-1], x.reshape(-1)[::-1])
        return out
    at = at.astype(np.int8) if math.prod(size) <= np.iinfo(np.int8).max else at
    for offset, into, of in elements_of_windows(shape, x.shape[x.ndim - n :], axes):
        chosen = where.eager(xp, at[into] == _number(offset, size), x[into], x.dtype.type(0))
        if apart:
            out[of] = chosen
        else:
            out[of] += chosen
    return out


def _positions(at: Any, shape: Shape, axes: Sequence[Shape]) -> Any:
    """Where the elements at offsets in windows lie in an array (..., *shape), row by row; None where some do not."""
    lead = at.shape[: at.ndim - len(shape)]
    position: Any = np.arange(math.prod(lead)).reshape(*lead, *(1,) * len(shape)) * math.prod(shape)
    rest, step = at, 1
    for i, (size, stride, dilation, low) in reversed(list(enumerate(axes))):
        above = rest // size
        begin = np.arange(at.shape[len(lead) + i]).reshape(-1, *(1,) * (len(shape) - 1 - i)) * stride - low
        place = begin + (rest - above * size) * dilation
        if place.min() < 0 or place.max() >= shape[i]:  # in the padding
            return None
        position = position + place * step
        rest, step = above, step * shape[i]
    return None if rest.any() else position  # a window without elements has an offset beyond them


def _fold_at_nodes(
    x: Any, at: Any, *, shape: Shape, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape
) -> Any:  # fmt: skip
    n = len(size)
    chosen = where(eq(_taps(size, x.device), _over_windows(at, n)), _over_windows(x, n), 0)
    padded = tuple(a + s + b for a, s, b in zip(low, shape, high, strict=True))
    return fold(chosen, shape=padded, stride=stride, dilation=dilation, low=tuple(low), high=tuple(high))


def _taken(
    x: Any, at: Any, *, size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape
) -> Any:  # fmt: skip
    """The elements at these offsets: the transpose of `fold_at`."""
    n = len(size)
    w = _windows(x, size, stride, dilation, low, high, value=0)
    here = eq(_taps(size, x.device), _over_windows(at, n))
    return sum(where(here, w, 0), axes=tuple(range(w.ndim - n, w.ndim)), keepdims=False)


fold_at: Operator = primitive(
    "fold_at",
    family="windows",
    type_rule=_fold_at_type,
    eager=in_float32(_fold_at_eager),
    vjp=lambda ct, out, x, at, *, shape, **params: (_taken(ct, at, **params), None),
    jvp=lambda tangents, out, x, at, **params: fold_at(tangents[0], at, **params),
    batch=lambda inputs, batched, count, **params: fold_at(*all_batched(inputs, batched, count), **params),
    lower=Decompose(_fold_at_nodes),
    arity=2,
    promotion="none",
    doc="Adds one element of each window up at the offset in it that the second operand tells: (…, *shape).",
    samples=tuple(
        Sample(
            (_of(_windows_of(s), s[1]), Arg(_windows_of(s), dt.int32, 0, math.prod(s[2]))),
            {"shape": s[0][len(s[0]) - len(s[2]) :], **_params(s)},
        )
        for s in _SAMPLES
    ),
)
