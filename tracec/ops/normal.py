"""The error function's complement and inverse, and the normal distribution, which are made of them."""

from __future__ import annotations

import math
from typing import Any

from tracec.ir import dtype as dt
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ops.elementwise import exp
from tracec.ops.formula import Polynomial, erf_of, formula

_ROOT_TWO = math.sqrt(2.0)
_ROOT_PI = math.sqrt(math.pi)

# Complement -------------------------------------------------------------------------------------------

#: For sizes from 0 to infinity, as polynomial in ``(x - c) / (x + c)``: M. M. Shepherd, J. G. Laframboise,
#: "Chebyshev Approximation of (1 + 2x) exp(x²) erfc(x) in 0 <= x < infinity", 1981.
_COMPLEMENT_CENTRE = 3.0
_COMPLEMENT = Polynomial(
    (-1.0, 1.0),
    double=(
        1.2530080582697296, -0.1356211061245812, -0.0475622943534492, 0.12964515870276475, -0.11927366341538638,
        0.06830802734384515, -0.02377051491717134, 0.0025293918180474668, 0.0018886903449991718,
        -0.0007798322884823084, -0.00010515971958448065, 0.0001250994355712812, 4.949196649968345e-06,
        -2.0100843094844725e-05, -7.308281468783614e-07, 3.473024167841533e-06, 3.5576086684080595e-07,
        -6.175617678992323e-07, -1.4047654315428462e-07, 1.0277997488271058e-07, 4.1064013667940355e-08,
        -1.3906145791730994e-08, -8.217595058711455e-09, 1.2019719440135793e-09, 8.393734858690877e-10,
        -3.451497487664328e-11,
    ),
    single=(
        1.2530080583, -0.1356210694, -0.047562292696, 0.12964411434, -0.11927369132, 0.068316567771, -0.023770334675,
        0.0024991168696, 0.0018881128646, -0.00072645367903, -0.00010413071428, 7.7310242241e-05, 3.8618491368e-06,
    ),
)  # fmt: skip

#: exp of the square of this is infinite in float64, and 0 where negated.
_BEYOND = 30.0


def _scaled_complement(size: Any) -> Any:
    """``exp(x²) * erfc(x)`` of sizes."""
    return _COMPLEMENT(1.0 - 2.0 * _COMPLEMENT_CENTRE / (size + _COMPLEMENT_CENTRE)) / (1.0 + 2.0 * size)


def _exp_of_square(xp: Any, size: Any, factor: float) -> Any:
    """``exp(factor * size²)``, the square taken in two parts, the first of which is exact.

    Source: W. J. Cody, "Rational Chebyshev Approximations for the Error Function", 1969.
    """
    x = xp.minimum(size, _BEYOND * _ROOT_TWO)
    high = xp.rint(x * 16.0) * 0.0625
    return xp.exp(high * high * factor) * xp.exp((x - high) * (x + high) * factor)


def _erfc(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    tail = _exp_of_square(xp, size, -1.0) * _scaled_complement(size)
    return xp.where(xp.less(size, 0.5), 1.0 - erf_of(xp, x), xp.where(xp.less(x, 0.0), 2.0 - tail, tail))


erfc = formula(
    "erfc",
    _erfc,
    derivative=lambda t, out, x: t * (-2.0 / _ROOT_PI * exp(-(x * x))),
    samples=(Sample((Arg((40,), dt.float64, -6.0, 27.0),)), Sample((Arg((40,), dt.float32, -4.0, 10.0),))),
    doc="``1 - erf(x)``, with all digits also where that is small.",
)


def _erfcx(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    right = _scaled_complement(size)
    return xp.where(xp.less(x, 0.0), 2.0 * _exp_of_square(xp, size, 1.0) - right, right)


erfcx: Operator = formula(
    "erfcx",
    _erfcx,
    derivative=lambda t, out, x: t * (2.0 * x * out - 2.0 / _ROOT_PI),
    samples=(Sample((Arg((40,), dt.float64, -5.0, 90.0),)), Sample((Arg((40,), dt.float32, -3.0, 20.0),))),
    doc="``exp(x²) * erfc(x)``.",
)

# The normal distribution ------------------------------------------------------------------------------


def _tail(xp: Any, size: Any) -> Any:
    """How probable it is to be further than this many deviations above the mean."""
    return 0.5 * _exp_of_square(xp, size, -0.5) * _scaled_complement(size * (1.0 / _ROOT_TWO))


def _ndtr(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    near = 0.5 + 0.5 * erf_of(xp, x * (1.0 / _ROOT_TWO))
    tail = _tail(xp, size)
    return xp.where(xp.less(size, 0.7), near, xp.where(xp.less(x, 0.0), tail, 1.0 - tail))


ndtr = formula(
    "ndtr",
    _ndtr,
    derivative=lambda t, out, x: t * (1.0 / (_ROOT_TWO * _ROOT_PI) * exp(-0.5 * (x * x))),
    samples=(Sample((Arg((40,), dt.float64, -38.0, 9.0),)), Sample((Arg((40,), dt.float32, -13.0, 5.0),))),
    doc="The distribution function of the normal distribution.",
)


def _log_ndtr(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    far = xp.log(0.5 * _scaled_complement(size * (1.0 / _ROOT_TWO))) - 0.5 * (x * x)
    near = xp.log(0.5 + 0.5 * erf_of(xp, xp.minimum(x, 0.0) * (1.0 / _ROOT_TWO)))
    right = xp.log1p(-_tail(xp, size))
    return xp.where(xp.less(x, -1.0), far, xp.where(xp.less(x, 0.0), near, right))


log_ndtr = formula(
    "log_ndtr",
    _log_ndtr,
    derivative=lambda t, out, x: t * (_ROOT_TWO / _ROOT_PI / erfcx(x * (-1.0 / _ROOT_TWO))),
    samples=(Sample((Arg((40,), dt.float64, -90.0, 9.0),)), Sample((Arg((40,), dt.float32, -13.0, 5.0),))),
    doc="The logarithm of `ndtr`, also where that is too small for the dtype.",
)

# Inverses ---------------------------------------------------------------------------------------------

# erfinv(x) / x as polynomial in w = -log(1 - x²), and for larger w, divided by s, in s = sqrt(w). This is the scheme of
# M. Giles, "Approximating the erfinv function", 2011, with intervals and coefficients of our own.
_INVERSE_LIMIT = 6.25
_INVERSE = Polynomial(
    (0.0, _INVERSE_LIMIT),
    double=(
        1.6536545626831027, 0.7504943200799635, -0.05892256710377839, -0.022604447453450232, 0.017808361818321756,
        -0.004137314377403391, -0.001271692268923054, 0.001232485568550093, -0.00026439366376450275,
        -0.00011688883906368398, 9.336736525855553e-05, -1.5027713926607673e-05, -1.12572237422896e-05,
        7.1300663740767115e-06, -6.839448584111029e-07, -1.059336931327948e-06, 5.397895417173957e-07,
        -1.0167881522843899e-08, -9.905042307855316e-08, 3.9142671001331085e-08, 5.039596477958063e-09,
        -8.557984074479201e-09, 1.4461050507676023e-09, 7.680990475576525e-10, -2.5466157998892667e-10,
    ),
    single=(
        1.6536545628, 0.75049430822, -0.058922574088, -0.022604107824, 0.017808469225, -0.0041401173402,
        -0.0012722981671, 0.0012425459665, -0.00026284000385, -0.00013493722426, 9.1566128003e-05, 1.5265790815e-06,
        -1.0741302857e-05,
    ),
)  # fmt: skip
_INVERSE_FAR = Polynomial(
    (2.5, 6.2),
    double=(
        0.9639604118584927, 0.01962403287740249, -0.00791902470852024, 0.0025977922468740163, -0.0006121843312588105,
        -4.093865059868067e-06, 0.00015128923525718963, -0.00017593521602822144, 0.00018546118707224918,
        -0.00019455907407017623, 0.00018957572403611748, -0.00015903188218004051, 0.00010632993948065221,
        -4.8094763773154955e-05, 3.120827586921299e-06, 1.8751462011919154e-05, -2.0162208240033694e-05,
        1.1464184653042298e-05, -2.6009513905771054e-06, -2.0933816063583993e-06, 2.982342798514533e-06,
        -1.664750466572875e-06, -2.60234354066649e-08, 4.5469913519923226e-07, 6.393669444714029e-08,
        -1.4325476827722234e-07, -1.631737651705039e-07, 1.331115182154993e-07, 4.613480412106072e-08,
        -4.66032341790982e-08, -3.1365013579838717e-09, 5.3383865312121156e-09,
    ),
    single=(
        0.96396041195, 0.019624057411, -0.0079190388815, 0.0025968590407, -0.00061183237357, 6.2061329066e-06,
        0.00014791049444, -0.00022621862395, 0.00020170330136, -6.8295931065e-05, 0.00014603716, -0.00032801266182,
        0.0001734091108, 6.2374408548e-05, -5.3484144194e-05,
    ),
)  # fmt: skip

# For s from 6.2 on, which erfinv does not reach but ndtri does, in (s - c) / (s + c).
_FARTHER_LIMIT, _FARTHER_CENTRE = 6.2, 13.0
_INVERSE_FARTHER = Polynomial(
    ((6.2 - 13.0) / (6.2 + 13.0), (28.0 - 13.0) / (28.0 + 13.0)),
    double=(
        0.9928889533314768, 0.008169519913862675, -0.004377096210156018, 0.0017315457847573864,
        -0.0006163178594247147, 0.00020168606686956863, -6.0880862677192444e-05, 1.6435470629434503e-05,
        -3.6198379013208237e-06, 3.924104149020267e-07, 2.046956741868274e-07, -2.0125713554647135e-07,
        1.1826353900792164e-07, -5.879255472633872e-08, 2.670391598385298e-08, -1.1247779197674398e-08,
        4.6392047793248565e-09, -2.112469728650239e-09, 8.350303417283551e-10, -1.4502510079857276e-10,
        5.164631958362424e-11, -8.957255834325634e-11, 3.357482375064488e-11,
    ),
    single=(
        0.9928889547, 0.008169514993, -0.0043771622715, 0.0017316414207, -0.0006158179448, 0.00020117297048,
        -6.2154750292e-05, 1.7527228356e-05, -2.4275761835e-06, -5.5009794884e-07,
    ),
)  # fmt: skip


def _erfinv(xp: Any, x: Any) -> Any:
    w = -xp.log((1.0 - x) * (1.0 + x))
    s = xp.sqrt(w)
    value = x * xp.where(xp.less(w, _INVERSE_LIMIT), _INVERSE(w), s * _INVERSE_FAR(s))
    return xp.where(xp.equal(xp.abs(x), 1.0), x * math.inf, value)


erfinv = formula(
    "erfinv",
    _erfinv,
    derivative=lambda t, out, x: t * (_ROOT_PI / 2.0 * exp(out * out)),
    domain=(-0.95, 0.95),
    samples=(Sample((Arg((40,), dt.float64, 0.95, 1.0),)), Sample((Arg((40,), dt.float32, -1.0, 1.0),))),
    doc="What erf makes x of; infinite at -1 and 1, NaN beyond.",
)


def _ndtri(xp: Any, x: Any) -> Any:
    w = -xp.log(4.0 * x * (1.0 - x))
    s = xp.sqrt(w)
    farther = _INVERSE_FARTHER(1.0 - 2.0 * _FARTHER_CENTRE / (s + _FARTHER_CENTRE))
    far = s * xp.where(xp.less(s, _FARTHER_LIMIT), _INVERSE_FAR(s), farther)
    value = ((2.0 * x - 1.0) * _ROOT_TWO) * xp.where(xp.less(w, _INVERSE_LIMIT), _INVERSE(w), far)
    return xp.where(xp.equal(x, 0.0), -math.inf, xp.where(xp.equal(x, 1.0), math.inf, value))


ndtri = formula(
    "ndtri",
    _ndtri,
    derivative=lambda t, out, x: t * (_ROOT_TWO * _ROOT_PI * exp(0.5 * (out * out))),
    domain=(0.03, 0.97),
    samples=(Sample((Arg((40,), dt.float64, 0.001, 0.03),)), Sample((Arg((40,), dt.float32, 0.01, 1.0),))),
    doc="What `ndtr` makes x of; infinite at 0 and 1, NaN beyond.",
)

__all__ = ["erfc", "erfcx", "erfinv", "log_ndtr", "ndtr", "ndtri"]
