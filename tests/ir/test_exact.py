"""Variates from random words: how exact they are, at the extremes too, and that arrays and straight code agree."""

from __future__ import annotations

import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest

from tracec.ir import dtype as dt
from tracec.ir import exact
from tracec.ir.straight import traced
from tracec.runtime.scalars import compute

WORDS = {np.uint32: dt.uint32, np.uint64: dt.uint64}
#: Half a unit in the last place, relative to the smallest number of that exponent.
HALF = {np.uint32: 2.0**-24, np.uint64: 2.0**-53}


def words(kind, count=4000):
    """All regions: even, by powers of two from both ends and from the middle, and each end itself."""
    bits = 8 * np.dtype(kind).itemsize
    rng = np.random.default_rng(0)
    steps = [int(2 ** (bits * (k + rng.random()) / count)) for k in range(count)]
    steps += [1 << k for k in range(bits)] + [0, 1, 2, 3]
    top, middle = (1 << bits) - 1, 1 << (bits - 1)
    spread = rng.integers(0, top, count, kind, endpoint=True).tolist()
    found = {*steps, *(top - s for s in steps), *(middle + s for s in steps), *(middle - s for s in steps), *spread}
    return np.array(sorted(w for w in found if 0 <= w <= top), kind)


def normal_quantile(word, bits):
    """By the standard library, of the smaller tail; a step of Newton's method restores what digits that loses."""
    distance = float(Fraction(2 * word + 1, 1 << (bits + 1)) - Fraction(1, 2))
    tail = float(Fraction(min(2 * word + 1, (2 << bits) - 2 * word - 1), 1 << (bits + 1)))
    found = math.copysign(NormalDist().inv_cdf(tail), distance)
    if tail < 0.2:
        return found
    density = math.exp(-0.5 * found * found) / math.sqrt(2 * math.pi)
    return found - (0.5 * math.erf(found / math.sqrt(2)) - distance) / density


def waiting_time(word, bits):
    u = Fraction(2 * word + 1, 1 << (bits + 1))
    return -math.log1p(float(u - 1)) if u > Fraction(1, 2) else -math.log(float(u))


def cotangent(word, bits):
    tail = float(Fraction(min(2 * word + 1, (2 << bits) - 2 * word - 1), 1 << (bits + 1)))
    distance = float(Fraction(2 * word + 1, 1 << (bits + 1)) - Fraction(1, 2))
    return math.tan(math.pi * distance) if tail > 0.2 else math.copysign(1 / math.tan(math.pi * tail), distance)


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize(
    "formula, truth, units",
    [(exact.normal, normal_quantile, 9), (exact.exponential, waiting_time, 5), (exact.cauchy, cotangent, 7)],
)
def test_relative_errors(formula, truth, units, kind):
    chosen = words(kind)
    found = formula(np, chosen)
    assert found.dtype == (np.float32 if kind is np.uint32 else np.float64)
    expected = np.array([truth(int(w), 8 * chosen.itemsize) for w in chosen])
    off = np.abs(found.astype(np.float64) / expected - 1) / HALF[kind]
    assert off.max() < units, f"{off.max()} at {chosen[off.argmax()]}"
    assert np.sqrt((off**2).mean()) < 2.5


@pytest.mark.parametrize("kind", WORDS)
def test_gumbel_numbers_are_logarithms_of_exponential_ones(kind):
    chosen = words(kind)
    expected = -np.log(exact.exponential(np, chosen).astype(np.float64))
    np.testing.assert_allclose(exact.gumbel(np, chosen), expected, rtol=5 * HALF[kind], atol=5 * HALF[kind])


@pytest.mark.parametrize("kind, largest, waits", [(np.uint32, 6.34, 22.9), (np.uint64, 9.15, 45.1)])
def test_extremes(kind, largest, waits):
    chosen = words(kind)
    normal, exponential = exact.normal(np, chosen), exact.exponential(np, chosen)
    assert np.isfinite(normal).all() and np.isfinite(exponential).all()
    assert normal.max() == pytest.approx(largest, abs=0.01) and exponential.max() == pytest.approx(waits, abs=0.1)
    assert np.abs(normal).min() > 0 and exponential.min() > 0
    np.testing.assert_allclose(normal, -exact.normal(np, ~chosen), rtol=8 * HALF[kind])  # the middle's other side


@pytest.mark.parametrize("kind", WORDS)
def test_order(kind):
    """A larger word gives no smaller normal number, but for the last digits."""
    chosen = words(kind)
    normal, exponential = exact.normal(np, chosen), exact.exponential(np, chosen)
    assert (np.diff(normal) >= -16 * HALF[kind] * np.abs(normal[1:])).all()
    assert (np.diff(exponential) <= 16 * HALF[kind] * exponential[1:]).all()


def test_distributions():
    chosen = np.arange(1 << 14, dtype=np.uint32) << 18 | 1 << 17
    normal = exact.normal(np, chosen).astype(np.float64)
    exponential = exact.exponential(np, chosen).astype(np.float64)
    np.testing.assert_allclose([(normal**k).mean() for k in (1, 2, 3, 4)], [0, 1, 0, 3], atol=0.02)
    np.testing.assert_allclose([(exponential**k).mean() for k in (1, 2, 3)], [1, 2, 6], rtol=0.01)


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("name", exact.VARIATES)
def test_straight_code_is_the_formula(name, kind):
    chosen = words(kind, 100)
    code = traced(exact.VARIATES[name], WORDS[kind])
    known = {code.parameter.name: chosen}

    def value(e):
        if hasattr(e, "value"):
            return e.dtype.numpy.type(e.value)
        return known[e.name]

    for step, call in code.steps:
        op, args = call.op, [value(a) for a in call.args]
        known[step] = np.where(*args) if op == "select" else compute(op, args, call.dtype.numpy)
    expected = exact.VARIATES[name](np, chosen)
    assert known[code.result.name].tobytes() == expected.tobytes()


def test_only_operations_that_are_exact_everywhere():
    allowed = {"add", "sub", "rounded_mul", "div", "neg", "eq", "ge", "lt", "select", "cast", "bitcast"}
    allowed |= {"bitwise_and", "bitwise_xor", "bitwise_not", "shift_right"}
    for formula in exact.VARIATES.values():
        for word in WORDS.values():
            for _, call in traced(formula, word).steps:
                assert call.op in allowed or (call.op == "mul" and abs(math.frexp(call.args[1].value)[0]) == 0.5)
