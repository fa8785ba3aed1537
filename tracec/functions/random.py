"""Random numbers, made from counters: the same for one seed in eager and compiled runs, on every device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Unpack

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from tracec.functions.common import (
    cast,
    check_floating,
    check_real,
    check_tensor,
    expanded,
    fail,
    integers,
    one_integer,
    reshaped,
    sizes_of,
)
from tracec.functions.options import DrawOptions, LikeOptions, RandomOptions, create, sizes_given
from tracec.functions.random_draws import (
    bernoulli_bits,
    bits,
    exponential_numbers,
    integer_numbers,
    normal_numbers,
    scaled,
    uniform_numbers,
)
from tracec.functions.shape import between
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.types import Shape
from tracec.record.backend import Device
from tracec.record.check import check_none
from tracec.record.method import tensor_method
from tracec.record.mode import no_grad
from tracec.record.random import Generator
from tracec.record.tensor import Tensor


def _check_inexact(name: str, dtype: DType) -> None:
    if not dtype.is_differentiable:
        fail(DTypeError, f"{name}: dtype {dtype.name} is neither floating nor complex", "use randint for integers")


Draw = Callable[[Shape, Generator | None, DType, Device], Tensor]


def _drawn(name: str, draw: Draw, size: tuple[Any, ...], options: Any) -> Tensor:
    shape = sizes_of(name, sizes_given(name, size, options))
    generator = options.get("generator")

    def make(dtype: DType, device: Device) -> Tensor:
        _check_inexact(name, dtype)
        return draw(shape, generator, dtype, device)

    return create(name, options, make, takes=RandomOptions)


def _drawn_like(name: str, draw: Draw, input: Tensor, options: Any) -> Tensor:
    check_tensor(name, input)
    shape, generator = tuple(input.shape), options.get("generator")

    def make(dtype: DType, device: Device) -> Tensor:
        _check_inexact(name, dtype)
        return draw(shape, generator, dtype, device)

    return create(name, options, make, input.dtype, input.device, takes=LikeRandomOptions)


def rand(*sizes: Any, **options: Unpack[RandomOptions]) -> Tensor:
    """Uniform numbers from 0 up to, and without, 1.

    Args:
        *sizes: Sizes of the result, one after the other or as one tuple or list; none for a scalar.
        **options: ``dtype``, floating or complex, by default that of new tensors; ``device``; ``requires_grad``;
            ``out``, which is written to; ``pin_memory``; ``layout``, which can only be ``strided``; ``generator``,
            where the bits come from.
    """
    return _drawn("rand", uniform_numbers, sizes, options)


def randn(*sizes: Any, **options: Unpack[RandomOptions]) -> Tensor:
    """Normal numbers of mean 0 and variance 1; of complex ones each part has half of the variance.

    Args:
        *sizes: Sizes of the result, one after the other or as one tuple or list; none for a scalar.
        **options: ``dtype``, floating or complex, by default that of new tensors; ``device``; ``requires_grad``;
            ``out``, which is written to; ``pin_memory``; ``layout``, which can only be ``strided``; ``generator``,
            where the bits come from.
    """
    return _drawn("randn", normal_numbers, sizes, options)


class LikeRandomOptions(LikeOptions, total=False):
    """Options of a tensor, and where random bits come from."""

    generator: Generator | None


def rand_like(input: Tensor, **options: Unpack[LikeRandomOptions]) -> Tensor:
    """`rand` in the shape, dtype and device of a tensor."""
    return _drawn_like("rand_like", uniform_numbers, input, options)


def randn_like(input: Tensor, **options: Unpack[LikeRandomOptions]) -> Tensor:
    """`randn` in the shape, dtype and device of a tensor."""
    return _drawn_like("randn_like", normal_numbers, input, options)


def randint(
    low: int = 0, high: Any = None, size: Sequence[int] | None = None, **options: Unpack[DrawOptions]
) -> Tensor:
    """Uniform integers from ``low`` (0 if left out) up to, and without, ``high``: ``randint(high, size)`` too.

    Args:
        low: The lowest integer.
        high: One above the highest.
        size: Sizes of the result.
        **options: ``dtype``, int64 by default, ``device``, ``requires_grad``, ``out`` and ``generator``.

    Raises:
        ArgumentTypeError: no size is given.
    """
    if size is None and isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    if high is None:
        low, high = 0, low
    if size is None:
        fail(ArgumentTypeError, "randint: no size given", "randint(low, high, size)")
    shape, generator = sizes_of("randint", (size,)), options.get("generator")
    low, high = integers("randint", (low, high), "low and high")
    return create(
        "randint",
        options,
        lambda dtype, device: cast(integer_numbers("randint", low, high, shape, generator, device), dtype),
        dtype=dt.int64,
        takes=DrawOptions,
    )


def randint_like(input: Tensor, low: Any = 0, high: Any = None, **options: Unpack[LikeRandomOptions]) -> Tensor:
    """`randint` in the shape, dtype and device of a tensor."""
    check_tensor("randint_like", input)
    low, high = (0, low) if high is None else (low, high)
    low, high = integers("randint_like", (low, high), "low and high")
    shape, generator = tuple(input.shape), options.get("generator")
    return create(
        "randint_like",
        options,
        lambda dtype, device: cast(integer_numbers("randint_like", low, high, shape, generator, device), dtype),
        input.dtype,
        input.device,
        takes=LikeRandomOptions,
    )


def randperm(n: int, **options: Unpack[DrawOptions]) -> Tensor:
    """The integers from 0 to n - 1 in random order.

    Args:
        n: How many.
        **options: ``dtype``, int64 by default, ``device``, ``requires_grad``, ``out`` and ``generator``.

    Returns:
        Shape ``(n,)``.
    """
    shape, generator = sizes_of("randperm", (n,)), options.get("generator")

    def make(dtype: DType, device: Device) -> Tensor:
        keys = cast(bits(shape, generator, device), dt.int64)
        return cast(ops.argsort(keys, axis=0), dtype)

    return create("randperm", options, make, dtype=dt.int64, takes=DrawOptions)


@tensor_method
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element names (or p), else 0.

    Raises:
        DTypeError: the probabilities are not floating.
        ArgumentError: one is no probability.
    """
    check_floating("bernoulli", input)
    shape = tuple(input.shape)
    if p is not None:
        return cast(bernoulli_bits("bernoulli", p, shape, generator, input.device), input.dtype)
    chances = input.detach()
    _within("bernoulli", "a probability", chances, 0.0, 1.0)
    drawn = uniform_numbers(shape, generator, input.dtype.compute, input.device)
    return cast(ops.lt(drawn, chances), input.dtype)


def normal(
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    size: Sequence[int] | None = None,
    **options: Unpack[DrawOptions],
) -> Tensor:
    """Normal numbers of the mean and standard deviation given, numbers or tensors.

    Args:
        mean: Means; a tensor gives the result its shape, dtype and device.
        std: Standard deviations, 0 or more.
        size: The shape, where mean and std are numbers.
        **options: ``generator`` and ``out``; ``dtype`` and others where mean and std are numbers.

    Raises:
        ArgumentTypeError: numbers are given without a size, or a tensor with one.
        ArgumentError: ``std`` is a negative number.
    """
    tensors = [t for t in (mean, std) if isinstance(t, Tensor)]
    if size is None and not tensors:
        fail(ArgumentTypeError, "normal: no size given", "normal(mean, std, size)")
    if size is not None and tensors:
        fail(ArgumentTypeError, "normal: size given beside tensors", "their shape is the result's")
    for what, number in (("mean", mean), ("std", std)):
        if not isinstance(number, Tensor):
            check_real("normal", number, what)
    if not isinstance(std, Tensor) and std < 0:
        fail(ArgumentError, f"normal: std={std} is negative", "give 0 or more")
    generator = options.get("generator")
    if not tensors:
        shape = sizes_of("normal", (size or (),))

        def make(dtype: DType, device: Device) -> Tensor:
            _check_inexact("normal", dtype)
            return cast(scaled(normal_numbers(shape, generator, dtype.compute, device), std, mean), dtype)

        return create("normal", options, make, takes=DrawOptions)
    like: Tensor = tensors[0] if len(tensors) == 1 else ops.add(tensors[0], tensors[1])
    _check_inexact("normal", like.dtype)
    if isinstance(std, Tensor) and not std.dtype.is_complex:
        _within("normal", "std", std.detach(), 0.0, math.inf)
    with no_grad():
        drawn = normal_numbers(tuple(like.shape), generator, like.dtype.compute, like.device)
        value = cast(scaled(drawn, std, mean), like.dtype).detach()
    return create("normal", options, lambda dtype, device: value, value.dtype, value.device, takes=DrawOptions)


@tensor_method
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

    Raises:
        ShapeError: the input has neither one axis nor two.
        ArgumentError: there are fewer positions than draws without replacement, no draws, or more than 2**24
            positions.
    """
    check_floating("multinomial", input)
    if input.ndim not in (1, 2):
        fail(ShapeError, f"multinomial: input has shape {tuple(input.shape)}", "it is (C,) or (N, C)")
    num_samples = one_integer("multinomial", num_samples, "num_samples")
    if num_samples < 1 or (not replacement and num_samples > input.shape[-1]):
        fail(
            ArgumentError,
            f"multinomial: cannot draw {num_samples} of {input.shape[-1]} without replacement",
            "draw fewer, or with replacement=True",
        )
    if input.shape[-1] > 2**24:
        fail(ArgumentError, f"multinomial: {input.shape[-1]} positions", "it draws from 2**24 at most")
    weights = cast(input.detach(), dt.float32)
    _check_weights(weights)
    axis, place = input.ndim - 1, input.device
    if not replacement:
        # The smallest of exponential waiting times with these rates, in order.
        waiting = exponential_numbers(tuple(input.shape), generator, dt.float32, place)
        times = ops.where(ops.gt(weights, 0), ops.div(waiting, weights), math.inf)
        return between(ops.argsort(times, axis=axis), axis, 0, num_samples)
    sums = ops.cumsum(_whole(weights, axis), axis=axis)
    total = between(sums, axis, input.shape[-1] - 1, input.shape[-1])
    word = cast(bits((*input.shape[:-1], num_samples), generator, place), dt.int64)
    # The word's share of the total, whose halves times the word fit.
    upper, lower = ops.shift_right(total, 30), ops.bitwise_and(total, 2**30 - 1)
    share = ops.shift_right(ops.add(ops.mul(word, upper), ops.shift_right(ops.mul(word, lower), 30)), 2)
    marks = reshaped(share, (*share.shape, 1))
    steps = reshaped(sums, (*input.shape[:-1], 1, input.shape[-1]))
    return ops.sum(cast(ops.le(steps, marks), dt.int64), axes=(input.ndim,))


def _whole(weights: Tensor, axis: int) -> Tensor:
    """Weights as integers up to 2**35, whose sums are the same in any order; 0 for 0 alone."""
    largest = ops.max(weights, axes=(axis,), keepdims=True)
    return cast(ops.ceil(ops.mul(ops.div(weights, largest), 2.0**35)), dt.int64)


def _check_weights(weights: Tensor) -> None:
    """Refuse weights that are no probabilities.

    Raises:
        ArgumentError: one is negative, infinite or NaN, or a row is all zeros.
    """

    def not_finite(_: Any) -> NoReturn:
        fail(
            ArgumentError,
            "multinomial: probability tensor contains either `inf`, `nan` or element < 0",
            "give weights that are finite and not negative",
        )

    def empty(_: Any) -> NoReturn:
        fail(
            ArgumentError,
            "multinomial: invalid multinomial distribution (sum of probabilities <= 0)",
            "give each row a weight above 0",
        )

    inside = ops.bitwise_and(ops.ge(weights, 0), ops.lt(weights, math.inf))
    check_none(ops.logical_not(inside), not_finite)
    above = ops.sum(cast(ops.gt(weights, 0), dt.int64), axes=(weights.ndim - 1,))
    check_none(ops.eq(above, 0), empty)


def _within(name: str, what: str, x: Tensor, low: float, high: float) -> None:
    """Refuse parameters out of their range.

    Raises:
        ArgumentError: an element is.
    """

    def refuse(_: Any) -> NoReturn:
        fail(ArgumentError, f"{name}: {what} is out of its range", f"give numbers from {low} to {high}")

    check_none(ops.logical_not(ops.bitwise_and(ops.ge(x, low), ops.le(x, high))), refuse)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """A Poisson number of each rate, in the rates' dtype; no gradients flow through.

    Raises:
        DTypeError: the rates are not floating.
        ArgumentError: a rate is negative.
    """
    check_floating("poisson", input)
    rates = input.detach()
    _within("poisson", "a rate", rates, 0.0, math.inf)
    return ops.poisson(rates, bits((4,), generator, input.device))


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of ``count`` trials succeed with probability ``prob``, in their dtype; no gradients flow through.

    Raises:
        DTypeError: they are not floating.
        ArgumentError: a count is negative, or a probability is none.
    """
    check_floating("binomial", count, "count")
    check_floating("binomial", prob, "prob")
    counts, chances = ops.add(count.detach(), 0.0), ops.add(prob.detach(), 0.0)
    _within("binomial", "a count", counts, 0.0, math.inf)
    _within("binomial", "a probability", chances, 0.0, 1.0)
    chosen = dt.promote(counts.dtype, chances.dtype)
    shape = ops.add(counts, chances).shape
    counts, chances = (expanded(cast(x, chosen), tuple(shape)) for x in (counts, chances))
    return ops.binomial(counts, chances, bits((4,), generator, count.device))
