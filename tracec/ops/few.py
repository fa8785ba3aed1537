"""Reductions of few neighbouring elements each, as those of small windows: NumPy takes longer to begin than to add."""

from __future__ import annotations

from typing import Any

import numpy as np

#: So many elements of a result, of so few elements each, are computed for all results at once.
_MANY, _FEW = 1 << 10, 8
_ELEMENTS = (np.dtype(np.float32), np.dtype(np.float64))


def are_few(xp: Any, x: Any, axes: tuple[int, ...]) -> bool:
    """Whether it is the last axis of an array of NumPy's that is reduced, and a short one of many lines."""
    if xp is not np or not x.ndim or axes != (x.ndim - 1,) or x.dtype not in _ELEMENTS:
        return False
    return 2 <= x.shape[-1] <= _FEW and x.size >= _MANY * x.shape[-1] and bool(x.flags.c_contiguous)


def sum_of_few(x: Any, keepdims: bool) -> Any:
    """The sums along the last axis."""
    out, line = _lines(x, keepdims)
    np.add(x[..., 0], x[..., 1], out=line)
    for k in range(2, x.shape[-1]):
        np.add(line, x[..., k], out=line)
    return out


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


def _lines(x: Any, keepdims: bool, dtype: Any = None) -> tuple[Any, Any]:
    """An array for a result, and a look at it that has one element for each line."""
    out = np.empty((*x.shape[:-1], 1) if keepdims else x.shape[:-1], dtype or x.dtype)
    return out, out[..., 0] if keepdims else out
