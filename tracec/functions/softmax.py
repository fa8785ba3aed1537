"""Softmax and its kin."""

from __future__ import annotations

from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, ShapeError
from tracec.functions.common import cast, check_dtype, check_floating, check_tensor, expanded, fail, iota, one_axis
from tracec.functions.random_draws import gumbel_numbers
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.compositions import composed
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


@tensor_method
@under_autocast(FLOAT32)
def softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """``exp(input)`` divided by its sum over an axis; the largest element is subtracted first.

    Args:
        input: Floating.
        dim: The axis that sums to one.
        dtype: Cast to this first.
    """
    check_tensor("softmax", input)
    check_dtype("softmax", dtype)
    x = cast(input, dtype)
    check_floating("softmax", x)
    axes = (one_axis("softmax", dim, x.ndim),) if x.ndim else ()
    if not x.ndim or not x.numel():
        return ops.exp(ops.sub(x, x))
    return ops.softmax(x, axes=axes)


@tensor_method
@under_autocast(FLOAT32)
def log_softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """The logarithm of `softmax`, without taking a logarithm of small numbers.

    Args:
        input: Floating.
        dim: The axis whose exponentials sum to one.
        dtype: Cast to this first.
    """
    check_tensor("log_softmax", input)
    check_dtype("log_softmax", dtype)
    x = cast(input, dtype)
    check_floating("log_softmax", x)
    axes = (one_axis("log_softmax", dim, x.ndim),) if x.ndim else ()
    if not x.ndim or not x.numel():
        return ops.sub(x, x)
    result: Tensor = _log_softmax(x, axes=axes)
    return result


@composed("log_softmax", lambda ct, out, x, axes: (ct - ops.exp(out) * ops.sum(ct, axes=axes, keepdims=True),))
def _log_softmax(x: Any, *, axes: tuple[int, ...]) -> Any:
    top = ops.max(x.detach() if isinstance(x, Tensor) else x, axes=axes, keepdims=True)
    shifted = ops.sub(x, top)
    return ops.sub(shifted, ops.log(ops.sum(ops.exp(shifted), axes=axes, keepdims=True)))


@under_autocast(FLOAT32)
def softmin(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """`softmax` of the negated input."""
    check_tensor("softmin", input)
    check_dtype("softmin", dtype)
    return softmax(ops.neg(cast(input, dtype)), dim)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A draw from a categorical distribution, relaxed so that gradients flow through it.

    Args:
        logits: Logarithms of probabilities, not normalised, floating.
        tau: Temperature; near 0, draws are nearly one-hot.
        hard: Give the one-hot draw itself, with the gradient of the relaxed one.
        eps: Taken as in PyTorch, where it no longer has an effect.
        dim: The axis of the classes.

    Raises:
        ArgumentError: the temperature is 0.

    Source: Jang, Gu, Poole, "Categorical Reparameterization with Gumbel-Softmax", 2016.
    """
    check_floating("gumbel_softmax", logits)
    if tau == 0:
        fail(ArgumentError, "gumbel_softmax: the temperature tau is 0, which logits are divided by", "e.g. tau=0.1")
    axis = one_axis("gumbel_softmax", dim, logits.ndim)
    noisy = ops.add(logits, gumbel_numbers(tuple(logits.shape), None, logits.dtype, logits.device))
    soft = softmax(ops.div(noisy, tau), axis)
    if not hard:
        return soft
    # Not of the softmax, which is rounded in more than one way: with exact noise the same everywhere.
    chosen = ops.argmax(noisy.detach() if tau > 0 else ops.neg(noisy.detach()), axis=axis, keepdims=True)
    hot = ops.eq(iota(tuple(soft.shape), axis, dt.int64, soft), expanded(chosen, tuple(soft.shape)))
    return ops.add(ops.sub(cast(hot, soft.dtype), soft.detach()), soft)


def _softmax_backward_data(grad_output: Tensor, output: Tensor, dim: int, input_dtype: DType) -> Tensor:
    """The gradient of a softmax's input, for programs that write the way back of one themselves.

    Args:
        grad_output: The gradient of the result, of its shape.
        output: What softmax gave.
        dim: The axis that sums to one.
        input_dtype: Element type of softmax's input, and of its gradient.

    Raises:
        ShapeError: the gradient and the result have different shapes.
    """
    axes = _axes_back("_softmax_backward_data", grad_output, output, dim, input_dtype)
    weighted = ops.mul(grad_output, output)
    back = ops.sub(weighted, ops.mul(output, ops.sum(weighted, axes=axes, keepdims=True)))
    return cast(back, input_dtype)


def _log_softmax_backward_data(grad_output: Tensor, output: Tensor, dim: int, input_dtype: DType) -> Tensor:
    """The gradient of a log_softmax's input; the arguments are those of `_softmax_backward_data`."""
    axes = _axes_back("_log_softmax_backward_data", grad_output, output, dim, input_dtype)
    total = ops.sum(grad_output, axes=axes, keepdims=True)
    return cast(ops.sub(grad_output, ops.mul(ops.exp(output), total)), input_dtype)


def _axes_back(name: str, grad_output: Tensor, output: Tensor, dim: int, input_dtype: DType) -> tuple[int, ...]:
    """The axes that were summed over, of arguments that fit each other."""
    for x in (grad_output, output):
        check_tensor(name, x)
        check_floating(name, x)
    check_dtype(name, input_dtype)
    if tuple(grad_output.shape) != tuple(output.shape):
        fail(
            ShapeError,
            f"{name}: a gradient of shape {tuple(grad_output.shape)} for a result of shape {tuple(output.shape)}",
            "the gradient has the shape of what the function gave",
        )
    return (one_axis(name, dim, output.ndim),) if output.ndim else ()
