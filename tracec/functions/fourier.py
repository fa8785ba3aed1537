"""Discrete Fourier transforms, as `tracec.fft` offers them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Unpack

from tracec import ops
from tracec.errors import ArgumentError, AxisError, DTypeError
from tracec.functions.arranging import roll
from tracec.functions.common import cast, check_tensor, fail, integers, one_axis
from tracec.functions.complex import conj
from tracec.functions.options import OutOptions, create
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.types import Shape
from tracec.record import promote
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.backend import Device
from tracec.record.out import takes_out
from tracec.record.tensor import Tensor

Sizes = Sequence[int] | None
Dims = int | Sequence[int] | None
Norm = str | None

# What the transforms share ----------------------------------------------------------------------------


def _real(name: str, x: Tensor) -> Tensor:
    """The signal as float32 or float64.

    Raises:
        DTypeError: it is complex, or of 16-bit floats.
    """
    check_tensor(name, x)
    if x.dtype.is_complex:
        fail(DTypeError, f"{name}: expects a real input tensor, but got {x.dtype.name}", "use the complex transform")
    return _wide(name, x)


def _complex(name: str, x: Tensor) -> Tensor:
    """The signal as complex64 or complex128.

    Raises:
        DTypeError: it is of 16-bit floats.
    """
    check_tensor(name, x)
    x = _wide(name, x)
    return cast(x, x.dtype.to_complex())


def _wide(name: str, x: Tensor) -> Tensor:
    if x.dtype in (dt.float16, dt.bfloat16):
        fail(DTypeError, f"{name}: unsupported dtype {x.dtype.name}", "cast it with .float() first")
    return x if x.dtype.is_differentiable else cast(x, promote.DEFAULT_FLOAT)


def _axis(name: str, x: Tensor, dim: Any) -> int:
    if not x.ndim:
        fail(AxisError, f"{name}: dimension specified as {dim} but tensor has no dimensions", "unsqueeze it first")
    return one_axis(name, dim, x.ndim)


def _axes(name: str, x: Tensor, s: Sizes, dim: Dims) -> tuple[Shape, tuple[int | None, ...]]:
    """The axes, counted from the front, and the size that each is to have; None where it is its own."""
    if isinstance(s, int):
        s = (s,)
    dims = dim if dim is None or isinstance(dim, (list, tuple)) else (dim,)
    sizes = None if s is None else integers(name, s, "s")
    if dims is not None:
        axes = tuple(_axis(name, x, d) for d in dims)
    else:
        count = x.ndim if sizes is None else len(sizes)
        if count > x.ndim:
            fail(
                ArgumentError,
                f"{name}: got shape with {count} values but input tensor only has {x.ndim} dimensions",
                "give one size for each of the last dimensions",
            )
        axes = tuple(range(x.ndim - count, x.ndim))
    if len(set(axes)) != len(axes):
        fail(ArgumentError, f"{name}: FFT dims must be unique, dim={tuple(dims or ())}", "name each axis once")
    if sizes is None:
        return axes, (None,) * len(axes)
    if len(sizes) != len(axes):
        fail(
            ArgumentError,
            f"{name}: when given, dim and shape arguments must have the same length: {axes} and {sizes}",
            "give one size for each axis",
        )
    return axes, tuple(None if size == -1 else size for size in sizes)


def _check_size(name: str, size: int) -> int:
    if size < 1:
        fail(ArgumentError, f"{name}: invalid number of data points ({size}) specified", "give 1 or more")
    return size


def _fitted(name: str, x: Tensor, axes: Shape, sizes: Sequence[int | None]) -> Tensor:
    """The signal cut, or filled up with zeros, to sizes along axes."""
    shape = list(x.shape)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = _check_size(name, shape[axis] if size is None else size)
    stops = tuple(min(old, new) for old, new in zip(x.shape, shape, strict=True))
    if stops != tuple(x.shape):
        x = ops.slice(x, starts=(0,) * x.ndim, stops=stops, steps=(1,) * x.ndim)
    if stops != tuple(shape):
        missing = tuple(new - old for old, new in zip(stops, shape, strict=True))
        x = ops.pad(x, low=(0,) * x.ndim, high=missing, value=0)
    return x


def _scale(name: str, norm: Norm, count: int, inverse: bool) -> float:
    """The factor that normalises a transform over so many points."""
    if norm not in (None, "forward", "backward", "ortho"):
        fail(ArgumentError, f"{name}: invalid normalization mode: {norm!r}", "use 'forward', 'backward' or 'ortho'")
    if norm == "ortho":
        return 1.0 / math.sqrt(count)
    return 1 / count if (norm == "forward") != inverse else 1.0


def _to_complex(name: str, x: Tensor, s: Sizes, dim: Dims, norm: Norm, inverse: bool) -> Tensor:
    z = _complex(name, x)
    axes, sizes = _axes(name, z, s, dim)
    z = _fitted(name, z, axes, sizes)
    scale = _scale(name, norm, math.prod(z.shape[a] for a in axes), inverse)
    return ops.fft(z, axes=axes, inverse=inverse, scale=scale)


def _from_real(name: str, x: Tensor, s: Sizes, dim: Dims, norm: Norm, inverse: bool) -> Tensor:
    """Over the last axis half of the spectrum, then over the others all of it; the inverse is the conjugate."""
    x = _real(name, x)
    axes, sizes = _axes(name, x, s, dim)
    _check_some(name, axes)
    x = _fitted(name, x, axes, sizes)
    scale = _scale(name, norm, math.prod(x.shape[a] for a in axes), inverse)
    half = ops.rfft(x, axis=axes[-1], scale=scale)
    whole = ops.fft(half, axes=axes[:-1]) if axes[:-1] else half
    return conj(whole) if inverse else whole


def _to_real(name: str, x: Tensor, s: Sizes, dim: Dims, norm: Norm, inverse: bool) -> Tensor:
    """The inverse of `_from_real`, of half a spectrum; forward of its conjugate."""
    z = _complex(name, x)
    axes, sizes = _axes(name, z, s, dim)
    _check_some(name, axes)
    last = sizes[-1] if sizes[-1] is not None else 2 * (z.shape[axes[-1]] - 1)
    _check_size(name, last)
    z = _fitted(name, z, axes, (*sizes[:-1], last // 2 + 1))
    count = math.prod(z.shape[a] for a in axes[:-1]) * last
    if not inverse:
        z = conj(z)
    if axes[:-1]:
        z = ops.fft(z, axes=axes[:-1], inverse=True)
    return ops.irfft(z, axis=axes[-1], size=last, scale=_scale(name, norm, count, inverse))


def _check_some(name: str, axes: Shape) -> None:
    if not axes:
        fail(ArgumentError, f"{name}: must transform at least one axis", "name an axis")


def _one(name: str, n: int | None) -> Sizes:
    """The number of points of a transform over one axis, as sizes."""
    return None if n is None else (_check_size(name, integers(name, (n,), "n")[0]),)


# Over one axis ----------------------------------------------------------------------------------------
#
# Of all transforms: ``n`` or ``s`` are sizes to cut the signal to, or to fill it up to with zeros; by default its own.
# ``norm`` says where the division by the number of points N happens: "backward", the default, in the inverse;
# "forward" in the forward transform; "ortho" by the square root of N in both.


@takes_out
@under_autocast(FLOAT32)
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """The Fourier transform along an axis; complex."""
    return _to_complex("fft", input, _one("fft", n), (dim,), norm, inverse=False)


@takes_out
@under_autocast(FLOAT32)
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """The inverse of `fft`; complex."""
    return _to_complex("ifft", input, _one("ifft", n), (dim,), norm, inverse=True)


@takes_out
@under_autocast(FLOAT32)
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """The first half, ``n // 2 + 1`` terms, of the transform of a real signal: the rest mirrors it."""
    return _from_real("rfft", input, _one("rfft", n), (dim,), norm, inverse=False)


@takes_out
@under_autocast(FLOAT32)
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """The inverse of `rfft`: a real signal of n points, by default ``2 · (terms - 1)``."""
    return _to_real("irfft", input, _one("irfft", n), (dim,), norm, inverse=True)


@takes_out
@under_autocast(FLOAT32)
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """The transform, which is real, of a signal that mirrors its conjugate, given by its first half."""
    return _to_real("hfft", input, _one("hfft", n), (dim,), norm, inverse=False)


@takes_out
@under_autocast(FLOAT32)
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: Norm = None) -> Tensor:
    """The inverse of `hfft`: half a signal."""
    return _from_real("ihfft", input, _one("ihfft", n), (dim,), norm, inverse=True)


# Over two axes, and over any number --------------------------------------------------------------------


@takes_out
@under_autocast(FLOAT32)
def fft2(input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: Norm = None) -> Tensor:
    """`fftn` over the last two axes."""
    return _to_complex("fft2", input, s, dim, norm, inverse=False)


@takes_out
@under_autocast(FLOAT32)
def ifft2(input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: Norm = None) -> Tensor:
    """`ifftn` over the last two axes."""
    return _to_complex("ifft2", input, s, dim, norm, inverse=True)


@takes_out
@under_autocast(FLOAT32)
def rfft2(input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: Norm = None) -> Tensor:
    """`rfftn` over the last two axes."""
    return _from_real("rfft2", input, s, dim, norm, inverse=False)


@takes_out
@under_autocast(FLOAT32)
def irfft2(input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: Norm = None) -> Tensor:
    """`irfftn` over the last two axes."""
    return _to_real("irfft2", input, s, dim, norm, inverse=True)


@takes_out
@under_autocast(FLOAT32)
def hfft2(input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: Norm = None) -> Tensor:
    """`hfftn` over the last two axes."""
    return _to_real("hfft2", input, s, dim, norm, inverse=False)


@takes_out
@under_autocast(FLOAT32)
def ihfft2(input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: Norm = None) -> Tensor:
    """`ihfftn` over the last two axes."""
    return _from_real("ihfft2", input, s, dim, norm, inverse=True)


@takes_out
@under_autocast(FLOAT32)
def fftn(input: Tensor, s: Sizes = None, dim: Dims = None, norm: Norm = None) -> Tensor:
    """The Fourier transform over several axes, by default all; with ``s`` alone, the last ones."""
    return _to_complex("fftn", input, s, dim, norm, inverse=False)


@takes_out
@under_autocast(FLOAT32)
def ifftn(input: Tensor, s: Sizes = None, dim: Dims = None, norm: Norm = None) -> Tensor:
    """The inverse of `fftn`."""
    return _to_complex("ifftn", input, s, dim, norm, inverse=True)


@takes_out
@under_autocast(FLOAT32)
def rfftn(input: Tensor, s: Sizes = None, dim: Dims = None, norm: Norm = None) -> Tensor:
    """The transform of a real signal over several axes, half of it along the last one; see `rfft`."""
    return _from_real("rfftn", input, s, dim, norm, inverse=False)


@takes_out
@under_autocast(FLOAT32)
def irfftn(input: Tensor, s: Sizes = None, dim: Dims = None, norm: Norm = None) -> Tensor:
    """The inverse of `rfftn`: a real signal."""
    return _to_real("irfftn", input, s, dim, norm, inverse=True)


@takes_out
@under_autocast(FLOAT32)
def hfftn(input: Tensor, s: Sizes = None, dim: Dims = None, norm: Norm = None) -> Tensor:
    """The transform, which is real, of a signal that mirrors its conjugate, half of it along the last axis."""
    return _to_real("hfftn", input, s, dim, norm, inverse=False)


@takes_out
@under_autocast(FLOAT32)
def ihfftn(input: Tensor, s: Sizes = None, dim: Dims = None, norm: Norm = None) -> Tensor:
    """The inverse of `hfftn`: half a signal along the last axis."""
    return _from_real("ihfftn", input, s, dim, norm, inverse=True)


# Frequencies ------------------------------------------------------------------------------------------


def fftfreq(n: int, d: float = 1.0, **options: Unpack[OutOptions]) -> Tensor:
    """The frequencies of the terms of `fft` for n points at a distance of d: from 0 up, then the negative ones."""
    return _frequencies("fftfreq", n, d, options, half=False)


def rfftfreq(n: int, d: float = 1.0, **options: Unpack[OutOptions]) -> Tensor:
    """The frequencies of the terms of `rfft` for n points at a distance of d."""
    return _frequencies("rfftfreq", n, d, options, half=True)


def _frequencies(name: str, n: int, d: float, options: Any, half: bool) -> Tensor:
    (count,) = integers(name, (n,), "n")
    if count < 0:
        fail(ArgumentError, f"{name}: n={count} is negative", "give the number of points")

    def make(dtype: DType, device: Device) -> Tensor:
        if not dtype.is_differentiable:
            fail(DTypeError, f"{name}: requires a floating point or complex dtype, {dtype.name} given", "use float32")
        kept = count // 2 + 1 if half else count
        number = ops.iota(shape=(kept,), axis=0, dtype=dt.int64, device=str(device))
        if not half:
            number = ops.where(ops.lt(number, (count + 1) // 2), number, ops.sub(number, count))
        wide = ops.cast(number, dtype=dt.float64)
        return ops.cast(ops.mul(wide, 1.0 / (count * d) if count else 0.0), dtype=dtype)

    return create(name, options, make, takes=OutOptions)


def fftshift(input: Tensor, dim: Dims = None) -> Tensor:
    """The terms in the order of their frequencies, 0 in the middle of each axis."""
    return _shifted("fftshift", input, dim, lambda size: size // 2)


def ifftshift(input: Tensor, dim: Dims = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shifted("ifftshift", input, dim, lambda size: (size + 1) // 2)


def _shifted(name: str, input: Tensor, dim: Dims, by: Callable[[int], int]) -> Tensor:
    check_tensor(name, input)
    dims = tuple(range(input.ndim)) if dim is None else dim if isinstance(dim, (list, tuple)) else (dim,)
    if not dims:
        fail(ArgumentError, f"{name}: `shifts` required: there is no axis to shift along", "name one")
    axes = tuple(_axis(name, input, d) for d in dims)
    return roll(input, tuple(by(input.shape[a]) for a in axes), axes)
