"""Modified Bessel functions of the first kind, and other functions of one formula."""

from __future__ import annotations

import math
from typing import Any

from tracec.ir import dtype as dt
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ops.elementwise import abs, cos, log, sign
from tracec.ops.erf import horner
from tracec.ops.formula import Polynomial, formula, is_double
from tracec.ops.logic import bitwise_or, eq, gt, lt, where

# Bessel functions -------------------------------------------------------------------------------------

#: Up to here by the power series, above by sqrt(x) * exp(-x) * I(x) as polynomial in 1 / x.
_LIMIT = 8.0
_ABOVE = (0.0, 1.0 / _LIMIT)
_FAR_0 = Polynomial(
    _ABOVE,
    double=(
        0.4021765094450081, 0.0033605519836678614, 0.0001362160743919305, 1.1143033790932038e-05,
        1.4838475658279249e-06, 2.9735985885673923e-07, 8.872219737904054e-08, 3.932584334552952e-08,
        2.1548377974791595e-08, 7.554691881248808e-09, -6.747657956107521e-09, -1.3408917540089737e-08,
        -5.404771567579969e-09, 7.552583062123378e-09, 7.430464650325451e-09, -3.5059665308793187e-09,
        -5.953569438264931e-09, 1.5200816953924089e-09, 3.637954635901157e-09, -5.715843864202609e-10,
        -1.6189806836247103e-09, 1.5279202694981178e-10, 4.5770876316437315e-10, -2.0260604287412954e-11,
        -6.067631570603187e-11,
    ),
    single=(
        0.40217650942, 0.0033605557001, 0.00013621716424, 1.1112148285e-05, 1.4761157343e-06, 3.6266703848e-07,
        1.0867942482e-07,
    ),
)  # fmt: skip
_FAR_1 = Polynomial(
    _ABOVE,
    double=(
        0.38939845902587233, -0.00974957719323576, -0.00021923576383388928, -1.503854719814553e-05,
        -1.8349101326980946e-06, -3.4838565069237384e-07, -1.0001288294864884e-07, -4.312811174972107e-08,
        -2.337392820814264e-08, -8.43629043023456e-09, 6.734464815301589e-09, 1.4076395500755003e-08,
        5.974437608040275e-09, -7.778592763970366e-09, -7.888351507862104e-09, 3.721979744725431e-09,
        6.242741219786487e-09, -1.873645047006511e-09, -3.794670896208383e-09, 9.568523624904274e-10,
        1.684898447970544e-09, -4.086984233472694e-10, -4.758818838703965e-10, 1.1618136302869485e-10,
        6.305965197150244e-11, -1.5626599071974814e-11,
    ),
    single=(
        0.38939845906, -0.0097495813704, -0.00021923712538, -1.5003965466e-05, -1.8256907318e-06, -4.210350155e-07,
        -1.2273217235e-07,
    ),
)  # fmt: skip


def series(order: int, x: Any) -> Any:
    """The sum of ``(x² / 4) ** k / (k! * (k + order)!)``, all of whose terms are positive.

    Source: NIST Digital Library of Mathematical Functions, 10.25.2.
    """
    count = 23 if is_double(x) else 15
    return horner(0.25 * x * x, [1.0 / (math.factorial(k) * math.factorial(k + order)) for k in range(count)])


def _i0e(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    far = _FAR_0(1.0 / size) / xp.sqrt(size)
    return xp.where(xp.less_equal(size, _LIMIT), xp.exp(-size) * series(0, size), far)


def _i0(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    root = xp.exp(0.5 * size)  # twice, since exp(size) may overflow where the product does not
    far = root * (root * (_FAR_0(1.0 / size) / xp.sqrt(size)))
    value = xp.where(xp.less_equal(size, _LIMIT), series(0, size), far)
    return xp.where(xp.equal(size, math.inf), math.inf, value)


def _i1e(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    near = xp.exp(-size) * (0.5 * size) * series(1, size)
    value = xp.where(xp.less_equal(size, _LIMIT), near, _FAR_1(1.0 / size) / xp.sqrt(size))
    return xp.copysign(value, x)


def _i1(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    root = xp.exp(0.5 * size)
    far = root * (root * (_FAR_1(1.0 / size) / xp.sqrt(size)))
    value = xp.where(xp.less_equal(size, _LIMIT), 0.5 * size * series(1, size), far)
    return xp.copysign(xp.where(xp.equal(size, math.inf), math.inf, value), x)


def over(x: Any, y: Any) -> Any:
    """``y / x``, which comes near 1/2 at 0."""
    zero = eq(x, 0.0)
    return where(zero, 0.5, y / where(zero, 1.0, x))


_BESSEL_SAMPLES = (Sample((Arg((40,), dt.float64, -20.0, 20.0),)), Sample((Arg((40,), dt.float32, -40.0, 40.0),)))

i0 = formula(
    "i0",
    _i0,
    derivative=lambda t, out, x: t * i1(x),
    samples=_BESSEL_SAMPLES,
    doc="The modified Bessel function of the first kind and order 0.",
)
i0e: Operator = formula(
    "i0e",
    _i0e,
    derivative=lambda t, out, x: t * (i1e(x) - sign(x) * out),
    samples=_BESSEL_SAMPLES,
    doc="``exp(-|x|) * i0(x)``.",
)
i1: Operator = formula(
    "i1",
    _i1,
    derivative=lambda t, out, x: t * (i0(x) - over(x, out)),
    samples=_BESSEL_SAMPLES,
    doc="The modified Bessel function of the first kind and order 1.",
)
i1e: Operator = formula(
    "i1e",
    _i1e,
    derivative=lambda t, out, x: t * (i0e(x) - over(x, out) - sign(x) * out),
    samples=_BESSEL_SAMPLES,
    doc="``exp(-|x|) * i1(x)``.",
)

# Others -----------------------------------------------------------------------------------------------


def _sinc(xp: Any, x: Any) -> Any:
    whole = xp.rint(x)
    odd = whole - 2.0 * xp.floor(0.5 * whole)
    wave = xp.sin((x - whole) * math.pi)
    zero = xp.equal(x, 0.0)
    far = xp.where(xp.greater(odd, 0.5), -wave, wave) / xp.where(zero, 1.0, x * math.pi)
    return xp.where(zero, 1.0, far)


def _sinc_slope(out: Any, x: Any) -> Any:
    """``(cos(pi * x) - sinc(x)) / x``, by its power series where the difference would cancel."""
    near = lt(abs(x), 0.5)
    y = where(near, x * math.pi, 0.0)
    series = y * horner(y * y, [(-1) ** k * 2 * k / math.factorial(2 * k + 1) for k in range(1, 12)])
    return where(near, series * math.pi, (cos(x * math.pi) - out) / where(near, 1.0, x))


sinc = formula(
    "sinc",
    _sinc,
    derivative=lambda t, out, x: t * _sinc_slope(out, x),
    samples=(Sample((Arg((40,), dt.float64, -20.0, 20.0),)), Sample((Arg((40,), dt.float32, -9.0, 9.0),))),
    doc="``sin(pi * x) / (pi * x)``, and 1 at 0.",
)


def _entr(xp: Any, x: Any) -> Any:
    none = xp.less_equal(x, 0.0)
    below = xp.where(xp.less(x, 0.0), -math.inf, x)
    return xp.where(none, below, -(x * xp.log(xp.where(none, 1.0, x))))


entr = formula(
    "entr",
    _entr,
    derivative=lambda t, out, x: t * (-log(x) - 1.0),
    domain=(0.1, 3.0),
    doc="``-x * log(x)``; 0 at 0 and -inf below.",
)


def _logit(xp: Any, x: Any) -> Any:
    rest = 1.0 - x
    # Around 1/2, where the logarithm is small, of what the quotient is above 1.
    near = xp.less(xp.abs(x - 0.5), 0.25)
    return xp.where(near, xp.log1p((x - rest) / xp.where(near, rest, 1.0)), xp.log(x / rest))


logit = formula(
    "logit",
    _logit,
    derivative=lambda t, out, x: where(bitwise_or(lt(x, 0.0), gt(x, 1.0)), math.nan, t / (x * (1.0 - x))),
    domain=(0.1, 0.9),
    doc="``log(x / (1 - x))``; NaN outside of [0, 1].",
)

__all__ = ["entr", "i0", "i0e", "i1", "i1e", "logit", "over", "series", "sinc"]
