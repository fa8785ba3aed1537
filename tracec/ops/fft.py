"""Discrete Fourier transforms: of complex numbers, of real ones, and back to real ones.

Each is linear, so that it is its own jvp, and each takes the factor that normalises it. The transform of complex
numbers is symmetric and thus its own transpose. Of a real signal only the first half of the spectrum is kept, as the
other half mirrors it: going back, all but the first term, and the last one of an even signal, count twice.
"""

from __future__ import annotations

from typing import Any

from tracec.errors import ArgumentError, AxisError, DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.types import Shape, TensorType
from tracec.ops.base import primitive
from tracec.ops.complex import conj
from tracec.ops.families import check_dtype
from tracec.ops.indexing import iota
from tracec.ops.logic import bitwise_or, eq, where
from tracec.ops.view import reshape


def check_axis(x: TensorType, axis: int) -> None:
    if not 0 <= axis < x.ndim:
        raise AxisError(
            f"axis {axis} is out of range for shape {x.shape}", hint=f"use one of {x.ndim} axes, counted from the front"
        )
    if not x.shape[axis]:
        raise ArgumentError(f"there is nothing to transform along axis {axis} of shape {x.shape}", hint="pad it first")


def _with_size(x: TensorType, axis: int, size: int, dtype: dt.DType) -> TensorType:
    return TensorType(dtype, (*x.shape[:axis], size, *x.shape[axis + 1 :]), x.device)


def _scaled(out: Any, scale: float, dtype: dt.DType) -> Any:
    out = out.astype(dtype.numpy, copy=False)
    return out if scale == 1.0 else out * dtype.numpy.type(scale)


# Complex to complex -----------------------------------------------------------------------------------


def _complex_type(x: TensorType, *, axes: Shape, inverse: bool = False, scale: float = 1.0) -> TensorType:
    check_dtype(x, "complex")
    if len(set(axes)) != len(axes):
        raise AxisError(f"axes={tuple(axes)} name an axis twice", hint="name each axis once")
    for axis in axes:
        check_axis(x, axis)
    return x


def _complex_eager(xp: Any, x: Any, *, axes: Shape, inverse: bool, scale: float) -> Any:
    if not axes or not x.size:
        return _scaled(xp.array(x), scale, dt.of_numpy(x.dtype))
    # Without a factor: `scale` is all of it.
    out = xp.fft.ifftn(x, axes=axes, norm="forward") if inverse else xp.fft.fftn(x, axes=axes)
    return _scaled(out, scale, dt.of_numpy(x.dtype))


fft: Operator = primitive(
    "fft",
    family="fourier",
    type_rule=_complex_type,
    eager=_complex_eager,
    vjp=lambda ct, out, x, **params: (fft(ct, **params),),
    jvp=lambda tangents, out, x, **params: fft(tangents[0], **params),
    batch=lambda inputs, batched, size, *, axes, **params: fft(inputs[0], axes=tuple(a + 1 for a in axes), **params),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="``scale · Σ x[k] exp(∓2πi j·k/n)`` over some axes; plus where it is the inverse.",
    samples=(
        Sample((Arg((7,), dt.complex128),), {"axes": (0,)}),
        Sample((Arg((3, 4, 5), dt.complex128),), {"axes": (2, 0), "inverse": True, "scale": 0.25}),
        Sample((Arg((2, 6), dt.complex64),), {"axes": (1,), "scale": 0.5}),
        Sample((Arg((0, 3), dt.complex64),), {"axes": (1,)}),
        Sample((Arg((3,), dt.complex64),), {"axes": (), "scale": 2.0}),
        Sample((Arg((1, 1), dt.complex128),), {"axes": (0, 1)}),
    ),
)

# Real to the first half of a spectrum, and back -------------------------------------------------------


def _real_type(x: TensorType, *, axis: int, scale: float = 1.0) -> TensorType:
    if x.dtype not in (dt.float32, dt.float64):
        raise DTypeError(f"takes float32 and float64, {x.dtype.short} given", hint="cast it to one of them first")
    check_axis(x, axis)
    return _with_size(x, axis, x.shape[axis] // 2 + 1, x.dtype.to_complex())


def _real_eager(xp: Any, x: Any, *, axis: int, scale: float) -> Any:
    half = x.shape[axis] // 2 + 1
    dtype = dt.of_numpy(x.dtype).to_complex()
    if not x.size:
        return xp.zeros((*x.shape[:axis], half, *x.shape[axis + 1 :]), dtype.numpy)
    return _scaled(xp.fft.rfft(x, axis=axis), scale, dtype)


def _twice(x: Any, axis: int, n: int, inner: float) -> Any:
    """The half spectrum times ``inner``, but for the terms that have no mirror image."""
    half = n // 2 + 1
    number = iota(shape=(half,), axis=0, dtype=dt.int64, device=x.device)
    alone = bitwise_or(eq(number, 0), eq(number, n // 2 if n % 2 == 0 else 0))
    alone = reshape(alone, shape=(half,) + (1,) * (x.ndim - axis - 1))
    return where(alone, x, x * inner)


def _real_vjp(ct: Any, out: Any, x: Any, *, axis: int, scale: float) -> tuple[Any, ...]:
    n = x.shape[axis]
    return (irfft(_twice(conj(ct), axis, n, 0.5), axis=axis, size=n, scale=scale),)


rfft: Operator = primitive(
    "rfft",
    family="fourier",
    type_rule=_real_type,
    eager=_real_eager,
    vjp=_real_vjp,
    jvp=lambda tangents, out, x, **params: rfft(tangents[0], **params),
    batch=lambda inputs, batched, size, *, axis, scale: rfft(inputs[0], axis=axis + 1, scale=scale),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The first half, ``n // 2 + 1`` terms, of the transform of real numbers along an axis.",
    samples=(
        Sample((Arg((7,), dt.float64),), {"axis": 0}),
        Sample((Arg((3, 6, 2), dt.float64),), {"axis": 1, "scale": 0.5}),
        Sample((Arg((4, 1), dt.float64),), {"axis": 1}),
        Sample((Arg((2, 2), dt.float32),), {"axis": 0}),
        Sample((Arg((0, 5), dt.float32),), {"axis": 1}),
    ),
)


def _to_real_type(x: TensorType, *, axis: int, size: int, scale: float = 1.0) -> TensorType:
    check_dtype(x, "complex")
    check_axis(x, axis)
    if size < 1 or x.shape[axis] != size // 2 + 1:
        raise ShapeError(
            f"size={size} does not fit shape {x.shape} (axis {axis}: {x.shape[axis]} terms, not {size // 2 + 1})",
            hint="pad or slice the half spectrum to size // 2 + 1 terms",
        )
    return _with_size(x, axis, size, x.dtype.to_real())


def _to_real_eager(xp: Any, x: Any, *, axis: int, size: int, scale: float) -> Any:
    dtype = dt.of_numpy(x.dtype).to_real()
    if not x.size:
        return xp.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :]), dtype.numpy)
    return _scaled(xp.fft.irfft(x, size, axis=axis, norm="forward"), scale, dtype)


irfft: Operator = primitive(
    "irfft",
    family="fourier",
    type_rule=_to_real_type,
    eager=_to_real_eager,
    vjp=lambda ct, out, x, *, axis, size, scale: (_twice(conj(rfft(ct, axis=axis, scale=scale)), axis, size, 2.0),),
    jvp=lambda tangents, out, x, **params: irfft(tangents[0], **params),
    batch=lambda inputs, batched, size_, *, axis, size, scale: irfft(inputs[0], axis=axis + 1, size=size, scale=scale),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The real numbers, ``size`` of them, whose spectrum along an axis has this first half; not normalised.",
    samples=(
        Sample((Arg((4,), dt.complex128),), {"axis": 0, "size": 7}),
        Sample((Arg((3, 4, 2), dt.complex128),), {"axis": 1, "size": 6, "scale": 0.5}),
        Sample((Arg((4, 1), dt.complex128),), {"axis": 1, "size": 1}),
        Sample((Arg((2, 2), dt.complex64),), {"axis": 0, "size": 2}),
        Sample((Arg((0, 3), dt.complex64),), {"axis": 1, "size": 5}),
    ),
)
