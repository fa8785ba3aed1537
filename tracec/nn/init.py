"""First values of parameters, written in place; gradients do not see it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracec.errors import ArgumentError
from tracec.functions import clamp, from_numpy, rand, randn
from tracec.functions.random_draws import scaled, truncated_normal_numbers
from tracec.ir.source import warn
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor

_GAINS = {
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), 1.0),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid"), 1.0),
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4.0,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """How much a nonlinearity shrinks the spread of its input, to make up for in the weights before it.

    Args:
        nonlinearity: ``linear``, ``conv1d`` … ``conv_transpose3d``, ``sigmoid``, ``tanh``, ``relu``,
            ``leaky_relu`` or ``selu``.
        param: Negative slope of ``leaky_relu``; 0.01 if None.

    Raises:
        ArgumentError: the nonlinearity is unknown, or the slope not a number.
    """
    if nonlinearity == "leaky_relu":
        if isinstance(param, bool) or not isinstance(param, (int, float, type(None))):
            raise ArgumentError(f"calculate_gain: negative_slope {param!r} not a valid number", hint="give a float")
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ArgumentError(
            f"calculate_gain: unsupported nonlinearity {nonlinearity!r}",
            hint=f"use one of {', '.join([*_GAINS, 'leaky_relu'])}",
        )
    return _GAINS[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs each output of a weight sums up, and how many outputs each input goes to.

    Args:
        tensor: Shape ``(out, in, *kernel)``.
    """
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise ArgumentError(
            f"init: fan in and fan out can not be computed for shape {shape}",
            hint="the tensor needs 2 dimensions or more: (out, in, *kernel)",
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"init: mode {mode!r} is not supported", hint="use 'fan_in' or 'fan_out'")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out


def _uniform(tensor: Tensor, generator: Any) -> Tensor:
    """Numbers from 0 to 1 in the tensor's shape, at least float32."""
    return rand(*tensor.shape, dtype=_wide(tensor), device=tensor.device, generator=generator)


def _normal(tensor: Tensor, generator: Any) -> Tensor:
    return randn(*tensor.shape, dtype=_wide(tensor), device=tensor.device, generator=generator)


def _write(tensor: Tensor, values: Tensor | float) -> Tensor:
    with no_grad():
        return tensor.copy_(values)


def _filled(tensor: Tensor, value: float) -> Tensor:
    with no_grad():
        return tensor.fill_(value)


def _wide(tensor: Tensor) -> Any:
    return tensor.dtype.compute


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with numbers uniform from a to b.

    Args:
        tensor: Written to; any shape.
        a: The lower bound.
        b: The upper bound, itself left out.
        generator: Where the bits come from.

    Returns:
        The tensor itself.
    """
    return _write(tensor, scaled(_uniform(tensor, generator), b - a, a))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with normal numbers of a mean and a standard deviation.

    Args:
        tensor: Written to; any shape.
        mean: The mean.
        std: The standard deviation, 0 or more.
        generator: Where the bits come from.

    Returns:
        The tensor itself.
    """
    return _write(tensor, scaled(_normal(tensor, generator), std, mean))


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Fill with normal numbers of which those outside of a … b are left out.

    Args:
        tensor: What to fill.
        mean: Mean before truncation.
        std: Standard deviation before truncation.
        a: Smallest number.
        b: Largest number.
        generator: Where the numbers come from; the default generator if None.

    Source: inversion of the distribution function.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warn(
            "trunc_normal_: mean is more than 2 std from [a, b]; the distribution of values may be incorrect",
        )
    spread = truncated_normal_numbers((a - mean) / std, (b - mean) / std, tensor, generator)
    # Rounding may lead out of the bounds.
    return _write(tensor, clamp(scaled(spread, std, mean), a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value.

    Args:
        tensor: Written to; any shape.
        val: A number.

    Returns:
        The tensor itself.
    """
    return _filled(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones.

    Args:
        tensor: Written to; any shape.

    Returns:
        The tensor itself.
    """
    return _filled(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros.

    Args:
        tensor: Written to; any shape.

    Returns:
        The tensor itself.
    """
    return _filled(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity.

    Raises:
        ArgumentError: it is no matrix.
    """
    if tensor.ndim != 2:
        raise ArgumentError(f"eye_: shape {tuple(tensor.shape)}", hint="only tensors with 2 dimensions are supported")
    return _write(tensor, from_numpy(np.eye(*tensor.shape, dtype=np.float32)))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution's weight so that it hands on as many channels as there can be.

    Args:
        tensor: Shape ``(out, in, *kernel)``, with one to three kernel axes.
        groups: Groups of the convolution.

    Raises:
        ArgumentError: it has another number of dimensions, or the groups do not divide the channels.
    """
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4, 5):
        raise ArgumentError(f"dirac_: shape {shape}", hint="only tensors with 3, 4, or 5 dimensions are supported")
    if shape[0] % groups:
        raise ArgumentError(
            f"dirac_: {shape[0]} channels are not divisible by {groups} groups",
            hint="dim 0 must be divisible by groups",
        )
    out = shape[0] // groups
    values = np.zeros(shape, np.float32)
    centre = tuple(n // 2 for n in shape[2:])
    for g in range(groups):
        for d in range(min(out, shape[1])):
            values[(g * out + d, d, *centre)] = 1.0
    return _write(tensor, from_numpy(values))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill a weight with uniform numbers of the standard deviation ``gain * sqrt(2 / (fan_in + fan_out))``.

    Args:
        tensor: A weight of two axes or more, ``(out, in, ...)``.
        gain: Factor of the standard deviation; see `calculate_gain`.
        generator: Where the bits come from.

    Returns:
        The tensor itself.

    Source: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010, eq. 16.
    """
    std = gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill a weight with normal numbers of the standard deviation ``gain * sqrt(2 / (fan_in + fan_out))``.

    Args:
        tensor: A weight of two axes or more, ``(out, in, ...)``.
        gain: Factor of the standard deviation; see `calculate_gain`.
        generator: Where the bits come from.

    Returns:
        The tensor itself.

    Source: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Fill a weight with uniform numbers of the standard deviation ``gain / sqrt(fan)``.

    Args:
        tensor: Shape ``(out, in, *kernel)``.
        a: Negative slope of the ``leaky_relu`` that follows.
        mode: ``fan_in`` keeps the spread of values going forward, ``fan_out`` that of gradients going back.
        nonlinearity: What follows; see `calculate_gain`.
        generator: Where the numbers come from; the default generator if None.

    Source: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", 2015, eq. 10 and 14.
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Fill a weight with normal numbers of the standard deviation ``gain / sqrt(fan)``; see `kaiming_uniform_`.

    Source: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", 2015, eq. 10 and 14.
    """
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan = _calculate_correct_fan(tensor, mode)
    # Nothing to fill where there is no input.
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with a matrix whose rows, or whose columns where they are fewer, are orthogonal to each other.

    Args:
        tensor: Shape ``(rows, *columns)``, at least 2 dimensions.
        gain: Length of those rows or columns.
        generator: Where the numbers come from; the default generator if None.

    Raises:
        ArgumentError: it has fewer dimensions.

    Source: Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", 2013; signs as in Mezzadri, "How to generate random matrices from the classical compact
    groups", 2006.
    """
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise ArgumentError(f"orthogonal_: shape {shape}", hint="only tensors with 2 or more dimensions are supported")
    if not tensor.numel() or tensor.is_meta:
        return tensor
    flat = _normal(tensor, generator).cpu().numpy().reshape(shape[0], -1)
    wide = flat.shape[0] < flat.shape[1]
    q, r = np.linalg.qr(flat.T if wide else flat)
    q = q * np.sign(np.diag(r))
    values = np.ascontiguousarray(q.T if wide else q).reshape(shape) * gain
    return _write(tensor, from_numpy(values.astype(flat.dtype)))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Fill a matrix with normal numbers, and with zeros at a share of the places of each column.

    Args:
        tensor: Shape ``(rows, columns)``.
        sparsity: The share of zeros, rounded up.
        std: Standard deviation of the others.
        generator: Where the numbers come from; the default generator if None.

    Raises:
        ArgumentError: it is no matrix.

    Source: Martens, "Deep learning via Hessian-free optimization", 2010.
    """
    if tensor.ndim != 2:
        raise ArgumentError(
            f"sparse_: shape {tuple(tensor.shape)}", hint="only tensors with 2 dimensions are supported"
        )
    values = _normal(tensor, generator) * std
    count = min(math.ceil(sparsity * tensor.shape[0]), tensor.shape[0])
    order = _uniform(tensor, generator).argsort(0)
    return _write(tensor, values.scatter(0, order[:count], 0.0))


def _older(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function under its older name, without the underscore, which tells of the newer one."""
    name = function.__name__[:-1]

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Tensor:
        warn(f"nn.init.{name} is now deprecated in favor of nn.init.{name}_.", FutureWarning)
        return function(*args, **kwargs)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"`{name}_`, by its older name."
    return run


uniform = _older(uniform_)
normal = _older(normal_)
constant = _older(constant_)
eye = _older(eye_)
dirac = _older(dirac_)
xavier_uniform = _older(xavier_uniform_)
xavier_normal = _older(xavier_normal_)
kaiming_uniform = _older(kaiming_uniform_)
kaiming_normal = _older(kaiming_normal_)
orthogonal = _older(orthogonal_)
sparse = _older(sparse_)
