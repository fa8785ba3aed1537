"""The incomplete gamma functions. They iterate until all elements have converged, so no kernel computes them.

Which way is taken where follows the Cephes library of S. L. Moshier and its extension in SciPy:

    a above 20, x within 30 % of a     N. M. Temme's uniform expansion
    x above 1.1 and above a            the upper function by a continued fraction
    x small, and a smaller still       the upper function by a power series in which nothing cancels
    elsewhere                          the lower function by a power series

The other of the two functions, which add up to 1, is then never the much smaller one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ops.elementwise import exp, log
from tracec.ops.families import elementwise
from tracec.ops.gamma import lgamma, stirling
from tracec.ops.logic import eq, where
from tracec.ops.normal import erfc

#: Half a unit in the last place of float64.
EPSILON = 2.0**-53
#: The most steps that anything here takes.
MOST = 2000

# Parts ------------------------------------------------------------------------------------------------


def log1p_less(xp: Any, x: Any) -> Any:
    """``log(1 + x) - x``, exact near 0 too: by the series of the inverse hyperbolic tangent of x / (2 + x)."""
    r = xp.where(xp.abs(x) < 0.5, x / (2.0 + x), 0.0)
    y, series = r * r, 0.0
    for k in range(35, 1, -2):
        series = series * y + 1.0 / k
    return xp.where(xp.abs(x) < 0.5, r * (2.0 * y * series - x), xp.log1p(x) - x)


def _factor(xp: Any, a: Any, x: Any) -> Any:
    """``x ** a * exp(-x) / gamma(a)``."""
    safe = xp.maximum(a, 3.0)
    exponent = safe * log1p_less(xp, (x - safe) / safe)
    large = xp.sqrt(safe / (2.0 * math.pi)) * xp.exp(exponent - stirling(safe))
    low = xp.minimum(a, 3.0)
    bounded = xp.minimum(x, 800.0)
    small = xp.power(bounded, low) * xp.exp(-bounded) * (low * xp.exp(-lgamma.eager(xp, 1.0 + low)))
    return xp.where(a < 3.0, small, large)


def iterate(xp: Any, start: Any, combine: Callable[[Any, Any], Any], steps: Iterator[Any], small: Any) -> Any:
    """A sum or product over steps, to each element's own end, so that no element depends on what is beside it.

    Args:
        xp: The array module.
        start: What to start from.
        combine: ``(value, step) -> value``.
        steps: What to combine with, array by array.
        small: ``(value, step) -> bool array``: whether the step was the last one needed.
    """
    value, done = start, xp.zeros(start.shape, bool)
    for step in steps:
        value = xp.where(done, value, combine(value, step))
        done = done | small(value, step)
        if bool(done.all()):
            break
    return value


def _sum(xp: Any, start: Any, terms: Iterator[Any]) -> Any:
    """The sum of a series whose terms end up falling."""
    return iterate(xp, start, lambda v, t: v + t, terms, lambda v, t: xp.abs(t) <= EPSILON * xp.abs(v))


def _lower_series(xp: Any, a: Any, x: Any) -> Any:
    """The lower function, well below a."""

    def terms() -> Iterator[Any]:
        term = xp.ones_like(a)
        for n in range(1, MOST):
            term = term * (x / (a + n))
            yield term

    return _factor(xp, a, x) / a * _sum(xp, xp.ones_like(a), terms())


def _upper_fraction(xp: Any, a: Any, x: Any) -> Any:
    """The upper function, above a.

    Source: NIST Digital Library of Mathematical Functions, 8.9.2, by the modified Lentz method.
    """

    def ratios() -> Iterator[Any]:
        b = x + 1.0 - a
        c, d = xp.full_like(b, 1e300), 1.0 / b
        for n in range(1, MOST):
            step = n * (a - n)
            b = b + 2.0
            d = 1.0 / (b + step * d)
            c = b + step / c
            yield c * d

    def last(value: Any, ratio: Any) -> Any:
        return xp.abs(ratio - 1.0) <= 2.0 * EPSILON

    return _factor(xp, a, x) * iterate(xp, 1.0 / (x + 1.0 - a), lambda v, r: v * r, ratios(), last)


def _upper_series(xp: Any, a: Any, x: Any) -> Any:
    """The upper function of small numbers: 1 less the power series of the lower one, the 1 taken out of it."""

    def terms() -> Iterator[Any]:
        term = xp.ones_like(a)
        for n in range(1, MOST):
            term = term * (-x / n)
            yield term / (a + n)

    power = a * xp.log(x) - lgamma.eager(xp, 1.0 + a)
    return -xp.expm1(power) - xp.exp(power) * a * _sum(xp, xp.zeros_like(a), terms())


@functools.cache
def temme(orders: int = 14, terms: int = 20) -> list[list[float]]:
    """The coefficients ``c[k]`` of the expansion in powers of eta, as rational numbers until they are rounded.

    Source: NIST Digital Library of Mathematical Functions, 8.12.8 to 8.12.11; mu of eta solves
    ``mu * mu' = eta * (1 + mu)``, and what c[k] has at eta = 0 has to vanish, which gives Stirling's coefficients.
    """
    from fractions import Fraction  # late: it takes its time to import, and few programs come here

    size = terms + 2 * orders + 2
    mu = [Fraction(0), Fraction(1)]
    for n in range(2, size + 1):
        known = sum((mu[i] * mu[n + 1 - i] * (n + 1 - i) for i in range(2, n)), Fraction(0))
        mu.append((mu[n - 1] - known) / (n + 1))
    ratio = [Fraction(1)]  # eta / mu
    for n in range(1, size):
        ratio.append(-sum((mu[i + 1] * ratio[n - i] for i in range(1, n + 1)), Fraction(0)))
    c = ratio[1:]
    found = []
    for _ in range(orders):
        found.append([float(v) for v in c[:terms]])
        slope = [n * v for n, v in enumerate(c)][1:]
        c = [s - slope[0] * r for s, r in zip(slope, ratio, strict=False)][1:]
    return found


def _uniform(xp: Any, a: Any, x: Any) -> tuple[Any, Any]:
    """Both functions for large a, near a."""
    mu = (x - a) / a
    half_square = -log1p_less(xp, mu)
    eta = xp.copysign(xp.sqrt(2.0 * half_square), mu)
    total = xp.zeros_like(a)
    for coefficients in reversed(temme()):
        part = xp.zeros_like(a)
        for v in reversed(coefficients):
            part = part * eta + v
        total = total / a + part
    rest = xp.exp(-a * half_square) / xp.sqrt(2.0 * math.pi * a) * total
    z = eta * xp.sqrt(0.5 * a)
    return 0.5 * erfc.eager(xp, -z) - rest, 0.5 * erfc.eager(xp, z) + rest


# The functions ----------------------------------------------------------------------------------------


def _both(xp: Any, a: Any, x: Any) -> tuple[Any, Any]:
    """The lower and the upper function of float64 arrays of one shape."""
    lower, upper = xp.full_like(a, math.nan), xp.full_like(a, math.nan)
    inside = (a > 0) & (x > 0) & (a < math.inf) & (x < math.inf)
    near = inside & (a > 20) & (xp.abs(x - a) < 0.3 * a)
    fraction = inside & ~near & (x > 1.1) & (x >= a)
    small = xp.where(x > 0.5, 1.1 * x >= a, a * xp.log(xp.where(x > 0, x, 0.5)) >= -0.4)
    series = inside & ~near & (x <= 1.1) & small
    rest = inside & ~near & ~fraction & ~series
    for chosen, rule, into, other in (
        (fraction, _upper_fraction, upper, lower),
        (series, _upper_series, upper, lower),
        (rest, _lower_series, lower, upper),
    ):
        if bool(chosen.any()):
            into[chosen] = rule(xp, a[chosen], x[chosen])
            other[chosen] = 1.0 - into[chosen]
    if bool(near.any()):
        lower[near], upper[near] = _uniform(xp, a[near], x[near])
    nothing = ((a > 0) & (x == 0)) | ((a == math.inf) & (x >= 0) & (x < math.inf))
    everything = ((a == 0) & (x > 0)) | ((a >= 0) & (a < math.inf) & (x == math.inf))
    for where_, value in ((nothing, 0.0), (everything, 1.0)):
        lower[where_], upper[where_] = value, 1.0 - value
    return lower, upper


def _eager(which: int) -> Any:
    def run(xp: Any, a: Any, x: Any) -> Any:
        shape = np.broadcast_shapes(a.shape, x.shape)
        wide = [xp.broadcast_to(v, shape).reshape(-1).astype(np.float64) for v in (a, x)]
        return _both(xp, *wide)[which].astype(a.dtype).reshape(shape)

    return run


def _density(a: Any, x: Any) -> Any:
    """The derivative of the lower function by x, ``x ** (a - 1) * exp(-x) / gamma(a)``."""
    zero = eq(x, 0.0)
    return exp((a - 1.0) * where(zero, 0.0, log(where(zero, 1.0, x))) - x - lgamma(a))


_SAMPLES = (
    Sample((Arg((60,), dt.float32, 0.1, 9.0), Arg((60,), dt.float32, 0.0, 9.0))),
    Sample((Arg((60,), dt.float32, 30.0, 60.0), Arg((60,), dt.float32, 20.0, 70.0))),
)
_UNKNOWN = not_differentiable("only that by its second operand is known")
_RANGES = ((0.5, 4.0), (0.2, 4.0))

gammainc: Operator = elementwise(
    "gammainc",
    eager=_eager(0),
    derivative=(_UNKNOWN, lambda t, out, a, x: t * _density(a, x)),
    domain=_RANGES,
    samples=_SAMPLES,
    lower=HostCall(),
    doc="The regularised lower incomplete gamma function; NaN for negative operands.",
)
gammaincc: Operator = elementwise(
    "gammaincc",
    eager=_eager(1),
    derivative=(_UNKNOWN, lambda t, out, a, x: -(t * _density(a, x))),
    domain=_RANGES,
    samples=_SAMPLES,
    lower=HostCall(),
    doc="The regularised upper incomplete gamma function; NaN for negative operands.",
)

__all__ = ["gammainc", "gammaincc", "iterate", "log1p_less", "temme"]
