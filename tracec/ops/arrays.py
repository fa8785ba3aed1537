"""What eager rules share: silence, 16-bit floats, and functions that NumPy lacks.

Eager rules follow IEEE 754: dividing by zero gives an infinity, a NaN comes out as a NaN, and nothing is said.
NumPy would warn. `quiet`, which `tracec.ops.base.primitive` puts around every eager rule, runs the rule in
a context of its own in which NumPy's floating-point errors are ignored; the user's `numpy.errstate` is
neither read nor touched. That takes a tenth of the time of ``with numpy.errstate(...)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context
from functools import partial
from typing import Any

import numpy as np

from tracec.ops.halves import narrowed, widened

Eager = Callable[..., Any]

#: Within a copy of it floating-point errors are not reported. A copy takes no longer than a lookup: a context cannot be
#: entered twice, and threads share this one.
SILENT = Context()
SILENT.run(np.seterr, all="ignore")
# Lines shorter than this NumPy brings together in a buffer where an operand is repeated for them, which takes as long
# as the operation. It is 8192 by default; a line of a thousand elements is worth a loop of its own.
SILENT.run(np.setbufsize, 1024)

#: The characters of float16 and bfloat16: the quickest test there is.
_NARROW = "eE"

#: What `quiet` and `in_float32` gave → the rule that it is around.
_INSIDE: dict[Eager, Eager] = {}


def quiet(eager: Eager) -> Eager:
    """The same rule, in which floating-point errors are not reported."""

    def run(*args: Any, **params: Any) -> Any:
        return SILENT.copy().run(eager, *args, **params)

    _INSIDE[run] = eager
    return run


def in_float32(eager: Eager) -> Eager:
    """The same rule, which computes 16-bit floats as kernels do: through float32, rounded once at the end."""

    def run(xp: Any, *arrays: Any, **params: Any) -> Any:
        narrow = arrays[0].dtype
        if narrow.char not in _NARROW:
            return eager(xp, *arrays, **params)
        wide = (widened(a) if a.dtype is narrow or a.dtype == narrow else a for a in arrays)
        result = eager(xp, *wide, **params)
        return narrowed(result, narrow) if result.dtype == np.float32 else result

    _INSIDE[run] = eager
    return run


def ready(eager: Eager, xp: Any, dtype: Any, params: Mapping[str, Any]) -> Eager:
    """A rule as a function of arrays alone, without the detours that these do not need; to be run within `SILENT`.

    Args:
        eager: The rule of an operator.
        xp: NumPy or CuPy.
        dtype: NumPy's element type of the first array; None where there is none.
        params: The operator's parameters.
    """
    rule = _INSIDE.get(eager, eager)
    if dtype is not None and dtype.char not in _NARROW:
        rule = _INSIDE.get(rule, rule)
    return partial(rule, xp, **params)


def broadcast(xp: Any, x: Any, shape: Any) -> Any:
    """A view of an array in which it is repeated to a shape that it broadcasts to; NumPy's are read-only."""
    if xp is not np or not x.flags.c_contiguous or x.dtype.kind not in "biufc":
        return xp.broadcast_to(x, shape)
    # What NumPy's function does, in a tenth of its time.
    lead = len(shape) - x.ndim
    steps = [0 if n == 1 else step for n, step in zip(x.shape, x.strides, strict=True)]
    made = np.ndarray(shape, x.dtype, x, 0, (*(0,) * lead, *steps))
    made.flags.writeable = False
    return made


#: Elements that are computed at once where there are many: memory for so many is not asked of the system anew.
_PART = 1 << 15


def sigmoid(xp: Any, x: Any) -> Any:
    """``1 / (1 + exp(-x))``, exact to the last bits on both sides: exp is taken of no positive real part."""
    if x.dtype.kind == "c":
        e = xp.exp(xp.where(x.real >= 0, -x, x))
        return xp.where(x.real >= 0, xp.ones_like(e), e) / (1 + e)
    if xp is not np or x.size <= 2 * _PART or not x.flags.c_contiguous:
        return _real_sigmoid(xp, x)
    out, flat = np.empty_like(x), x.reshape(-1)
    line = out.reshape(-1)
    for start in range(0, flat.size, _PART):
        line[start : start + _PART] = _real_sigmoid(np, flat[start : start + _PART])
    return out


def _real_sigmoid(xp: Any, x: Any) -> Any:
    e = xp.exp(-xp.abs(x))
    above = xp.maximum(e, x >= 0)  # 1 on the positive side, e on the other: NumPy's where takes four times as long
    e += 1
    above /= e
    return above


def integer_power(xp: Any, x: Any, y: Any) -> Any:
    """``x ** y`` of integers; a negative power is rounded towards zero, as PyTorch does."""
    negative = y < 0
    if y.dtype.kind == "u" or not negative.any():
        return xp.power(x, y)
    odd = (y & 1).astype(bool)
    rounded = xp.where(x == 1, 1, xp.where(x == -1, xp.where(odd, -1, 1), 0))
    return xp.where(negative, rounded, xp.power(x, xp.where(negative, 0, y))).astype(x.dtype)


#: Number of axes → those of images and of volumes from the innermost in memory to the outermost, channels first.
_CHANNELS_LAST = {4: (1, 3, 2, 0), 5: (1, 4, 3, 2, 0)}


def is_channels_last(array: Any) -> bool:
    """Whether the elements of images or volumes lie channels last; no, where they may as well lie row by row.

    Source: PyTorch, ``is_channels_last_strides_2d``.
    """
    inside = 0
    for axis in (order := _CHANNELS_LAST.get(array.ndim, ())):
        stride, size = array.strides[axis], array.shape[axis]
        if not size or not stride or stride < inside or (axis == 0 and inside == array.strides[1]):
            return False
        inside = stride * size
    return bool(order)
