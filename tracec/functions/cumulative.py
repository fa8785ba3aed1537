"""Running sums and products."""

from __future__ import annotations

import math

from tracec import ops
from tracec.functions.common import cast, check_inexact, check_tensor, one_axis, reshaped
from tracec.functions.pointwise import logaddexp
from tracec.ir.dtype import DType
from tracec.ir.operator import Operator
from tracec.ops.view import shifted
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


@tensor_method
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """``log(cumsum(exp(input)))`` along an axis, without overflow or underflow.

    Of complex numbers it is one of the logarithms, whose imaginary parts differ by multiples of 2π.
    """
    check_inexact("logcumsumexp", input)
    if input.dtype.is_complex:
        return _complex_logcumsumexp(input, one_axis("logcumsumexp", dim, input.ndim))
    return _along("logcumsumexp", ops.logcumsumexp, input, dim)


def _complex_logcumsumexp(x: Tensor, axis: int) -> Tensor:
    """In a logarithmic number of steps, each of which joins sums of twice as many elements."""
    reach = 1
    while x.ndim and reach < x.shape[axis]:
        x = logaddexp(x, shifted(x, axis, reach, -math.inf))
        reach *= 2
    return x


@tensor_method
@under_autocast(FLOAT32)
def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running sums along an axis; bools and integers give int64 where no dtype is named.

    Args:
        input: Any tensor.
        dim: The axis; counted from the end where negative.
        dtype: Cast to this first; that of the result.

    Returns:
        A tensor of the input's shape.
    """
    check_tensor("cumsum", input)
    return cast(_along("cumsum", ops.cumsum, cast(input, dtype), dim), dtype)


@tensor_method
@under_autocast(FLOAT32)
def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running products along an axis; bools and integers give int64 where no dtype is named.

    Zeros do the gradient no harm.

    Args:
        input: Any tensor.
        dim: The axis; counted from the end where negative.
        dtype: Cast to this first; that of the result.

    Returns:
        A tensor of the input's shape.
    """
    check_tensor("cumprod", input)
    return cast(_along("cumprod", ops.cumprod, cast(input, dtype), dim), dtype)


def _along(name: str, op: Operator, x: Tensor, dim: int) -> Tensor:
    axis = one_axis(name, dim, x.ndim)
    return op(x, axis=axis) if x.ndim else reshaped(op(reshaped(x, (1,)), axis=0), ())
