"""Linear layers and convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError, TracecError
from tracec.functions.axes import over_axes
from tracec.functions.common import check_ndim, check_tensor, fail, one_integer, per_axis, reshaped
from tracec.functions.linalg import matmul, product_of
from tracec.functions.shape import t
from tracec.record.autocast import LOWER, WIDEST, under_autocast
from tracec.record.compositions import composed
from tracec.record.tensor import Tensor

Sizes = int | Sequence[int]


@under_autocast(LOWER)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``.

    Args:
        input: Shape ``(..., in)``.
        weight: Shape ``(out, in)``.
        bias: Shape ``(out,)``.

    Returns:
        Shape ``(..., out)``.

    Raises:
        ShapeError: the last sizes of input and weight differ.
        DTypeError: input, weight and bias have different dtypes.
    """
    check_tensor("linear", input)
    check_ndim("linear", weight, (1, 2), "(out, in)", "weight")
    if bias is not None:
        _check_bias_type("linear", bias, weight)
    given, own = input._shape, weight._shape
    if not given or given[-1] != own[-1]:
        fail(
            ShapeError,
            f"linear: input of shape {tuple(input.shape)} for weight of shape {tuple(weight.shape)}",
            f"the input's last size must be {weight.shape[-1]}",
        )
    if input.dtype is not weight.dtype:
        fail(DTypeError, f"linear: input is {input.dtype.name}, weight {weight.dtype.name}", "cast one of them")
    if len(own) == 2 and (bias is None or bias._shape == own[:1]):
        result: Tensor = _linear(input, weight, *([] if bias is None else [bias]))
        return result
    product = product_of("linear", input, t(weight))
    return product if bias is None else ops.add(product, bias)


def _linear_back(ct: Any, out: Any, x: Any, weight: Any, *bias: Any) -> tuple[Any, ...]:
    ct, rows = _rows(ct), _rows(x)
    found = reshaped(ops.dot(ct, weight), tuple(x.shape)), ops.dot(ops.transpose(ct, perm=(1, 0)), rows)
    return (*found, ops.sum(ct, axes=(0,), keepdims=False)) if bias else found


@composed("linear", _linear_back)
def _linear(x: Any, weight: Any, *bias: Any) -> Any:
    product = ops.dot(_rows(x), ops.transpose(weight, perm=(1, 0)))
    product = reshaped(product, (*x.shape[:-1], weight.shape[0]))
    return ops.add(product, bias[0]) if bias else product


def _rows(x: Any) -> Any:
    """All leading axes as rows of one matrix: one large product instead of many."""
    return reshaped(x, (math.prod(x.shape[:-1]), x.shape[-1]))


@under_autocast(WIDEST)
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input1 @ weight[o] @ input2`` for each output o, plus bias.

    Args:
        input1: Shape ``(..., n)``.
        input2: Shape ``(..., m)``, with the leading axes of input1.
        weight: Shape ``(out, n, m)``.
        bias: Shape ``(out,)``.

    Returns:
        Shape ``(..., out)``.

    Raises:
        ShapeError: sizes do not fit.
    """
    for what, x in (("input1", input1), ("input2", input2)):
        check_tensor("bilinear", x, what)
    check_ndim("bilinear", weight, (3,), "(out, n, m)", "weight")
    _check_bias("bilinear", bias, weight, weight.shape[0])
    shapes = tuple(input1.shape), tuple(input2.shape)
    lead = shapes[0][:-1]
    if not all(shapes) or lead != shapes[1][:-1] or (shapes[0][-1], shapes[1][-1]) != tuple(weight.shape[1:]):
        fail(
            ShapeError,
            f"bilinear: inputs of shapes {shapes[0]} and {shapes[1]} for weight of shape {tuple(weight.shape)}",
            "they are (..., n) and (..., m) for a weight (out, n, m)",
        )
    a, b = reshaped(input1, (-1, input1.shape[-1])), reshaped(input2, (-1, input2.shape[-1]))
    out, n, m = tuple(weight.shape)
    # (rows, n) · (n, out · m), then each row against its own second input.
    left = matmul(a, reshaped(ops.transpose(weight, perm=(1, 0, 2)), (n, out * m)))
    result = reshaped(matmul(reshaped(left, (a.shape[0], out, m)), reshaped(b, (b.shape[0], m, 1))), (*lead, out))
    return result if bias is None else ops.add(result, bias)


@under_autocast(LOWER)
def _conv(
    name: str, n: int, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1,
    padding: Sizes | str = 0, dilation: Sizes = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Convolution over the spatial axes (a cross-correlation, as in all of deep learning).

    Args:
        input: Shape ``(N, C, …)`` or ``(C, …)``.
        weight: Shape ``(O, C / groups, …)``.
        bias: Shape ``(O,)``.
        stride: Steps between windows.
        padding: Zeros on both sides, or ``"same"`` (so many that the sizes stay) or ``"valid"`` (none).
        dilation: Steps between the elements of a window.
        groups: Blocks of channels that do not mix.

    Returns:
        Shape ``(N, O, …)``.

    Raises:
        ShapeError: channels or sizes do not fit.
        DTypeError: input, weight and bias have different dtypes.
    """
    groups = _checked(name, n, input, weight, groups, "(O, C / groups, …)")
    _check_bias(name, bias, weight, weight.shape[0])
    steps, spread = per_axis(name, stride, n, "stride"), per_axis(name, dilation, n, "dilation")
    pads = _padding(name, padding, n, tuple(weight.shape[2:]), steps, spread)
    try:
        y = ops.conv(_batched(input, n), weight, stride=steps, padding=pads, dilation=spread, groups=groups)
    except TracecError as error:
        error.message = error.message.replace("conv:", f"{name}:", 1)
        raise
    return _finished(y, bias, n, input)


def _checked(name: str, n: int, x: Tensor, weight: Tensor, groups: int, layout: str) -> int:
    """The number of groups of a convolution, whose input and weight have the axes and dtype that they need."""
    check_ndim(name, x, (n + 1, n + 2), f"(N, C, …) with {n} spatial axes, with or without N")
    check_ndim(name, weight, (n + 2,), f"{layout} with {n} spatial axes", "weight")
    if x.dtype is not weight.dtype:
        fail(DTypeError, f"{name}: input is {x.dtype.name}, weight {weight.dtype.name}", "cast one of them")
    return one_integer(name, groups, "groups")


def _batched(x: Tensor, n: int) -> Tensor:
    """The input with an axis N."""
    return x if x.ndim == n + 2 else reshaped(x, (1, *x.shape))


def _finished(y: Tensor, bias: Tensor | None, n: int, x: Tensor) -> Tensor:
    """The result with its bias, with an axis N if the input has one."""
    if bias is not None:
        y = ops.add(y, reshaped(bias, (1, bias.shape[0]) + (1,) * n))
    return y if x.ndim == n + 2 else reshaped(y, tuple(y.shape[1:]))


def _check_bias_type(name: str, bias: Tensor, weight: Tensor) -> None:
    check_tensor(name, bias, "bias")
    if bias.dtype is not weight.dtype:
        fail(DTypeError, f"{name}: weight is {weight.dtype.name}, bias {bias.dtype.name}", "cast one of them")


def _check_bias(name: str, bias: Tensor | None, weight: Tensor, channels: int) -> None:
    if bias is None:
        return
    _check_bias_type(name, bias, weight)
    if tuple(bias.shape) != (channels,):
        fail(
            ShapeError, f"{name}: bias has shape {tuple(bias.shape)}, not ({channels},)", "one for each output channel"
        )


def _padding(
    name: str, padding: Sizes | str, n: int, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * n
    if padding == "same":
        if any(s != 1 for s in stride):
            fail(ArgumentError, f"{name}: padding='same' does not go with stride {stride}", "pad by numbers instead")
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((p // 2, p - p // 2) for p in total)
    if isinstance(padding, str):
        fail(ArgumentError, f"{name}: padding={padding!r} is not known", "use integers, 'same' or 'valid'")
    return tuple((p, p) for p in per_axis(name, padding, n, "padding"))


@under_autocast(LOWER)
def _conv_transpose(
    name: str, n: int, input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1,
    padding: Sizes = 0, output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
) -> Tensor:  # fmt: skip
    """The gradient of a convolution with respect to its input, as an operator of its own.

    Args:
        input: Shape ``(N, C, …)`` or ``(C, …)``.
        weight: Shape ``(C, O / groups, …)``.
        bias: Shape ``(O,)``.
        stride: Steps between windows of that convolution.
        padding: Its padding: so much is cut off from the result.
        output_padding: Added to one side of the result, to choose among the sizes that convolve to the input's.
        groups: Blocks of channels that do not mix.
        dilation: Steps between the elements of a window.

    Returns:
        Shape ``(N, O, …)`` with ``(size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1``
        along each spatial axis.

    Raises:
        ShapeError: channels do not fit, or nothing is left of a size.
        DTypeError: input, weight and bias have different dtypes.
        ArgumentError: output_padding is not smaller than stride or dilation.
    """
    groups = _checked(name, n, input, weight, groups, "(C, O / groups, …)")
    channels = weight.shape[1] * groups
    _check_bias(name, bias, weight, channels)
    batched = _batched(input, n)
    _check_transposed_channels(name, batched, weight, groups)
    steps, spread = per_axis(name, stride, n, "stride"), per_axis(name, dilation, n, "dilation")
    cut, extra = per_axis(name, padding, n, "padding"), per_axis(name, output_padding, n, "output_padding")
    _check_geometry(name, stride=steps, dilation=spread)
    _check_cut(name, cut, extra, steps, spread)
    # What output_padding adds is less cut off behind; what it adds beyond that and lies past the last step is zeros.
    high = tuple(max(c - e, 0) for c, e in zip(cut, extra, strict=True))
    zeros = tuple(max(e - c - (s - 1), 0) for c, e, s in zip(cut, extra, steps, strict=True))
    axes = zip(batched.shape[2:], weight.shape[2:], steps, spread, cut, extra, strict=True)
    sizes = tuple((size - 1) * step - 2 * c + d * (k - 1) + e + 1 for size, k, step, d, c, e in axes)
    computed = tuple(s - z for s, z in zip(sizes, zeros, strict=True))
    if min(computed) < 1:
        fail(ShapeError, f"{name}: the result of input {tuple(input.shape)} has sizes {sizes}", "use less padding")
    y = ops.conv_input_grad(
        batched, weight, shape=(batched.shape[0], channels, *computed), stride=steps,
        padding=tuple(zip(cut, high, strict=True)), dilation=spread, groups=groups,
    )  # fmt: skip
    if any(zeros):
        y = ops.pad(y, low=(0,) * (n + 2), high=(0, 0, *zeros), value=0)
    return _finished(y, bias, n, input)


conv1d, conv2d, conv3d = over_axes(_conv, 1), over_axes(_conv, 2), over_axes(_conv, 3)
conv_transpose1d, conv_transpose2d, conv_transpose3d = (
    over_axes(_conv_transpose, 1), over_axes(_conv_transpose, 2), over_axes(_conv_transpose, 3)
)  # fmt: skip


def _check_cut(
    name: str, cut: tuple[int, ...], extra: tuple[int, ...], steps: tuple[int, ...], spread: tuple[int, ...]
) -> None:
    """Refuse padding and output_padding that no convolution has."""
    for c, e, step, d in zip(cut, extra, steps, spread, strict=True):
        if c < 0 or not 0 <= e < max(step, d):
            fail(
                ArgumentError,
                f"{name}: padding={cut} and output_padding={extra} with stride {steps} and dilation {spread}",
                "neither is negative, and output_padding is smaller than stride or dilation",
            )


def _check_geometry(name: str, **given: tuple[int, ...]) -> None:
    for what, values in given.items():
        if any(v < 1 for v in values):
            fail(ArgumentError, f"{name}: {what}={values} is not positive", "give 1 or more for each spatial axis")


def _check_transposed_channels(name: str, x: Tensor, weight: Tensor, groups: int) -> None:
    if groups < 1 or weight.shape[0] % groups:
        fail(
            ArgumentError,
            f"{name}: {weight.shape[0]} input channels do not divide into {groups} groups",
            "the weight is (C, O / groups, …)",
        )
    if x.shape[1] != weight.shape[0]:
        fail(
            ShapeError,
            f"{name}: input has {x.shape[1]} channels, weight of shape {tuple(weight.shape)} takes {weight.shape[0]}",
            "the weight is (C, O / groups, …)",
        )
