"""Complex numbers: made, taken apart, turned.

PyTorch puts off conjugating and negating until the values are asked for; here both are done at once, so that no tensor
is conjugated or negated on the quiet, `resolve_conj` and `resolve_neg` have nothing to do, and what `conj` gives has
memory of its own.
"""

from __future__ import annotations

import math

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.arithmetic import sign
from tracec.functions.common import cast, check_tensor, expanded, fail, filled
from tracec.functions.pointwise import cos, sin
from tracec.ir import dtype as dt
from tracec.ir.types import broadcast_shapes
from tracec.ops.complex import unit
from tracec.record import promote
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


def complex(real: Tensor, imag: Tensor) -> Tensor:
    """Complex numbers of their parts.

    Args:
        real: float32 or float64; 16-bit floats give complex64.
        imag: Of the same dtype; the shapes broadcast.

    Raises:
        DTypeError: the parts are not floats of one dtype.
    """
    _check_parts("complex", real, imag, "imag")
    return _joined(real, imag)


def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """Complex numbers of their sizes and angles, in radians.

    Args:
        abs: float32 or float64.
        angle: Of the same dtype; the shapes broadcast.

    Raises:
        DTypeError: size and angle are not floats of one dtype.
    """
    _check_parts("polar", abs, angle, "angle")
    return _joined(ops.mul(abs, cos(angle)), ops.mul(abs, sin(angle)))


def _check_parts(name: str, first: Tensor, second: Tensor, what: str) -> None:
    check_tensor(name, first)
    check_tensor(name, second, what)
    if not first.dtype.is_floating_point or not second.dtype.is_floating_point:
        given = f"{first.dtype.name} and {second.dtype.name}"
        fail(DTypeError, f"{name}: expected both inputs to be floats, but got {given}", "cast them with .float() first")
    if first.dtype is not second.dtype:
        fail(
            DTypeError,
            f"{name}: expected object of dtype {first.dtype.name} but got {second.dtype.name} for argument {what!r}",
            "cast one to the other's dtype",
        )


def _joined(real: Tensor, imag: Tensor) -> Tensor:
    """Complex numbers of parts whose shapes broadcast."""
    shape = broadcast_shapes(tuple(real.shape), tuple(imag.shape))
    parts = (expanded(cast(x, x.dtype.compute), shape) for x in (real, imag))
    pairs = ops.concatenate(*(ops.reshape(x, shape=(*shape, 1)) for x in parts), axis=len(shape))
    return ops.view_as_complex(pairs)


@tensor_method
def view_as_real(input: Tensor) -> Tensor:
    """The real and imaginary parts along a new last axis of size 2; a view.

    Raises:
        DTypeError: the elements are not complex.
    """
    check_tensor("view_as_real", input)
    if not input.dtype.is_complex:
        fail(DTypeError, "view_as_real: is only supported for complex tensors", f"the elements are {input.dtype.name}")
    return ops.view_as_real(input)


@tensor_method
def view_as_complex(input: Tensor) -> Tensor:
    """Complex numbers whose parts stand along the last axis, which has size 2; a view.

    Raises:
        DTypeError: the elements are not float32 or float64.
        ArgumentError: the parts do not lie side by side in memory.
    """
    check_tensor("view_as_complex", input)
    if input.dtype not in (dt.float32, dt.float64):
        message = (
            f"view_as_complex: is only supported for float and double tensors, but got a {input.dtype.name} tensor"
        )
        fail(DTypeError, message, "cast it first")
    if not input.ndim or input.shape[-1] != 2:
        message = f"view_as_complex: tensor must have a last dimension of size 2, its shape is {tuple(input.shape)}"
        fail(ShapeError, message, "stack real and imaginary parts along a last axis")
    *steps, last = input.stride()
    if last != 1 and input.numel():
        message = f"view_as_complex: tensor must have a last dimension with stride 1, it is {last}"
        fail(ArgumentError, message, "use .contiguous() first")
    if any(step % 2 for step in steps) and input.numel():
        message = f"view_as_complex: tensor must have a stride divisible by 2 for all but last dimension: {steps}"
        fail(ArgumentError, message, "use .contiguous() first")
    return ops.view_as_complex(input)


def real(input: Tensor) -> Tensor:
    """The real parts, as a view; of a real tensor itself."""
    check_tensor("real", input)
    return input.real


def imag(input: Tensor) -> Tensor:
    """The imaginary parts, as a view.

    Raises:
        ArgumentError: the elements are not complex.
    """
    check_tensor("imag", input)
    return input.imag


@tensor_method
def conj(input: Tensor) -> Tensor:
    """The numbers with their imaginary parts negated; of a real tensor itself."""
    check_tensor("conj", input)
    return ops.conj(input) if input.dtype.is_complex else input


@tensor_method(inplace=True)
def conj_physical(input: Tensor) -> Tensor:
    """As `conj`."""
    return conj(input)


@tensor_method
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: no tensor here waits to be conjugated."""
    check_tensor("resolve_conj", input)
    return input


@tensor_method
def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: no tensor here waits to be negated."""
    check_tensor("resolve_neg", input)
    return input


@tensor_method
def is_conj(input: Tensor) -> bool:
    """Whether the tensor waits to be conjugated, which none does here."""
    check_tensor("is_conj", input)
    return False


@tensor_method
def is_neg(input: Tensor) -> bool:
    """Whether the tensor waits to be negated, which none does here."""
    check_tensor("is_neg", input)
    return False


def is_complex(input: Tensor) -> bool:
    """Whether the elements are complex."""
    check_tensor("is_complex", input)
    return input.dtype.is_complex


@tensor_method
def isreal(input: Tensor) -> Tensor:
    """Whether each element has no imaginary part."""
    check_tensor("isreal", input)
    return ops.eq(imag(input), 0) if input.dtype.is_complex else filled(True, input, dtype=dt.bool_)


@tensor_method
def angle(input: Tensor) -> Tensor:
    """The angle in the complex plane, in radians from -π to π; of real numbers π below 0, else 0, and NaN of NaN."""
    check_tensor("angle", input)
    if input.dtype.is_complex:
        return ops.atan2(imag(input), real(input))
    floating = input if input.dtype.is_floating_point else cast(input, promote.DEFAULT_FLOAT)
    flat = ops.where(ops.lt(input, 0), math.pi, 0.0)
    return ops.where(ops.isnan(floating), floating, cast(flat, floating.dtype))


@tensor_method
def sgn(input: Tensor) -> Tensor:
    """The number of size 1 in the direction of each element, 0 for 0; of a real tensor the sign."""
    check_tensor("sgn", input)
    return unit(input, ops.abs(input)) if input.dtype.is_complex else sign(input)


@tensor_method
def adjoint(input: Tensor) -> Tensor:
    """The last two axes exchanged, and the numbers conjugated.

    Raises:
        ArgumentError: there is one axis alone.
    """
    check_tensor("adjoint", input)
    return input.mH if input.ndim else conj(input)
