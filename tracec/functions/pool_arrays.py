"""Pooling of NumPy's arrays, whose gradients go from windows straight to their elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from tracec import ops
from tracec.ir.types import Shape
from tracec.ops.arrays import ready
from tracec.ops.pool import elements_of_windows
from tracec.ops.window import window_counts
from tracec.record.compositions import AtOnce
from tracec.record.steps import PART


def max_pool_at_once(size: Shape, stride: Shape, dilation: Shape, low: Shape, high: Shape) -> AtOnce:
    """The largest element of each window over the trailing axes."""
    params = {"size": size, "stride": stride, "dilation": dilation, "low": low, "high": high}
    rule = ready(ops.max_windows.eager, np, np.dtype(np.float32), params)
    axes = list(zip(size, stride, dilation, low, strict=True))
    apart = all(s > d * (k - 1) for k, s, d, _ in axes)

    def forward(x: Any) -> tuple[Any, Any]:
        return rule(x), True

    def back(ct: Any, kept: Any, wanted: Sequence[bool], x: Any, out: Any) -> list[Any] | None:
        ct = np.ascontiguousarray(ct)
        if not (_is_finite(ct) and _is_finite(out)):
            return None  # what is multiplied by 0 below has to vanish, and NaN is equal to nothing
        sizes, counts = x.shape[x.ndim - len(size) :], out.shape[out.ndim - len(size) :]
        found = np.zeros(x.shape, x.dtype)
        lines, into = x.reshape(-1, *sizes), found.reshape(-1, *sizes)
        largest, given = out.reshape(-1, *counts), ct.reshape(-1, *counts)
        pairs = [(windows, elements) for _, windows, elements in elements_of_windows(sizes, counts, axes)]
        step = max(1, 4 * PART // math.prod(sizes))
        for start in range(0, len(lines), step):
            part = slice(start, start + step)
            here, there = lines[part], into[part]
            free = np.ones(largest[part].shape, bool)  # windows whose first largest element has not come yet
            for windows, elements in pairs:
                left = free[windows]
                chosen = here[elements] == largest[part][windows]
                chosen &= left
                left ^= chosen
                share = given[part][windows] * chosen
                at = there[elements]
                np.add(share if apart else at, 0 if apart else share, out=at)  # a sum is not -0.0
        return [found]

    return AtOnce(forward, back)


def _is_finite(x: Any) -> bool:
    """Whether all elements are finite; no where their squares are too large, too."""
    return math.isfinite(np.vdot(x, x))


def avg_pool_at_once(size: Shape, stride: Shape, low: Shape, high: Shape, divisor: int) -> AtOnce:
    """The mean of each window over the trailing axes, whose divisor is one for all or given for each.

    What is kept: the shape of what the windows are of.
    """
    n = len(size)

    @cache
    def passes(sizes: Shape, counts: Shape) -> list[tuple[int, int, int, Any]]:
        """Of each axis its number from the last one on, its size, the number of windows, and of each offset in a window
        the windows that have an element there, and the elements.
        """
        found = []
        for i in range(n):
            behind = (slice(None),) * (n - i - 1)
            of = elements_of_windows(sizes[i : i + 1], counts[i : i + 1], [(size[i], stride[i], 1, low[i])])
            pairs = [((*windows, *behind), (*elements, *behind)) for _, windows, elements in of]
            found.append((n - i, sizes[i], counts[i], pairs))
        return found

    def forward(x: Any, *divisors: Any) -> tuple[Any, Any]:
        shape, sizes = x.shape, x.shape[x.ndim - n :]
        padded = tuple([a + s + b for a, s, b in zip(low, sizes, high, strict=True)])
        for back, _, count, pairs in passes(sizes, window_counts(padded, size, stride, (1,) * n)):
            at = x.ndim - back
            out = np.zeros((*x.shape[:at], count, *x.shape[at + 1 :]), x.dtype)
            for windows, elements in pairs:
                into: Any = out[windows]
                into += x[elements]
            x = out
        x /= divisors[0] if divisors else x.dtype.type(divisor)
        return x, shape

    def back(ct: Any, shape: Any, wanted: Sequence[bool], *operands: Any) -> list[Any] | None:
        if any(wanted[1:]):
            return None
        given = ct / (operands[1] if len(wanted) > 1 else ct.dtype.type(divisor))
        for back, length, _, pairs in reversed(passes(shape[len(shape) - n :], ct.shape[ct.ndim - n :])):
            at = ct.ndim - back
            out = np.zeros((*given.shape[:at], length, *given.shape[at + 1 :]), given.dtype)
            for windows, elements in pairs:
                into: Any = out[elements]
                into += given[windows]
            given = out
        return [given, *[None] * (len(wanted) - 1)]

    return AtOnce(forward, back)
