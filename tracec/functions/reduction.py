"""Reductions: what many elements come to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tracec import ops
from tracec.errors import ArgumentTypeError, AxisError
from tracec.functions.arithmetic import Operand
from tracec.functions.common import (
    cast,
    check_floating,
    check_inexact,
    check_tensor,
    fail,
    iota,
    is_differentiated,
    many_axes,
    one_axis,
    reshaped,
    squares,
)
from tracec.functions.comparison import truth
from tracec.functions.pointwise import logaddexp
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.operator import Operator
from tracec.ops.view import shifted
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.method import tensor_method
from tracec.record.state import STATE
from tracec.record.tensor import Tensor, get_default_dtype

Axes = int | Sequence[int] | None


class ValuesIndices(NamedTuple):
    """Elements, and where they stand along the reduced axis."""

    values: Tensor
    indices: Tensor


class MinMax(NamedTuple):
    """The smallest and the largest element."""

    min: Tensor
    max: Tensor


@tensor_method
@under_autocast(FLOAT32)
def sum(input: Tensor, dim: Axes = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum over some axes, or all of them; bools and integers give int64."""
    check_tensor("sum", input)
    return ops.sum(cast(input, dtype), axes=many_axes("sum", dim, input.ndim), keepdims=keepdim)


@tensor_method
@under_autocast(FLOAT32)
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The product over an axis, or all of them; bools and integers give int64."""
    check_tensor("prod", input)
    return ops.prod(cast(input, dtype), axes=many_axes("prod", dim, input.ndim), keepdims=keepdim)


@tensor_method
def mean(input: Tensor, dim: Axes = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The mean over some axes, or all of them; NaN of nothing."""
    check_tensor("mean", input)
    x = cast(input, dtype)
    check_inexact("mean", x)
    axes = many_axes("mean", dim, x.ndim)
    return mean_of(x, axes, keepdim)


@tensor_method
def nansum(input: Tensor, dim: Axes = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum, NaN counting as 0."""
    check_tensor("nansum", input)
    if not input.dtype.is_floating_point:
        return sum(input, dim, keepdim, dtype=dtype)
    return sum(ops.where(ops.isnan(input), 0.0, input), dim, keepdim, dtype=dtype)


@tensor_method
def nanmean(input: Tensor, dim: Axes = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The mean of the elements that are not NaN; NaN where there are none."""
    check_floating("nanmean", input)
    x = cast(input, dtype)
    wide = cast(x, x.dtype.compute)  # as in mean_of
    count = sum(cast(ops.logical_not(ops.isnan(x)), wide.dtype), dim, keepdim)
    return cast(ops.div(nansum(wide, dim, keepdim), count), x.dtype)


@tensor_method
def var(
    input: Tensor,
    dim: Axes = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The variance over some axes, or all of them.

    It is computed in two passes, the mean first, so that nothing cancels.

    Args:
        input: Floating.
        dim: Axes.
        unbiased: Divide by the count less 1, or by the count; an older name of ``correction=1`` and ``correction=0``.
        keepdim: Keep the axes, with size 1.
        correction: What the count is lessened by before dividing; 1 by default.

    Raises:
        DTypeError: the input is neither floating nor complex.
        ArgumentTypeError: both unbiased and correction are given.
    """
    return _var_mean("var", input, dim, unbiased, keepdim, correction)[0]


@tensor_method
def std(
    input: Tensor,
    dim: Axes = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The standard deviation: the square root of `var`, whose arguments it takes."""
    return _deviation(_var_mean("std", input, dim, unbiased, keepdim, correction)[0])


def var_mean(
    input: Tensor,
    dim: Axes = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The variance and the mean."""
    return _var_mean("var_mean", input, dim, unbiased, keepdim, correction)


def std_mean(
    input: Tensor,
    dim: Axes = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean."""
    variance, middle = _var_mean("std_mean", input, dim, unbiased, keepdim, correction)
    return _deviation(variance), middle


def _deviation(variance: Tensor) -> Tensor:
    """The square root, with gradient 0 where all elements are equal."""
    if not is_differentiated(variance):
        return ops.sqrt(variance)
    equal = ops.eq(variance, 0)
    return ops.where(equal, 0.0, ops.sqrt(ops.where(equal, 1.0, variance)))


def _var_mean(
    name: str, input: Tensor, dim: Axes | bool, unbiased: bool | None, keepdim: bool, correction: float | None
) -> tuple[Tensor, Tensor]:
    check_inexact(name, input)
    over, unbiased = (None, dim) if isinstance(dim, bool) else (dim, unbiased)
    if unbiased is not None and correction is not None:
        fail(
            ArgumentTypeError,
            f"{name}: unbiased={unbiased} and correction={correction} both given",
            "give correction alone",
        )
    if correction is None:
        correction = 1.0 if unbiased is None else float(unbiased)
    axes = many_axes(name, over, input.ndim)
    count = count_of(input, axes)
    wide = cast(input, input.dtype.compute)  # as in mean_of
    middle = ops.div(ops.sum(wide, axes=axes, keepdims=True), count)
    off = ops.sub(wide, middle)
    total = ops.sum(squares(off), axes=axes, keepdims=keepdim)
    variance = cast(ops.div(total, max_(count - correction, 0.0)), input.dtype.to_real())
    middle = cast(middle, input.dtype)
    return variance, middle if keepdim else reshaped(middle, tuple(variance.shape))


@tensor_method
def amax(input: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """The largest element over some axes; equal ones share the gradient."""
    check_tensor("amax", input)
    return ops.max(input, axes=many_axes("amax", dim, input.ndim), keepdims=keepdim)


@tensor_method
def amin(input: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """The smallest element over some axes; equal ones share the gradient."""
    check_tensor("amin", input)
    return ops.min(input, axes=many_axes("amin", dim, input.ndim), keepdims=keepdim)


@tensor_method
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """The smallest and the largest element; equal ones share the gradient."""
    return MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


@tensor_method
def max(
    input: Tensor, dim: Operand | None = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Tensor | ValuesIndices:
    """The largest element; with an axis, also where it stands; with a second tensor, the larger of two elements."""
    check_tensor("max", input)
    if isinstance(dim, Tensor) or other is not None:
        return ops.maximum(input, dim if other is None else other)
    return _extreme("max", input, dim, keepdim)


@tensor_method
def min(
    input: Tensor, dim: Operand | None = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Tensor | ValuesIndices:
    """The smallest element; with an axis, also where it stands; with a second tensor, the smaller of two elements."""
    check_tensor("min", input)
    if isinstance(dim, Tensor) or other is not None:
        return ops.minimum(input, dim if other is None else other)
    return _extreme("min", input, dim, keepdim)


def _extreme(name: str, x: Tensor, dim: Operand | None, keepdim: bool) -> Tensor | ValuesIndices:
    op, where = (ops.max, ops.argmax) if name == "max" else (ops.min, ops.argmin)
    if dim is None:
        return op(x, axes=tuple(range(x.ndim)))
    axis = one_axis(name, dim, x.ndim)
    if not x.ndim:
        return ValuesIndices(op(x, axes=()), cast(ops.mul(x.detach(), 0), dt.int64))
    _check_not_empty(name, x, axis)
    at = where(x, axis=axis, keepdims=True)
    if is_differentiated(x):
        # The gradient goes to the first of equal elements.
        values = ops.sum(pick_along(x, at, axis), axes=(axis,), keepdims=keepdim)
    else:
        values = op(x, axes=(axis,), keepdims=keepdim)
    return ValuesIndices(values, at if keepdim else reshaped(at, tuple(values.shape)))


def pick_along(x: Tensor, at: Tensor, axis: int) -> Tensor:
    """The elements at one position of each line along an axis, and 0 at all others.

    Summed over the axis, it is a gather that fuses, in both directions, with what is around it.
    """
    # Eagerly one line of places is compared, which a kernel has no need of.
    shape = (
        tuple(x.shape) if STATE.recorder is not None else tuple(n if k == axis else 1 for k, n in enumerate(x.shape))
    )
    here = ops.eq(iota(shape, axis, dt.int64, x), at)
    return ops.where(here, x, 0.0 if x.dtype.is_floating_point else False if x.dtype.kind == "b" else 0)


@tensor_method
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the largest element stands: the first one along an axis, or in row-major order."""
    return _arg("argmax", input, dim, keepdim)


@tensor_method
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the smallest element stands: the first one along an axis, or in row-major order."""
    return _arg("argmin", input, dim, keepdim)


def _arg(name: str, x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    check_tensor(name, x)
    op = ops.argmax if name == "argmax" else ops.argmin
    if dim is None or not x.ndim:
        flat = reshaped(x, (x.numel(),))
        _check_not_empty(name, flat, 0)
        return reshaped(op(flat, axis=0, keepdims=False), (1,) * x.ndim if keepdim else ())
    axis = one_axis(name, dim, x.ndim)
    _check_not_empty(name, x, axis)
    return op(x, axis=axis, keepdims=keepdim)


def _check_not_empty(name: str, x: Tensor, axis: int) -> None:
    if not x.shape[axis]:
        fail(
            AxisError,
            f"{name}: shape {tuple(x.shape)} has nothing to choose from (axis {axis} has size 0)",
            "there is no such element",
        )


@tensor_method
def any(input: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """Whether an element is nonzero; bool, but uint8 of uint8."""
    return _quantified("any", input, dim, keepdim)


@tensor_method
def all(input: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """Whether every element is nonzero; bool, but uint8 of uint8."""
    return _quantified("all", input, dim, keepdim)


def _quantified(name: str, x: Tensor, dim: Axes, keepdim: bool) -> Tensor:
    check_tensor(name, x)
    axes = many_axes(name, dim, x.ndim)
    held = truth(x)
    counted = cast(held if name == "any" else ops.logical_not(held), dt.int64)
    count = ops.sum(counted, axes=axes, keepdims=keepdim)
    result = ops.gt(count, 0) if name == "any" else ops.eq(count, 0)
    return cast(result, dt.uint8) if x.dtype is dt.uint8 else result


@tensor_method
def count_nonzero(input: Tensor, dim: Axes = None) -> Tensor:
    """How many elements are nonzero."""
    check_tensor("count_nonzero", input)
    return sum(truth(input), dim)


@tensor_method
@under_autocast(FLOAT32)
def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """``log(sum(exp(input)))`` without overflow; of integers in the default dtype, -inf of nothing."""
    check_tensor("logsumexp", input)
    axes = many_axes("logsumexp", dim, input.ndim)
    x = input if input.dtype.is_differentiable else cast(input, get_default_dtype())
    if not x.numel():
        return ops.log(ops.sum(x, axes=axes, keepdims=keepdim))
    largest = ops.max(x.detach().real, axes=axes, keepdims=True)
    # Where the largest is infinite, it is the answer already.
    shift = ops.where(ops.eq(ops.abs(largest), math.inf), 0.0, largest)
    total = ops.sum(ops.exp(ops.sub(x, shift)), axes=axes, keepdims=True)
    result = ops.add(ops.log(total), shift)
    return result if keepdim else reshaped(result, tuple(s for a, s in enumerate(x.shape) if a not in axes))


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
    """Running sums along an axis; bools and integers give int64."""
    check_tensor("cumsum", input)
    return _along("cumsum", ops.cumsum, cast(input, dtype), dim)


@tensor_method
@under_autocast(FLOAT32)
def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running products along an axis; bools and integers give int64. Zeros do the gradient no harm."""
    check_tensor("cumprod", input)
    return _along("cumprod", ops.cumprod, cast(input, dtype), dim)


def _along(name: str, op: Operator, x: Tensor, dim: int) -> Tensor:
    axis = one_axis(name, dim, x.ndim)
    return op(x, axis=axis) if x.ndim else reshaped(op(reshaped(x, (1,)), axis=0), ())


def mean_of(x: Tensor, axes: Iterable[int], keepdim: bool = False) -> Tensor:
    """The mean over axes. Of 16-bit floats neither the sum nor the count has to fit into 16 bits."""
    axes = tuple(axes)
    wide = cast(x, x.dtype.compute)
    return cast(ops.div(ops.sum(wide, axes=axes, keepdims=keepdim), count_of(x, axes)), x.dtype)


def count_of(x: Tensor, axes: Iterable[int]) -> int:
    """How many elements each reduced one comes from."""
    return math.prod(x.shape[a] for a in axes)


def max_(a: float, b: float) -> float:
    """The larger of two numbers, where this module's `max` hides Python's."""
    return a if a > b else b
