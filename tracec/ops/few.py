"""Reductions of neighbouring elements: of few each, as of small windows, NumPy takes longer to begin than to add."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np

#: So many elements of a result, of so few elements each, are computed for all results at once.
MANY, _FEW = 1 << 10, 8
#: The elements of a window, which are those of others too: they are in the processor's caches when they are read again.
_FEW_SHARED = 64
#: Elements whose sums are added up one after the other, many at a time.
_PIECE = 1 << 10
_ELEMENTS = (np.dtype(np.float32), np.dtype(np.float64))


def are_few(xp: Any, x: Any, axes: tuple[int, ...]) -> bool:
    """Whether it is the last axis of an array of NumPy's that is reduced, and a short one of many lines."""
    if xp is not np or not x.ndim or axes != (x.ndim - 1,) or x.dtype not in _ELEMENTS:
        return False
    return 2 <= x.shape[-1] <= _FEW and x.size >= MANY * x.shape[-1] and bool(x.flags.c_contiguous)


def are_windows(xp: Any, x: Any, axes: tuple[int, ...]) -> bool:
    """Whether the last axes are reduced, and are those of many small windows that lie row by row."""
    n = len(axes)
    if xp is not np or not 1 <= n < x.ndim or axes != tuple(range(x.ndim - n, x.ndim)) or x.dtype not in _ELEMENTS:
        return False
    count = math.prod(x.shape[-n:])
    if x.flags.c_contiguous or not (2 <= count <= _FEW_SHARED and x.shape[-1] <= _FEW and x.size >= MANY * count):
        return False
    steps = [step for step, size in zip(x.strides[:-n], x.shape, strict=False) if size > 1]
    return steps == sorted(steps, reverse=True)


def sum_of_few(x: Any, keepdims: bool, n: int = 1) -> Any:
    """The sums along the last n axes, first to last."""
    out, line = _lines(x, keepdims, n=n)
    first, second, *others = product(*map(range, x.shape[-n:]))
    np.add(x[(..., *first)], x[(..., *second)], out=line)
    for offset in others:
        np.add(line, x[(..., *offset)], out=line)
    return out


def sum_of_lines(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The sums along the last axes, in pieces, and then along others; None where elements are not in one piece.

    The pairs that NumPy's sums add take two to twenty times as long as its products of one operand. Of a piece as many
    sums run side by side as the processor adds at once, so few roundings follow one another.
    """
    last = 0
    while last < min(len(axes), x.ndim) and axes[-1 - last] == x.ndim - 1 - last:
        last += 1
    length = math.prod(x.shape[x.ndim - last :])
    if x.dtype not in _ELEMENTS or not x.flags.c_contiguous or length < 2:
        return None
    piece = length if length <= _PIECE else min(length & -length, _PIECE)
    if piece < 2 * _FEW and piece < length:
        return None
    out = np.empty([1 if k in axes else n for k, n in enumerate(x.shape) if keepdims or k not in axes], x.dtype)
    lines = x.reshape(-1, piece)
    if piece == length and last == len(axes):
        np.einsum("ij->i", lines, out=out.reshape(-1))
        return out
    sums = np.einsum("ij->i", lines).reshape(*x.shape[: x.ndim - last], length // piece)
    np.add.reduce(sums, axis=(*axes[: len(axes) - last], sums.ndim - 1), out=out.reshape(_rest(x.shape, axes)))
    return out


def _rest(shape: Any, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def first_of_few(name: str, x: Any, keepdims: bool) -> Any:
    """What NumPy's ``argmax`` and ``argmin`` give along the last axis; None where there is a NaN."""
    beats, extreme = (np.greater, np.maximum) if name == "argmax" else (np.less, np.minimum)
    best = x[..., 0].copy()
    at = np.zeros(best.shape, np.int8)
    for k in range(1, x.shape[-1]):
        here = x[..., k]
        np.maximum(at, beats(here, best).view(np.int8) * np.int8(k), out=at)
        extreme(best, here, out=best)
    if np.isnan(best).any():
        return None
    out, line = _lines(x, keepdims, np.int64)
    line[...] = at
    return out


def _lines(x: Any, keepdims: bool, dtype: Any = None, n: int = 1) -> tuple[Any, Any]:
    """An array for a result, and a view of it that has one element for each line."""
    shape = x.shape[:-n]
    out = np.empty((*shape, *(1,) * n) if keepdims else shape, dtype or x.dtype)
    return out, out.reshape(shape) if keepdims else out
