"""Batch normalisation in evaluation mode written into the layer before it."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from tracec.errors import ArgumentError
from tracec.functions import rsqrt
from tracec.nn.batchnorm import _BatchNorm
from tracec.nn.convolution import _Conv
from tracec.nn.linear import Linear
from tracec.nn.parameter import Parameter
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor

C = TypeVar("C", bound=_Conv)
L = TypeVar("L", bound=Linear)


def fuse_conv_bn_eval(conv: C, bn: _BatchNorm, transpose: bool = False) -> C:
    """A convolution that gives what a convolution and a batch normalisation behind it give.

    Args:
        conv: The convolution, in evaluation mode.
        bn: The normalisation, in evaluation mode and with running statistics.
        transpose: Whether it is a transposed convolution, whose weight has output channels along the second axis.

    Returns:
        A copy of the convolution with parameters of its own.

    Raises:
        ArgumentError: one is in training mode, there are no running statistics, or channels differ.
    """
    mean, variance = _statistics("fuse_conv_bn_eval", conv, bn, conv.out_channels)
    made = copy.deepcopy(conv)
    made.weight, made.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, mean, variance, bn.eps, bn.weight, bn.bias, transpose
    )
    return made


def fuse_linear_bn_eval(linear: L, bn: _BatchNorm) -> L:
    """A linear layer that gives what a linear layer and a batch normalisation behind it give.

    Args:
        linear: The layer, in evaluation mode.
        bn: The normalisation, in evaluation mode and with running statistics, of as many features or of one.

    Returns:
        A copy of the layer with parameters of its own.

    Raises:
        ArgumentError: one is in training mode, there are no running statistics, or features differ.
    """
    mean, variance = _statistics("fuse_linear_bn_eval", linear, bn, linear.out_features, 1)
    made = copy.deepcopy(linear)
    made.weight, made.bias = fuse_linear_bn_weights(
        linear.weight, linear.bias, mean, variance, bn.eps, bn.weight, bn.bias
    )
    return made


def fuse_conv_bn_weights(
    conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None,
    bn_b: Tensor | None, transpose: bool = False,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of a convolution and a batch normalisation behind it.

    Args:
        conv_w: Weight of the convolution, ``(out_channels, in_channels, ...)``; the first two the other way round
            where it is transposed.
        conv_b: Its bias, ``(out_channels,)``.
        bn_rm: Running means, ``(out_channels,)``.
        bn_rv: Running variances, ``(out_channels,)``.
        bn_eps: What is added to the variances.
        bn_w: Weight of the normalisation, ``(out_channels,)``.
        bn_b: Its bias, ``(out_channels,)``.
        transpose: Whether the convolution is transposed.

    Returns:
        The new weight and bias, of the dtypes of the old ones.
    """
    shape = [1] * conv_w.dim()
    shape[1 if transpose else 0] = -1
    return _fused(conv_w, shape, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of a linear layer and a batch normalisation behind it; see `fuse_conv_bn_weights`."""
    return _fused(linear_w, [-1, 1], linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def _fused(
    weight: Tensor, shape: list[int], bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float,
    factor: Tensor | None, offset: Tensor | None,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Output channels scaled and moved as the normalisation does; ``shape`` broadcasts one number for each of them."""
    with no_grad():
        scale = rsqrt(variance + eps)
        if factor is not None:
            scale = scale * factor
        moved = ((-mean if bias is None else bias - mean) * scale).to((weight if bias is None else bias).dtype)
        if offset is not None:
            moved = (moved + offset).to(moved.dtype)
        made = (weight * scale.reshape(shape)).to(weight.dtype)
    return Parameter(made, weight.requires_grad), Parameter(moved, bias is not None and bias.requires_grad)


def _statistics(name: str, layer: Any, bn: _BatchNorm, channels: int, *more: int) -> tuple[Tensor, Tensor]:
    """Means and variances of a normalisation that can be written into a layer of so many output channels."""
    if layer.training or bn.training:
        raise ArgumentError(f"{name}: fusion only for eval, a module in training mode given", hint="call eval()")
    if bn.running_mean is None or bn.running_var is None:
        raise ArgumentError(
            f"{name}: the normalisation has no running statistics", hint="make it with track_running_stats=True"
        )
    if bn.num_features not in (channels, *more):
        raise ArgumentError(
            f"{name}: the layer has {channels} output channels, the normalisation {bn.num_features}",
            hint="give the normalisation that follows the layer",
        )
    return bn.running_mean, bn.running_var
