"""Signals, images and volumes in other sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, UnsupportedError
from tracec.functions.adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    weighted_sums,
)
from tracec.functions.common import cast, check_flag, check_tensor, expanded, fail, reshaped, table
from tracec.functions.padding import pad
from tracec.functions.shape import between
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.types import Shape
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.tensor import Tensor

#: Mode → numbers of spatial axes that it is for.
_MODES = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,),
    "bicubic": (2,), "trilinear": (3,), "lanczos": (2,),
}  # fmt: skip
_LINEAR = ("linear", "bilinear", "trilinear")
#: Modes that take bytes.
_OF_BYTES = ("nearest", "nearest-exact", "bilinear", "bicubic")


@under_autocast(FLOAT32)
def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """A signal ``(N, C, L)``, image ``(N, C, H, W)`` or volume ``(N, C, D, H, W)`` in another size.

    Args:
        input: Floating; ``uint8`` too for the nearest modes, ``bilinear`` and ``bicubic``, whose results are rounded.
        size: Sizes of the result's spatial axes; this or ``scale_factor``.
        scale_factor: What the sizes are multiplied by and rounded down.
        mode: ``nearest``, ``nearest-exact`` (rounded at the middle of elements), ``area`` (means), ``linear`` of
            signals, ``bilinear`` and ``bicubic`` of images, ``lanczos`` of images with antialias, ``trilinear`` of
            volumes.
        align_corners: Whether the centres of the elements at the corners meet, and not their outer edges.
        recompute_scale_factor: Whether the factor that positions are worked out with is that of the rounded sizes.
        antialias: Widen the filter where an image gets smaller, for ``bilinear``, ``bicubic`` and ``lanczos``.

    Raises:
        ArgumentError: neither or both of size and scale_factor are given, or an option does not go with the mode.
        UnsupportedError: the mode is not known, or not for so many axes.
        ShapeError: a size is not positive.
    """
    check_tensor("interpolate", input)
    n = input.ndim - 2
    if not isinstance(mode, str) or n not in _MODES.get(mode, ()):
        fail(
            UnsupportedError,
            f"interpolate: mode={mode!r} for input of shape {tuple(input.shape)}",
            "nearest, nearest-exact and area go with 1 to 3 spatial axes, linear with 1, bilinear and bicubic with 2, "
            "trilinear with 3",
        )
    _check_options(mode, n, align_corners, antialias)
    is_bytes = input.dtype is dt.uint8 and mode in _OF_BYTES
    if not input.dtype.is_floating_point and not is_bytes:
        fail(DTypeError, f"interpolate: mode={mode!r} takes floats, input is {input.dtype.name}", "cast it first")
    if recompute_scale_factor and size is not None:
        fail(ArgumentError, "interpolate: recompute_scale_factor with a size", "leave it out, or give scale_factor")
    sizes, scales = _sizes(input, n, size, scale_factor, bool(recompute_scale_factor) or mode == "area")
    if min(*sizes, *input.shape[1:]) < 1:
        fail(
            ShapeError,
            f"interpolate: input of shape {tuple(input.shape)} to sizes {sizes}",
            "only N may be 0",
        )
    if mode == "area":
        pools: tuple[Callable[..., Tensor], ...] = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)
        return pools[n - 1](input, sizes)
    x = cast(input, _computed(input.dtype, mode))
    along = list(enumerate(zip(sizes, scales, strict=True), 2))
    for axis, (count, scale) in reversed(along) if is_bytes else along:
        x = _resized(x, axis, _Axis(x.shape[axis], count, scale, mode, bool(align_corners), bool(antialias)))
        if is_bytes and x.dtype is not input.dtype:  # between two axes too, as PyTorch and Pillow do
            x = ops.minimum(ops.maximum(ops.floor(ops.add(x, 0.5)), 0.0), 255.0)
    result = cast(x, input.dtype)
    return result.clone() if result._storage is input._storage else result


def _computed(given: DType, mode: str) -> DType:
    """What an image of this type is computed in."""
    if given.is_floating_point:
        return given.compute
    return given if mode.startswith("nearest") else dt.float32


def _check_options(mode: str, n: int, align_corners: bool | None, antialias: bool) -> None:
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        fail(
            ArgumentError,
            f"interpolate: align_corners={align_corners} does not go with mode={mode!r}",
            "leave it out, or use linear, bilinear, bicubic or trilinear",
        )
    if align_corners is not None:
        check_flag("interpolate", align_corners, "align_corners")
    if antialias and mode not in ("bilinear", "bicubic", "lanczos"):
        fail(
            ArgumentError,
            f"interpolate: antialias does not go with mode={mode!r}",
            "use bilinear, bicubic or lanczos, which are for images",
        )
    if mode == "lanczos" and not antialias:
        fail(ArgumentError, "interpolate: mode='lanczos' needs antialias=True", "set it")


def _sizes(x: Tensor, n: int, size: Any, scale_factor: Any, recompute: bool) -> tuple[Shape, tuple[float | None, ...]]:
    """Sizes of the result, and the factors that positions are worked out with; None for the ratio of the sizes."""
    if (size is None) == (scale_factor is None):
        fail(ArgumentError, f"interpolate: size={size} and scale_factor={scale_factor}", "give one of the two")
    what, value = ("size", size) if scale_factor is None else ("scale_factor", scale_factor)
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,) * n
    if len(given) != n:
        fail(
            ArgumentError,
            f"interpolate: {what}={value} for input of shape {tuple(x.shape)}",
            f"give one number or {n}, the input is (N, C, ...) with {n} spatial axes",
        )
    if scale_factor is None:
        if any(not hasattr(s, "__index__") for s in given):
            fail(ArgumentTypeError, f"interpolate: size={size} is not of integers", "give integers")
        return tuple(int(s) for s in given), (None,) * n
    if any(isinstance(s, (str, bytes)) or not hasattr(s, "__float__") for s in given):
        fail(ArgumentTypeError, f"interpolate: scale_factor={scale_factor} is not of numbers", "give numbers")
    factors = tuple(float(s) for s in given)
    if not all(math.isfinite(s) for s in factors):
        fail(ArgumentError, f"interpolate: scale_factor={scale_factor} is not finite", "give positive numbers")
    sizes = tuple(math.floor(x.shape[2 + i] * s) for i, s in enumerate(factors))
    return sizes, (None,) * n if recompute else factors


@dataclass(frozen=True, slots=True)
class _Axis:
    """How an axis changes its size."""

    size: int
    count: int
    factor: float | None
    mode: str
    align_corners: bool
    antialias: bool

    @property
    def is_same(self) -> bool:
        """Whether every element stays itself."""
        return self.size == self.count and self.factor in (None, 1.0)

    @property
    def up(self) -> int:
        """The whole number that the size is multiplied by, or 0."""
        times = self.count // self.size
        exact = self.count == times * self.size and self.factor in (None, float(times))
        return times if exact and not self.align_corners else 0

    def scale(self, real: Any) -> Any:
        """Elements of the input for each of the result, in the precision of the computation."""
        if self.align_corners:
            return real(self.size - 1) / real(self.count - 1) if self.count > 1 else real(0)
        if self.factor is not None and self.factor > 0:
            return real(1.0 / self.factor)
        return real(self.size) / real(self.count)


def _resized(x: Tensor, axis: int, how: _Axis) -> Tensor:
    real = np.float64 if x.dtype is dt.float64 else np.float32
    if how.antialias:
        return weighted_sums(x, axis, *_filter(how, real))
    if how.is_same:
        return x
    if how.mode.startswith("nearest"):
        return _picked(x, axis, _nearest(how, real))
    if how.up:
        return _enlarged(x, axis, how.up, how.mode)
    total = None
    for at, weight in zip(*_taps(how, real), strict=True):
        term = ops.mul(_picked(x, axis, at), _over(table(weight, x.dtype, x), axis, x.ndim))
        total = term if total is None else ops.add(total, term)
    assert total is not None
    return total


def _over(line: Tensor, axis: int, ndim: int) -> Tensor:
    """A vector laid along an axis."""
    return reshaped(line, (*line.shape, *(1,) * (ndim - axis - 1)))


def _picked(x: Tensor, axis: int, at: Any) -> Tensor:
    """Elements of an axis at positions known before: a stretch, repeated elements, or a gather."""
    size, count = x.shape[axis], len(at)
    step = int(at[1] - at[0]) if count > 1 else 1
    if step > 0 and np.array_equal(at, at[0] + step * np.arange(count)):
        return between(x, axis, int(at[0]), int(at[0]) + step * (count - 1) + 1, step)
    times = count // size
    if times * size == count and np.array_equal(at, np.arange(count) // times):
        shape = tuple(x.shape)
        apart = (*shape[: axis + 1], times, *shape[axis + 1 :])
        spread = expanded(reshaped(x, (*shape[: axis + 1], 1, *shape[axis + 1 :])), apart)
        return reshaped(spread, (*shape[:axis], count, *shape[axis + 1 :]))
    # Of two axes, both gathers become one read.
    found = ops.index(x, table(at, dt.int64, x), axes=(axis,))
    return ops.transpose(found, perm=(*range(1, axis + 1), 0, *range(axis + 1, x.ndim)))


@lru_cache(maxsize=256)
def _nearest(how: _Axis, real: Any) -> Any:
    """The nearest element for each of the result: of its outer edge, or of its middle."""
    i, scale = np.arange(how.count).astype(real), how.scale(real)
    if how.mode == "nearest":
        at = i * scale
    else:
        at = (scale * (i + real(0.5)) - real(0.5)) + real(0.5)
    return np.minimum(np.floor(at.astype(np.float32)).astype(np.int64), how.size - 1)


@lru_cache(maxsize=256)
def _taps(how: _Axis, real: Any) -> tuple[list[Any], list[Any]]:
    """Positions and weights of the two or four elements that each one of the result is computed from."""
    i, scale = np.arange(how.count).astype(real), how.scale(real)
    at = scale * i if how.align_corners else scale * (i + real(0.5)) - real(0.5)
    if how.mode in _LINEAR:
        at = np.maximum(at, real(0))
    first = np.minimum(np.floor(at), how.size - 1)
    off = np.clip(at - first, 0, 1).astype(real)
    weights = _linear(off) if how.mode in _LINEAR else _cubic(off)
    lowest = 1 - len(weights) // 2
    places = [np.clip(first.astype(np.int64) + lowest + t, 0, how.size - 1) for t in range(len(weights))]
    return places, weights


def _linear(off: Any) -> list[Any]:
    return [1 - off, off]


def _cubic(off: Any) -> list[Any]:
    return [_keys(np.abs(off - t), -0.75) for t in (-1, 0, 1, 2)]


def _keys(x: Any, a: float) -> Any:
    """The cubic convolution kernel at distances x.

    Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981, with a free.
    """
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0)).astype(x.dtype)


def _enlarged(x: Tensor, axis: int, times: int, mode: str) -> Tensor:
    """An axis a whole number of times as long: each element with its neighbours gives that many, by views alone."""
    size, ndim = x.shape[axis], x.ndim
    phase = (np.arange(times) + 0.5) / times - 0.5
    off = phase - np.floor(phase)
    weights = _linear(off) if mode in _LINEAR else _cubic(off)
    half = len(weights) // 2
    wide = pad(x, (0, 0) * (ndim - 1 - axis) + (half, half) + (0, 0) * (axis - 2), "replicate")
    apart = (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :])
    near = [reshaped(between(wide, axis, t, t + size), apart) for t in range(2 * half + 1)]
    # The first phases lie before an element's centre, so that their neighbours are one further to the left.
    early = _over(table(phase < 0, dt.bool_, x), axis + 1, ndim + 1)
    total = None
    for t, weight in enumerate(weights):
        term = ops.mul(ops.where(early, near[t], near[t + 1]), _over(table(weight, x.dtype, x), axis + 1, ndim + 1))
        total = term if total is None else ops.add(total, term)
    assert total is not None
    return reshaped(total, (*x.shape[:axis], size * times, *x.shape[axis + 1 :]))


#: Mode → how far its filter reaches, and the filter.
_FILTERS: dict[str, tuple[float, Callable[[Any], Any]]] = {
    "bilinear": (1.0, lambda x: np.maximum(1 - np.abs(x), 0)),
    "bicubic": (2.0, lambda x: _keys(np.abs(x), -0.5)),
    "lanczos": (3.0, lambda x: np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)),
}


@lru_cache(maxsize=64)
def _filter(how: _Axis, real: Any) -> tuple[Any, Any, Any]:
    """Positions, weights and ends of a filter that is as wide as the elements of the result."""
    reach, weight_of = _FILTERS[how.mode]
    scale = float(how.scale(real))
    wide = max(scale, 1.0)
    centre = scale * (np.arange(how.count) + 0.5)[:, None]
    low = np.maximum((centre - reach * wide + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + reach * wide + 0.5).astype(np.int64), how.size)
    place = low + np.arange(int((high - low).max()))
    weights = np.where(place < high, weight_of((place - centre + 0.5) / wide), 0.0)
    return place, weights / weights.sum(1, keepdims=True), high


def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate` under its old name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:
    """`interpolate` to the nearest element."""
    return interpolate(input, size, scale_factor)


def upsample_bilinear(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Tensor:
    """`interpolate` of images by ``bilinear``, with the corners aligned."""
    return interpolate(input, size, scale_factor, "bilinear", True)
