"""Images and volumes read at places that are computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ShapeError, UnsupportedError
from tracec.functions.arithmetic import fmod
from tracec.functions.common import (
    cast,
    check_choice,
    check_flag,
    check_floating,
    check_ndim,
    check_tensor,
    expanded,
    fail,
    integers,
    iota,
    reshaped,
    table,
)
from tracec.functions.linalg import matmul
from tracec.functions.shape import between
from tracec.ir import dtype as dt
from tracec.ir.types import Shape
from tracec.record.autocast import WIDEST, under_autocast
from tracec.record.tensor import Tensor


@under_autocast(WIDEST)
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """An image or a volume read at the places of a grid.

    Args:
        input: Shape ``(N, C, H, W)`` or ``(N, C, D, H, W)``, floating.
        grid: Places (x, y) or (x, y, z) from -1 to 1, shape ``(N, H', W', 2)`` or ``(N, D', H', W', 3)``, of the
            input's dtype.
        mode: ``bilinear``, ``nearest``, or, of images, ``bicubic``.
        padding_mode: What lies outside: ``zeros``, the ``border``'s elements, or the inside's by ``reflection``.
        align_corners: Whether -1 and 1 are the centres of the elements at the corners; by default, their outer edges.

    Returns:
        Shape ``(N, C, H', W')`` or ``(N, C, D', H', W')``.

    Raises:
        ShapeError: the shapes do not fit, or the input has no elements to read.

    Source: Jaderberg, Simonyan, Zisserman, Kavukcuoglu, "Spatial Transformer Networks", 2015, eq. 3.
    """
    check_choice("grid_sample", "mode", mode, ("bilinear", "nearest", "bicubic"))
    check_choice("grid_sample", "padding_mode", padding_mode, ("zeros", "border", "reflection"))
    if align_corners is not None:
        check_flag("grid_sample", align_corners, "align_corners")
    _check_grid(input, grid, mode)
    n = input.ndim - 2
    x, places = cast(input, input.dtype.compute), cast(grid, grid.dtype.compute)
    sizes = tuple(x.shape[2:])
    read = _Reader(x)
    # The grid names the last axis first.
    lines = [reshaped(between(places, n + 1, n - 1 - i, n - i), tuple(grid.shape[:-1])) for i in range(n)]
    at = [_elements(line, size, bool(align_corners)) for line, size in zip(lines, sizes, strict=True)]
    if mode == "bicubic":
        # Positions are moved in one by one: those around a position may lie outside where it lies inside.
        result = _around(read, at, 4, _cubic, padding_mode, bool(align_corners))
    else:
        inside = [_inside(a, size, padding_mode, bool(align_corners)) for a, size in zip(at, sizes, strict=True)]
        result = read([ops.round(a) for a in inside]) if mode == "nearest" else _around(read, inside, 2, _linear)
    return cast(ops.transpose(result, perm=(0, n + 1, *range(1, n + 1))), input.dtype)


def _check_grid(x: Tensor, grid: Tensor, mode: str) -> None:
    check_floating("grid_sample", x)
    check_floating("grid_sample", grid, "grid")
    check_ndim("grid_sample", x, (4, 5), "(N, C, H, W) or (N, C, D, H, W)")
    if grid.ndim != x.ndim or grid.shape[-1] != x.ndim - 2 or grid.shape[0] != x.shape[0]:
        fail(
            ShapeError,
            f"grid_sample: grid of shape {tuple(grid.shape)} for input of shape {tuple(x.shape)}",
            f"it is (N, ..., {x.ndim - 2}), with as many axes as the input",
        )
    if x.dtype is not grid.dtype:
        # PyTorch raises no TypeError here.
        fail(ArgumentError, f"grid_sample: input is {x.dtype.name}, grid {grid.dtype.name}", "cast one of them")
    if 0 in tuple(x.shape[2:]):
        fail(ShapeError, f"grid_sample: input of shape {tuple(x.shape)} has nothing to read", "only N and C may be 0")
    if mode == "bicubic" and x.ndim != 4:
        fail(ShapeError, f"grid_sample: mode='bicubic' for input of shape {tuple(x.shape)}", "it is for images")


class _Reader:
    """Reads elements of an input at positions, zeros outside of it: (N, *places) each to (N, *places, C).

    Args:
        x: The input, (N, C, *sizes).
    """

    def __init__(self, x: Tensor) -> None:
        self.x, self.n = x, x.ndim - 2
        self.sizes: Shape = tuple(x.shape[2:])

    def __call__(self, at: Sequence[Tensor]) -> Tensor:
        """The elements at whole numbers, which may be anything, also infinite; what ``at`` holds broadcasts."""
        known, indices = None, []
        for a, size in zip(at, self.sizes, strict=True):
            here = ops.bitwise_and(ops.ge(a, 0.0), ops.le(a, float(size - 1)))
            indices.append(ops.cast(ops.where(here, a.detach(), 0.0), dtype=dt.int64))
            known = here if known is None else ops.bitwise_and(known, here)
        assert known is not None
        shape = tuple(known.shape)
        batch = iota((shape[0], *(1,) * (len(shape) - 1)), 0, dt.int64, self.x)
        found = ops.index(self.x, batch, *indices, axes=(0, *range(2, self.n + 2)))
        return ops.where(reshaped(known, (*shape, 1)), found, 0.0)


def _elements(place: Tensor, size: int, align_corners: bool) -> Tensor:
    """A place from -1 to 1 as a position among the elements of an axis."""
    if align_corners:
        return ops.mul(ops.add(place, 1.0), (size - 1) / 2)
    return ops.mul(ops.sub(ops.mul(ops.add(place, 1.0), float(size)), 1.0), 0.5)


def _inside(at: Tensor, size: int, padding_mode: str, align_corners: bool) -> Tensor:
    """Positions outside moved in, as the padding mode has it."""
    if padding_mode == "zeros":
        return at
    if padding_mode == "reflection":
        at = _reflected(at, *((0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)))
    # Also NaN becomes 0; at the bounds themselves, no gradient flows.
    at = ops.where(ops.gt(at, 0.0), at, 0.0)
    return ops.where(ops.lt(at, size - 1.0), at, size - 1.0)


def _reflected(at: Tensor, low: float, high: float) -> Tensor:
    """Positions mirrored at two bounds until they lie between."""
    span = high - low
    if not span:
        return ops.mul(at, 0.0)
    off = ops.abs(ops.sub(at, low))
    rest, flips = fmod(off, span), ops.floor(ops.div(off.detach(), span))
    even = ops.eq(fmod(flips, 2.0), 0.0)
    return ops.where(even, ops.add(rest, low), ops.sub(high, rest))


def _around(
    read: _Reader,
    at: list[Tensor],
    taps: int,
    weight_of: Callable[[Tensor, Tensor], Tensor],
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    """The elements around positions, so many along each axis, weighted by how near they are, and added up."""
    shape, n = tuple(at[0].shape), len(at)
    places, weight = [], None
    for i, (a, size) in enumerate(zip(at, read.sizes, strict=True)):
        whole = reshaped(a, (*shape, *(1,) * n))
        below = ops.floor(whole)
        tap = iota(tuple(taps if k == i else 1 for k in range(n)), i, a.dtype, a)
        place = ops.add(below, ops.sub(tap, taps // 2 - 1.0))
        places.append(ops.trunc(_inside(place, size, padding_mode, align_corners)))
        own = weight_of(ops.sub(whole, below), tap)
        weight = own if weight is None else ops.mul(weight, own)
    assert weight is not None
    value = read(places)
    weighted = ops.mul(value, reshaped(weight, (*weight.shape, 1)))
    return ops.sum(weighted, axes=tuple(range(len(shape), len(shape) + n)), keepdims=False)


def _linear(off: Tensor, tap: Tensor) -> Tensor:
    """Weights of the elements before and behind a position that is so far behind the first."""
    return ops.where(ops.eq(tap, 0.0), ops.sub(1.0, off), off)


def _cubic(off: Tensor, tap: Tensor, a: float = -0.75) -> Tensor:
    """Weights of the four elements around a position that is so far behind the second one.

    Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981, with a free.
    """
    ahead = ops.sub(off, ops.sub(tap, 1.0))
    x = ops.where(ops.lt(tap, 2.0), ahead, ops.neg(ahead))
    near = ops.add(ops.mul(ops.mul(ops.sub(ops.mul(x, a + 2), a + 3), x), x), 1.0)
    far = ops.sub(ops.mul(ops.mul(ops.add(ops.mul(ops.sub(x, 5.0), x), 8.0), x), a), 4 * a)
    outer = ops.bitwise_or(ops.eq(tap, 0.0), ops.eq(tap, 3.0))
    return ops.where(outer, far, near)


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid for `grid_sample` that an affine map of an image's or a volume's places gives.

    Args:
        theta: Matrices, shape ``(N, 2, 3)`` or ``(N, 3, 4)``, floating.
        size: The result's, ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
        align_corners: Whether -1 and 1 are the centres of the elements at the corners; by default, their outer edges.

    Returns:
        Shape ``(N, H, W, 2)`` or ``(N, D, H, W, 3)``.

    Raises:
        ShapeError: theta does not fit the size, or a size is not positive.
        UnsupportedError: the size has not 4 or 5 axes.
    """
    check_tensor("affine_grid", theta, "theta")
    if align_corners is not None:
        check_flag("affine_grid", align_corners, "align_corners")
    wanted = integers("affine_grid", size, "size")
    n = len(wanted) - 2
    if not theta.dtype.is_floating_point:
        fail(ArgumentError, f"affine_grid: takes floats, theta is {theta.dtype.name}", "cast it with .float() first")
    if n not in (2, 3):
        fail(UnsupportedError, f"affine_grid: size {wanted}", "it is (N, C, H, W) or (N, C, D, H, W)")
    if tuple(theta.shape[1:]) != (n, n + 1) or theta.ndim != 3 or theta.shape[0] != wanted[0]:
        fail(
            ShapeError,
            f"affine_grid: theta of shape {tuple(theta.shape)} for size {wanted}",
            f"it is {(wanted[0], n, n + 1)}",
        )
    if min(wanted) < 1:
        fail(ShapeError, f"affine_grid: size {wanted} is not positive", "every size is 1 or more")
    lines = [_places(s, bool(align_corners)) for s in wanted[2:]]
    # The last axis comes first, and 1 at the end, for the map's shift.
    mesh = np.meshgrid(*lines, indexing="ij")[::-1]
    base = np.stack([*mesh, np.ones(wanted[2:])], axis=-1).reshape(math.prod(wanted[2:]), n + 1)
    places = expanded(table(base, theta.dtype, theta), (wanted[0], *base.shape))
    return reshaped(matmul(places, ops.transpose(theta, perm=(0, 2, 1))), (wanted[0], *wanted[2:], n))


def _places(size: int, align_corners: bool) -> np.ndarray:
    """The places of an axis's elements between -1 and 1."""
    if size == 1:
        return np.zeros(1)
    line = np.linspace(-1, 1, size)
    return line if align_corners else line * (size - 1) / size
