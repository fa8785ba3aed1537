"""Activation functions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import (
    check_choice,
    check_floating,
    check_inexact,
    check_real,
    check_tensor,
    fail,
    one_axis,
    reshaped,
)
from tracec.functions.random_draws import scaled, uniform_like
from tracec.functions.splitting import chunk
from tracec.ir.number import converted
from tracec.record.autocast import FLOAT32, LOWER, under_autocast
from tracec.record.compositions import composed
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor
from tracec.record.write import assign, check_writable


def placed(input: Tensor, result: Tensor, inplace: bool, name: str) -> Tensor:
    """The result, written into the input where that is asked for."""
    if not inplace:
        return result
    check_writable(input, name)
    return assign(input, result, name)


def _capped(x: Any, most: float) -> Any:
    """``min(x, most)`` with the gradient 1 where they are equal."""
    return ops.where(ops.gt(x, most), most, x)


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function whose result is written into its input, as PyTorch names it with a trailing underscore."""

    @functools.wraps(function)
    def run(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(input, *args, **kwargs, inplace=True)

    run.__name__ = run.__qualname__ = f"{function.__name__}_"
    run.__doc__ = f"`{function.__name__}` whose result is written into the input."
    return run


@tensor_method
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``max(input, 0)``; the gradient at 0 is 0.

    Args:
        input: Any real tensor.
        inplace: Write the result into the input.
    """
    check_tensor("relu", input)
    return placed(input, _relu(input), inplace, "relu")


def _relu_of_array(x: Any) -> Any:
    found = x.clip(0.0, math.inf)
    found += 0.0  # which clip takes no -0.0 for
    return found


@composed("relu", lambda ct, out, x: (ops.where(ops.le(out, 0), 0, ct),), eager=lambda: _relu_of_array)
def _relu(x: Any) -> Any:
    # Asked this way round, NaN comes through.
    return ops.where(ops.le(x, 0), 0, x)


@tensor_method
def sigmoid(input: Tensor) -> Tensor:
    """``1 / (1 + exp(-input))``."""
    return ops.sigmoid(input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """``input * Φ(input)``, Φ being the distribution function of the normal distribution.

    Args:
        input: Floating.
        approximate: ``none`` computes Φ by erf, ``tanh`` by the formula of the source.

    Source: Hendrycks, Gimpel, "Gaussian Error Linear Units", 2016.
    """
    check_choice("gelu", "approximate", approximate, ("none", "tanh"))
    check_floating("gelu", input)
    result: Tensor = _gelu(input) if approximate == "none" else _gelu_by_tanh(input)
    return result


@composed("gelu", again_from=1 << 18)  # erf takes longer than all the rest
def _gelu(x: Any) -> Any:
    return ops.mul(ops.mul(x, 0.5), ops.add(ops.erf(ops.mul(x, math.sqrt(0.5))), 1.0))


@composed("gelu")
def _gelu_by_tanh(x: Any) -> Any:
    cubic = ops.mul(ops.mul(ops.mul(x, x), x), 0.044715)
    bent = ops.tanh(ops.mul(ops.add(x, cubic), math.sqrt(2.0 / math.pi)))
    return ops.mul(ops.mul(x, 0.5), ops.add(bent, 1.0))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * sigmoid(input)``."""
    check_inexact("silu", input)
    return placed(input, _silu(input), inplace, "silu")


@composed("silu")
def _silu(x: Any) -> Any:
    return ops.mul(x, ops.sigmoid(x))


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * tanh(softplus(input))``."""
    check_floating("mish", input)
    return placed(input, _wide_mish(input), inplace, "mish")


@under_autocast(FLOAT32)
def _wide_mish(x: Tensor) -> Tensor:
    return _mish(x)


@composed("mish")
def _mish(x: Any) -> Any:
    return ops.mul(x, ops.tanh(_soft(x, 1.0, 20.0)))


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """The input where it is positive, else ``negative_slope`` times it."""
    check_floating("leaky_relu", input)
    if type(negative_slope) is float:
        return placed(input, _leaky_relu(input, negative_slope=negative_slope), inplace, "leaky_relu")
    result = ops.where(ops.gt(input, 0), input, ops.mul(input, negative_slope))
    return placed(input, result, inplace, "leaky_relu")


def _leaky_relu_of_arrays(*, negative_slope: float) -> Callable[..., Any] | None:
    if not 0.0 < negative_slope <= 1.0:
        return None

    def run(x: Any) -> Any:
        found = np.multiply(x, x.dtype.type(negative_slope))
        return np.maximum(x, found)

    return run


@composed("leaky_relu", eager=_leaky_relu_of_arrays)
def _leaky_relu(x: Any, negative_slope: float) -> Any:
    return ops.where(ops.gt(x, 0), x, ops.mul(x, negative_slope))


@tensor_method
@under_autocast(LOWER)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`leaky_relu` with a learned slope: one, or one for each channel (axis 1).

    Args:
        input: Floating.
        weight: Shape ``()`` or ``(n,)``; n is 1 or the number of channels.

    Raises:
        ShapeError: the weight has another shape.
    """
    check_floating("prelu", input)
    check_floating("prelu", weight, "weight")
    slopes = weight.numel()
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or (slopes != 1 and (slopes != channels or not input.ndim)):
        fail(
            ShapeError,
            f"prelu: weight of shape {tuple(weight.shape)} for input of shape {tuple(input.shape)}",
            f"one slope, or one for each channel (axis 1): {channels} here",
        )
    along = (slopes,) + (1,) * (input.ndim - 2) if slopes != 1 else (1,) * min(input.ndim, 1)
    return ops.where(ops.gt(input, 0), input, ops.mul(input, reshaped(weight, along)))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input where it is positive, else ``alpha * (exp(input) - 1)``."""
    check_floating("elu", input)
    result = _elu(input, alpha=alpha) if type(alpha) is float else _bent(input, alpha)
    return placed(input, result, inplace, "elu")


@composed("elu")
def _elu(x: Any, *, alpha: float) -> Any:
    return _bent(x, alpha)


def _bent(x: Any, alpha: float) -> Any:
    # The exponential is never taken of large numbers, whose infinity would spoil the gradient.
    below = ops.expm1(_capped(x, 0))
    return ops.where(ops.gt(x, 0), x, below if alpha == 1.0 else ops.mul(below, alpha))


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`elu` with the constants that keep mean 0 and variance 1.

    Source: Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks", 2017.
    """
    check_floating("selu", input)
    return placed(input, _selu(input), inplace, "selu")


@composed("selu")
def _selu(x: Any) -> Any:
    return ops.mul(_bent(x, 1.6732632423543772), 1.0507009873554805)


@under_autocast(FLOAT32)
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(beta * input)) / beta``, and the input itself where beta times it is above the threshold."""
    check_floating("softplus", input)
    if type(beta) is float and type(threshold) is float:
        return _softplus(input, beta=beta, threshold=threshold)
    return _soft(input, beta, threshold)


@composed("softplus")
def _softplus(x: Any, *, beta: float, threshold: float) -> Any:
    return _soft(x, beta, threshold)


def _soft(x: Any, beta: float, threshold: float) -> Any:
    scaled = x if beta == 1.0 else ops.mul(x, beta)
    soft = ops.log1p(ops.exp(_capped(scaled, threshold)))
    return ops.where(ops.gt(scaled, threshold), x, soft if beta == 1.0 else ops.div(soft, beta))


def softsign(input: Tensor) -> Tensor:
    """``input / (1 + |input|)``."""
    check_tensor("softsign", input)
    return ops.div(input, ops.add(ops.abs(input), 1.0))


@tensor_method(inplace=False)
def logsigmoid(input: Tensor) -> Tensor:
    """``log(sigmoid(input))`` without underflow."""
    check_floating("logsigmoid", input)
    return ops.sub(ops.minimum(input, 0), ops.log1p(ops.exp(ops.neg(ops.abs(input)))))


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(input, 0), 6)``."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """The input, but not below ``min_val`` and not above ``max_val``; integers stay integers.

    Raises:
        ArgumentError: the bounds are the wrong way round, or negative for unsigned integers.
    """
    check_tensor("hardtanh", input)
    check_real("hardtanh", min_val, "min_val")
    check_real("hardtanh", max_val, "max_val")
    if min_val > max_val:
        fail(ArgumentError, f"hardtanh: min_val={min_val} is greater than max_val={max_val}", "exchange the two")
    if input.dtype.kind == "b":
        fail(DTypeError, "hardtanh: takes numbers, input is bool", "cast it with .float() first")
    if not input.dtype.is_floating_point:
        min_val, max_val = converted(int, min_val), converted(int, max_val)
        if input.dtype.kind == "u" and min_val < 0:
            fail(ArgumentError, f"hardtanh: min_val={min_val} is no {input.dtype.name}", "give 0 or more")
    if type(min_val) is float and type(max_val) is float:
        result = _hardtanh(input, low=min_val, high=max_val)
    else:
        result = _between(input, min_val, max_val)
    return placed(input, result, inplace, "hardtanh")


def _hardtanh_of_arrays(*, low: float, high: float) -> Callable[..., Any] | None:
    if not low <= high or any(not bound and math.copysign(1.0, bound) < 0.0 for bound in (low, high)):
        return None

    def run(x: Any) -> Any:
        found = x.clip(*map(x.dtype.type, (low, high)))
        if not low or not high:
            found += 0.0  # -0.0 is equal to the bound, and becomes it
        return found

    return run


@composed("hardtanh", eager=_hardtanh_of_arrays)
def _hardtanh(x: Any, low: float, high: float) -> Any:
    return _between(x, low, high)


def _between(x: Any, low: Any, high: Any) -> Any:
    # Asked this way round, NaN comes through, and the gradient at the bounds is 0.
    return ops.where(ops.le(x, low), low, ops.where(ops.ge(x, high), high, x))


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``relu6(input + 3) / 6``."""
    check_floating("hardsigmoid", input)
    return placed(input, ops.div(relu6(ops.add(input, 3.0)), 6.0), inplace, "hardsigmoid")


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * relu6(input + 3) / 6``."""
    check_floating("hardswish", input)
    return placed(input, _hardswish(input), inplace, "hardswish")


@composed("hardswish")
def _hardswish(x: Any) -> Any:
    x3 = ops.add(x, 3.0)
    return ops.mul(x, ops.div(ops.where(ops.le(x3, 0.0), 0.0, ops.where(ops.ge(x3, 6.0), 6.0, x3)), 6.0))


def tanhshrink(input: Tensor) -> Tensor:
    """``input - tanh(input)``."""
    check_tensor("tanhshrink", input)
    return ops.sub(input, ops.tanh(input))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of an axis times the sigmoid of the second.

    Raises:
        ShapeError: the axis has an odd size, or the input no axes.
    """
    check_floating("glu", input)
    axis = one_axis("glu", dim, input.ndim)
    if input.ndim == 0 or input.shape[axis] % 2:
        fail(ShapeError, f"glu: axis {axis} of shape {tuple(input.shape)} has no two halves", "its size must be even")
    a, b = chunk(input, 2, axis)
    return ops.mul(a, ops.sigmoid(b))


@tensor_method
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input, but 0 from ``-lambd`` to ``lambd``."""
    check_floating("hardshrink", input)
    check_real("hardshrink", lambd, "lambd")
    return ops.where(ops.bitwise_and(ops.ge(input, -lambd), ops.le(input, lambd)), 0.0, input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input moved towards 0 by ``lambd``, and 0 where it would pass it.

    Raises:
        ArgumentError: lambd is negative.
    """
    check_floating("softshrink", input)
    check_real("softshrink", lambd, "lambd")
    if lambd < 0:
        fail(ArgumentError, f"softshrink: lambd={lambd} is negative", "give 0 or more")
    inside = ops.bitwise_and(ops.ge(input, -lambd), ops.le(input, lambd))
    moved = ops.where(ops.gt(input, 0), ops.sub(input, lambd), ops.add(input, lambd))
    return ops.where(inside, 0.0, moved)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """The input where it is above the threshold, else ``value``."""
    check_tensor("threshold", input)
    if not input.dtype.is_floating_point:
        threshold, value = converted(int, threshold), converted(int, value)
    return placed(input, ops.where(ops.le(input, threshold), value, input), inplace, "threshold")


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``max(0, input) + min(0, alpha * (exp(input / alpha) - 1))``.

    Raises:
        ArgumentError: alpha is 0.

    Source: Barron, "Continuously Differentiable Exponential Linear Units", 2017.
    """
    check_floating("celu", input)
    if alpha == 0:
        fail(ArgumentError, "celu: alpha is 0, which the input is divided by", "give another number")
    below = ops.mul(ops.expm1(ops.div(_capped(input, 0), alpha)), alpha)
    return placed(input, ops.where(ops.gt(input, 0), input, below), inplace, "celu")


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """`leaky_relu` whose slope is drawn for each element in training, and the middle of the range otherwise.

    Args:
        input: Floating.
        lower: Least slope.
        upper: Largest slope.
        training: Whether slopes are drawn.
        inplace: Write the result into the input.

    Raises:
        ArgumentError: lower is above upper.

    Source: Xu, Wang, Chen, Li, "Empirical Evaluation of Rectified Activations in Convolutional Network", 2015.
    """
    check_floating("rrelu", input)
    check_real("rrelu", lower, "lower")
    check_real("rrelu", upper, "upper")
    if lower > upper:
        fail(ArgumentError, f"rrelu: lower={lower} is above upper={upper}", "exchange the two")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = scaled(uniform_like(input), upper - lower, lower)
    return placed(input, ops.where(ops.gt(input, 0), input, ops.mul(input, slopes)), inplace, "rrelu")


relu_ = in_place(relu)
leaky_relu_ = in_place(leaky_relu)
elu_ = in_place(elu)
selu_ = in_place(selu)
celu_ = in_place(celu)
hardtanh_ = in_place(hardtanh)
threshold_ = in_place(threshold)
rrelu_ = in_place(rrelu)
