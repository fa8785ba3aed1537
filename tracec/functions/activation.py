"""Activation functions."""

from __future__ import annotations

import math

from tracec import ops
from tracec.errors import ShapeError
from tracec.functions.common import cast, check_choice, check_floating, fail, one_axis
from tracec.functions.joining import chunk
from tracec.functions.random import dropout_mask
from tracec.ir.dtype import DType
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor
from tracec.record.write import assign, check_writable


def _placed(input: Tensor, result: Tensor, inplace: bool, name: str) -> Tensor:
    """The result, written into the input where that is asked for."""
    if not inplace:
        return result
    check_writable(input, name)
    return assign(input, result, name)


@tensor_method
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``max(input, 0)``; the gradient at 0 is 0."""
    # Asked this way round, NaN comes through.
    return _placed(input, ops.where(ops.le(input, 0), 0, input), inplace, "relu")


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
    if approximate == "none":
        return ops.mul(ops.mul(input, 0.5), ops.add(ops.erf(ops.mul(input, math.sqrt(0.5))), 1.0))
    cubic = ops.mul(ops.mul(ops.mul(input, input), input), 0.044715)
    bent = ops.tanh(ops.mul(ops.add(input, cubic), math.sqrt(2.0 / math.pi)))
    return ops.mul(ops.mul(input, 0.5), ops.add(bent, 1.0))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * sigmoid(input)``."""
    return _placed(input, ops.mul(input, ops.sigmoid(input)), inplace, "silu")


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * tanh(softplus(input))``."""
    return _placed(input, ops.mul(input, ops.tanh(softplus(input))), inplace, "mish")


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """The input where it is positive, else ``negative_slope`` times it."""
    result = ops.where(ops.gt(input, 0), input, ops.mul(input, negative_slope))
    return _placed(input, result, inplace, "leaky_relu")


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`leaky_relu` with a learned slope: one, or one for each channel (axis 1)."""
    if weight.numel() > 1:
        weight = ops.reshape(weight, shape=(weight.numel(),) + (1,) * (input.ndim - 2))
    return ops.where(ops.gt(input, 0), input, ops.mul(input, weight))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input where it is positive, else ``alpha * (exp(input) - 1)``."""
    # The exponential is never taken of large numbers, whose infinity would spoil the gradient.
    below = ops.expm1(ops.minimum(input, 0))
    result = ops.where(ops.gt(input, 0), input, below if alpha == 1.0 else ops.mul(below, alpha))
    return _placed(input, result, inplace, "elu")


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`elu` with the constants that keep mean 0 and variance 1.

    Source: Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks", 2017.
    """
    result = ops.mul(elu(input, 1.6732632423543772), 1.0507009873554805)
    return _placed(input, result, inplace, "selu")


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(beta * input)) / beta``, and the input itself where beta times it is above the threshold."""
    scaled = input if beta == 1.0 else ops.mul(input, beta)
    soft = ops.log1p(ops.exp(ops.minimum(scaled, threshold)))
    return ops.where(ops.gt(scaled, threshold), input, soft if beta == 1.0 else ops.div(soft, beta))


def softsign(input: Tensor) -> Tensor:
    """``input / (1 + |input|)``."""
    return ops.div(input, ops.add(ops.abs(input), 1.0))


@tensor_method(inplace=False)
def logsigmoid(input: Tensor) -> Tensor:
    """``log(sigmoid(input))`` without underflow."""
    return ops.sub(ops.minimum(input, 0), ops.log1p(ops.exp(ops.neg(ops.abs(input)))))


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(input, 0), 6)``."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """The input, but not below ``min_val`` and not above ``max_val``."""
    return _placed(input, ops.minimum(ops.maximum(input, min_val), max_val), inplace, "hardtanh")


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``relu6(input + 3) / 6``."""
    return _placed(input, ops.div(relu6(ops.add(input, 3.0)), 6.0), inplace, "hardsigmoid")


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``input * relu6(input + 3) / 6``."""
    return _placed(input, ops.mul(input, hardsigmoid(input)), inplace, "hardswish")


def tanhshrink(input: Tensor) -> Tensor:
    """``input - tanh(input)``."""
    return ops.sub(input, ops.tanh(input))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of an axis times the sigmoid of the second."""
    check_floating("glu", input)
    axis = one_axis("glu", dim, input.ndim)
    if input.ndim == 0 or input.shape[axis] % 2:
        fail(ShapeError, f"glu: axis {axis} of shape {tuple(input.shape)} has no two halves", "its size must be even")
    a, b = chunk(input, 2, axis)
    return ops.mul(a, ops.sigmoid(b))


@tensor_method
def softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """``exp(input)`` divided by its sum over an axis; the largest element is subtracted first.

    Args:
        input: Floating.
        dim: The axis that sums to one.
        dtype: Cast to this first.
    """
    x = cast(input, dtype)
    check_floating("softmax", x)
    if not x.ndim:
        return ops.exp(ops.sub(x, x))
    axes = (one_axis("softmax", dim, x.ndim),)
    powers = ops.exp(ops.sub(x, ops.max(x.detach(), axes=axes, keepdims=True)))
    return ops.div(powers, ops.sum(powers, axes=axes, keepdims=True))


@tensor_method
def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """The logarithm of `softmax`, without taking a logarithm of small numbers."""
    x = cast(input, dtype)
    check_floating("log_softmax", x)
    if not x.ndim:
        return ops.sub(x, x)
    axes = (one_axis("log_softmax", dim, x.ndim),)
    shifted = ops.sub(x, ops.max(x.detach(), axes=axes, keepdims=True))
    return ops.sub(shifted, ops.log(ops.sum(ops.exp(shifted), axes=axes, keepdims=True)))


def softmin(input: Tensor, dim: int) -> Tensor:
    """`softmax` of the negated input."""
    return softmax(ops.neg(input), dim)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element zeroed with probability p, the others divided by 1 - p; nothing where not training.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout", 2014.
    """
    return _dropout("dropout", input, p, training, tuple(input.shape), inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, L)."""
    return _dropout("dropout1d", input, p, training, (*input.shape[:-1], 1), inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, H, W)."""
    return _dropout("dropout2d", input, p, training, (*input.shape[:-2], 1, 1), inplace)


def _dropout(name: str, x: Tensor, p: float, training: bool, shape: tuple[int, ...], inplace: bool) -> Tensor:
    kept = dropout_mask(name, x, p, training, shape)
    if kept is None:
        return x
    result = ops.mul(x, 0.0) if p == 1.0 else ops.where(kept, ops.mul(x, 1.0 / (1.0 - p)), 0.0)
    return _placed(x, result, inplace, name)
