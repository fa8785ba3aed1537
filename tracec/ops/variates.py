"""Random numbers by rejection: gamma and von Mises variates, each a function of four random words and its place.

An element's candidates are made from random bits that are addressed by its own position and by the number of the
try, so that its value depends on nothing beside it: the same in eager and compiled runs, on every device, and with
other parameters around it. How many tries it takes no kernel could know beforehand.

The derivative of a gamma variate by its shape holds the probability of smaller numbers, not the random words: the
numbers follow their distribution as it moves, which is what expectations of them need.

Sources: Marsaglia, Tsang, "A Simple Method for Generating Gamma Variables", 2000; Best, Fisher, "Efficient Simulation
of the von Mises Distribution", 1979; Figurnov, Mohamed, Mnih, "Implicit Reparameterization Gradients", 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ir.types import TensorType
from tracec.ops.base import primitive
from tracec.ops.counting import batch_of, variate_sample, variate_type
from tracec.ops.elementwise import log
from tracec.ops.families import elementwise
from tracec.ops.gamma import digamma, stirling
from tracec.ops.incomplete import EPSILON, MOST, iterate, log1p_less, temme
from tracec.ops.random import philox

#: A candidate is refused with a probability below one half, so that nothing is left after these.
_TRIES = 200
#: The smallest numbers of full precision.
_TINY = {dt.float16: 2.0**-14, dt.bfloat16: 2.0**-126, dt.float32: 2.0**-126, dt.float64: 2.0**-1022}

#: ``(xp, uniforms, *parameters) -> (values, accepted)``: candidates of four uniform numbers each, and which will do.
Propose = Callable[..., tuple[Any, Any]]


def _by_rejection(xp: Any, words: Any, propose: Propose, *parameters: Any) -> Any:
    """The first accepted candidate of each element, of flat float64 parameters of which all can be accepted."""
    out = xp.full_like(parameters[0], math.nan)
    left = xp.arange(out.size)
    key = words.astype(xp.uint64)
    low, half = xp.uint64(0xFFFFFFFF), xp.uint64(32)
    for attempt in range(_TRIES):
        place = left.astype(xp.uint64)
        counter = (place & low, (place >> half) ^ key[3:], xp.full_like(place, attempt), key[2:3])
        drawn = philox(xp, counter, (key[:1], key[1:2]))
        values, accepted = propose(
            xp, [(u.astype(np.float64) + 0.5) * 2.0**-32 for u in drawn], *(p[left] for p in parameters)
        )
        out[left[accepted]] = values[accepted]
        left = left[~accepted]
        if not left.size:
            break
    return out


# Gamma ------------------------------------------------------------------------------------------------


def _propose_gamma(xp: Any, uniforms: list[Any], shape: Any) -> tuple[Any, Any]:
    """Logarithms of candidates; of a shape below 1 from that of one more, times a power of a uniform number."""
    radius, angle, level, power = uniforms
    normal = xp.sqrt(-2.0 * xp.log(radius)) * xp.cos(2.0 * math.pi * angle)
    small = shape < 1.0
    d = xp.where(small, shape + 1.0, shape) - 1.0 / 3.0
    v = 1.0 + normal / xp.sqrt(9.0 * d)
    positive = v > 0.0
    cube = xp.where(positive, v, 1.0) ** 3
    log_cube = xp.log(cube)
    accepted = positive & (xp.log(level) < 0.5 * normal * normal + d * (1.0 - cube + log_cube))
    return xp.log(d) + log_cube + xp.where(small, xp.log(power) / shape, 0.0), accepted


def _gamma_eager(xp: Any, shape: Any, words: Any, *, log: bool) -> Any:
    flat = shape.reshape(-1).astype(np.float64)
    value = xp.where(flat == 0.0, -math.inf, xp.where(flat == math.inf, math.inf, math.nan))
    inside = (flat > 0.0) & (flat < math.inf)
    value[inside] = _by_rejection(xp, words, _propose_gamma, flat[inside])
    if not log:
        # As PyTorch's, never 0, whose density and logarithm are infinite.
        value = xp.maximum(xp.exp(value), _TINY[dt.of_numpy(shape.dtype)])
    return value.astype(shape.dtype).reshape(shape.shape)


def _gamma_type(shape: TensorType, words: TensorType, *, log: bool) -> TensorType:
    return variate_type(shape, words)


def _slope(out: Any, shape: Any, log_of: bool) -> Any:
    """The derivative of a variate, or of its logarithm, by its shape."""
    return gamma_slope(shape, out) if log_of else out * gamma_slope(shape, log(out))


standard_gamma: Operator = primitive(
    "standard_gamma",
    family="random",
    type_rule=_gamma_type,
    eager=_gamma_eager,
    vjp=lambda ct, out, shape, words, *, log: (ct * _slope(out, shape, log), None),
    jvp=lambda tangents, out, shape, words, *, log: tangents[0] * _slope(out, shape, log),
    batch=batch_of("standard_gamma"),
    lower=HostCall(),
    arity=2,
    promotion="none",
    doc="A gamma variate of each shape, operand 0, a function of four random words, operand 1; its logarithm with "
    "``log``, which stays finite where the variate would be rounded to 0.",
    samples=(
        variate_sample(Arg((7,), dt.float32, 0.1, 9.0), log=False),
        variate_sample(Arg((3, 5), dt.float64, 0.01, 2.0), log=True),
        variate_sample(Arg((0, 2), dt.float32, 0.5, 1.0), log=False),
        variate_sample(Arg((4,), dt.bfloat16, 0.5, 4.0), log=True),
        variate_sample(Arg((), dt.float32, 100.0, 1e6), log=False),
    ),
)

# How gamma variates move with their shape: minus the derivative of the distribution function by the shape over the
# density and over x, a function of the shape a and of log(x). With F the lower and Q the upper function, x p(x) their
# common factor:


def _slope_below(xp: Any, a: Any, log_x: Any) -> Any:
    """Where x is below a, or small: by the power series of F, ordered so that all terms are positive."""
    x, start = xp.exp(log_x), digamma.eager(xp, a + 1.0) - log_x
    factor, harmonic, n = xp.ones_like(a), xp.zeros_like(a), 0

    def terms() -> Any:
        nonlocal factor, harmonic, n
        for n in range(1, MOST):
            factor = factor * (x / (a + n))
            harmonic = harmonic + 1.0 / (a + n)
            yield factor * (start + harmonic)

    def small(total: Any, term: Any) -> Any:
        # Terms rise until n is about x - a.
        return (xp.abs(term) <= EPSILON * xp.abs(total)) & (a + n > x)

    return iterate(xp, start, lambda v, t: v + t, terms(), small) / a


def _slope_above(xp: Any, a: Any, log_x: Any) -> Any:
    """Where x is above a: by the continued fraction of Q and its derivative, by the modified Lentz method."""
    x = xp.exp(log_x)
    b = x + 1.0 - a
    c, dc = xp.full_like(b, 1e300), xp.zeros_like(b)
    d, dd = 1.0 / b, 1.0 / (b * b)
    value, slope, done = d, dd / d, xp.zeros(a.shape, bool)  # of the slope: the logarithm's
    for n in range(1, MOST):
        step = n * (a - n)
        b = b + 2.0
        denominator = b + step * d
        dd = -(-1.0 + n * d + step * dd) / (denominator * denominator)
        d = 1.0 / denominator
        dc = -1.0 + n / c - step * dc / (c * c)
        c = b + step / c
        ratio, change = c * d, dc / c + dd / d
        value = xp.where(done, value, value * ratio)
        slope = xp.where(done, slope, slope + change)
        done = done | ((xp.abs(ratio - 1.0) <= 2.0 * EPSILON) & (xp.abs(change) <= 2.0 * EPSILON * xp.abs(slope)))
        if bool(done.all()):
            break
    return value * (log_x - digamma.eager(xp, a) + slope)


def _slope_near(xp: Any, a: Any, log_x: Any) -> Any:
    """For large a, near a: by the derivative of Temme's uniform expansion of Q."""
    log_ratio = log_x - xp.log(a)
    mu = xp.expm1(log_ratio)
    half_square = -log1p_less(xp, mu)
    eta = xp.copysign(xp.sqrt(2.0 * half_square), mu)
    flat = xp.abs(mu) < 1e-7
    moved = xp.where(flat, 1.0 + mu / 3.0, mu / xp.where(flat, 1.0, eta))  # minus a times how eta moves with a
    total, change, power = xp.zeros_like(a), xp.zeros_like(a), xp.ones_like(a)
    for k, coefficients in enumerate(temme()):
        part, slope = xp.zeros_like(a), xp.zeros_like(a)
        for v in reversed(coefficients):
            part, slope = part * eta + v, slope * eta + part
        total = total + part * power
        change = change - (slope * moved + k * part) * power / a
        power = power / a
    inside = moved - 0.5 * eta + change - total * (0.5 / a - log_ratio)
    return xp.exp(stirling(a)) * inside / a


def _slope_eager(xp: Any, shape: Any, log_x: Any) -> Any:
    whole = np.broadcast_shapes(shape.shape, log_x.shape)
    a, at = (xp.broadcast_to(v, whole).reshape(-1).astype(np.float64) for v in (shape, log_x))
    out = xp.where((a > 0) & (at == -math.inf), math.inf, xp.full_like(a, math.nan))
    inside = (a > 0) & (a < math.inf) & (xp.abs(at) < math.inf)
    apart = at - xp.log(xp.where(inside, a, 1.0))
    near = inside & (a > 20) & (xp.abs(apart) < 0.25)
    below = inside & ~near & ((apart <= 0) | (at < -0.6))
    for chosen, rule in ((near, _slope_near), (below, _slope_below), (inside & ~near & ~below, _slope_above)):
        if bool(chosen.any()):
            out[chosen] = rule(xp, a[chosen], at[chosen])
    return out.astype(shape.dtype).reshape(whole)


gamma_slope: Operator = elementwise(
    "gamma_slope",
    eager=_slope_eager,
    derivative=not_differentiable("the second derivative of gamma variates by their shape is not known"),
    domain=((0.5, 4.0), (-2.0, 2.0)),
    samples=(Sample((Arg((60,), dt.float64, 0.1, 60.0), Arg((60,), dt.float64, -9.0, 5.0))),),
    lower=HostCall(),
    doc="How the logarithm of a gamma variate moves with its shape, operand 0, at a logarithm, operand 1.",
)

# Von Mises --------------------------------------------------------------------------------------------


def _propose_angle(xp: Any, uniforms: list[Any], concentration: Any, r: Any) -> tuple[Any, Any]:
    """Angles from a wrapped Cauchy distribution, r being its parameter."""
    at, level, side, _ = uniforms
    z = xp.cos(math.pi * at)
    f = (1.0 + r * z) / (r + z)
    c = concentration * (r - f)
    angle = xp.copysign(xp.arccos(xp.clip(f, -1.0, 1.0)), side - 0.5)
    return angle, (c * (2.0 - c) > level) | (xp.log(c / level) + 1.0 >= c)


def _angle_eager(xp: Any, concentration: Any, words: Any) -> Any:
    k = concentration.reshape(-1).astype(np.float64)
    out = xp.full_like(k, math.nan)
    inside = (k >= 0.0) & (k < math.inf)
    k = xp.maximum(k[inside], 1e-10)  # below, nothing differs from a uniform angle
    root = xp.sqrt(1.0 + 4.0 * k * k)
    rho = 2.0 * k / (1.0 + root + xp.sqrt(2.0 * (1.0 + root)))
    out[inside] = _by_rejection(xp, words, _propose_angle, k, (1.0 + rho * rho) / (2.0 * rho))
    return out.astype(concentration.dtype).reshape(concentration.shape)


von_mises: Operator = primitive(
    "von_mises",
    family="random",
    type_rule=variate_type,
    eager=_angle_eager,
    vjp=not_differentiable("how angles move with their concentration is not known"),
    jvp=not_differentiable("how angles move with their concentration is not known"),
    batch=batch_of("von_mises"),
    lower=HostCall(),
    arity=2,
    promotion="none",
    doc="An angle from -pi to pi of each concentration, operand 0, a function of four random words, operand 1.",
    samples=(
        variate_sample(Arg((7,), dt.float32, 0.0, 9.0)),
        variate_sample(Arg((3, 5), dt.float64, 0.0, 900.0)),
        variate_sample(Arg((0, 2), dt.float32, 0.0, 1.0)),
        variate_sample(Arg((), dt.bfloat16, 0.0, 4.0)),
    ),
)

__all__ = ["gamma_slope", "standard_gamma", "von_mises"]
