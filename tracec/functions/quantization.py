"""Rounding to the numbers of a narrow integer type, in floats: training that knows of quantisation."""

from __future__ import annotations

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import Number, cast, check_floating, fail, one_axis, reshaped
from tracec.ir import dtype as dt
from tracec.record.tensor import Tensor


def fake_quantize_per_tensor_affine(
    input: Tensor, scale: Tensor | float, zero_point: Tensor | int, quant_min: int, quant_max: int
) -> Tensor:
    """``(clamp(round(input / scale) + zero_point, quant_min, quant_max) - zero_point) * scale``.

    Gradients go through as if nothing were rounded, where the number is in range, and are 0 elsewhere.

    Args:
        input: Floating.
        scale: The distance of two numbers of the narrow type.
        zero_point: The integer that stands for 0.
        quant_min: The least integer.
        quant_max: The largest integer.

    Raises:
        ArgumentError: the range is empty, or the zero point is not in it.
    """
    name = "fake_quantize_per_tensor_affine"
    check_floating(name, input)
    _check_range(name, quant_min, quant_max)
    if not isinstance(zero_point, Tensor) and not quant_min <= zero_point <= quant_max:
        fail(ArgumentError, f"{name}: zero_point={zero_point} is not from {quant_min} to {quant_max}", "choose one")
    return _rounded(input, scale, zero_point, quant_min, quant_max)


def fake_quantize_per_channel_affine(
    input: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int
) -> Tensor:
    """`fake_quantize_per_tensor_affine` with a scale and a zero point for each place of an axis.

    Args:
        input: Floating.
        scale: Shape ``(channels,)``, floating.
        zero_point: Shape ``(channels,)``, int32 or floating.
        axis: The axis of the channels.
        quant_min: The least integer.
        quant_max: The largest integer.

    Raises:
        ShapeError: there is not one of each for each channel.
    """
    name = "fake_quantize_per_channel_affine"
    check_floating(name, input)
    _check_range(name, quant_min, quant_max)
    at = one_axis(name, axis, input.ndim)
    channels = input.shape[at]
    for x, what in ((scale, "scale"), (zero_point, "zero_point")):
        if x.ndim != 1 or x.shape[0] != channels:
            fail(ShapeError, f"{name}: {what} has shape {tuple(x.shape)}", f"one for each of {channels} channels")
    if zero_point.dtype not in (dt.int32, dt.float32, dt.float16):
        fail(DTypeError, f"{name}: zero_point is {zero_point.dtype.name}", "use int32 or a float")
    shape = tuple(channels if k == at else 1 for k in range(input.ndim))
    return _rounded(input, reshaped(scale, shape), reshaped(zero_point, shape), quant_min, quant_max)


def _check_range(name: str, low: int, high: int) -> None:
    if low > high:
        fail(ArgumentError, f"{name}: quant_min={low} is above quant_max={high}", "exchange them")


def _rounded(x: Tensor, scale: Tensor | Number, zero: Tensor | Number, low: int, high: int) -> Tensor:
    """The numbers that stand for the nearest integers in range."""
    step = cast(scale.detach(), x.dtype) if isinstance(scale, Tensor) else scale
    offset = cast(zero.detach(), x.dtype) if isinstance(zero, Tensor) else zero
    place = ops.add(
        ops.round(ops.mul(x.detach(), ops.div(1.0, step) if isinstance(step, Tensor) else 1.0 / step)), offset
    )
    inside = ops.bitwise_and(ops.ge(place, low), ops.le(place, high))
    kept = ops.minimum(ops.maximum(place, float(low)), float(high))
    value = ops.mul(ops.sub(kept, offset), step)
    # The value itself, and the gradient of the input where it is in range.
    through = ops.where(inside, x, 0.0)
    return ops.add(value, ops.sub(through, through.detach()))
