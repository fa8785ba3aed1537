"""Sliding windows over the trailing axes, and `fold`, which adds windows back to where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from tracec.errors import ArgumentError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.lower import Index, LoadElement, Reduction
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.scalar import Call, Const, Expr
from tracec.ir.types import Shape, TensorType
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.families import check_dtype, view
from tracec.ops.view import pad


def check_per_axis(ndim: int, lowest: int = 1, **params: Sequence[int]) -> None:
    """Refuse parameters that do not hold one integer, at least ``lowest``, for each spatial axis."""
    for name, values in params.items():
        if len(values) != ndim or any(v < lowest for v in values):
            raise ArgumentError(
                f"{name}={tuple(values)} does not fit {ndim} spatial axes",
                hint=f"give {ndim} integers of at least {lowest}, one for each spatial axis",
            )


def window_counts(sizes: Shape, size: Shape, stride: Shape, dilation: Shape) -> Shape:
    """How many windows fit along each axis.

    Raises:
        ShapeError: not even one fits.
    """
    counts = []
    for axis, (n, k, s, d) in enumerate(zip(sizes, size, stride, dilation, strict=True)):
        span = d * (k - 1) + 1
        if span > n:
            wide = f" (spans {span} at dilation {d})" if d > 1 else ""
            raise ShapeError(
                f"window {tuple(size)} does not fit in spatial sizes {tuple(sizes)} "
                f"(spatial axis {axis}: window {k}{wide}, size {n})",
                hint="pad the input, or use a smaller window or dilation",
            )
        counts.append((n - span) // s + 1)
    return tuple(counts)


def source_position(out: Expr, k: Expr, stride: int, dilation: int, count: int) -> tuple[Expr, Expr]:
    """The window that holds position ``out`` at its offset ``k``, and the condition that there is one."""
    start = ix.sub(out, ix.mul(k, dilation))
    tests = [ix.in_range(start, 0, stride * (count - 1) + 1)]
    if stride > 1:
        tests.append(Call("eq", (ix.mod(start, stride), Const(0)), dt.bool_))
    return ix.div(start, stride), ix.all_of(tests)


def zero_unless(condition: Expr, value: Expr) -> Expr:
    """``value`` where the condition holds, else 0."""
    return ix.select(condition, value, Const(0.0 if value.dtype.kind == "f" else 0, value.dtype))


def strided_view(xp: Any, x: Any, shape: Shape, strides: Shape) -> Any:
    """A view of an array's memory; read-only where the library knows such views, as its elements overlap."""
    options = {"writeable": False} if xp.__name__ == "numpy" else {}
    return xp.lib.stride_tricks.as_strided(x, shape, strides, **options)


# windows ------------------------------------------------------------------------------------------


def _windows_type(x: TensorType, *, size: Shape, stride: Shape, dilation: Shape) -> TensorType:
    n = len(size)
    check_per_axis(n, size=size, stride=stride, dilation=dilation)
    if n > x.ndim:
        raise ShapeError(
            f"a window {tuple(size)} over {n} axes does not fit a tensor of shape {x.shape}",
            hint="give one window size for each trailing axis to slide over",
        )
    lead = x.ndim - n
    return x.with_shape(x.shape[:lead] + window_counts(x.shape[lead:], size, stride, dilation) + tuple(size))


def _windows_eager(xp: Any, x: Any, *, size: Shape, stride: Shape, dilation: Shape) -> Any:
    lead = x.ndim - len(size)
    counts = window_counts(x.shape[lead:], size, stride, dilation)
    steps = x.strides[lead:]
    over = tuple(s * step for s, step in zip(stride, steps, strict=True))
    within = tuple(d * step for d, step in zip(dilation, steps, strict=True))
    return strided_view(xp, x, x.shape[:lead] + counts + tuple(size), x.strides[:lead] + over + within)


def _windows_element(
    load: LoadElement,
    index: Index,
    out: TensorType,
    inputs: tuple[TensorType, ...],
    *,
    size: Shape,
    stride: Shape,
    dilation: Shape,
) -> Expr:
    n = len(size)
    lead = inputs[0].ndim - n
    moved = tuple(
        ix.add(ix.mul(index[lead + i], stride[i]), ix.mul(index[lead + n + i], dilation[i])) for i in range(n)
    )
    return load(0, index[:lead] + moved)


windows: Operator = view(
    "windows",
    type_rule=_windows_type,
    eager=_windows_eager,
    vjp=lambda ct, out, x, *, size, stride, dilation: (
        fold(ct, shape=x.shape[x.ndim - len(size) :], stride=stride, dilation=dilation),
    ),
    batch=lambda inputs, batched, count, **params: windows(inputs[0], **params),
    element=_windows_element,
    doc="Every window over the trailing axes: (…, H, W) gives (…, windows down, windows across, *size).",
    samples=(
        Sample((Arg((7,)),), {"size": (3,), "stride": (1,), "dilation": (1,)}),
        Sample((Arg((2, 3, 7, 5)),), {"size": (2, 3), "stride": (2, 1), "dilation": (3, 1)}),
        Sample((Arg((2, 5, 4, 6), dt.float64),), {"size": (2, 2, 3), "stride": (1, 2, 3), "dilation": (2, 1, 1)}),
        Sample((Arg((0, 4, 4)),), {"size": (2, 2), "stride": (2, 2), "dilation": (1, 1)}),
        Sample((Arg((1, 1)),), {"size": (1,), "stride": (5,), "dilation": (7,)}),
    ),
)


# fold ---------------------------------------------------------------------------------------------


def _fold_type(
    x: TensorType, *, shape: Shape, stride: Shape, dilation: Shape, low: Shape = (), high: Shape = ()
) -> TensorType:
    n = len(shape)
    check_per_axis(n, stride=stride, dilation=dilation)
    low, high = _left_out(n, low, high)
    check_per_axis(n, 0, low=low, high=high)
    check_dtype(x, "numbers")
    if x.ndim < 2 * n:
        raise ShapeError(
            f"shape {x.shape} does not hold windows over {n} axes",
            hint=f"the operand ends in {n} window counts and {n} window sizes",
        )
    lead = x.ndim - 2 * n
    given, size = x.shape[lead : lead + n], x.shape[lead + n :]
    check_per_axis(n, size=size)
    counts = window_counts(tuple(shape), size, stride, dilation)
    if given != counts:
        axis = next(i for i in range(n) if given[i] != counts[i])
        raise ShapeError(
            f"{x.shape} holds {given} windows of size {size}, but shape {tuple(shape)} has {counts} "
            f"(spatial axis {axis}: {given[axis]} vs {counts[axis]})",
            hint="pass the shape, stride and dilation that the windows were taken with",
        )
    kept = tuple(size - a - b for size, a, b in zip(shape, low, high, strict=True))
    if kept and min(kept) < 0:
        raise ShapeError(
            f"of sizes {tuple(shape)} there are no {low} elements in front and {high} behind to leave out",
            hint="leave out what padding added",
        )
    return x.with_shape(x.shape[:lead] + kept)


def _left_out(n: int, low: Shape, high: Shape) -> tuple[Shape, Shape]:
    return low or (0,) * n, high or (0,) * n


def _fold_eager(
    xp: Any, x: Any, *, shape: Shape, stride: Shape, dilation: Shape, low: Shape = (), high: Shape = ()
) -> Any:
    out = _whole_fold(xp, x, shape, stride, dilation)
    if not any((*low, *high)):
        return out
    within = zip(*_left_out(len(shape), low, high), shape, strict=True)
    return out[(..., *(slice(a, size - b) for a, b, size in within))]


def _whole_fold(xp: Any, x: Any, shape: Shape, stride: Shape, dilation: Shape) -> Any:
    n = len(shape)
    lead = x.ndim - 2 * n
    counts, size = x.shape[lead : lead + n], x.shape[lead + n :]
    if n == 1 and stride[0] > 1 and dilation[0] == 1:
        return _fold_line(xp, x, shape[0], stride[0])
    out = xp.zeros(x.shape[:lead] + tuple(shape), x.dtype)
    for offset in product(*map(range, size)):
        out[(..., *window_offsets(offset, counts, stride, dilation))] += x[(..., *offset)]
    return out


def _fold_line(xp: Any, x: Any, length: int, stride: int) -> Any:
    """Windows of one axis, added up a stride of offsets at a time: the same sums in the same order."""
    *lead, count, size = x.shape
    chunks = -(-size // stride)
    out = xp.zeros((*lead, count + chunks - 1, stride), x.dtype)
    for k in range(chunks):
        part = x[..., k * stride : (k + 1) * stride]
        out[..., k : k + count, : part.shape[-1]] += part
    line = out.reshape(*lead, (count + chunks - 1) * stride)
    missing = length - line.shape[-1]
    # What is beyond the length was never added to.
    return line[..., :length] if missing <= 0 else xp.concatenate((line, xp.zeros((*lead, missing), x.dtype)), axis=-1)


def window_offsets(offset: Shape, counts: Shape, stride: Shape, dilation: Shape) -> tuple[slice, ...]:
    """Where the elements at one offset of every window lie."""
    axes = zip(offset, counts, stride, dilation, strict=True)
    return tuple(slice(k * d, k * d + s * (count - 1) + 1, s) for k, count, s, d in axes)


def _fold_sizes(x: TensorType, shape: Shape) -> tuple[int, Shape, Shape]:
    n = len(shape)
    lead = x.ndim - 2 * n
    return lead, x.shape[lead : lead + n], x.shape[lead + n :]


def _fold_extents(
    inputs: tuple[TensorType, ...], *, shape: Shape, stride: Shape, dilation: Shape, low: Shape = (), high: Shape = ()
) -> Shape:
    _, _, size = _fold_sizes(inputs[0], shape)
    # With no dilation, only every stride-th offset can meet a given position, so only those are visited.
    return tuple(-(-k // s) if d == 1 else k for k, s, d in zip(size, stride, dilation, strict=True))


def _fold_element(
    load: LoadElement,
    index: Index,
    reduced: Index,
    out: TensorType,
    inputs: tuple[TensorType, ...],
    *,
    shape: Shape,
    stride: Shape,
    dilation: Shape,
    low: Shape = (),
    high: Shape = (),
) -> Expr:
    lead, counts, size = _fold_sizes(inputs[0], shape)
    in_front, _ = _left_out(len(shape), low, high)
    at, offsets, tests = [], [], []
    for i, (s, d) in enumerate(zip(stride, dilation, strict=True)):
        position, r = ix.add(index[lead + i], in_front[i]), reduced[i]
        if d == 1:
            k = ix.add(ix.mod(position, s), ix.mul(r, s))
            window = ix.sub(ix.div(position, s), r)
            test = ix.all_of([ix.in_range(k, 0, size[i]), ix.in_range(window, 0, counts[i])])
        else:
            k = r
            window, test = source_position(position, k, s, d, counts[i])
        at.append(ix.held(window, counts[i]))
        offsets.append(ix.held(k, size[i]))
        tests.append(test)
    return zero_unless(ix.all_of(tests), load(0, index[:lead] + tuple(at) + tuple(offsets)))


def _fold_vjp(
    ct: Any, out: Any, x: Any, *, shape: Shape, stride: Shape, dilation: Shape, low: Shape = (), high: Shape = ()
) -> tuple[Any, ...]:
    if any((*low, *high)):
        whole = (0,) * (ct.ndim - len(shape))
        in_front, behind = _left_out(len(shape), low, high)
        ct = pad(ct, low=whole + in_front, high=whole + behind)
    return (windows(ct, size=x.shape[x.ndim - len(shape) :], stride=stride, dilation=dilation),)


fold: Operator = primitive(
    "fold",
    family="reduction",
    type_rule=_fold_type,
    eager=in_float32(_fold_eager),
    vjp=_fold_vjp,
    jvp=lambda tangents, out, x, **params: fold(tangents[0], **params),
    batch=lambda inputs, batched, count, **params: fold(inputs[0], **params),
    lower=Reduction("add", _fold_extents, _fold_element),
    arity=1,
    promotion="none",
    doc="Adds windows (…, *counts, *size) up at the positions that `windows` took them from: (…, *shape), without the "
    "first ``low`` and the last ``high`` elements of each of these axes, which padding had added.",
    samples=(
        Sample((Arg((5, 3)),), {"shape": (7,), "stride": (1,), "dilation": (1,)}),
        Sample((Arg((3, 2)),), {"shape": (7,), "stride": (2,), "dilation": (1,)}),
        Sample((Arg((2, 3, 5), dt.float64),), {"shape": (10,), "stride": (2,), "dilation": (1,)}),
        Sample((Arg((3, 2), dt.complex64),), {"shape": (10,), "stride": (3,), "dilation": (1,)}),
        Sample((Arg((2, 3, 2, 3, 2, 3)),), {"shape": (7, 5), "stride": (2, 1), "dilation": (3, 1)}),
        Sample(
            (Arg((2, 3, 2, 2, 2, 2, 3), dt.float64),), {"shape": (5, 4, 6), "stride": (1, 2, 3), "dilation": (2, 1, 1)}
        ),
        Sample((Arg((0, 2, 2, 2, 2)),), {"shape": (4, 4), "stride": (2, 2), "dilation": (1, 1)}),
        Sample((Arg((4, 3, 2, 1)),), {"shape": (11, 5), "stride": (3, 2), "dilation": (1, 1)}),
        Sample(
            (Arg((2, 4, 3, 3, 2), dt.float64),),
            {"shape": (9, 7), "stride": (2, 2), "dilation": (1, 2), "low": (1, 0), "high": (2, 1)},
        ),
        Sample((Arg((2, 15, 3)),), {"shape": (31,), "stride": (2,), "dilation": (1,), "low": (1,), "high": (1,)}),
    ),
)
