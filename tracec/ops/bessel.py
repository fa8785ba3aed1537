"""Bessel functions of the first, the second and the modified second kind, of orders 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tracec.ir import dtype as dt
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ops.formula import Polynomial, formula, is_double
from tracec.ops.waves import over, series

#: Up to here as polynomial in x², the zeros taken out of those of the first kind; above by the size and the phase of
#: a wave, NIST Digital Library of Mathematical Functions, 10.17.3 and 10.17.4, whose series become polynomials.
_LIMIT = 8.0
_NEAR, _FAR = (0.0, 64.0), (0.0, 1.0)

#: Zeros in two parts for each precision.
_ZEROS_0 = {
    8: ((2.404825557695773, -1.176691651530894e-16), (5.520078110286311, 8.088597146146722e-17)),
    4: ((2.404825448989868, 1.0870590460455913e-07), (5.520078182220459, -7.19341483347784e-08)),
}
_ZEROS_1 = {
    8: ((3.8317059702075125, -1.5269184090088067e-16), (7.015586669815619, -9.414165653410389e-17)),
    4: ((3.8317060470581055, -7.685059315313556e-08), (7.015586853027344, -1.8321172499646294e-07)),
}

# j0(x) and j1(x) / x divided by x² less the squares of their zeros.
_J0 = Polynomial(
    _NEAR,
    double=(
        0.0011434937743762545, -0.002119794289479692, 0.0015636431645931661, -0.0006415390646406123,
        0.00016977200713997844, -3.157342540223544e-05, 4.3669323246406834e-06, -4.677128021300745e-07,
        3.998839345472477e-08, -2.7948629678329127e-09, 1.62764894918064e-10, -8.023472601933258e-12,
        3.3923298937104677e-13, -1.2482967042743655e-14, 4.0068948013720515e-16,
    ),
    single=(
        0.0011434937747, -0.0021197942896, 0.0015636431486, -0.00064153906291, 0.00016977213496, -3.1573435095e-05,
        4.3665746409e-06, -4.6769065644e-07, 4.0396707307e-08, -2.816988372e-09,
    ),
)  # fmt: skip
_J1 = Polynomial(
    _NEAR,
    double=(
        0.00019498936985895625, -0.0002697522746716368, 0.00015860016799369858, -5.408003239085506e-05,
        1.224217365301787e-05, -1.989093515914257e-06, 2.442522260616395e-07, -2.352192254577852e-08,
        1.8268548082885016e-09, -1.1696932521783476e-10, 6.284676985256089e-12, -2.875530868558852e-13,
        1.1384465543068819e-14, -3.9104228826133377e-16,
    ),
    single=(
        0.00019498936987, -0.00026975227053, 0.00015860016738, -5.408008753e-05, 1.2242178585e-05, -1.9888951397e-06,
        2.4423842354e-07, -2.3786093739e-08, 1.8426134617e-09,
    ),
)  # fmt: skip

# y0(x) - 2 / pi * log(x) * j0(x), and y1(x) - 2 / pi * (log(x) * j1(x) - 1 / x) divided by x.
_Y0 = Polynomial(
    _NEAR,
    double=(
        -0.382250654459425, -0.8284358903604587, 1.6470964788745466, 0.14412632369302475, -1.0775477338215995,
        0.6721770783431679, -0.21895747096171628, 0.046367047681375125, -0.00702574105727097, 0.000806158605961636,
        -7.279541882454115e-05, 5.3213188103997145e-06, -3.2185078445935923e-07, 1.6390875014077404e-08,
        -7.13046146536789e-10, 2.6926938054524057e-11, -8.840112096073101e-13,
    ),
    single=(
        -0.3822506543, -0.82843589041, 1.6470964675, 0.14412632516, -1.0775476009, 0.67217706663, -0.21895803776,
        0.046367087833, -0.0070246487146, 0.00080609172352, -7.3765034363e-05, 5.3747658622e-06,
    ),
)  # fmt: skip
_Y1 = Polynomial(
    _NEAR,
    double=(
        0.07075985882118005, -0.24337743079193114, 0.023367571720993584, 0.23507209206669755, -0.19639839859930425,
        0.07854786922242532, -0.019628756833099423, 0.0034224907399188495, -0.00044381734351149876,
        4.467433012646365e-05, -3.600999874357815e-06, 2.3804930420514178e-07, -1.3153322551127247e-08,
        6.169688029066965e-10, -2.4887509903377128e-11, 8.760001143977853e-13, -2.695138958384033e-14,
    ),
    single=(
        0.070759858828, -0.24337742822, 0.023367571256, 0.23507204055, -0.19639839317, 0.078548157604,
        -0.019628779976, 0.0034218320847, -0.00044377273833, 4.5331979664e-05, -3.6406016255e-06,
    ),
)  # fmt: skip

# Factors of the two parts of the waves as polynomials in 64 / x²; the second ones times x.
_P0 = Polynomial(
    _FAR,
    double=(
        0.9994572757882519, -0.0005363673192129672, 6.137416080109497e-06, -2.0527448261170675e-07,
        1.280376144080092e-08, -1.2121098178951377e-09, 1.5500565496632596e-10, -2.491146535471666e-11,
        4.786995821368028e-12, -1.0157485021065676e-12, 2.4531772967345006e-13, -1.0251790052831013e-13,
        3.339452259070809e-14,
    ),
    single=(
        0.99945727416, -0.00053636692898, 6.150369575e-06, -2.068237815e-07,
    ),
)  # fmt: skip
_Q0 = Polynomial(
    _FAR,
    double=(
        -0.12444091103610815, 0.0005466519279475109, -1.1817110661200976e-05, 5.68497188761875e-07,
        -4.534972837363434e-08, 5.146225268539058e-09, -7.5763304988972e-10, 1.36265138876175e-10,
        -2.8707211071105146e-11, 6.878054876576861e-12, -1.873640743543296e-12, 5.570266801419967e-13,
        -1.3137515498826537e-13, 3.750385225206321e-14, -4.0574096424030336e-14, 1.7159223662634758e-14,
    ),
    single=(
        -0.12444091106, 0.00054665025643, -1.1816657196e-05, 5.7511863194e-07, -4.6540261996e-08,
    ),
)  # fmt: skip
_P1 = Polynomial(
    _FAR,
    double=(
        1.0009070262780821, 0.0008988049416705183, -7.9596946984383e-06, 2.453676633366693e-07,
        -1.4708512991275258e-08, 1.3602969253877949e-09, -1.713107485294131e-10, 2.72345126828134e-11,
        -5.191158004646548e-12, 1.0954826479277623e-12, -2.6335760672461096e-13, 1.0923713653079462e-13,
        -3.5455617466606254e-14,
    ),
    single=(
        1.0009070281, 0.00089880450407, -7.974568601e-06, 2.4710535843e-07,
    ),
)  # fmt: skip
_Q1 = Polynomial(
    _FAR,
    double=(
        0.3742149922195918, -0.0007697167057643706, 1.4569614809851411e-05, -6.633568561050814e-07,
        5.136105997071193e-08, -5.720890888840857e-09, 8.316077350038262e-10, -1.4816588916791194e-10,
        3.100364837230575e-11, -7.465104477698295e-12, 2.002728774766585e-12, -4.91574062967655e-13,
        1.3996264453471973e-13, -1.0759215471978615e-13, 4.275621822194818e-14,
    ),
    single=(
        0.37421499225, -0.00076971484918, 1.4569117575e-05, -6.7071300429e-07, 5.2666837297e-08,
    ),
)  # fmt: skip


def _wave(xp: Any, size: Any, p: Polynomial, q: Polynomial) -> tuple[Any, Any, Any, Any]:
    """The factors p and q, and the sum and the difference of sine and cosine, over ``sqrt(pi * x)``."""
    inverse = 1.0 / size
    z = 64.0 * (inverse * inverse)
    sine, cosine, scale = xp.sin(size), xp.cos(size), 1.0 / xp.sqrt(size * math.pi)
    return p(z), q(z) * inverse, (sine + cosine) * scale, (sine - cosine) * scale


def _from_zeros(size: Any, zeros: Mapping[int, Sequence[tuple[float, float]]]) -> Any:
    """The product of ``x² - zero²``."""
    product = None
    for high, low in zeros[8 if is_double(size) else 4]:
        factor = ((size - high) - low) * (size + high)
        product = factor if product is None else product * factor
    return product


def _j0_near(size: Any) -> Any:
    return _from_zeros(size, _ZEROS_0) * _J0(size * size)


def _j1_near(size: Any) -> Any:
    return size * (_from_zeros(size, _ZEROS_1) * _J1(size * size))


def _j0(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    p, q, plus, minus = _wave(xp, size, _P0, _Q0)
    value = xp.where(xp.less(size, _LIMIT), _j0_near(size), p * plus - q * minus)
    return xp.where(xp.equal(size, math.inf), 0.0, value)


def _j1(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    p, q, plus, minus = _wave(xp, size, _P1, _Q1)
    value = xp.where(xp.less(size, _LIMIT), _j1_near(size), p * minus + q * plus)
    return xp.where(xp.equal(size, math.inf), 0.0, xp.where(xp.less(x, 0.0), -value, value))


def _y0(xp: Any, x: Any) -> Any:
    p, q, plus, minus = _wave(xp, x, _P0, _Q0)
    near = 2.0 / math.pi * xp.log(x) * _j0_near(x) + _Y0(x * x)
    value = xp.where(xp.less(x, _LIMIT), near, p * minus + q * plus)
    return xp.where(xp.equal(x, math.inf), 0.0, value)


def _y1(xp: Any, x: Any) -> Any:
    p, q, plus, minus = _wave(xp, x, _P1, _Q1)
    near = 2.0 / math.pi * (xp.log(x) * _j1_near(x) - 1.0 / x) + x * _Y1(x * x)
    value = xp.where(xp.less(x, _LIMIT), near, q * minus - p * plus)
    return xp.where(xp.equal(x, 0.0), -math.inf, xp.where(xp.equal(x, math.inf), 0.0, value))


_ALL = (Sample((Arg((40,), dt.float64, -30.0, 30.0),)), Sample((Arg((40,), dt.float32, -20.0, 20.0),)))
_POSITIVE = (Sample((Arg((40,), dt.float64, 0.1, 30.0),)), Sample((Arg((40,), dt.float32, 0.1, 20.0),)))

bessel_j0 = formula(
    "bessel_j0",
    _j0,
    derivative=lambda t, out, x: -(t * bessel_j1(x)),
    samples=_ALL,
    doc="The Bessel function of the first kind and order 0.",
)
bessel_j1: Operator = formula(
    "bessel_j1",
    _j1,
    derivative=lambda t, out, x: t * (bessel_j0(x) - over(x, out)),
    samples=_ALL,
    doc="The Bessel function of the first kind and order 1.",
)
bessel_y0 = formula(
    "bessel_y0",
    _y0,
    derivative=lambda t, out, x: -(t * bessel_y1(x)),
    domain=(0.3, 4.0),
    samples=_POSITIVE,
    doc="The Bessel function of the second kind and order 0; -inf at 0, NaN below.",
)
bessel_y1: Operator = formula(
    "bessel_y1",
    _y1,
    derivative=lambda t, out, x: t * (bessel_y0(x) - out / x),
    domain=(0.3, 4.0),
    samples=_POSITIVE,
    doc="The Bessel function of the second kind and order 1; -inf at 0, NaN below.",
)

# The modified second kind -----------------------------------------------------------------------------

#: Up to here by logarithms and polynomials in x², above by sqrt(x) * exp(x) * K(x) as polynomial in 2 / x.
_K_LIMIT = 2.0
_K_NEAR = (0.0, 4.0)
# k0(x) + log(x) * i0(x), and k1(x) - log(x) * i1(x) - 1 / x divided by x.
_K0 = Polynomial(
    _K_NEAR,
    double=(
        0.7819051943679178, 0.7812430851107339, 0.12278562011464675, 0.00777646646981443, 0.00026585892882551336,
        5.6886558483558625e-06, 8.336543759122888e-08, 8.891855786815677e-10, 7.213074767157564e-12,
        4.599367348002837e-14,
    ),
    single=(
        0.78190519697, 0.78124308521, 0.12278557322, 0.0077764656917, 0.0002659839896, 5.6902120266e-06,
    ),
)  # fmt: skip
_K1 = Polynomial(
    _K_NEAR,
    double=(
        -0.49820162023255865, -0.21068184102943455, -0.02142386442877562, -0.001004688143150579,
        -2.7280508484375018e-05, -4.841738921130948e-07, -6.0618987394895966e-09, -5.643777985695711e-11,
        -4.061886417782172e-13, -2.327590625288465e-15,
    ),
    single=(
        -0.49820162042, -0.21068184104, -0.021423861019, -0.0010046880938, -2.7289602043e-05, -4.8427266346e-07,
    ),
)  # fmt: skip
_K0_FAR = Polynomial(
    _FAR,
    double=(
        1.2185953385133905, -0.03107146182488952, 0.0030328918102753206, -0.0004797690567662314, 9.95605474202942e-05,
        -2.4735204561466906e-05, 7.002245645755651e-06, -2.191177788015528e-06, 7.427801232190096e-07,
        -2.6890662472901614e-07, 1.02954317593912e-07, -4.133923052104385e-08, 1.7047535884249698e-08,
        -7.286380907337665e-09, 3.808399859919043e-09, -1.9309444875845705e-09, 4.757544705776374e-11,
        1.7887095838476482e-10, 8.133913205464114e-10, -5.541051446065683e-10, -3.119936129682105e-10,
        2.213758097591008e-10, 1.0926983537268735e-10, -6.910453875670571e-11,
    ),
    single=(
        1.2185953389, -0.031071447368, 0.0030328751572, -0.00047995674715, 9.9689649724e-05, -2.4088339678e-05,
        6.6588509378e-06, -2.9827135345e-06, 1.0974763542e-06,
    ),
)  # fmt: skip
_K1_FAR = Polynomial(
    _FAR,
    double=(
        1.363151890371342, 0.10334973775386523, -0.005566729880074588, 0.0007357241549081501, -0.00013959021956272223,
        3.284386555825453e-05, -8.961207387750025e-06, 2.730041433569803e-06, -9.067087633371393e-07,
        3.2298119177151824e-07, -1.2203186351938403e-07, 4.8461952200091865e-08, -1.9817577141591116e-08,
        8.40938756536177e-09, -4.331939985658629e-09, 2.1757782025837176e-09, -8.336227195991456e-11,
        -1.7982138496175016e-10, -8.908596710923906e-10, 6.042482293782838e-10, 3.3867804167808003e-10,
        -2.399376595899464e-10, -1.1931668393112158e-10, 7.52479548635394e-11,
    ),
    single=(
        1.36315189, 0.10334972057, -0.005566710346, 0.00073594738204, -0.00013974174903, 3.2073744945e-05,
        -8.5577587387e-06, 3.6742938403e-06, -1.3242575956e-06,
    ),
)  # fmt: skip


def _k0_near(xp: Any, x: Any) -> Any:
    return _K0(x * x) - xp.log(x) * series(0, x)


def _k1_near(xp: Any, x: Any) -> Any:
    value = 1.0 / x + x * (0.5 * xp.log(x) * series(1, x) + _K1(x * x))
    return xp.where(xp.equal(x, 0.0), math.inf, value)


def _k0(xp: Any, x: Any) -> Any:
    far = xp.exp(-x) * (_K0_FAR(2.0 / x) / xp.sqrt(x))
    return xp.where(xp.greater(x, _K_LIMIT), far, _k0_near(xp, x))


def _k0e(xp: Any, x: Any) -> Any:
    far = _K0_FAR(2.0 / x) / xp.sqrt(x)
    return xp.where(xp.greater(x, _K_LIMIT), far, xp.exp(xp.minimum(x, _K_LIMIT)) * _k0_near(xp, x))


def _k1(xp: Any, x: Any) -> Any:
    far = xp.exp(-x) * (_K1_FAR(2.0 / x) / xp.sqrt(x))
    return xp.where(xp.greater(x, _K_LIMIT), far, _k1_near(xp, x))


def _k1e(xp: Any, x: Any) -> Any:
    far = _K1_FAR(2.0 / x) / xp.sqrt(x)
    return xp.where(xp.greater(x, _K_LIMIT), far, xp.exp(xp.minimum(x, _K_LIMIT)) * _k1_near(xp, x))


bessel_k0 = formula(
    "bessel_k0",
    _k0,
    derivative=lambda t, out, x: -(t * bessel_k1(x)),
    domain=(0.3, 4.0),
    samples=_POSITIVE,
    doc="The modified Bessel function of the second kind and order 0; infinite at 0, NaN below.",
)
bessel_k1: Operator = formula(
    "bessel_k1",
    _k1,
    derivative=lambda t, out, x: -(t * (bessel_k0(x) + out / x)),
    domain=(0.3, 4.0),
    samples=_POSITIVE,
    doc="The modified Bessel function of the second kind and order 1; infinite at 0, NaN below.",
)
bessel_k0e = formula(
    "bessel_k0e",
    _k0e,
    derivative=lambda t, out, x: t * (out - bessel_k1e(x)),
    domain=(0.3, 4.0),
    samples=_POSITIVE,
    doc="``exp(x)`` times `bessel_k0`.",
)
bessel_k1e: Operator = formula(
    "bessel_k1e",
    _k1e,
    derivative=lambda t, out, x: t * (out - bessel_k0e(x) - out / x),
    domain=(0.3, 4.0),
    samples=_POSITIVE,
    doc="``exp(x)`` times `bessel_k1`.",
)

__all__ = [
    "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e", "bessel_k1", "bessel_k1e", "bessel_y0", "bessel_y1",
]  # fmt: skip
