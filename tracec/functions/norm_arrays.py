"""Norms of NumPy's arrays: what their operators give, and gradients, in few passes over memory.

Elements are gone over a part at a time that stays in the processor's caches, and what is computed of them lies in one
buffer. Statistics are kept for the way back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from tracec.ir.types import Shape
from tracec.record.compositions import AtOnce
from tracec.record.steps import PART

_ADD: Any = np.add
#: Elements that one call of BLAS adds up, and the fewest that are worth a call.
_PIECE, _LINE = 1 << 10, 16
#: Elements from which on BLAS adds them up.
_MANY = 1 << 11


@cache
def _ones(length: int, dtype: Any) -> Any:
    found = np.ones(length, dtype)
    found.flags.writeable = False
    return found


def _parts(rows: int, length: int) -> Iterator[slice]:
    """Rows that are gone over at once."""
    if rows * length <= PART:
        yield slice(None)
        return
    step = -(-rows // -(-rows * length // PART))
    for start in range(0, rows, step):
        yield slice(start, start + step)


def _sums(x: Any) -> Any:
    """The sums along the last axis, which is kept."""
    if x.size < _MANY:  # as operators do
        return _ADD.reduce(x, axis=-1, keepdims=True)
    return _products(x, _ones(x.shape[-1], x.dtype))[..., None]


def _products(a: Any, b: Any) -> Any:
    """The sums of products along the last axis."""
    length = a.shape[-1]
    if length < _LINE:
        return np.einsum("...i,...i->...", a, b)
    if length <= _PIECE or length % _PIECE:
        return np.vecdot(a, b)
    pieces = length // _PIECE, _PIECE
    of = [x.reshape(*x.shape[:-1], *pieces) if x.ndim > 1 else x[:_PIECE] for x in (a, b)]
    return _ADD.reduce(np.vecdot(*of), axis=-1)


def _standardised(x: Any, out: Any, statistics: Any, eps: float) -> None:
    """Rows less their means, by their standard deviations; the means and the reciprocals of those go into two rows."""
    length = x.dtype.type(x.shape[1])
    mean, rstd = statistics
    np.divide(_sums(x), length, out=mean)
    np.subtract(x, mean, out=out)
    variance = _sums(out * out) if x.size < _MANY else _products(out, out)[:, None]
    variance /= length
    variance += x.dtype.type(eps)
    np.sqrt(variance, out=variance)
    np.divide(1, variance, out=rstd)
    np.multiply(out, rstd, out=out)


def _rows_back(ct: Any, off: Any, products: Any, weight: Any, rstd: Any, out: Any) -> None:
    """The gradient of rows that were standardised and then weighted.

    Args:
        ct: The gradient of what came of that.
        off: The rows less their means, which are written over.
        products: Both multiplied.
        weight: One for each column, or None.
        rstd: The reciprocals of the rows' standard deviations.
        out: Where it goes.
    """
    by = _ones(ct.shape[1], ct.dtype) if weight is None else weight
    length = ct.dtype.type(ct.shape[1])
    off *= rstd * rstd * ((products @ by)[:, None] / length)
    off += (ct @ by)[:, None] / length
    np.subtract(ct if weight is None else np.multiply(ct, weight, out=products), off, out=out)
    np.multiply(out, rstd, out=out)


# Layer norm ---------------------------------------------------------------------------------------------------


def layer_norm_at_once(axes: Shape, eps: float, weighted: bool) -> AtOnce:
    """Of the trailing axes, with a weight and a bias of each element where they are given."""

    def forward(x: Any, *scales: Any) -> tuple[Any, Any]:
        length = math.prod([x.shape[a] for a in axes])
        rows, out = x.reshape(-1, length), np.empty(x.shape, x.dtype)
        into = out.reshape(-1, length)
        statistics = np.empty((2, len(rows), 1), x.dtype)
        weight, bias = _scales(scales, weighted, length)
        for part in _parts(len(rows), length):
            here = into[part]
            _standardised(rows[part], here, statistics[:, part], eps)
            if weight is not None:
                np.multiply(here, weight, out=here)
            if bias is not None:
                np.add(here, bias, out=here)
        return out, statistics

    def back(ct: Any, kept: Any, wanted: Sequence[bool], x: Any, *others: Any) -> list[Any] | None:
        scales = others[:-1]
        if x is None:
            return None  # of a bias alone
        length = math.prod([x.shape[a] for a in axes])
        given, rows = np.ascontiguousarray(ct).reshape(-1, length), x.reshape(-1, length)
        weight = scales[0].reshape(length) if weighted and wanted[0] else None
        out = np.empty(x.shape, x.dtype) if wanted[0] else None
        into = None if out is None else out.reshape(-1, length)
        of_scales = np.zeros((2, length), x.dtype)
        for part in _parts(len(rows), length):
            here, (mean, rstd) = given[part], kept[:, part]
            off = np.subtract(rows[part], mean)
            products = here * off
            of_scales[0] += rstd[:, 0] @ products
            of_scales[1] += _ones(len(here), x.dtype) @ here
            if into is not None:
                _rows_back(here, off, products, weight, rstd, into[part])
        shape = x.shape[axes[0] :]
        of_weight, of_bias = (g.reshape(shape).copy() for g in of_scales)
        return [out, *[of_weight] * weighted, *[of_bias] * (len(scales) - weighted)]

    return AtOnce(forward, back)


def _scales(scales: Sequence[Any], weighted: bool, *shape: int) -> tuple[Any, Any]:
    """A weight and a bias, in a shape; None what is not there."""
    weight = scales[0].reshape(shape) if weighted else None
    return weight, scales[weighted].reshape(shape) if len(scales) > weighted else None


# Groups of channels -------------------------------------------------------------------------------------------


def group_norm_at_once(groups: int, eps: float, weighted: bool) -> AtOnce:
    """Of groups of channels of each example, with a weight and a bias of each channel where they are given."""

    def sizes(x: Any) -> tuple[int, int, int]:
        """How many rows there are, how many channels each has, and how many elements each channel."""
        return x.shape[0] * groups, x.shape[1] // groups, math.prod(x.shape[2:])

    def forward(x: Any, *scales: Any) -> tuple[Any, Any]:
        n, channels, each = sizes(x)
        rows, out = x.reshape(n, -1), np.empty(x.shape, x.dtype)
        into, by_channel = out.reshape(n, -1), out.reshape(n, channels, each)
        statistics = np.empty((2, n, 1), x.dtype)
        weight, bias = _scales(scales, weighted, groups, channels, 1)
        for part in _parts(n, channels * each):
            _standardised(rows[part], into[part], statistics[:, part], eps)
            here = by_channel[part]
            if scales:
                group = np.arange(n)[part] % groups
            if weight is not None:
                np.multiply(here, weight[group], out=here)
            if bias is not None:
                np.add(here, bias[group], out=here)
        return out, statistics

    def back(ct: Any, kept: Any, wanted: Sequence[bool], x: Any, *others: Any) -> list[Any] | None:
        scales = others[:-1]
        if x is None:
            return None  # of a bias alone
        n, channels, each = sizes(x)
        given, rows = np.ascontiguousarray(ct).reshape(n, channels, each), x.reshape(n, channels, each)
        weight = scales[0].reshape(groups, channels, 1) if weighted and wanted[0] else None
        out = np.empty(x.shape, x.dtype) if wanted[0] else None
        sums = np.empty((2, n, channels), x.dtype)  # of the gradients, and of them times elements less their mean
        length = x.dtype.type(channels * each)
        for part in _parts(n, channels * each):
            here, (mean, rstd) = given[part], kept[:, part, :, None]
            off = np.subtract(rows[part], mean)
            sums[0, part] = _products(here, _ones(each, x.dtype))
            sums[1, part] = _products(here, off)
            if out is None:
                continue
            of = sums[:, part, :, None]
            if weight is not None:
                factor = weight[np.arange(n)[part] % groups]
                here, of = here * factor, of * factor
            first, second = _ADD.reduce(of, axis=2, keepdims=True) / length
            off *= rstd * rstd * second
            off += first
            np.subtract(here, off, out=off)
            np.multiply(off, rstd, out=out.reshape(rows.shape)[part])
        sums[1] *= kept[1]
        of_bias, of_weight = (_ADD.reduce(g.reshape(x.shape[0], -1), axis=0) for g in sums)
        return [out, *[of_weight] * weighted, *[of_bias] * (len(scales) - weighted)]

    return AtOnce(forward, back)


# Batch norm ---------------------------------------------------------------------------------------------------


def batch_norm_at_once(eps: float, weighted: bool) -> AtOnce:
    """Of each channel over all else, with a weight and a bias of each channel where they are given.

    What is kept: the channels' means, their variances, and the reciprocals of the standard deviations.
    """

    def forward(x: Any, *scales: Any) -> tuple[Any, Any]:
        channels = x.shape[1]
        count = x.dtype.type(x.size // channels)
        rows, spread = _by_channel(x)
        out = np.empty(x.shape, x.dtype)
        into = out.reshape(rows.shape)
        mean = _channel_sums(x, None)
        mean /= count
        np.subtract(rows, spread(mean), out=into)
        variance = _channel_sums(out, out)
        variance /= count
        rstd = 1 / np.sqrt(variance + x.dtype.type(eps))
        weight, bias = _scales(scales, weighted, channels)
        scale = spread(rstd if weight is None else rstd * weight)
        bias = None if bias is None else spread(bias)
        for part in _parts(len(x), x[0].size):
            here = into[part]
            np.multiply(here, scale, out=here)
            if bias is not None:
                np.add(here, bias, out=here)
        return out, (mean, variance, rstd)

    def back(ct: Any, kept: Any, wanted: Sequence[bool], x: Any, *others: Any) -> list[Any] | None:
        scales = others[:-1]
        if x is None:
            return None  # of a bias alone
        given, count = np.ascontiguousarray(ct), x.dtype.type(x.size // x.shape[1])
        mean, _, rstd = kept
        scale = rstd * scales[0] if weighted and wanted[0] else rstd
        out = np.empty(x.shape, x.dtype) if wanted[0] else None
        gone = _back_at_once if math.prod(x.shape[2:]) < _SHORT else _back_in_parts
        sums, products = gone(given, x, mean, rstd, scale, count, out)
        return [out, *[products * rstd] * weighted, *[sums] * (len(scales) - weighted)]

    return AtOnce(forward, back)


def fixed_norm_at_once(eps: float, weighted: bool) -> AtOnce:
    """Of each channel by a mean and a variance that are given, with a weight and a bias where they are.

    What is kept: the reciprocals of the standard deviations.
    """

    def forward(x: Any, mean: Any, variance: Any, *scales: Any) -> tuple[Any, Any]:
        rstd = 1 / np.sqrt(variance + x.dtype.type(eps))
        weight, bias = _scales(scales, weighted, len(mean))
        rows, spread = _by_channel(x)
        off, scale = spread(mean), spread(rstd if weight is None else rstd * weight)
        bias = None if bias is None else spread(bias)
        out = np.empty(x.shape, x.dtype)
        into = out.reshape(rows.shape)
        for part in _parts(len(x), x[0].size):
            here = into[part]
            np.subtract(rows[part], off, out=here)
            np.multiply(here, scale, out=here)
            if bias is not None:
                np.add(here, bias, out=here)
        return out, rstd

    def back(
        ct: Any, rstd: Any, wanted: Sequence[bool], x: Any, mean: Any, variance: Any, *others: Any
    ) -> list[Any] | None:  # fmt: skip
        scales = others[:-1]
        if any(wanted[1:3]) or (x is None and any(wanted[3:])):
            return None  # of what is given for fixed, or of a bias alone
        given = np.ascontiguousarray(ct)
        rows, spread = _by_channel(given)
        sums, products = _channel_sums(given, None), None
        if weighted and wanted[3]:
            off = x.reshape(rows.shape) - spread(mean)
            products = _channel_sums(given, off) * rstd
        out = None
        if wanted[0]:
            out = np.multiply(rows, spread(rstd * scales[0] if weighted else rstd)).reshape(ct.shape)
        return [out, None, None, *[products] * weighted, *[sums] * (len(scales) - weighted)]

    return AtOnce(forward, back)


#: Elements of a channel in one example that are too few for a loop of their own.
_SHORT = 32


def _by_channel(x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Elements (N, C, ...) in a shape, and what brings an array of channels into one that goes with it."""
    n, channels = x.shape[:2]
    each = math.prod(x.shape[2:])
    if each >= _SHORT:
        return x.reshape(n, channels, each), lambda of: of.reshape(channels, 1)
    return x.reshape(n, channels * each), lambda of: of.reshape(channels).repeat(each)


def _channel_sums(x: Any, y: Any) -> Any:
    """The sums of each channel's elements of (N, C, ...), or of their products with others."""
    n, channels = x.shape[:2]
    y = None if y is None else y.reshape(x.shape)
    if x.size < _MANY:  # as operators do
        return _ADD.reduce(x if y is None else x * y, axis=(0, *range(2, x.ndim)))
    if math.prod(x.shape[2:]) < _SHORT:
        lines = _ADD.reduce((x if y is None else x * y).reshape(n, -1), axis=0)
        return _ADD.reduce(lines.reshape(channels, -1), axis=1)
    x = x.reshape(n, channels, -1)
    return _ADD.reduce(_products(x, _ones(x.shape[2], x.dtype) if y is None else y.reshape(x.shape)), axis=0)


def _back_at_once(given: Any, x: Any, mean: Any, rstd: Any, scale: Any, count: Any, out: Any) -> tuple[Any, Any]:
    """The gradient of ``(x - mean) * scale`` into ``out``; the channels' sums of gradients, and of them times x less
    its mean.
    """
    rows, spread = _by_channel(x)
    given = given.reshape(rows.shape)
    off = rows - spread(mean)
    sums = _ADD.reduce(_ADD.reduce(given, axis=0).reshape(x.shape[1], -1), axis=1)
    products = _ADD.reduce(np.einsum("ij,ij->j", given, off).reshape(x.shape[1], -1), axis=1)
    if out is not None:
        off *= spread(rstd * rstd * (products / count))
        off += spread(sums / count)
        np.subtract(given, off, out=off)
        np.multiply(off, spread(scale), out=out.reshape(rows.shape))
    return sums, products


def _back_in_parts(given: Any, x: Any, mean: Any, rstd: Any, scale: Any, count: Any, out: Any) -> tuple[Any, Any]:
    """The same, some channels at a time."""
    rows, spread = _by_channel(x)
    n, channels, each = rows.shape
    given, mean, rstd, scale = given.reshape(rows.shape), spread(mean), spread(rstd), spread(scale)
    sums, products = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    ones = _ones(each, x.dtype)
    for part in _parts(channels, n * each):
        here = given[:, part]
        off = rows[:, part] - mean[part]
        sums[part] = _ADD.reduce(_products(here, ones), axis=0)
        products[part] = _ADD.reduce(_products(here, off), axis=0)
        if out is not None:
            off *= rstd[part] * rstd[part] * (products[part, None] / count)
            off += sums[part, None] / count
            np.subtract(here, off, out=off)
            np.multiply(off, scale[part], out=out.reshape(rows.shape)[:, part])
    return sums, products
