"""Reductions: what many elements come to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tracec import ops
from tracec.errors import ArgumentTypeError
from tracec.functions.common import (
    cast,
    check_floating,
    check_inexact,
    check_tensor,
    fail,
    is_differentiated,
    many_axes,
    reshaped,
    squares,
)
from tracec.functions.comparison import truth
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor, get_default_dtype

Axes = int | Sequence[int] | None


@tensor_method
@under_autocast(FLOAT32)
def sum(input: Tensor, dim: Axes = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum over some axes, or all of them; bools and integers give int64.

    Args:
        input: Any tensor.
        dim: Axes, one or several; all of them by default.
        keepdim: Keep the axes, with size 1.
        dtype: Cast to this first.
    """
    check_tensor("sum", input)
    return ops.sum(cast(input, dtype), axes=many_axes("sum", dim, input.ndim), keepdims=keepdim)


@tensor_method
@under_autocast(FLOAT32)
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The product over an axis, or all of them; bools and integers give int64.

    Args:
        input: Any tensor.
        dim: Axes, one or several; all of them by default.
        keepdim: Keep the axes, with size 1.
        dtype: Cast to this first.
    """
    check_tensor("prod", input)
    return ops.prod(cast(input, dtype), axes=many_axes("prod", dim, input.ndim), keepdims=keepdim)


@tensor_method
def mean(input: Tensor, dim: Axes = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The mean over some axes, or all of them; NaN of nothing.

    Args:
        input: Floating or complex, if not cast.
        dim: Axes, one or several; all of them by default.
        keepdim: Keep the axes, with size 1.
        dtype: Cast to this first.
    """
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
    return cast(_var_mean("var", input, dim, unbiased, keepdim, correction)[0], input.dtype.to_real())


@tensor_method
def std(
    input: Tensor,
    dim: Axes = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The standard deviation: the square root of `var`, whose arguments it takes.

    Args:
        input: Floating or complex.
        dim: Axes, one or several; all of them by default.
        unbiased: True for a correction of 1, False for 0.
        keepdim: Keep the axes, with size 1.
        correction: What the number of elements is lessened by before it is divided by; 1 by default.
    """
    return cast(_deviation(_var_mean("std", input, dim, unbiased, keepdim, correction)[0]), input.dtype.to_real())


def var_mean(
    input: Tensor,
    dim: Axes = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The variance and the mean."""
    variance, middle = _var_mean("var_mean", input, dim, unbiased, keepdim, correction)
    return cast(variance, input.dtype.to_real()), middle


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
    return cast(_deviation(variance), input.dtype.to_real()), middle


def _deviation(variance: Tensor) -> Tensor:
    """The square root, with gradient 0 where all elements are equal."""
    if not is_differentiated(variance):
        return ops.sqrt(variance)
    equal = ops.eq(variance, 0)
    return ops.where(equal, 0.0, ops.sqrt(ops.where(equal, 1.0, variance)))


def _var_mean(
    name: str, input: Tensor, dim: Axes | bool, unbiased: bool | None, keepdim: bool, correction: float | None
) -> tuple[Tensor, Tensor]:
    """The variance, as it is computed: of 16-bit floats it may be more than these hold, and its root not; the mean."""
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
    if correction < 0 and not count:
        correction = 0.0  # of nothing there is no variance, whatever is added to the count
    left = count - correction  # asked first: of a size that varies, `max` would ask the 0.0, which notes no condition
    variance = ops.div(total, left if left > 0.0 else 0.0)
    middle = cast(middle, input.dtype)
    return variance, middle if keepdim else reshaped(middle, tuple(variance.shape))


@tensor_method
def any(input: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """Whether an element is nonzero; bool, but uint8 of uint8.

    Args:
        input: Any tensor.
        dim: Axes, one or several; all of them by default.
        keepdim: Keep the axes, with size 1.
    """
    return _quantified("any", input, dim, keepdim)


@tensor_method
def all(input: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """Whether every element is nonzero; bool, but uint8 of uint8.

    Args:
        input: Any tensor.
        dim: Axes, one or several; all of them by default.
        keepdim: Keep the axes, with size 1.
    """
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
    """``log(sum(exp(input)))`` without overflow; of integers in the default dtype, -inf of nothing.

    Args:
        input: Any tensor.
        dim: Axes, one or several.
        keepdim: Keep the axes, with size 1.
    """
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


def mean_of(x: Tensor, axes: Iterable[int], keepdim: bool = False) -> Tensor:
    """The mean over axes. Of 16-bit floats neither the sum nor the count has to fit into 16 bits."""
    axes = tuple(axes)
    wide = cast(x, x.dtype.compute)
    return cast(ops.div(ops.sum(wide, axes=axes, keepdims=keepdim), count_of(x, axes)), x.dtype)


def count_of(x: Tensor, axes: Iterable[int]) -> int:
    """How many elements each reduced one comes from."""
    return math.prod(x.shape[a] for a in axes)
