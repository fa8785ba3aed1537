"""Random variates that are the same bits on every target, as formulas over random words.

NumPy's logarithm, the C library's and CUDA's round each in their own way, and a compiler that fuses a product with
a sum rounds once where others round twice. So these formulas hold operations alone that IEEE 754 defines to the
last bit: those of integers, ``+ - * /`` and the square root, conversions to the nearest number, and the bits of a
number; and their products are rounded before anything is added. Each is written once, ``(xp, word)`` over NumPy's
names: xp is numpy or cupy and the word an array, or `tracec.ir.straight` makes C of it.

A word w is a uniform number u = (w + ½) / 2ⁿ in n = 32 or 64 bits: neither 0 nor 1, and 1 - u is that of the word
with all bits turned over. A word of 32 bits makes a float32, one of 64 a float64, good to some two units in the
last place.

The coefficients were made for tracec: rational and polynomial approximations of least relative error, found in
arithmetic of 50 digits and more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class _Precision:
    """A floating type and what the formulas need to know of it.

    Attributes:
        bits: Of the type and of its random words.
        digits: Of the significand that are stored.
        ln2: The natural logarithm of 2, as a number that times any exponent is exact, and the rest.
        atanh: ``(2 atanh(s) / s - 2) / s²`` as a polynomial in s², for s² up to 0.0295.
        root: r in `normal`.
        above, below: The normal quantile over ``2 u - 1``, as a quotient of polynomials in √(w + r²) - r.
        tangent: ``tan(πs) / s`` as a quotient of polynomials in s², for s up to ¼.
    """

    bits: int
    digits: int
    ln2: tuple[float, float]
    atanh: Sequence[float]
    root: float
    above: Sequence[float]
    below: Sequence[float]
    tangent: tuple[Sequence[float], Sequence[float]]

    @property
    def types(self) -> tuple[Any, Any, Any]:
        """Unsigned and signed integers, and the floating type, of NumPy."""
        if self.bits == 32:
            return np.uint32, np.int32, np.float32
        return np.uint64, np.int64, np.float64


_SINGLE = _Precision(
    bits=32,
    digits=23,
    ln2=(0.693359375, -2.12194440e-4),
    atanh=(0.666666851, 0.399887605, 0.295806074),
    root=2.5,
    above=(1.25331415, 1.9878966, 2.23760215, 1.9391868, 1.24382218, 0.593040823, 0.229350259),
    below=(1.0, 0.277116769, 0.834949748, 0.491132277, 0.185313308, 0.143609023, 0.00099632235),
    tangent=((3.14159265, -3.45290356, 0.329018465), (1.0, -4.38896146, 1.55595352)),
)
_DOUBLE = _Precision(
    bits=64,
    digits=52,
    ln2=(0.693147180369123816490, 1.90821492927058770002e-10),
    atanh=(
        0.666666666666666972, 0.399999999998989845, 0.285714286261446005, 0.222222111112644108,
        0.181828906819675514, 0.15331673577733329, 0.1461700511057167,
    ),
    root=3.0,
    above=(
        1.2533141373155001, 0.974668588792671, 2.587543488117585, 2.0732319921384104, 2.227033636023729,
        1.520651450180069, 1.0163763180956875, 0.5356817957486906, 0.26305545392278123, 0.11063661713397292,
        0.04132969458186902, 0.011647063847887948, 0.0033807773241562662, 0.0011312288230972706,
        -7.518944686082349e-05,
    ),
    below=(
        1.0, -0.7931233078977163, 2.579443460329539, -1.405095231100785, 2.2300044915535873, -0.7984492691561559,
        0.8130067777456608, -0.16966558320501582, 0.14088478089199696, -0.01201677163809427, 0.013037126760066447,
        -0.00043268605576848217, 0.0009383741061392993, -5.242121355231569e-05, -1.3244051633457617e-08,
    ),
    tangent=(
        (3.14159265358979324, -4.13572569854640926, 1.04808308138213188, -0.0539475919328564618),
        (1.0, -4.6063105100881386, 2.49989056286227221, -0.299775872470526774, 0.00472713217678259043),
    ),
)  # fmt: skip


def _precision(word: Any) -> _Precision:
    return _SINGLE if word.dtype.itemsize == 4 else _DOUBLE


def normal(xp: Any, word: Any) -> Any:
    """The standard normal number below which a share u of all lies.

    With w = -log(1 - (2u - 1)²) it is 2u - 1 times a function that a quotient of polynomials in √(w + r²) - r fits
    well: the inverse of the error function is analytic in w for |w| < 2π, and grows like √w beyond. r is such that
    their terms do not cancel, and the difference is taken as a quotient, which loses no digits.
    """
    p = _precision(word)
    _, distance, tail = _sides(p, word)
    exponent, mantissa = _split(p, tail * (2.0 - tail))
    w = -(exponent * math.log(2.0) + _log1p(p, mantissa - 1.0))
    x = w / (xp.sqrt(w + p.root * p.root) + p.root)
    powers = _powers(x, len(p.above))
    return distance * _by_pairs(powers, p.above) / _by_pairs(powers, p.below)


def exponential(xp: Any, word: Any) -> Any:
    """The exponential number above which a share u of all lies: -log(u)."""
    p = _precision(word)
    unit = 2.0**-p.bits
    u = (_float(p, word) + 0.5) * unit
    rest = (_float(p, ~word) + 0.5) * -unit  # u - 1, from the bits
    exponent, mantissa = _split(p, u)
    near = exponent == 0.0
    high, low = p.ln2
    return -(exponent * high + (_log1p(p, xp.where(near, rest, mantissa - 1.0)) + exponent * low))


def gumbel(xp: Any, word: Any) -> Any:
    """The Gumbel number above which a share u of all lies: minus the logarithm of an exponential number."""
    p = _precision(word)
    exponent, mantissa = _split(p, exponential(xp, word))
    high, low = p.ln2
    return -(exponent * high + (_log1p(p, mantissa - 1.0) + exponent * low))


def cauchy(xp: Any, word: Any) -> Any:
    """The Cauchy number below which a share u of all lies: tan(π(u - ½)), beyond ¼ as a cotangent."""
    p = _precision(word)
    place, distance, tail = _sides(p, word)
    inside = tail >= 0.5
    outside = xp.where(place < 0, -tail, tail)
    s = xp.where(inside, distance, outside) * 0.5
    square = s * s
    above, below = s * _polynomial(square, p.tangent[0]), _polynomial(square, p.tangent[1])
    return xp.where(inside, above, below) / xp.where(inside, below, above)


def _sides(p: _Precision, word: Any) -> tuple[Any, Any, Any]:
    """The word's place from the middle, 2u - 1, and twice the smaller of u and 1 - u, each to all its digits."""
    half = 1 << (p.bits - 1)
    place = (word ^ half).view(p.types[1])
    unit = 1.0 / half
    tail = (_float(p, (place ^ (place >> (p.bits - 1))) ^ (half - 1)) + 0.5) * unit
    return place, (_float(p, place) + 0.5) * unit, tail


def _split(p: _Precision, x: Any) -> tuple[Any, Any]:
    """Exponent and mantissa, from √½ to √2, of a normal number above 0."""
    unsigned, signed, floating = p.types
    # The bits of √½, rounded up: from there on numbers have the exponent 0.
    start = int(np.array(math.sqrt(0.5), floating).view(unsigned))
    above = x.view(unsigned) - start
    exponent = (above.view(signed) >> p.digits).astype(np.int32).astype(floating)
    mantissa = ((above & ((1 << p.digits) - 1)) + start).view(floating)
    return exponent, mantissa


def _log1p(p: _Precision, x: Any) -> Any:
    """``log(1 + x)`` for 1 + x from √½ to √2."""
    s = x / (x + 2.0)
    square = s * s
    return s * (square * _polynomial(square, p.atanh) + 2.0)


def _polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    """A sum of powers, lowest first."""
    total = x * coefficients[-1]
    for c in reversed(coefficients[1:-1]):
        total += c  # in place, of arrays
        total *= x
    total += coefficients[0]
    return total


def _powers(x: Any, count: int) -> list[Any]:
    """x, x², x⁴, …: those that a sum of so many terms by pairs takes."""
    powers = [x]
    while 1 << len(powers) < count:
        powers.append(powers[-1] * powers[-1])
    return powers


def _by_pairs(powers: Sequence[Any], coefficients: Sequence[float]) -> Any:
    """A sum of powers, lowest first: neighbours are added, then neighbouring sums, and so on.

    So few roundings follow one another, and those of the powers are the same above and below a quotient's line.
    """
    terms: Sequence[Any] = coefficients
    for power in powers:
        sums = [high * power + low for low, high in zip(terms[::2], terms[1::2], strict=False)]
        terms = sums if len(terms) % 2 == 0 else [*sums, terms[-1]]
    return terms[0]


def _float(p: _Precision, integer: Any) -> Any:
    """The nearest floating number; of 64 bits by halves, as processors convert whole vectors."""
    if p.bits == 32:
        return integer.astype(np.float32)
    high = (integer >> 32).astype(np.int32 if integer.dtype == np.int64 else np.uint32)
    low = integer.astype(np.uint32)
    return high.astype(np.float64) * 2.0**32 + low.astype(np.float64)


#: Name of the scalar operation → its formula.
VARIATES = {
    "normal_variate": normal,
    "exponential_variate": exponential,
    "gumbel_variate": gumbel,
    "cauchy_variate": cauchy,
}
