"""Random numbers written into tensors: the methods ``uniform_``, ``normal_`` and others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.functions.common import cast, check_floating, check_inexact, check_tensor, fail
from tracec.functions.random_draws import (
    bernoulli_bits,
    cauchy_numbers,
    exponential_numbers,
    integer_numbers,
    normal_numbers,
    scaled,
    uniform_numbers,
)
from tracec.ir import dtype as dt
from tracec.record.method import tensor_method
from tracec.record.mode import no_grad
from tracec.record.random import Generator
from tracec.record.tensor import Tensor
from tracec.record.write import copy_into


def _bounds(name: str, given: tuple[Any, ...], named: dict[str, Any], defaults: dict[str, Any]) -> list[Any]:
    """Arguments whose names, such as ``from``, are words of Python's own."""
    if len(given) > len(defaults):
        fail(ArgumentTypeError, f"{name}: {len(given)} arguments given", f"it takes {' and '.join(defaults)}")
    found = {**defaults, **dict(zip(defaults, given, strict=False))}
    for key, value in named.items():
        if key not in list(defaults)[len(given) :]:
            fail(ArgumentTypeError, f"{name}: got an unexpected argument {key!r}", f"it takes {' and '.join(defaults)}")
        found[key] = value
    return list(found.values())


def _positive(name: str, what: str, value: float) -> None:
    if not value > 0:
        fail(ArgumentError, f"{name}: {what}={value} is not above 0", f"give a positive {what}")


def _write(name: str, input: Tensor, draw: Callable[[], Tensor]) -> Tensor:
    with no_grad():
        value = draw()
    return copy_into(input, value, name)


def _uniform(input: Tensor, generator: Generator | None) -> Tensor:
    dtype = input.dtype.compute if input.dtype.is_floating_point else dt.float32
    return uniform_numbers(tuple(input.shape), generator, dtype, input.device)


def _exponential(input: Tensor, generator: Generator | None) -> Tensor:
    dtype = input.dtype.compute if input.dtype.is_floating_point else dt.float32
    return exponential_numbers(tuple(input.shape), generator, dtype, input.device)


@tensor_method
def uniform_(input: Tensor, *bounds: float, generator: Generator | None = None, **named: float) -> Tensor:
    """Write uniform numbers: ``uniform_(from=0, to=1)``, without the upper bound itself.

    Raises:
        ArgumentError: the lower bound is above the upper one.
    """
    check_inexact("uniform_", input)
    low, high = _bounds("uniform_", bounds, named, {"from": 0.0, "to": 1.0})
    if not low <= high:
        fail(ArgumentError, f"uniform_: from={low} is above to={high}", "exchange them")
    if input.dtype.is_complex:
        uniform_(ops.view_as_real(input), low, high, generator=generator)
        return input
    return _write("uniform_", input, lambda: scaled(_uniform(input, generator), high - low, low))


@tensor_method
def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write normal numbers.

    Raises:
        ArgumentError: ``std`` is negative.
    """
    check_inexact("normal_", input)
    if std < 0:
        fail(ArgumentError, f"normal_: std={std} is negative", "give 0 or more")
    return _write("normal_", input, lambda: _normal(input, mean, std, generator))


def _normal(input: Tensor, mean: float, std: float, generator: Generator | None) -> Tensor:
    return scaled(normal_numbers(tuple(input.shape), generator, input.dtype.compute, input.device), std, mean)


@tensor_method
def log_normal_(input: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers whose logarithm is normal of that mean and standard deviation."""
    check_floating("log_normal_", input)
    _positive("log_normal_", "std", std)
    return _write("log_normal_", input, lambda: ops.exp(_normal(input, mean, std, generator)))


@tensor_method
def cauchy_(input: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write Cauchy numbers of a median and a half-width at half-maximum."""
    check_floating("cauchy_", input)
    _positive("cauchy_", "sigma", sigma)

    def draw() -> Tensor:
        drawn = cauchy_numbers(tuple(input.shape), generator, input.dtype.compute, input.device)
        return scaled(drawn, sigma, median)

    return _write("cauchy_", input, draw)


@tensor_method
def exponential_(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write exponential numbers of a rate."""
    check_floating("exponential_", input)
    _positive("exponential_", "lambd", lambd)
    return _write("exponential_", input, lambda: ops.div(_exponential(input, generator), lambd))


@tensor_method
def geometric_(input: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Write how many trials, each a success with probability p, the first success takes: 1, 2, …

    Raises:
        ArgumentError: p is not between 0 and 1.
    """
    check_tensor("geometric_", input)
    if not 0 < p < 1:
        fail(ArgumentError, f"geometric_: p={p} is not between 0 and 1", "give a number from the open interval (0, 1)")

    def draw() -> Tensor:
        # How many steps of the waiting time in which a success has probability p.
        return ops.ceil(ops.div(_exponential(input, generator), -math.log1p(-p)))

    return _write("geometric_", input, draw)


@tensor_method
def bernoulli_(input: Tensor, p: float | Tensor = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Write 1 with probability p, or with the probability that each element of p names, else 0."""
    check_tensor("bernoulli_", input)
    if isinstance(p, Tensor):
        check_floating("bernoulli_", p, "p")
        chances = p.detach()
        return _write("bernoulli_", input, lambda: cast(ops.lt(_uniform(input, generator), chances), input.dtype))
    return _write(
        "bernoulli_",
        input,
        lambda: cast(bernoulli_bits("bernoulli_", p, tuple(input.shape), generator, input.device), input.dtype),
    )


#: Floating type → digits of its significand: integers up to there are exact.
_DIGITS = {dt.float16: 11, dt.bfloat16: 8, dt.float32: 24, dt.float64: 53}


@tensor_method
def random_(input: Tensor, *bounds: int | None, generator: Generator | None = None, **named: int | None) -> Tensor:
    """Write uniform integers: ``random_(from, to)``, ``random_(to)`` from 0, ``random_()`` over all that fit.

    Of floating types, all that fit are the integers from 0 to that of the significand's digits.
    """
    check_tensor("random_", input)
    if len(bounds) == 1 and not named:
        bounds = (0, *bounds)
    low, high = _bounds("random_", bounds, named, {"from": 0, "to": None})
    if high is None:
        digits = _DIGITS.get(input.dtype)
        most = 1 if input.dtype is dt.bool_ else None if digits else int(np.iinfo(input.dtype.numpy).max)
        high = 2**digits + 1 if digits else min(most or 1, 2**63 - 1) + 1
    return _write(
        "random_",
        input,
        lambda: cast(integer_numbers("random_", low, high, tuple(input.shape), generator, input.device), input.dtype),
    )
