"""Normalisation: zero mean, unit variance, unit length."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracec import ops
from tracec.errors import ArgumentError, ShapeError
from tracec.functions.common import cast, check_floating, fail, reshaped
from tracec.functions.norms import Axes, norm
from tracec.ir.types import Shape
from tracec.record.tape import no_grad
from tracec.record.tensor import Tensor


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise the trailing axes to zero mean and unit variance.

    Args:
        input: Shape ``(..., *normalized_shape)``, floating.
        normalized_shape: Sizes of the axes to normalise over.
        weight: Scale of each element, of shape ``normalized_shape``.
        bias: Added to each element, of shape ``normalized_shape``.
        eps: Added to the variance.

    Returns:
        A tensor of the input's shape and dtype; statistics are kept in float32 at least.

    Raises:
        ShapeError: the input does not end in ``normalized_shape``.

    Source: Ba, Kiros, Hinton, "Layer Normalization", 2016, eq. 3.
    """
    axes = _trailing("layer_norm", input, normalized_shape, weight, bias)
    x = cast(input, input.dtype.compute)
    count = math.prod(normalized_shape)
    off = ops.sub(x, ops.div(ops.sum(x, axes=axes, keepdims=True), count))
    variance = ops.div(ops.sum(ops.mul(off, off), axes=axes, keepdims=True), count)
    return cast(_affine(ops.mul(off, ops.rsqrt(ops.add(variance, eps))), weight, bias), input.dtype)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divide the trailing axes by the root of their mean square.

    Args:
        input: Shape ``(..., *normalized_shape)``, floating.
        normalized_shape: Sizes of the axes to normalise over.
        weight: Scale of each element, of shape ``normalized_shape``.
        eps: Added to the mean square; the dtype's resolution by default.

    Returns:
        A tensor of the input's shape and dtype; statistics are kept in float32 at least.

    Raises:
        ShapeError: the input does not end in ``normalized_shape``.

    Source: Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, eq. 4.
    """
    axes = _trailing("rms_norm", input, normalized_shape, weight, None)
    x = cast(input, input.dtype.compute)
    if eps is None:
        eps = 2.220446049250313e-16 if x.dtype.itemsize == 8 else 1.1920928955078125e-07
    square = ops.div(ops.sum(ops.mul(x, x), axes=axes, keepdims=True), math.prod(normalized_shape))
    return cast(_affine(ops.mul(x, ops.rsqrt(ops.add(square, eps))), weight, None), input.dtype)


def _trailing(name: str, x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None) -> Shape:
    check_floating(name, x)
    wanted = tuple(shape)
    if not wanted or tuple(x.shape[-len(wanted) :]) != wanted:
        fail(ShapeError, f"{name}: input of shape {tuple(x.shape)} does not end in {wanted}", "pass its last sizes")
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and tuple(t.shape) != wanted:
            fail(ShapeError, f"{name}: {what} has shape {tuple(t.shape)}, not {wanted}", "one element for each place")
    return tuple(range(x.ndim - len(wanted), x.ndim))


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        x = ops.mul(x, weight)
    return x if bias is None else ops.add(x, bias)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel (axis 1) over all other axes.

    Args:
        input: Shape ``(N, C, ...)``, floating.
        running_mean: Mean kept between batches, shape ``(C,)``; updated in place where training.
        running_var: Variance kept between batches, shape ``(C,)``; updated in place where training.
        weight: Scale of each channel, shape ``(C,)``.
        bias: Added to each channel, shape ``(C,)``.
        training: Use the batch's own mean and variance, not the kept ones.
        momentum: Share of the batch in the kept statistics.
        eps: Added to the variance.

    Returns:
        A tensor of the input's shape and dtype; statistics are kept in float32 at least.

    Raises:
        ShapeError: the input has no channels, a per-channel tensor another size, or a channel one value only.
        ArgumentError: not training, and there are no kept statistics.

    Source: Ioffe, Szegedy, "Batch Normalization", 2015, algorithm 1.
    """
    check_floating("batch_norm", input)
    if input.ndim < 2:
        fail(ShapeError, f"batch_norm: input of shape {tuple(input.shape)} has no channels", "it is (N, C, ...)")
    channels = input.shape[1]
    per_channel = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for what, t in per_channel.items():
        if t is not None and tuple(t.shape) != (channels,):
            fail(
                ShapeError,
                f"batch_norm: {what} has shape {tuple(t.shape)}, input {tuple(input.shape)} has {channels} channels",
                "one element for each channel (axis 1)",
            )
    x = cast(input, input.dtype.compute)
    along = (1, channels) + (1,) * (input.ndim - 2)
    if training:
        off, variance = _batch_statistics(x, running_mean, running_var, momentum)
    elif running_mean is None or running_var is None:
        fail(ArgumentError, "batch_norm: no running statistics to normalise by", "pass them, or training=True")
    else:
        off, variance = ops.sub(x, reshaped(running_mean, along)), reshaped(running_var, along)
    scale = ops.rsqrt(ops.add(variance, eps))
    if weight is not None:
        # One factor for each channel, worked out before it meets the elements.
        scale = ops.mul(scale, reshaped(weight, along))
    result = ops.mul(off, scale)
    return cast(result if bias is None else ops.add(result, reshaped(bias, along)), input.dtype)


def _batch_statistics(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float | Tensor
) -> tuple[Tensor, Tensor]:
    """The elements less their channel's mean, and the channels' variances; the kept statistics move on."""
    axes = (0, *range(2, x.ndim))
    count = math.prod(x.shape[a] for a in axes)
    if count < 2:
        fail(
            ShapeError,
            f"batch_norm: expected more than 1 value per channel when training, got input of shape {tuple(x.shape)}",
            "give a larger batch, or call eval() on the module",
        )
    mean = ops.div(ops.sum(x, axes=axes, keepdims=True), count)
    off = ops.sub(x, mean)
    variance = ops.div(ops.sum(ops.mul(off, off), axes=axes, keepdims=True), count)
    with no_grad():
        # The kept variance is the unbiased one.
        for kept, now in ((running_mean, mean), (running_var, ops.mul(variance.detach(), count / (count - 1)))):
            if kept is not None:
                now = cast(reshaped(now.detach(), tuple(kept.shape)), kept.dtype)
                kept.copy_(ops.add(kept * (1.0 - momentum), now * momentum))
    return off, variance


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise groups of channels of each example to zero mean and unit variance.

    Source: Wu, He, "Group Normalization", 2018.
    """
    check_floating("group_norm", input)
    n, channels = tuple(input.shape[:2])
    if num_groups < 1 or channels % num_groups:
        fail(ArgumentError, f"group_norm: {channels} channels do not divide into {num_groups} groups", "change one")
    rows = reshaped(input, (n, num_groups, math.prod(input.shape[1:]) // num_groups))
    x = reshaped(layer_norm(rows, (rows.shape[-1],), eps=eps), tuple(input.shape))
    along = (1, channels) + (1,) * (input.ndim - 2)
    return _affine(
        x,
        None if weight is None else reshaped(weight, along),
        None if bias is None else reshaped(bias, along),
    )


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each example over its places; kept statistics are not supported.

    Source: Ulyanov, Vedaldi, Lempitsky, "Instance Normalization", 2016.
    """
    if not use_input_stats or running_mean is not None or running_var is not None:
        fail(
            ArgumentError, "instance_norm: kept statistics are not supported", "leave running_mean and running_var out"
        )
    return group_norm(input, input.shape[1], weight, bias, eps)


def normalize(input: Tensor, p: float = 2.0, dim: Axes = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the p-norm over an axis, or by ``eps`` where that is larger."""
    return ops.div(input, ops.maximum(norm(input, p, dim, keepdim=True), eps))
