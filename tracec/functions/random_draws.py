"""Samples of standard distributions, of a shape, dtype and device: what random functions are made of."""

from __future__ import annotations

import math
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError
from tracec.functions.common import cast, check_probability, fail
from tracec.functions.options import Place, placed
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.types import Shape
from tracec.ops.random import uniform_from_bits
from tracec.record.random import Generator, default_generator
from tracec.record.tensor import Tensor


def bits(shape: Shape, generator: Generator | None, device: Place) -> Tensor:
    """Fresh uniform u32 words."""
    place = placed(device)
    if place == "meta":  # nothing is drawn
        return ops.iota(shape=tuple(shape) or (1,), axis=0, dtype=dt.uint32, device="meta").reshape(tuple(shape))
    drawn = (default_generator(place) if generator is None else generator).next_bits(shape)
    return drawn if drawn.device == place else drawn.to(place)


def words(shape: Shape, generator: Generator | None, dtype: DType, device: Place) -> Tensor:
    """Fresh random words that numbers of a floating dtype are made of: of 64 bits for float64, else of 32."""
    if dtype is not dt.float64:
        return bits(shape, generator, device)
    high, low = (ops.cast(bits(shape, generator, device), dtype=dt.uint64) for _ in range(2))
    return ops.bitwise_or(ops.shift_left(high, 32), low)


def uniform_numbers(shape: Shape, generator: Generator | None, dtype: DType, device: Place) -> Tensor:
    """Uniform numbers from 0 to 1; of complex ones both parts are."""
    if dtype.is_complex:
        return ops.view_as_complex(uniform_numbers((*shape, 2), generator, dtype.to_real(), device))
    if dtype is not dt.float64:
        return uniform_from_bits(bits(shape, generator, device), dtype)
    # 21 high bits and 32 low ones fill a double's 53.
    high, low = (ops.cast(bits(shape, generator, device), dtype=dt.float64) for _ in range(2))
    return ops.mul(ops.add(ops.mul(ops.floor(ops.mul(high, 2.0**-11)), 2.0**32), low), 2.0**-53)


def uniform_like(x: Tensor) -> Tensor:
    """Uniform numbers from 0 to 1 in the shape, dtype and device of a floating tensor."""
    return uniform_numbers(tuple(x.shape), None, x.dtype, x.device)


def normal_numbers(shape: Shape, generator: Generator | None, dtype: DType, device: Place) -> Tensor:
    """Normal numbers of variance 1; of complex ones each part has half of it."""
    if dtype.is_complex:
        parts = normal_numbers((*shape, 2), generator, dtype.to_real(), device)
        return ops.view_as_complex(ops.mul(parts, math.sqrt(0.5)))
    return cast(ops.normal_variate(words(shape, generator, dtype, device)), dtype)


def truncated_normal_numbers(low: float, high: float, like: Tensor, generator: Generator | None) -> Tensor:
    """Normal numbers from low to high alone, in a tensor's shape and at least float32."""
    dtype, shares = like.dtype.compute, [0.5 * math.erfc(-bound / math.sqrt(2.0)) for bound in (low, high)]
    word = words(tuple(like.shape), generator, dtype, like.device)
    size = 8 * word.dtype.itemsize
    first, last = (min(round(share * 2**size), 2**size - 1) for share in shares)
    return ops.normal_variate(ops.add(_share(word, max(last - first, 1)), first))


def _share(word: Tensor, span: int) -> Tensor:
    """Words from 0 up to a span: the upper half of their product, for those of 64 bits but for its last bits."""
    if word.dtype is dt.uint32:
        return cast(ops.shift_right(ops.mul(cast(word, dt.uint64), span), 32), dt.uint32)
    high, low = ops.shift_right(word, 32), ops.bitwise_and(word, 2**32 - 1)
    parts = (ops.mul(high, span % 2**32), ops.mul(low, span >> 32))
    middle = ops.add(*(ops.shift_right(part, 32) for part in parts))
    return ops.add(ops.mul(high, span >> 32), middle)


def exponential_numbers(shape: Shape, generator: Generator | None, dtype: DType, device: Place) -> Tensor:
    """Exponential numbers of rate 1, all above 0."""
    return cast(ops.exponential_variate(words(shape, generator, dtype, device)), dtype)


def gumbel_numbers(shape: Shape, generator: Generator | None, dtype: DType, device: Place) -> Tensor:
    """Standard Gumbel numbers."""
    return cast(ops.gumbel_variate(words(shape, generator, dtype, device)), dtype)


def cauchy_numbers(shape: Shape, generator: Generator | None, dtype: DType, device: Place) -> Tensor:
    """Standard Cauchy numbers."""
    return cast(ops.cauchy_variate(words(shape, generator, dtype, device)), dtype)


def integer_numbers(name: str, low: int, high: int, shape: Shape, generator: Generator | None, device: Place) -> Tensor:
    """Uniform int64 numbers from low up to, and without, high.

    Raises:
        ArgumentError: there is no such number, or there are too many.
    """
    span = high - low
    if span <= 0:
        fail(ArgumentError, f"{name}: from {low} to {high} there is nothing to draw", "high must be above low")
    if span > 2**63 and span != 2**64:
        fail(ArgumentError, f"{name}: from {low} to {high} are more than 2**63 integers", "draw from fewer")
    word = cast(bits(shape, generator, device), dt.int64)
    if span <= 2**31:
        # The word's share of the span: as even as a remainder is, and no division.
        drawn = ops.shift_right(ops.mul(word, span), 32)
        return drawn if low == 0 else ops.add(drawn, low)
    above = cast(bits(shape, generator, device), dt.int64)
    drawn = ops.add(ops.shift_left(above, 32), word)
    if span == 2**64:
        return drawn
    drawn = ops.bitwise_and(drawn, 2**63 - 1)
    drawn = drawn if span == 2**63 else ops.remainder(drawn, span)
    return drawn if low == 0 else ops.add(drawn, low)


def bernoulli_bits(name: str, p: float, shape: Shape, generator: Generator | None, device: Place) -> Tensor:
    """True with probability p: words below a threshold."""
    check_probability(name, p)
    threshold = round(p * 2**32)
    drawn = bits(shape, generator, device)
    return ops.lt(drawn, threshold) if threshold < 2**32 else ops.eq(drawn, drawn)


def scaled(drawn: Tensor, scale: Any, offset: Any) -> Tensor:
    """``drawn * scale + offset``, to the same bits in eager and compiled runs."""
    multiply = ops.mul if drawn.dtype.is_complex else ops.rounded_mul
    return ops.add(multiply(drawn, scale), offset)
