"""Random variates that are the same bits on every target, as formulas over random words.

NumPy's logarithm, the C library's and CUDA's round each in their own way, and a compiler that fuses a product with
a sum rounds once where others round twice. So these formulas hold operations alone that IEEE 754 defines to the
last bit: those of integers, ``+ - * /``, comparisons, conversions to the nearest number, and the bits of a number;
and their products are rounded before anything is added. Each is written once, ``(xp, word)`` over NumPy's names: xp
is numpy or cupy and the word an array, or `tracec.ir.straight` makes C of it.

A word w is a uniform number u = (w + ½) / 2ⁿ in n = 32 or 64 bits: neither 0 nor 1, and 1 - u is that of the word
with all bits turned over. A word of 32 bits makes a float32, one of 64 a float64, whose relative error is at most
some 6 times 2**-24 or 2**-53, on average a quarter of that; near the zero of Gumbel numbers the absolute one.

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
        above, below: The normal quantile over ``2 u - 1``, as a quotient of polynomials in w, which `normal` defines.
        tangent: ``tan(πs) / s`` as a quotient of polynomials in s², for s up to ¼.
    """

    bits: int
    digits: int
    ln2: tuple[float, float]
    atanh: Sequence[float]
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
    above=(1.25331413, 0.447425802, 0.0909917803, 0.012520221, 0.00113756588, 5.92705359e-5, 1.90882711e-7),
    below=(1.0, 0.0951944721, 0.0346483266, 0.00231088098, 0.000248296642, 3.73406408e-6),
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
    above=(
        1.2533141373155003, 0.5293179520792318, 0.15427741581648635, 0.0325896363562687,
        0.0053025374569744595, 0.0006902942285631835, 7.279048833847091e-05, 6.2691700077468995e-06,
        4.466094836287725e-07, 2.66865515447151e-08, 1.3245318332045228e-09, 4.86346763294246e-11,
        1.8644783250794877e-12, 3.100118019325246e-14, 1.2702728363386e-16, 5.726028890303487e-20,
    ),
    below=(
        1.0, 0.16053523392066738, 0.06803550525013902, 0.00873389301400303,
        0.0016251161738477604, 0.0001613646505611363, 1.677455159934346e-05, 1.2497652072885034e-06,
        8.15770827886484e-08, 4.558179127555717e-09, 1.842819336894221e-10, 7.197344500212459e-12,
        2.0003600285101966e-13, 1.7214698078351434e-15, 2.825683125269139e-18,
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

    It is 2u - 1 times a function of w = -log(1 - (2u - 1)²) that a quotient of polynomials fits well, all of whose
    terms are positive: the inverse of the error function is analytic in w for |w| < 2π, and grows like √w beyond.
    """
    p = _precision(word)
    _, distance, tail = _sides(p, word)
    rest = 2.0 - tail
    rest *= tail
    exponent, mantissa = _split(p, rest)
    exponent *= -math.log(2.0)
    mantissa -= 1.0
    exponent -= _log1p(p, mantissa)  # now w
    powers = _powers(exponent, len(p.above))
    distance *= _by_pairs(powers, p.above)
    distance /= _by_pairs(powers, p.below)
    return distance


def exponential(xp: Any, word: Any) -> Any:
    """The exponential number above which a share u of all lies: -log(u)."""
    p = _precision(word)
    unit = 2.0**-p.bits
    u = word.astype(p.types[2])
    u += 0.5
    u *= unit
    less = (~word).astype(p.types[2])  # u - 1, from the bits
    less += 0.5
    less *= -unit
    exponent, mantissa = _split(p, u)
    mantissa -= 1.0
    return _minus_log(p, exponent, xp.where(exponent == 0.0, less, mantissa))


def gumbel(xp: Any, word: Any) -> Any:
    """The Gumbel number above which a share u of all lies: minus the logarithm of an exponential number."""
    p = _precision(word)
    exponent, mantissa = _split(p, exponential(xp, word))
    mantissa -= 1.0
    return _minus_log(p, exponent, mantissa)


def cauchy(xp: Any, word: Any) -> Any:
    """The Cauchy number below which a share u of all lies: tan(π(u - ½)), beyond ¼ as a cotangent."""
    p = _precision(word)
    place, distance, tail = _sides(p, word)
    inside = tail >= 0.5
    s = xp.where(inside, distance, xp.where(place < 0, -tail, tail))
    s *= 0.5
    square = s * s
    s *= _polynomial(square, p.tangent[0])
    below = _polynomial(square, p.tangent[1])
    return xp.where(inside, s, below) / xp.where(inside, below, s)


# The assignments in between write into arrays that are no operands of the formula, which takes half the time.


def _sides(p: _Precision, word: Any) -> tuple[Any, Any, Any]:
    """The word's place from the middle, 2u - 1, and twice the smaller of u and 1 - u, each to all its digits."""
    unsigned, signed, floating = p.types
    half = 1 << (p.bits - 1)
    place = (word ^ unsigned(half)).view(signed)
    folded = place >> (p.bits - 1)
    folded ^= place
    folded ^= half - 1
    distance, tail = place.astype(floating), folded.astype(floating)
    distance += 0.5
    distance *= 1.0 / half
    tail += 0.5
    tail *= 1.0 / half
    return place, distance, tail


def _split(p: _Precision, x: Any) -> tuple[Any, Any]:
    """Exponent and mantissa, from √½ to √2, of a normal number above 0."""
    unsigned, signed, floating = p.types
    # The bits of √½, rounded up: from there on numbers have the exponent 0.
    start = int(np.array(math.sqrt(0.5), floating).view(unsigned))
    above = x.view(unsigned) - start
    exponent = (above.view(signed) >> p.digits).astype(floating)
    above &= (1 << p.digits) - 1
    above += start
    return exponent, above.view(floating)


def _minus_log(p: _Precision, exponent: Any, x: Any) -> Any:
    """``-log((1 + x) 2**exponent)``, of arrays that are written into, for 1 + x from √½ to √2."""
    high, low = p.ln2
    found = _log1p(p, x)
    found += exponent * low
    exponent *= -high
    exponent -= found
    return exponent


def _log1p(p: _Precision, x: Any) -> Any:
    """``log(1 + x)`` for 1 + x from √½ to √2."""
    s = x / (x + 2.0)
    square = s * s
    found = _polynomial(square, p.atanh)
    found *= square
    found += 2.0
    found *= s
    return found


def _polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    """A sum of powers, lowest first."""
    total = x * coefficients[-1]
    for c in reversed(coefficients[1:-1]):
        total += c
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
        sums = []
        for low, high in zip(terms[::2], terms[1::2], strict=False):
            if terms is coefficients:
                high = power * high
            else:
                high *= power
            high += low
            sums.append(high)
        terms = sums if len(terms) % 2 == 0 else [*sums, terms[-1]]
    return terms[0]


#: Name of the scalar operation → its formula.
VARIATES = {
    "normal_variate": normal,
    "exponential_variate": exponential,
    "gumbel_variate": gumbel,
    "cauchy_variate": cauchy,
}
