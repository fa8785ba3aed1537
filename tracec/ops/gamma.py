"""The gamma function's logarithm, its derivatives, and the Hurwitz zeta function."""

from __future__ import annotations

import math
from typing import Any

from tracec.ir import dtype as dt
from tracec.ir.node import is_constant
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ops.formula import NODES, Polynomial, formula, is_double

#: Where the approximations between 1/2 and 3 have their middle: with ``t = (x - c) / (x + c)`` the poles of the gamma
#: function on one side and infinity on the other are equally far away.
_CENTRE = math.sqrt(1.5)
_BETWEEN = ((0.5 - _CENTRE) / (0.5 + _CENTRE), (3.0 - _CENTRE) / (3.0 + _CENTRE))
#: Of ``1 / x²`` for x above 3.
_ABOVE = (0.0, 1.0 / 9.0)

# lgamma(x) / ((x - 1) * (x - 2)).
_LGAMMA = Polynomial(
    _BETWEEN,
    double=(
        0.528838744145037, -0.19499299920071247, 0.022916637181315102, -0.011832449241003866, 0.0026949455119944254,
        -0.0012759724646935144, 0.0003546477336802037, -0.00016222040614255343, 4.983943036916041e-05,
        -2.2377033795456647e-05, 7.305598007534918e-06, -3.241792106442807e-06, 1.1025586076994528e-06,
        -4.850567207977454e-07, 1.698551362258456e-07, -7.476671136418156e-08, 2.6840989979666516e-08,
        -1.101794442339746e-08, 3.946863756722926e-09, -2.371551714300328e-09, 9.215555979174162e-10,
        1.5583913742471957e-11, -2.307098991297245e-11, -1.4068170206753494e-10, 5.5967439083957646e-11,
    ),
    single=(
        0.52883874322, -0.19499299648, 0.022916702575, -0.011832524282, 0.0026941979365, -0.0012753848671,
        0.00035774264657, -0.0001641719724, 4.4160296348e-05, -1.9290633895e-05, 1.1876075886e-05, -5.46501288e-06,
    ),
)  # fmt: skip

# What Stirling's formula lacks, times x.
_STIRLING = Polynomial(
    _ABOVE,
    double=(
        0.08318136697655197, -0.0001497002183648091, 2.183424338298921e-06, -7.748924291960268e-08,
        4.741691532553935e-09, -4.238808311013143e-10, 5.021941531585619e-11, -7.40482447077874e-12,
        1.2999788456491088e-12, -2.5570739261974114e-13, 5.706137662769582e-14, -2.0065803050502085e-14,
        5.914454212337795e-15,
    ),
    single=(
        0.083181366978, -0.00014970008253, 2.1833948854e-06, -7.8029174273e-08, 4.8194140447e-09,
    ),
)  # fmt: skip

# digamma(x) / (x - _ROOT).
_DIGAMMA = Polynomial(
    _BETWEEN,
    double=(
        1.0896460408215929, -0.6175422642438104, 0.1895709961114475, -0.08549236630696028, 0.034220903865135245,
        -0.01481071056488382, 0.006098228131215983, -0.002600961482409151, 0.0010805893992773745,
        -0.0004581614041414416, 0.00019112920104749157, -8.079605549704995e-05, 3.37801037314522e-05,
        -1.4257453939666383e-05, 5.969299436079704e-06, -2.511524088118641e-06, 1.0515825457026385e-06,
        -4.520751042861894e-07, 1.9061317377749957e-07, -6.857006082701272e-08, 2.7766161770603007e-08,
        -2.1927152505299153e-08, 9.794342479200098e-09, 1.7072289283767589e-09, -9.23146429505588e-10,
        -1.5544584777498664e-09, 6.842775486175168e-10,
    ),
    single=(
        1.0896460423, -0.61754226914, 0.18957085244, -0.085492186201, 0.034223159996, -0.014812617761,
        0.0060850378219, -0.0025921238883, 0.0011168556565, -0.00047890923321, 0.00014120223867, -5.538462447e-05,
        6.5764352328e-05, -2.9080244529e-05,
    ),
)  # fmt: skip

# log(x) - 1 / (2 * x) - digamma(x), times x².
_PSI = Polynomial(
    _ABOVE,
    double=(
        0.08288196653982234, -0.0004403669577412235, 1.0452186234984847e-05, -5.044911678345119e-07,
        3.843640163076629e-08, -4.060063445562125e-09, 5.492543166474602e-10, -9.023212402558417e-11,
        1.7337441512992708e-11, -3.8108432532574855e-12, 9.335365463656775e-13, -2.2386672168891933e-13,
        6.094685255238525e-14, -3.5844748899688225e-14, 1.2949522760322652e-14,
    ),
    single=(
        0.082881966558, -0.00044036564748, 1.0451861038e-05, -5.0969001217e-07, 3.9292517173e-08,
    ),
)  # fmt: skip

#: The positive root of digamma, in two parts for each precision: 1.46163214496836234126265954232572...
_ROOT = {8: (1.4616321449683622, 9.549995429965697e-17), 4: (1.4616321325302124, 1.2438149938918909e-08)}
#: ``log(2 * pi) / 2``.
_HALF_LOG_TWO_PI = 0.9189385332046727


def _between(x: Any) -> Any:
    """The variable of the approximations between 1/2 and 3."""
    return 1.0 - 2.0 * _CENTRE / (x + _CENTRE)


def stirling(x: Any) -> Any:
    """``lgamma(x) - ((x - 1/2) * log(x) - x + log(2 * pi) / 2)``, from 3 on."""
    inverse = 1.0 / x
    return _STIRLING(inverse * inverse) * inverse


def _lgamma(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    small = xp.less(size, 0.5)
    logarithm = xp.log(size)
    roots = xp.where(small, x * (x - 1.0), (size - 1.0) * (size - 2.0))
    middle = roots * _LGAMMA(_between(xp.where(small, x + 1.0, size)))
    large = (size - 0.5) * (logarithm - 1.0) + (stirling(size) + (_HALF_LOG_TWO_PI - 0.5))
    right = xp.where(small, middle - logarithm, xp.where(xp.less(size, 3.0), middle, large))
    off = x - xp.rint(x)
    reflected = xp.log(math.pi / (size * xp.abs(xp.sin(off * math.pi)))) - right
    pole = xp.logical_or(xp.equal(size, math.inf), xp.logical_and(xp.less(x, 0.0), xp.equal(off, 0.0)))
    return xp.where(pole, math.inf, xp.where(xp.less_equal(x, -0.5), reflected, right))


lgamma = formula(
    "lgamma",
    _lgamma,
    derivative=lambda t, out, x: t * digamma(x),
    domain=(0.2, 5.0),
    samples=(Sample((Arg((40,), dt.float64, -7.9, 9.0),)), Sample((Arg((40,), dt.float32, -0.6, 40.0),))),
    doc="The logarithm of the size of the gamma function; infinite at 0, -1, -2, ...",
)


def _digamma(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    small = xp.less(size, 0.5)
    inverse = 1.0 / size
    y = xp.where(small, x + 1.0, size)
    high, low = _ROOT[8 if is_double(x) else 4]
    middle = ((y - high) - low) * _DIGAMMA(_between(y))
    square = inverse * inverse
    large = xp.log(size) - (0.5 * inverse + _PSI(square) * square)
    right = xp.where(small, middle - 1.0 / x, xp.where(xp.less(size, 3.0), middle, large))
    off = x - xp.rint(x)
    reflected = (right + inverse) - math.pi / xp.tan(off * math.pi)
    pole = xp.logical_and(xp.less(x, 0.0), xp.equal(off, 0.0))
    return xp.where(pole, math.nan, xp.where(xp.less_equal(x, -0.5), reflected, right))


digamma: Operator = formula(
    "digamma",
    _digamma,
    derivative=lambda t, out, x: t * zeta(2.0, x),
    domain=(0.2, 5.0),
    samples=(Sample((Arg((40,), dt.float64, -7.9, 9.0),)), Sample((Arg((40,), dt.float32, -0.6, 40.0),))),
    doc="The derivative of `lgamma`; NaN at -1, -2, ..., infinite at 0 with the sign of its other side.",
)

#: ``B(2k) / (2k)!`` of the Bernoulli numbers, k from 1 on.
_BERNOULLI = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
    -3617 / 10670622842880000, 43867 / 5109094217170944000, -174611 / 802857662698291200000,
    77683 / 14101100039391805440000, -236364091 / 1693824136731743669452800000,
)  # fmt: skip


def _inverse_power(xp: Any, x: Any, s: Any) -> Any:
    """``x ** -s``; for small whole numbers s, by products."""
    if not isinstance(s, int) or s > 8:
        return xp.power(x, -s)
    product = x
    for _ in range(s - 1):
        product = product * x
    return 1.0 / product


def _zeta_right(xp: Any, s: Any, q: Any) -> Any:
    """The zeta function for positive q, by the formula of Euler and Maclaurin."""
    direct, corrections = (10, 12) if is_double(q) else (8, 6)
    total = _inverse_power(xp, q, s)
    for k in range(1, direct):
        total = total + _inverse_power(xp, q + float(k), s)
    rest = q + float(direct)
    integral = _inverse_power(xp, rest, s - 1)
    last = integral / rest
    total = total + (integral / (s - 1.0) + 0.5 * last)
    inverse = 1.0 / rest
    term = last * (s * inverse)
    for k, b in enumerate(_BERNOULLI[:corrections]):
        total = total + term * b
        term = term * (((s + (2 * k + 1.0)) * inverse) * ((s + (2 * k + 2.0)) * inverse))
    return total


def _zeta_before(xp: Any, s: Any, q: Any) -> Any:
    """The sum of the terms below 0, less their sign: it is that of another zeta function, cut off."""
    return _zeta_right(xp, s, xp.ceil(q) - q) - _zeta_right(xp, s, 1.0 - q)


def _zeta(xp: Any, s: Any, q: Any) -> Any:
    if xp is NODES and is_constant(s) and s.param("value") in range(2, 1000):
        return _zeta_of_whole(xp, int(s.param("value")), q)
    left = xp.less(q, 0.0)
    value = _zeta_right(xp, s, xp.where(left, q - xp.floor(q), q))
    if xp is NODES or left.any():
        before = _zeta_before(xp, s, q)
        odd = xp.equal(s - 2.0 * xp.floor(0.5 * s), 1.0)
        value = xp.where(left, value + xp.where(odd, -before, before), value)
        value = xp.where(xp.logical_and(left, xp.less(xp.floor(s), s)), math.nan, value)
    value = xp.where(xp.logical_and(xp.less_equal(q, 0.0), xp.equal(xp.floor(q), q)), math.inf, value)
    # Of NaN nothing but NaN.
    known = xp.logical_and(xp.equal(q, q), xp.equal(s, s))
    value = xp.where(known, xp.where(xp.equal(s, 1.0), math.inf, value), math.nan)
    return xp.where(xp.less(s, 1.0), math.nan, value)


def _zeta_of_whole(xp: Any, s: int, q: Any) -> Any:
    """The same for one whole number above 1, which derivatives of digamma ask for."""
    left = xp.less(q, 0.0)
    value = _zeta_right(xp, s, xp.where(left, q - xp.floor(q), q))
    before = _zeta_before(xp, s, q)
    value = xp.where(left, value - before if s % 2 else value + before, value)
    return xp.where(xp.logical_and(xp.less_equal(q, 0.0), xp.equal(xp.floor(q), q)), math.inf, value)


zeta: Operator = formula(
    "zeta",
    _zeta,
    derivative=(
        not_differentiable("only that by its second operand is known"),
        lambda t, out, s, q: -(t * (s * zeta(s + 1.0, q))),
    ),
    domain=((2.0, 2.0), (0.3, 4.0)),
    samples=(
        Sample((Arg((40,), dt.float32, 1.1, 9.0), Arg((40,), dt.float32, 0.1, 30.0))),
        Sample((Arg((20,), dt.float64, 3.0, 3.0), Arg((20,), dt.float64, -5.0, 5.0))),
    ),
    arity=2,
    doc="The Hurwitz zeta function, the sum of ``(q + k) ** -s`` over k = 0, 1, 2, ...; "
    "for negative q an integer s is needed.",
)

__all__ = ["digamma", "lgamma", "stirling", "zeta"]
