"""Random numbers, made from counters: the same for one seed in eager and compiled runs, on every device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import (
    cast,
    check_dtype,
    check_floating,
    check_probability,
    check_tensor,
    fail,
    reshaped,
    sizes_of,
)
from tracec.functions.shape import between
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.types import Shape
from tracec.ops.random import normal_from_bits, uniform_from_bits
from tracec.record import promote
from tracec.record.backend import Device
from tracec.record.method import tensor_method
from tracec.record.random import Generator, default_generator
from tracec.record.tape import no_grad
from tracec.record.tensor import Tensor
from tracec.record.write import copy_into

Place = str | Device | None


def bits(shape: Shape, generator: Generator | None, device: Place) -> Tensor:
    """Fresh uniform u32 words."""
    source = default_generator(device or "cpu") if generator is None else generator
    drawn = source.next_bits(shape)
    return drawn if device is None or drawn.device == device else drawn.to(device)


def _floating(name: str, dtype: DType | None) -> DType:
    check_dtype(name, dtype)
    chosen = dtype or promote.DEFAULT_FLOAT
    if not chosen.is_floating_point:
        fail(DTypeError, f"{name}: dtype {chosen.name} is not floating", "use randint for integers")
    return chosen


def _uniform(shape: Shape, generator: Generator | None, dtype: DType, device: Place) -> Tensor:
    if dtype is not dt.float64:
        return uniform_from_bits(bits(shape, generator, device), dtype)
    # 21 high bits and 32 low ones fill a double's 53.
    high, low = (ops.cast(bits(shape, generator, device), dtype=dt.float64) for _ in range(2))
    return ops.mul(ops.add(ops.mul(ops.floor(ops.mul(high, 2.0**-11)), 2.0**32), low), 2.0**-53)


def _normal(shape: Shape, generator: Generator | None, dtype: DType, device: Place) -> Tensor:
    if dtype is not dt.float64:
        # One draw of both words, and an element's two lie apart, so that what is made of them fuses.
        drawn = bits((2, *shape), generator, device)
        first, second = (reshaped(between(drawn, 0, i, i + 1), shape) for i in (0, 1))
        return normal_from_bits(first, second, dtype)
    radius = ops.sub(1.0, _uniform(shape, generator, dtype, device))
    angle = ops.mul(_uniform(shape, generator, dtype, device), 2.0 * math.pi)
    return ops.mul(ops.sqrt(ops.mul(ops.log(radius), -2.0)), ops.cos(angle))


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers from 0 up to, and without, 1."""
    made = _uniform(sizes_of("rand", size), generator, _floating("rand", dtype), device)
    return made.requires_grad_() if requires_grad else made


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers of mean 0 and variance 1."""
    made = _normal(sizes_of("randn", size), generator, _floating("randn", dtype), device)
    return made.requires_grad_() if requires_grad else made


def rand_like(
    input: Tensor, *, dtype: DType | None = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """`rand` in the shape, dtype and device of a tensor."""
    check_tensor("rand_like", input)
    return rand(*input.shape, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def randn_like(
    input: Tensor, *, dtype: DType | None = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """`randn` in the shape, dtype and device of a tensor."""
    check_tensor("randn_like", input)
    return randn(*input.shape, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Place = None,
) -> Tensor:
    """Uniform integers from ``low`` (0 if left out) up to, and without, ``high``."""
    if size is None:
        low, high, size = (0, low, high) if not isinstance(high, int) else (low, high, size)
    if size is None:
        fail(ArgumentError, "randint: no size given", "randint(low, high, size)")
    made = _integers("randint", low, high, sizes_of("randint", (size,)), generator, device)
    return cast(made, dtype or dt.int64)


def _integers(name: str, low: int, high: int, shape: Shape, generator: Generator | None, device: Place) -> Tensor:
    span = high - low
    if span <= 0:
        fail(ArgumentError, f"{name}: from {low} to {high} there is nothing to draw", "high must be above low")
    word = cast(bits(shape, generator, device), dt.int64)
    if span <= 2**31:
        # The word's share of the span: as even as a remainder is, and no division.
        drawn = ops.shift_right(ops.mul(word, span), 32)
    else:
        above = ops.bitwise_and(cast(bits(shape, generator, device), dt.int64), 2**31 - 1)
        drawn = ops.remainder(ops.add(ops.shift_left(above, 32), word), span)
    return drawn if low == 0 else ops.add(drawn, low)


def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: DType | None = None) -> Tensor:
    """`randint` in the shape, dtype and device of a tensor."""
    bounds = (0, low) if high is None else (low, high)
    return randint(*bounds, tuple(input.shape), dtype=dtype or input.dtype, device=input.device)


def randperm(n: int, *, generator: Generator | None = None, dtype: DType | None = None, device: Place = None) -> Tensor:
    """The integers from 0 to n - 1 in random order."""
    keys = cast(bits(sizes_of("randperm", (n,)), generator, device), dt.int64)
    return cast(ops.argsort(keys, axis=0), dtype or dt.int64)


def bernoulli_bits(name: str, p: float, shape: Shape, generator: Generator | None, device: Place) -> Tensor:
    """True with probability p: words below a threshold."""
    check_probability(name, p)
    threshold = round(p * 2**32)
    drawn = bits(shape, generator, device)
    return ops.lt(drawn, threshold) if threshold < 2**32 else ops.eq(drawn, drawn)


@tensor_method
def bernoulli(input: Tensor, *, p: float | None = None, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element names (or p), else 0."""
    check_floating("bernoulli", input)
    shape = tuple(input.shape)
    if p is not None:
        return cast(bernoulli_bits("bernoulli", p, shape, generator, input.device), input.dtype)
    drawn = _uniform(shape, generator, input.dtype.compute, input.device)
    return cast(ops.lt(drawn, input.detach()), input.dtype)


def normal(
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Place = None,
) -> Tensor:
    """Normal numbers of the mean and standard deviation given, numbers or tensors."""
    tensors = [t for t in (mean, std) if isinstance(t, Tensor)]
    if size is None and not tensors:
        fail(ArgumentError, "normal: no size given", "normal(mean, std, size)")
    if not isinstance(std, Tensor) and std < 0:
        fail(ArgumentError, f"normal: std={std} is negative", "give 0 or more")
    if tensors:
        like: Tensor = tensors[0] if len(tensors) == 1 else ops.add(tensors[0], tensors[1])
        drawn = _normal(tuple(like.shape), generator, like.dtype, like.device)
    else:
        drawn = _normal(sizes_of("normal", (size or (),)), generator, _floating("normal", dtype), device)
    return ops.add(ops.mul(drawn, std), mean)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Positions drawn with probabilities in proportion to the elements of each row.

    Args:
        input: Weights, not negative, shape ``(C,)`` or ``(N, C)``.
        num_samples: How many to draw from each row.
        replacement: Whether one position may be drawn several times.
        generator: Where the bits come from.

    Returns:
        int64, shape ``(num_samples,)`` or ``(N, num_samples)``.
    """
    check_floating("multinomial", input)
    if input.ndim not in (1, 2):
        fail(ShapeError, f"multinomial: input has shape {tuple(input.shape)}", "it is (C,) or (N, C)")
    if num_samples < 1 or (not replacement and num_samples > input.shape[-1]):
        fail(
            ArgumentError,
            f"multinomial: cannot draw {num_samples} of {input.shape[-1]} without replacement",
            "draw fewer, or with replacement=True",
        )
    weights = cast(input.detach(), dt.float32)
    axis, place = input.ndim - 1, input.device
    if not replacement:
        # The smallest of exponential waiting times with these rates, in order.
        waiting = ops.neg(ops.log(ops.sub(1.0, _uniform(tuple(input.shape), generator, dt.float32, place))))
        times = ops.where(ops.gt(weights, 0), ops.div(waiting, weights), math.inf)
        return between(ops.argsort(times, axis=axis), axis, 0, num_samples)
    sums = ops.cumsum(weights, axis=axis)
    total = between(sums, axis, input.shape[-1] - 1, input.shape[-1])
    drawn = _uniform((*input.shape[:-1], num_samples), generator, dt.float32, place)
    marks = reshaped(ops.mul(drawn, total), (*drawn.shape, 1))
    steps = reshaped(sums, (*input.shape[:-1], 1, input.shape[-1]))
    return ops.sum(cast(ops.le(steps, marks), dt.int64), axes=(input.ndim,))


def dropout_mask(name: str, x: Tensor, p: float, training: bool, shape: Shape) -> Tensor | None:
    """Which elements dropout keeps; None where it keeps all."""
    check_floating(name, x)
    check_probability(name, p)
    if not training or p == 0.0:
        return None
    return bernoulli_bits(name, 1.0 - p, shape, None, x.device)


# In place ---------------------------------------------------------------------------------------------


@tensor_method
def uniform_(input: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write uniform numbers from ``a`` up to ``b``."""
    check_floating("uniform_", input)
    with no_grad():
        drawn = _uniform(tuple(input.shape), generator, input.dtype, input.device)
        value = ops.add(ops.mul(drawn, b - a), a)
    return copy_into(input, value, "uniform_")


@tensor_method
def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write normal numbers."""
    check_floating("normal_", input)
    with no_grad():
        drawn = _normal(tuple(input.shape), generator, input.dtype, input.device)
        value = ops.add(ops.mul(drawn, std), mean)
    return copy_into(input, value, "normal_")


@tensor_method
def bernoulli_(input: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Write 1 with probability p, else 0."""
    drawn = bernoulli_bits("bernoulli_", p, tuple(input.shape), generator, input.device)
    return copy_into(input, cast(drawn, input.dtype), "bernoulli_")


@tensor_method
def random_(input: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Write uniform integers from ``low`` up to ``high``; with one number, from 0 up to it."""
    bounds = (low, high) if high is not None else (0, low or 2**24)
    drawn = _integers("random_", bounds[0], bounds[1], tuple(input.shape), generator, input.device)
    return copy_into(input, cast(drawn, input.dtype), "random_")


@tensor_method
def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write exponential numbers of a rate."""
    check_floating("exponential_", input)
    with no_grad():
        drawn = _uniform(tuple(input.shape), generator, input.dtype, input.device)
        value = ops.div(ops.log(ops.sub(1.0, drawn)), -lambd)
    return copy_into(input, value, "exponential_")
