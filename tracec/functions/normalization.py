"""Normalisation of channels, of groups of them and of vectors."""

from __future__ import annotations

import math
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import (
    cast,
    check_flag,
    check_floating,
    check_inexact,
    check_number,
    check_real,
    check_tensor,
    fail,
    one_integer,
    reshaped,
)
from tracec.functions.layer_norm import centred_and_rstd, mean_over
from tracec.functions.norm_arrays import batch_norm_at_once, fixed_norm_at_once, group_norm_at_once
from tracec.functions.norms import Axes, norm
from tracec.ir import dtype as dt
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.cell import new_tensor
from tracec.record.compositions import FusedUpdate, composed
from tracec.record.mode import no_grad
from tracec.record.out import write_out
from tracec.record.tensor import Tensor


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
        ArgumentError: not training, and there are no kept statistics, or one of the two only; eps is negative, or 0
            in training.

    Source: Ioffe, Szegedy, "Batch Normalization", 2015, algorithm 1.
    """
    check_floating("batch_norm", input)
    if input.ndim < 2 and input.numel():
        fail(ShapeError, f"batch_norm: input of shape {tuple(input.shape)} has no channels", "it is (N, C, ...)")
    _check_kept("batch_norm", running_mean, running_var, momentum, eps)
    channels = input.shape[1] if input.ndim > 1 else 0
    _check_channels("batch_norm", input, channels, running_mean, running_var, weight, bias)
    check_flag("batch_norm", training, "training")
    if training and eps == 0:
        fail(ArgumentError, "batch_norm: eps must be positive during training, 0 given", "give a small positive number")
    if training and math.prod(input.shape[:1] + input.shape[2:]) == 1:
        fail(
            ShapeError,
            f"batch_norm: expected more than 1 value per channel when training, got input of shape "
            f"{tuple(input.shape)}",
            "give a larger batch, or call eval() on the module",
        )
    if input.ndim < 2:
        return input.clone()
    x = cast(input, input.dtype.compute)
    of_channels = [t for t in (weight, bias) if t is not None]
    options = {"eps": eps, "weighted": weight is not None}
    if training:
        at_once = _by_batch.with_kept(x, *of_channels, **options)
        if at_once is not None:
            result, (mean, variance, *_) = at_once
            _keep(running_mean, running_var, new_tensor(mean), new_tensor(variance), x.numel() // channels, momentum)
            return cast(result, input.dtype)
        off, variance = _batch_statistics(x, running_mean, running_var, momentum)
    elif running_mean is None or running_var is None:
        fail(ArgumentError, "batch_norm: no running statistics to normalise by", "pass them, or training=True")
    else:
        return cast(_by_kept(x, running_mean, running_var, *of_channels, **options), input.dtype)
    return cast(_scaled(off, variance, *of_channels, **options), input.dtype)


@composed("native_batch_norm", eager=fixed_norm_at_once)
def _by_kept(x: Any, mean: Any, variance: Any, *of_channels: Any, eps: float, weighted: bool) -> Any:
    """Elements less a mean by the root of a variance, both of their channel."""
    along = (1, x.shape[1]) + (1,) * (x.ndim - 2)
    off = ops.sub(x, reshaped(mean, along))
    return _scale(off, reshaped(variance, along), *of_channels, eps=eps, weighted=weighted)


@composed("native_batch_norm", eager=batch_norm_at_once)
def _by_batch(x: Any, *of_channels: Any, eps: float, weighted: bool) -> Any:
    """Elements less their channel's mean by the root of its variance, both of the batch."""
    axes = (0, *range(2, x.ndim))
    off = ops.sub(x, mean_over(x, axes))
    return _scale(off, mean_over(ops.mul(off, off), axes), *of_channels, eps=eps, weighted=weighted)


def _scale(off: Any, variance: Any, *of_channels: Any, eps: float, weighted: bool) -> Any:
    """Elements less their channel's mean by the root of its variance, scaled and moved by channel where told."""
    weight, bias = of_channels[:weighted], of_channels[weighted:]
    along = (1, off.shape[1]) + (1,) * (off.ndim - 2)
    scale = ops.rsqrt(ops.add(variance, eps))
    if weight:
        # One factor for each channel, worked out before it meets the elements.
        scale = ops.mul(scale, reshaped(weight[0], along))
    result = ops.mul(off, scale)
    return ops.add(result, reshaped(bias[0], along)) if bias else result


_scaled = composed("native_batch_norm")(_scale)


def _batch_statistics(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float | Tensor
) -> tuple[Tensor, Tensor]:
    """The elements less their channel's mean, and the channels' variances; the kept statistics move on."""
    axes = (0, *range(2, x.ndim))
    mean = mean_over(x, axes)
    off = ops.sub(x, mean)
    variance = mean_over(ops.mul(off, off), axes)
    if x.numel():
        _keep(running_mean, running_var, mean, variance, math.prod(x.shape[a] for a in axes), momentum)
    return off, variance


def _keep(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    count: int,
    momentum: float | Tensor,
) -> None:
    """Move the kept statistics on by those of a batch."""
    # The kept variance is the unbiased one.
    given = [(running_mean, mean, 1.0), (running_var, variance, count / (count - 1))]
    with no_grad():
        if running_mean is not None and running_var is not None:
            numbers = (1.0 - momentum, momentum, count / (count - 1))
            if _BOTH_MOVED_ON.write([([running_mean, running_var], [mean, variance])], numbers):
                return
        for kept, now, unbiased in ((k, now, u) for k, now, u in given if k is not None):
            numbers = (1.0 - momentum, momentum, unbiased)
            if not _MOVED_ON.write([([kept], [now])], numbers):
                kept.copy_(_moved_on(kept, now.detach(), *numbers)[0])


def _moved_on(kept: Any, now: Any, rest: Any, momentum: Any, unbiased: Any) -> tuple[Any, ...]:
    now = cast(reshaped(ops.mul(now, unbiased), tuple(kept.shape)), kept.dtype)
    return (ops.add(ops.mul(kept, rest), ops.mul(now, momentum)),)


def _both_moved_on(
    mean: Any, variance: Any, mean_now: Any, variance_now: Any, rest: Any, momentum: Any, unbiased: Any
) -> tuple[Any, ...]:  # fmt: skip
    return *_moved_on(mean, mean_now, rest, momentum, 1.0), *_moved_on(variance, variance_now, rest, momentum, unbiased)


_BOTH_MOVED_ON = FusedUpdate(_both_moved_on)
_MOVED_ON = FusedUpdate(_moved_on)


def _check_kept(
    name: str, running_mean: Tensor | None, running_var: Tensor | None, momentum: float | Tensor, eps: float
) -> None:
    check_number(name, momentum, "momentum")
    check_real(name, eps, "eps")
    if (running_mean is None) != (running_var is None):
        fail(ArgumentError, f"{name}: one of running_mean and running_var is given", "give both or neither")
    if eps < 0:
        fail(ArgumentError, f"{name}: eps={eps} is negative", "give a small positive number")


def _check_channels(
    name: str,
    x: Tensor,
    channels: int,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
) -> None:
    per_channel = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for what, t in per_channel.items():
        if t is not None:
            check_tensor(name, t, what)
        if t is not None and tuple(t.shape) != (channels,):
            fail(
                ShapeError,
                f"{name}: {what} has shape {tuple(t.shape)}, input {tuple(x.shape)} has {channels} channels",
                "one element for each channel (axis 1)",
            )


@under_autocast(FLOAT32)
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise groups of channels of each example to zero mean and unit variance.

    Args:
        input: Shape ``(N, C, ...)``, floating.
        num_groups: Number of groups, which divides C.
        weight: Scale of each channel, shape ``(C,)``.
        bias: Added to each channel, shape ``(C,)``.
        eps: Added to the variance.

    Returns:
        A tensor of the input's shape and dtype; statistics are kept in float32 at least.

    Raises:
        ShapeError: the input has no channels, or a single value is normalised.
        ArgumentError: the channels do not divide into groups.

    Source: Wu, He, "Group Normalization", 2018.
    """
    check_floating("group_norm", input)
    if input.ndim < 2:
        fail(ShapeError, f"group_norm: input of shape {tuple(input.shape)} has no channels", "it is (N, C, ...)")
    n, channels = tuple(input.shape[:2])
    num_groups = one_integer("group_norm", num_groups, "num_groups")
    if num_groups < 1 or channels % num_groups:
        fail(ArgumentError, f"group_norm: {channels} channels do not divide into {num_groups} groups", "change one")
    _check_channels("group_norm", input, channels, None, None, weight, bias)
    if n * channels // num_groups * math.prod(input.shape[2:]) == 1:
        fail(
            ShapeError,
            f"group_norm: expected more than 1 value per channel when training, got input of shape "
            f"{tuple(input.shape)}",
            "give a larger input, or fewer groups",
        )
    check_real("group_norm", eps, "eps")
    return _by_groups(input, num_groups, weight, bias, eps)


def _by_groups(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Groups of channels of each example standardised, then scaled and moved by channel."""
    of_channels = [t for t in (weight, bias) if t is not None]
    wide = cast(x, x.dtype.compute)
    return cast(_of_groups(wide, *of_channels, groups=groups, eps=eps, weighted=weight is not None), x.dtype)


@composed("native_group_norm", eager=group_norm_at_once)
def _of_groups(x: Any, *of_channels: Any, groups: int, eps: float, weighted: bool) -> Any:
    n, channels = x.shape[:2]
    rows = reshaped(x, (n, groups, math.prod(x.shape[1:]) // max(groups, 1)))
    result = reshaped(ops.mul(*centred_and_rstd(rows, (2,), eps)), tuple(x.shape))
    along = (1, channels) + (1,) * (x.ndim - 2)
    for weight in of_channels[:weighted]:
        result = ops.mul(result, reshaped(weight, along))
    for bias in of_channels[weighted:]:
        result = ops.add(result, reshaped(bias, along))
    return result


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
    """Normalise each channel of each example over its places.

    Args:
        input: Shape ``(N, C, ...)``, floating.
        running_mean: Mean kept between batches, shape ``(C,)``; updated in place by the examples' average.
        running_var: Variance kept between batches, shape ``(C,)``; updated in place by the examples' average.
        weight: Scale of each channel, shape ``(C,)``.
        bias: Added to each channel, shape ``(C,)``.
        use_input_stats: Normalise by each example's own mean and variance, not by the kept ones.
        momentum: Share of the batch in the kept statistics.
        eps: Added to the variance.

    Returns:
        A tensor of the input's shape and dtype; statistics are kept in float32 at least.

    Raises:
        ShapeError: the input has no channels, a per-channel tensor another size, or a channel one value only.
        ArgumentError: there are no kept statistics to normalise by, or one of the two only; eps is negative.

    Source: Ulyanov, Vedaldi, Lempitsky, "Instance Normalization", 2016.
    """
    check_floating("instance_norm", input)
    check_flag("instance_norm", use_input_stats, "use_input_stats")
    if input.ndim < 2 or (use_input_stats and math.prod(input.shape[2:]) == 1):
        fail(
            ShapeError,
            f"instance_norm: expected more than 1 spatial element when training, got input of shape "
            f"{tuple(input.shape)}",
            "it is (N, C, ...)",
        )
    _check_kept("instance_norm", running_mean, running_var, momentum, eps)
    channels = input.shape[1]
    _check_channels("instance_norm", input, channels, running_mean, running_var, weight, bias)
    if not use_input_stats:
        if running_mean is None:
            fail(ArgumentError, "instance_norm: no running statistics to normalise by", "pass them, or use the input's")
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if running_mean is not None and running_var is not None and input.numel():
        with no_grad():
            count = math.prod(input.shape[2:])
            x = reshaped(cast(input.detach(), input.dtype.compute), (*input.shape[:2], count))
            mean = ops.div(ops.sum(x, axes=(2,), keepdims=True), count)
            off = ops.sub(x, mean)
            variance = ops.div(ops.sum(ops.mul(off, off), axes=(2,), keepdims=True), count)
            mean, variance = (ops.div(ops.sum(t, axes=(0,), keepdims=False), x.shape[0]) for t in (mean, variance))
            _keep(running_mean, running_var, mean, variance, count, momentum)
    return _by_groups(input, channels, weight, bias, eps)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide by ``(k + alpha · mean of squares of the channels around)^beta``.

    Args:
        input: Shape ``(N, C, ...)`` with at least one spatial axis, floating or int64.
        size: How many channels count, about half of them before and half behind; those outside are zeros.
        alpha: Factor of the mean.
        beta: The power.
        k: Added to the mean.

    Raises:
        ShapeError: the input has less than 3 dimensions.

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
    """
    check_tensor("local_response_norm", input)
    if not input.dtype.is_floating_point and input.dtype is not dt.int64:
        fail(DTypeError, f"local_response_norm: takes floats or int64, input is {input.dtype.name}", "cast it first")
    if input.ndim < 3:
        fail(ShapeError, f"local_response_norm: input of shape {tuple(input.shape)}", "it is (N, C, ...)")
    size = one_integer("local_response_norm", size, "size")
    if size < 1:
        fail(ArgumentError, f"local_response_norm: size={size} is not positive", "give 1 or more")
    if not input.numel():
        return input
    total = _squares_around(input, size // 2, (size - 1) // 2)
    mean = ops.div(total, size) if input.dtype.is_floating_point else ops.floor_div(total, size)
    return ops.div(input, ops.pow(ops.add(ops.mul(mean, alpha), k), beta))


def _squares_around(x: Tensor, before: int, behind: int) -> Tensor:
    """For each element of ``(N, C, ...)`` the sum of squares of the channels around it."""
    n, channels = tuple(x.shape[:2])
    rest = math.prod(x.shape[2:])
    square = ops.mul(x, x)
    wide = ops.pad(reshaped(square, (n, channels, rest)), low=(0, before, 0), high=(0, behind, 0), value=0)
    windows = ops.windows(wide, size=(before + behind + 1, 1), stride=(1, 1), dilation=(1, 1))
    return reshaped(ops.sum(windows, axes=(3, 4), keepdims=False), tuple(x.shape))


def normalize(input: Tensor, p: float = 2.0, dim: Axes = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """Divide by the p-norm over an axis, or by ``eps`` where that is larger; written into ``out`` if given.

    Args:
        input: Floating or complex.
        p: Power of the norm.
        dim: Axes that a norm is taken over.
        eps: The least that is divided by.
        out: Written to, and given back.

    Raises:
        DTypeError: ``out`` cannot hold the result's dtype.
    """
    check_inexact("normalize", input)
    check_number("normalize", p, "p")
    result = ops.div(input, ops.maximum(norm(input, p, dim, keepdim=True), eps))
    if out is None:
        return result
    return write_out("normalize", out, result)
