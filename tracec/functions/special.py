"""Special functions: those that PyTorch has at the top level, and those of `tracec.special` alone."""

from __future__ import annotations

import math

from tracec import ops
from tracec.errors import ArgumentError
from tracec.functions.common import Scalar, cast, check_tensor, fail, filled, integers
from tracec.functions.comparison import isinf
from tracec.ir.operator import Operator
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor, get_default_dtype

# The gamma function -----------------------------------------------------------------------------------


@tensor_method
def lgamma(input: Tensor) -> Tensor:
    """The logarithm of the absolute value of the gamma function; infinite at 0, -1, -2, …

    A few units in the last place everywhere; next to the zeros below -2, of the larger of the terms that cancel there.
    """
    return ops.lgamma(input)


@tensor_method
def digamma(input: Tensor) -> Tensor:
    """The derivative of `lgamma`; at 0 infinite, with the opposite sign, and NaN at -1, -2, …"""
    return ops.digamma(input)


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of `digamma`: ``(-1) ** (n + 1) * n! * zeta(n + 1, input)``.

    Raises:
        ArgumentError: n is negative.

    Source: NIST Digital Library of Mathematical Functions, 25.11.12.
    """
    check_tensor("polygamma", input)
    (order,) = integers("polygamma", (n,), "n")
    if order < 0:
        fail(ArgumentError, f"polygamma: does not support negative n, {n} given", "n counts derivatives, from 0")
    if order == 0:
        return ops.digamma(input)
    # Beyond 170 the factorial is no float64.
    factor = float(math.factorial(order)) if order <= 170 else math.inf
    return ops.mul(zeta(order + 1.0, input), factor if order % 2 else -factor)


@tensor_method(name="polygamma")
def polygamma_method(input: Tensor, n: int) -> Tensor:
    """The n-th derivative of `digamma`: `polygamma` as a method."""
    return polygamma(n, input)


@tensor_method
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p.

    Raises:
        ArgumentError: p is not positive.

    Source: Gupta, Nagar, "Matrix Variate Distributions", 1999, theorem 1.4.1.
    """
    check_tensor("mvlgamma", input)
    (dimension,) = integers("mvlgamma", (p,), "p")
    if dimension < 1:
        fail(ArgumentError, f"mvlgamma: p has to be greater than or equal to 1, {p} given", "p is a dimension")
    total = ops.lgamma(input)
    for j in range(1, dimension):
        total = ops.add(total, ops.lgamma(ops.sub(input, 0.5 * j)))
    return ops.add(total, dimension * (dimension - 1) / 4.0 * math.log(math.pi))


@tensor_method
def igamma(input: Tensor, other: Tensor) -> Tensor:
    """The regularised lower incomplete gamma function of shape ``input`` at ``other``; it has a gradient by ``other``.

    It is computed in float64 whatever the dtype, and by NumPy between kernels where it is compiled.
    """
    check_tensor("igamma", input)
    check_tensor("igamma", other, "other")
    return ops.gammainc(input, other)


@tensor_method
def igammac(input: Tensor, other: Tensor) -> Tensor:
    """The regularised upper incomplete gamma function, ``1 - igamma(input, other)`` with all digits."""
    check_tensor("igammac", input)
    check_tensor("igammac", other, "other")
    return ops.gammaincc(input, other)


def zeta(input: Tensor | Scalar, other: Tensor | Scalar) -> Tensor:
    """The Hurwitz zeta function, the sum of ``(other + k) ** -input`` over k = 0, 1, 2, …

    Infinite where ``input`` is 1 and where ``other`` is 0, -1, -2, …; NaN where ``input`` is below 1, or not whole
    while ``other`` is negative. It has a gradient by ``other`` alone.

    Source: NIST Digital Library of Mathematical Functions, 25.11; Johansson, "Rigorous high-precision computation of
    the Hurwitz zeta function", 2015, for the formula of Euler and Maclaurin.
    """
    return ops.zeta(input, other)


# The error function and the normal distribution -------------------------------------------------------


@tensor_method
def erfc(input: Tensor) -> Tensor:
    """``1 - erf(input)``, with all digits also where that is small."""
    return ops.erfc(input)


@tensor_method
@under_autocast(FLOAT32)
def erfinv(input: Tensor) -> Tensor:
    """What `erf` makes the input of; infinite at -1 and 1, NaN beyond."""
    return ops.erfinv(input)


def erfcx(input: Tensor) -> Tensor:
    """``exp(input²) * erfc(input)``, without overflow or underflow of its factors."""
    return ops.erfcx(input)


def ndtr(input: Tensor) -> Tensor:
    """The distribution function of the normal distribution."""
    return ops.ndtr(input)


def log_ndtr(input: Tensor) -> Tensor:
    """The logarithm of `ndtr`, also where that underflows."""
    return ops.log_ndtr(input)


def ndtri(input: Tensor) -> Tensor:
    """What `ndtr` makes the input of; infinite at 0 and 1, NaN beyond."""
    return ops.ndtri(input)


# Waves ------------------------------------------------------------------------------------------------


@tensor_method
def i0(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind and order 0."""
    return ops.i0(input)


def i0e(input: Tensor) -> Tensor:
    """``exp(-|input|) * i0(input)``."""
    return ops.i0e(input)


def i1(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind and order 1."""
    return ops.i1(input)


def i1e(input: Tensor) -> Tensor:
    """``exp(-|input|) * i1(input)``."""
    return ops.i1e(input)


def bessel_j0(input: Tensor) -> Tensor:
    """The Bessel function of the first kind and order 0."""
    return ops.bessel_j0(input)


def bessel_j1(input: Tensor) -> Tensor:
    """The Bessel function of the first kind and order 1."""
    return ops.bessel_j1(input)


def bessel_y0(input: Tensor) -> Tensor:
    """The Bessel function of the second kind and order 0; NaN below 0."""
    return ops.bessel_y0(input)


def bessel_y1(input: Tensor) -> Tensor:
    """The Bessel function of the second kind and order 1; NaN below 0."""
    return ops.bessel_y1(input)


def modified_bessel_k0(input: Tensor) -> Tensor:
    """The modified Bessel function of the second kind and order 0; NaN below 0."""
    return ops.bessel_k0(input)


def modified_bessel_k1(input: Tensor) -> Tensor:
    """The modified Bessel function of the second kind and order 1; NaN below 0."""
    return ops.bessel_k1(input)


def scaled_modified_bessel_k0(input: Tensor) -> Tensor:
    """``exp(input)`` times `modified_bessel_k0`."""
    return ops.bessel_k0e(input)


def scaled_modified_bessel_k1(input: Tensor) -> Tensor:
    """``exp(input)`` times `modified_bessel_k1`."""
    return ops.bessel_k1e(input)


def spherical_bessel_j0(input: Tensor) -> Tensor:
    """``sin(input) / input``, and 1 at 0."""
    near = ops.lt(ops.abs(input), 1.0)
    far = ops.div(ops.sin(input), ops.where(near, 1.0, input))
    return ops.where(near, ops.sinc(ops.mul(input, 1.0 / math.pi)), ops.where(isinf(input), 0.0, far))


@tensor_method
def sinc(input: Tensor) -> Tensor:
    """``sin(π input) / (π input)``, and 1 at 0; exactly 0 at other whole numbers."""
    check_tensor("sinc", input)
    if input.dtype.is_complex:
        zero = ops.eq(input, 0)
        turned = ops.mul(ops.where(zero, 1.0, input), math.pi)
        return ops.where(zero, 1.0, ops.div(ops.sin(turned), turned))
    return ops.sinc(input)


# Logarithms -------------------------------------------------------------------------------------------


def entr(input: Tensor) -> Tensor:
    """``-input * log(input)``: 0 at 0, -inf below."""
    return ops.entr(input)


@tensor_method
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """``log(input / (1 - input))``: NaN outside of [0, 1], or with ``eps`` of the input clamped to [eps, 1 - eps]."""
    check_tensor("logit", input)
    x = input if input.dtype.is_floating_point else cast(input, get_default_dtype())
    if eps is not None:
        x = ops.where(ops.lt(x, eps), eps, ops.where(ops.gt(x, 1.0 - eps), 1.0 - eps, x))
    return ops.logit(x)


@tensor_method
def xlogy(input: Tensor | Scalar, other: Tensor | Scalar) -> Tensor:
    """``input * log(other)``; 0 where input is 0, unless other is NaN."""
    return _times_log(input, other, ops.log, 0.0)


def xlog1py(input: Tensor | Scalar, other: Tensor | Scalar) -> Tensor:
    """``input * log1p(other)``; 0 where input is 0, unless other is NaN."""
    return _times_log(input, other, ops.log1p, -1.0)


def _times_log(input: Tensor | Scalar, other: Tensor | Scalar, op: Operator, edge: float) -> Tensor:
    if not isinstance(other, Tensor) and isinstance(input, Tensor):
        # A number would be a float32 by itself.
        x = input if input.dtype.is_floating_point else cast(input, get_default_dtype())
        other = filled(float(other), x, ())
    # Inside of the logarithm's domain a factor of 0 does its work by itself, and has a gradient.
    outside = ops.bitwise_or(ops.le(other, edge), ops.eq(other, math.inf))
    nothing = ops.bitwise_and(ops.eq(input, 0), outside)
    return ops.where(nothing, 0.0, ops.mul(input, op(ops.where(nothing, 1.0, other))))
